//! A bounded exhaustive check of event sequences: every order of a small world's answers, of what
//! people do, of crashes and of outages, driven through [`lifecycle::next`] exactly as a worker
//! would (invariants 2, 3 and 4).
//!
//! The world keeps its own books (who said yes to what, which gates answered when, what was really
//! changed) and every effect is held against them, not against the incident's own idea.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::authority::{ApprovedStep, NotApproved};
use super::diagnosis::{Conclusion, Finding};
use super::event::{Event, Outcome};
use super::facts::{Facts, Kind};
use super::gate::Ruling;
use super::id::Digest;
use super::incident::{Flight, Incident, Phase};
use super::lifecycle::{self, Next};
use super::plan::{Change, Patch, Plan, Step};
use super::policy::spec::PolicySpec;
use super::resolution::{Judgement, Progress};
use super::testing::*;

/// More states than the worlds below have; reached only when a run does not end.
const MAX_STATES: usize = 50_000;

/// What may still happen: bounds the search, not the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Budget {
    foreign_changes: u8,
    outages: u8,
    holds: u8,
    unclear_causes: u8,
    unclear_steps: u8,
    yeses: u8,
    late_yeses: u8,
    no: u8,
    aborts: u8,
    snoozes: u8,
    resolved: u8,
    misses: u8,
}

#[derive(Clone, Debug, Default)]
struct World {
    left: Budget,
    generation: i64,
    /// The mark on the object: which step of which plan changed it last.
    mark: Option<(Digest, usize)>,
    /// How often a step was really applied: by plan, by step.
    applied: BTreeMap<(Digest, usize), u32>,
    /// The same by what the policy asked for: the cause or a fallback, and the step.
    effects: BTreeMap<(Option<usize>, usize), u32>,
    /// Who said yes to what while it was asked.
    yes: Vec<(Digest, &'static str)>,
    /// The gates' last answer.
    gate: Option<(Digest, Ruling, Timestamp)>,
}

#[derive(Clone)]
struct Node {
    incident: Incident,
    log: Rc<Link>,
    world: World,
    now: Timestamp,
}

struct Link {
    before: Option<Rc<Link>>,
    at: Timestamp,
    event: Event,
}

impl Node {
    fn new(spec: PolicySpec, left: Budget) -> Self {
        let event = opened(1, "agent-down", spec);
        let incident = Incident::open(&incident_id(1), NOW, &event).expect("it opens");
        let log = Rc::new(Link { before: None, at: NOW, event });
        let world = World { left, generation: 1, ..World::default() };
        Self { incident, log, world, now: NOW }
    }

    fn append(&mut self, event: Event) {
        self.incident.apply(self.now, &event);
        let before = Some(self.log.clone());
        self.log = Rc::new(Link { before, at: self.now, event });
    }

    fn with(&self, events: impl IntoIterator<Item = Event>) -> Self {
        let mut node = self.clone();
        for event in events {
            node.append(event);
        }
        node
    }

    fn at(mut self, now: Timestamp) -> Self {
        self.now = self.now.max(now);
        self
    }

    fn spend(&self, spend: impl Fn(&mut Budget) -> &mut u8) -> Option<Self> {
        let mut node = self.clone();
        let left = spend(&mut node.world.left);
        *left = left.checked_sub(1)?;
        Some(node)
    }

    fn events(&self) -> Vec<(Timestamp, Event)> {
        let mut events = Vec::new();
        let mut link = Some(&self.log);
        while let Some(one) = link {
            events.push((one.at, one.event.clone()));
            link = one.before.as_ref();
        }
        events.reverse();
        events
    }

    fn key(&self) -> u64 {
        // All that a decision reads. The version is among it, so that a circle is not taken for an
        // end: a run that goes on for ever makes ever new states.
        let it = &self.incident;
        let gates = it.gates.as_ref().map(|gates| (gates.digest, gates.at, gates.held_since));
        let ruling = it.gates.as_ref().map(|gates| format!("{:?}", gates.ruling));
        let digest = it.proposal.as_ref().map(|proposal| proposal.digest);
        let finding = it.finding.as_ref().map(|finding| format!("{:?}", finding.conclusion));
        let facts = it.facts.as_ref().map(|facts| facts.targets[0].generation);
        let asked = format!("{:?}{:?}{}", it.phase, it.question, it.firing());
        let counts = (it.version, it.looks, it.fallback, it.applied, it.stale, &it.escalated);
        let mut hasher = DefaultHasher::new();
        (gates, ruling, digest, finding, facts, asked, counts).hash(&mut hasher);
        let snoozed = it.snooze.as_ref().map(|snooze| snooze.until);
        (&it.generations, it.started, it.abort.is_some(), snoozed, self.now).hash(&mut hasher);
        format!("{:?}", self.world).hash(&mut hasher);
        hasher.finish()
    }
}

/// Little, but with the generation that plans depend on.
fn seen(world: &World) -> Facts {
    let mut workload = workload(Kind::Deployment, "agent");
    workload.generation = world.generation;
    workload.object = json!({});
    workload.pods = absent();
    workload.revisions = absent();
    facts([workload])
}

/// As many steps as the policy has actions, or the one of the fallback.
fn proposed(incident: &Incident, actions: usize) -> Plan {
    let facts = incident.facts.as_ref().expect("facts come before a plan");
    let step = |index: usize| {
        let steps = super::action::plan(
            &[action(json!({"restart": {}}))],
            &Facts { targets: vec![workload(Kind::Deployment, "agent")], ..facts.clone() },
            super::action::Stamp { time: NOW },
        );
        let mut step = steps.expect("a restart")[0].clone();
        let Change::Patch(change) = &mut step.change else { unreachable!("a restart patches") };
        change.object.generation = facts.targets[0].generation;
        change.patch = Patch::Strategic(json!({"step": index}));
        step
    };
    let cause = format!("{:?}", incident.fallback);
    Plan { cause, ..plan_of((0..actions).map(step).collect::<Vec<Step>>()) }
}

/// The next nodes of a worker's turn, crashes included.
fn turn(node: &Node) -> Vec<Node> {
    let incident = &node.incident;
    let flying = matches!(incident.phase, Phase::Executing { flight: Flight::Unknown, .. });
    let next = lifecycle::next(incident, node.now);
    assert!(!flying || matches!(next, Next::LookBack { .. }), "{next:?} while a step is in flight");
    match next {
        Next::Nothing => Vec::new(),
        Next::Locate(_) => vec![
            node.with([Event::TargetsFound { targets: vec![target(Kind::Deployment, "agent")] }]),
        ],
        Next::Observe => {
            vec![node.with([Event::FactsCollected { facts: Box::new(seen(&node.world)) }])]
        }
        Next::Diagnose => {
            let found = |conclusion| Event::CauseFound {
                finding: Finding { conclusion, considered: Vec::new() },
            };
            let name = || "otherwise".to_owned();
            let mut nodes = vec![node.with([found(Conclusion::Cause { name: name() })])];
            if let Some(unclear) = node.spend(|left| &mut left.unclear_causes) {
                let why = "no data".to_owned();
                nodes.push(unclear.with([found(Conclusion::Unknown { name: name(), why })]));
                nodes.push(unclear.with([found(Conclusion::NoCause)]));
            }
            nodes
        }
        Next::Plan { actions, .. } => {
            let plan = proposed(incident, actions.len());
            let digest = plan.digest();
            let event = Event::PlanProposed { plan: Box::new(plan), digest, previews: Vec::new() };
            vec![node.with([event])]
        }
        Next::Gate => gate(node),
        Next::Reconsider => {
            let known = incident.facts.as_ref().map(|facts| facts.targets[0].generation);
            if known == Some(node.world.generation) {
                gate(node)
            } else {
                vec![node.with([Event::FactsCollected { facts: Box::new(seen(&node.world)) }])]
            }
        }
        Next::Record(events) => {
            assert!(!events.is_empty(), "nothing is recorded");
            vec![node.with(events)]
        }
        Next::Start { step, attempt } => start(node, step, attempt),
        Next::LookBack { step } => look_back(node, step),
        Next::Verify { deadline } => {
            let met = Judgement::Met(Progress::default());
            let mut nodes = vec![node.with(lifecycle::judged(incident, met))];
            if let Some(missed) = node.spend(|left| &mut left.misses) {
                let missed = missed.at(deadline);
                let events =
                    lifecycle::judged(&missed.incident, Judgement::Missed(Progress::default()));
                nodes.push(missed.with(events));
            }
            nodes
        }
        Next::Tell { level, to } => {
            let (to, level) = (to.to_owned(), Some(level));
            vec![node.with([Event::Escalated { to, level, undelivered: None }])]
        }
        Next::Wait { until } => {
            let until = until.expect("a wait ends by itself");
            assert!(until > node.now, "it waits for what has passed: a busy loop");
            vec![node.clone().at(until)]
        }
    }
}

fn gate(node: &Node) -> Vec<Node> {
    let digest = node.incident.proposal.as_ref().expect("a plan comes before gates").digest;
    let decided = |node: &Node, ruling| {
        let mut node = node.clone();
        node.world.gate = Some((digest, ruling, node.now));
        let events = lifecycle::gated(&node.incident, ruling, Vec::new());
        node.with(events)
    };
    let ruling = match node.incident.policy.spec.mode {
        super::policy::spec::Mode::Auto => Ruling::Act,
        _ => Ruling::Ask,
    };
    let mut nodes = vec![decided(node, ruling), decided(node, Ruling::Deny)];
    if let Some(held) = node.spend(|left| &mut left.holds) {
        nodes
            .push(decided(&held, Ruling::Hold { until: node.now + SignedDuration::from_secs(90) }));
        nodes.push(decided(&held, Ruling::Ask));
        nodes.push(decided(&held, Ruling::Preview));
    }
    nodes
}

/// The step leaves: only with authority, and only under what the world's own books allow.
fn start(node: &Node, step: usize, attempt: u32) -> Vec<Node> {
    let proposal = node.incident.proposal.as_ref().expect("a plan comes before a step");
    let digest = proposal.digest;
    assert!(ApprovedStep::of(&node.incident, step).is_err(), "authority before the intent");
    let started = node.with([Event::StepStarted { digest, step, attempt }]);
    let approved = ApprovedStep::of(&started.incident, step).expect("a step that may start");
    let (gated, ruling, at) = node.world.gate.expect("gates come before a step");
    assert_eq!(gated, digest, "the gates were asked about another plan");
    match ruling {
        Ruling::Act => {}
        Ruling::Ask => {
            let people: HashSet<_> = node.world.yes.iter().filter(|it| it.0 == digest).collect();
            let quorum = node.incident.policy.spec.approval.quorum as usize;
            assert!(people.len() >= quorum, "{} of {quorum} people said yes", people.len());
        }
        other => panic!("it starts although the gates say {other:?}"),
    }
    let limit = if step == 0 { lifecycle::FRESH } else { lifecycle::MAX_PAUSE };
    assert!(node.now.duration_since(at) <= limit, "the gates' answer is too old");

    // A crash before anything was sent, and the outcomes of sending it.
    let mut nodes = vec![started.clone()];
    let (sent, done) = perform(&started, &approved);
    match done {
        Ok(left) => {
            let (evidence, diff) = ("200".to_owned(), String::new());
            let finished =
                lifecycle::step_finished(&sent.incident, step, evidence, diff, Some(left));
            nodes.push(sent.with(finished));
            // A crash after it was applied.
            nodes.push(sent.clone());
        }
        Err(why) => nodes.push(sent.with(lifecycle::stale(&sent.incident, step, why))),
    }
    if let Some(unclear) = started.spend(|left| &mut left.unclear_steps) {
        let unknown = || Event::StepOutcomeUnknown { step, why: "a time-out".to_owned() };
        nodes.push(unclear.with([unknown()]));
        nodes.push(perform(&unclear, &approved).0.with([unknown()]));
        let refused = "403".to_owned();
        nodes.push(unclear.with(lifecycle::step_failed(&unclear.incident, step, refused)));
    }
    nodes
}

/// The writer: nothing when the mark is there, nothing when the generation differs.
fn perform(node: &Node, approved: &ApprovedStep) -> (Node, Result<(String, i64), String>) {
    let mut node = node.clone();
    let Change::Patch(change) = &approved.step().change else { unreachable!("all are patches") };
    let step = (approved.digest(), approved.index());
    let uid = change.object.uid.clone();
    if node.world.mark == Some(step) {
        let generation = node.world.generation;
        return (node, Ok((uid, generation)));
    }
    if change.object.generation != node.world.generation {
        return (node, Err("the generation differs".to_owned()));
    }
    node.world.generation += 1;
    node.world.mark = Some(step);
    let times = node.world.applied.entry(step).or_default();
    *times += 1;
    assert_eq!(*times, 1, "one step was applied twice");
    let effects = node.world.effects.entry((node.incident.fallback, step.1)).or_default();
    *effects += 1;
    assert_eq!(*effects, 1, "what the policy asks for once was done twice, by another plan");
    let generation = node.world.generation;
    (node, Ok((uid, generation)))
}

fn look_back(node: &Node, step: usize) -> Vec<Node> {
    let approved = ApprovedStep::of(&node.incident, step).expect("what started may be looked at");
    let Change::Patch(change) = &approved.step().change else { unreachable!("all are patches") };
    let evidence = "looked back".to_owned();
    let events = if node.world.mark == Some((approved.digest(), step)) {
        let left = Some((change.object.uid.clone(), node.world.generation));
        lifecycle::step_finished(&node.incident, step, evidence, String::new(), left)
    } else if change.object.generation == node.world.generation {
        vec![Event::StepNotApplied { step, evidence }]
    } else {
        lifecycle::stale(&node.incident, step, evidence)
    };
    let mut nodes = vec![node.with(events)];
    if let Some(unclear) = node.spend(|left| &mut left.unclear_steps) {
        let unknown = Event::StepOutcomeUnknown { step, why: "no answer".to_owned() };
        nodes.push(unclear.at(node.now + SignedDuration::from_secs(5)).with([unknown]));
    }
    nodes
}

/// What comes from outside, at any time.
fn outside(node: &Node) -> Vec<Node> {
    let mut nodes = Vec::new();
    if node.incident.closed() {
        return nodes;
    }
    if let Some(mut changed) = node.spend(|left| &mut left.foreign_changes) {
        changed.world.generation += 1;
        nodes.push(changed);
    }
    if let Some(out) = node.spend(|left| &mut left.outages) {
        nodes.push(out.at(node.now + SignedDuration::from_hours(5)));
    }
    if let Some(ended) = node.spend(|left| &mut left.resolved) {
        let fingerprint = alert(1).fingerprint;
        nodes.push(ended.with([Event::AlertResolved { fingerprint, ended: None }]));
    }
    if let Some(stopped) = node.spend(|left| &mut left.aborts) {
        let (by, reason) = (person("alice"), "no".to_owned());
        nodes.push(stopped.with([Event::AbortRequested { by, reason }]));
    }
    if let Some(put_off) = node.spend(|left| &mut left.snoozes) {
        // Also where it comes too late.
        let until = node.now + SignedDuration::from_hours(2);
        let by = person("bob");
        nodes.push(put_off.with([Event::Snoozed { by, until, reason: None }]));
    }
    let question = node.incident.question.as_ref();
    let Some(digest) = question.map(|question| question.digest) else { return nodes };
    let asking = matches!(node.incident.phase, Phase::Asking);
    let open = question.is_some_and(|question| node.now < question.expires);
    let said = question.map_or(0, |question| question.given.len());
    for (index, name) in ["alice", "bob"].into_iter().enumerate() {
        let yes = Event::ApprovalGiven { digest, by: person(name), reason: None };
        if asking && open && index == said {
            if let Some(mut agreed) = node.spend(|left| &mut left.yeses) {
                agreed.world.yes.push((digest, name));
                nodes.push(agreed.with([yes]));
            }
        // One that the receiver let through although nobody is asked any more, or of whom it came.
        } else if (index < said || !open || !asking)
            && let Some(late) = node.spend(|left| &mut left.late_yeses)
        {
            nodes.push(late.with([yes]));
        }
    }
    if asking {
        if let Some(stale) = node.spend(|left| &mut left.late_yeses) {
            let digest = Digest::of("test", &"another plan");
            let by = person("mallory");
            nodes.push(stale.with([Event::ApprovalGiven { digest, by, reason: None }]));
        }
        if let Some(refused) = node.spend(|left| &mut left.no) {
            let events = lifecycle::refused(digest, person("bob"), "not now".to_owned());
            nodes.push(refused.with(events));
        }
    }
    nodes
}

/// What must hold of every state.
fn inspect(node: &Node) {
    if let Phase::Closed { outcome, reason, .. } = &node.incident.phase {
        assert!(!reason.is_empty(), "it ended without a reason");
        let changed = node.world.applied.values().sum::<u32>() > 0;
        let nothing = [Outcome::Recovered, Outcome::DryRun, Outcome::Undiagnosed];
        let own = !changed || !nothing.contains(outcome) || node.world.left.misses == 0;
        assert!(own, "{outcome:?} says that nothing was changed");
        // One end in so many is enough: folding is the same code, the text of events is not.
        if !node.key().is_multiple_of(32) {
            return;
        }
        // A restart finds the same from the stored text of the events.
        let stored: Vec<(Timestamp, Event)> = node
            .events()
            .iter()
            .map(|(at, event)| (*at, serde_json::from_value(json!(event)).expect("read back")))
            .collect();
        let folded = Incident::fold(&incident_id(1), stored.iter().map(|(at, it)| (*at, it)));
        assert_eq!(folded.as_ref(), Ok(&node.incident));
    }
}

fn explore(spec: PolicySpec, left: Budget) -> (usize, BTreeMap<Outcome, usize>) {
    let mut open = vec![Node::new(spec, left)];
    let mut seen = HashSet::new();
    let mut ends = BTreeMap::new();
    while let Some(node) = open.pop() {
        if !seen.insert(node.key()) {
            continue;
        }
        assert!(seen.len() < MAX_STATES, "a run does not end: {:?}", node.incident.phase);
        inspect(&node);
        if let Phase::Closed { outcome, .. } = &node.incident.phase {
            *ends.entry(*outcome).or_insert(0) += 1;
            assert_eq!(lifecycle::next(&node.incident, node.now), Next::Nothing);
            continue;
        }
        let turned = turn(&node);
        assert!(!turned.is_empty(), "it is not over, and nothing follows");
        let moved = |it: &Node| it.incident.version > node.incident.version || it.now > node.now;
        assert!(turned.iter().all(moved), "a turn without progress");
        open.extend(turned);
        open.extend(outside(&node));
    }
    (seen.len(), ends)
}

fn spec(mode: &str, quorum: u32, steps: usize) -> PolicySpec {
    let mut spec = policy(vec![action(json!({"restart": {}})); steps]);
    spec.mode = serde_json::from_value(json!(mode)).expect("a mode");
    spec.approval.quorum = quorum;
    spec.on_failure = vec![action(json!({"restart": {}}))];
    spec.escalate =
        vec![serde_json::from_value(json!({"after": "15m", "to": "oncall"})).expect("escalation")];
    spec
}

/// What can go wrong, each once.
const ADVERSITIES: [fn(&mut Budget) -> &mut u8; 11] = [
    |left| &mut left.foreign_changes,
    |left| &mut left.outages,
    |left| &mut left.holds,
    |left| &mut left.unclear_steps,
    |left| &mut left.misses,
    |left| &mut left.aborts,
    |left| &mut left.snoozes,
    |left| &mut left.resolved,
    |left| &mut left.unclear_causes,
    |left| &mut left.late_yeses,
    |left| &mut left.no,
];

/// Explores every pair of adversities (one of them twice as well), and prints how much that was.
fn explore_pairs(spec: &PolicySpec, left: Budget) -> (usize, BTreeMap<Outcome, usize>) {
    let (mut states, mut all) = (0, BTreeMap::new());
    for (index, first) in ADVERSITIES.iter().enumerate() {
        for second in &ADVERSITIES[index..] {
            let mut left = left;
            *first(&mut left) += 1;
            *second(&mut left) += 1;
            let (found, ends) = explore(spec.clone(), left);
            states += found;
            for (outcome, count) in ends {
                *all.entry(outcome).or_insert(0) += count;
            }
        }
    }
    println!("{states} states, ends: {all:?}");
    (states, all)
}

#[test]
fn every_sequence_without_people_keeps_the_promises() {
    let (states, ends) = explore_pairs(&spec("auto", 1, 2), Budget::default());
    assert!(states > 5_000, "{states}");
    for outcome in [Outcome::Fixed, Outcome::NotFixed, Outcome::Failed, Outcome::Aborted] {
        assert!(ends.contains_key(&outcome), "{outcome:?} is never reached");
    }
}

#[test]
fn every_sequence_with_people_keeps_the_promises() {
    let left = Budget { yeses: 2, ..Budget::default() };
    let (states, ends) = explore_pairs(&spec("approval", 1, 1), left);
    assert!(states > 5_000, "{states}");
    for outcome in [Outcome::Fixed, Outcome::Expired, Outcome::Refused] {
        assert!(ends.contains_key(&outcome), "{outcome:?} is never reached");
    }
}

#[test]
fn two_people_are_two_people_and_their_yes_is_for_one_plan() {
    let left = Budget { yeses: 4, late_yeses: 1, foreign_changes: 1, ..Budget::default() };
    let (states, ends) = explore(spec("approval", 2, 1), left);
    println!("{states} states, ends: {ends:?}");
    assert!(states > 1_000, "{states}");
    assert!(ends.contains_key(&Outcome::Fixed) && ends.contains_key(&Outcome::Expired));
}

#[test]
fn a_doubtful_world_is_given_up_in_time() {
    let left = Budget { holds: 20, unclear_causes: 6, ..Budget::default() };
    let mut held = spec("auto", 1, 1);
    held.escalate.clear();
    let (states, ends) = explore(held, left);
    assert!(states > 100, "{states}");
    assert!(ends.contains_key(&Outcome::Undiagnosed) && ends.contains_key(&Outcome::Denied));
}

#[test]
fn authority_is_for_the_plan_that_the_events_agree_on() {
    let base = Node::new(spec("auto", 1, 1), Budget::default());
    let mut node = base;
    while !matches!(node.incident.phase, Phase::Executing { .. }) {
        node = turn(&node).remove(0);
    }
    let proposal = node.incident.proposal.clone().expect("a plan");
    let (digest, other) = (proposal.digest, Digest::of("test", &"other"));
    let started = |digest| Event::StepStarted { digest, step: 0, attempt: 1 };
    let of = |events: Vec<Event>| ApprovedStep::of(&node.with(events).incident, 0).map(drop);
    assert_eq!(of(vec![started(digest)]), Ok(()));
    assert_eq!(of(vec![started(other)]), Err(NotApproved::NotExecuting(0)));
    // A new plan that no gate has seen, under the gates' old answer.
    let mut plan = proposal.plan;
    plan.steps[0].summary.push('!');
    let (plan, fresh) = (Box::new(plan.clone()), plan.digest());
    let proposed = |digest| {
        let plan = plan.clone();
        Event::PlanProposed { plan, digest, previews: Vec::new() }
    };
    assert_eq!(of(vec![proposed(fresh), started(fresh)]), Err(NotApproved::NotPassed));
    let tampered = NotApproved::Tampered { expected: digest, found: fresh };
    assert_eq!(of(vec![proposed(digest), started(digest)]), Err(tampered));
}
