//! Runs a test of policies: the same functions as in earnest, driven without a cluster.
//!
//! What would leave the process ends the run: a step that would start, a question that would be
//! asked, a wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Case, Given};
use crate::domain::action::{self, Stamp};
use crate::domain::alert::Alert;
use crate::domain::check;
use crate::domain::diagnosis::Conclusion;
use crate::domain::diagnosis::view::View;
use crate::domain::event::{Event, NotChosen, Outcome, Person, Stream};
use crate::domain::facts::{Fact, Facts, Target};
use crate::domain::gate::ledger::Ledger;
use crate::domain::gate::{self, AlertState, Inputs, Monitoring, Verdict};
use crate::domain::id::{Digest, Episode, Fingerprint, IncidentId};
use crate::domain::incident::{Incident, Phase};
use crate::domain::lifecycle::{self, Next};
use crate::domain::nearest::nearest;
use crate::domain::period::Period;
use crate::domain::plan::Plan;
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::compiled::CompiledPolicy;
use crate::domain::policy::problem::{FieldPath, Problem};

/// Most decisions of one run: an incident makes about ten until it acts.
const MAX_DECISIONS: usize = 64;

/// What was decided.
#[derive(Debug, Default)]
pub struct Decided {
    /// The policy that answers.
    pub policy: Option<String>,
    /// Those that were not taken, and why.
    pub losers: BTreeMap<String, String>,
    /// The target, or why there is none.
    pub target: String,
    /// The cause: its name, `none`, or `unknown`.
    pub cause: Option<String>,
    /// The plan: action, summary and reason of each step.
    pub plan: Option<Vec<(String, String, String)>>,
    /// Why no plan can be made.
    pub impossible: Option<String>,
    /// What the gates say.
    pub gates: Vec<Verdict>,
    /// What happens, in a word.
    pub outcome: String,
    /// Why, when it ends.
    pub reason: String,
}

/// Runs one test.
///
/// # Errors
/// That the test itself is wrong.
pub fn run(policies: &PolicySet, case: &Case) -> Result<Decided, Problem> {
    let path = FieldPath::default();
    let now = case.time().map_err(|error| Problem::error("test", path.key("now"), error))?;
    if let Some(stranger) = case.facts.strangers().next() {
        let known = super::facts::UNKNOWABLE;
        let message = format!("`{stranger}` is no fact that can be unknown");
        let help = nearest(stranger, known)
            .or_else(|| Some(format!("they are {} and queries.NAME", known.join(", "))));
        let path = path.key("facts").key("unknown");
        return Err(Problem::error("test", path, message).maybe_help(help));
    }
    let alert = case.alert_at(now);
    let choice = policies.choose(&alert);
    let losers: BTreeMap<_, _> =
        choice.losers.iter().map(|it| (it.policy.name.clone(), it.why.to_string())).collect();
    let mut decided = Decided { losers, ..Decided::default() };
    let Some(policy) = choice.winner else {
        decided.outcome = "no-policy".to_owned();
        return Ok(decided);
    };
    let policy = with_mode(&policy, case);
    decided.policy = Some(policy.name.clone());
    let wanted = policy.resolve_target(&alert);
    decided.target = match &wanted {
        Ok(query) => query.to_string(),
        Err(error) => error.to_string(),
    };
    if policy.spec.mode == crate::domain::policy::spec::Mode::Off {
        decided.outcome = "off".to_owned();
        return Ok(decided);
    }
    let facts = case.facts.facts(now, wanted.as_ref().ok(), &policy.spec.queries);
    let opened = opened(&policy, &alert, &[]);
    let id = IncidentId::of(alert.episode());
    if let Some(incident) = Incident::open(&id, now, &opened) {
        let trial = Trial { policy: &policy, facts: &facts, given: &case.given };
        trial.drive(incident, now, &mut decided);
    }
    Ok(decided)
}

fn with_mode(policy: &Arc<CompiledPolicy>, case: &Case) -> Arc<CompiledPolicy> {
    let Some(mode) = case.given.mode else { return Arc::clone(policy) };
    let mut changed = (**policy).clone();
    changed.spec.mode = mode;
    changed.digest = Digest::of("orderly-policy-v1", &changed.spec);
    Arc::new(changed)
}

fn opened(policy: &CompiledPolicy, alert: &Alert, others: &[NotChosen]) -> Event {
    Event::IncidentOpened {
        alert: alert.clone(),
        policy: Box::new(policy.snapshot()),
        others: others.to_vec(),
        target: policy.resolve_target(alert).map_err(|error| error.to_string()),
    }
}

struct Trial<'c> {
    policy: &'c CompiledPolicy,
    facts: &'c Facts,
    given: &'c Given,
}

impl Trial<'_> {
    fn drive(&self, mut incident: Incident, start: Timestamp, decided: &mut Decided) {
        let mut now = start;
        for _ in 0..MAX_DECISIONS {
            let events = match lifecycle::next(&incident, now) {
                Next::Locate(_) if self.facts.targets.is_empty() => {
                    let why = format!("{} does not exist", decided.target);
                    lifecycle::not_found(&incident, why)
                }
                Next::Locate(_) => {
                    let targets = self.facts.targets.iter().map(|found| found.target.clone());
                    vec![Event::TargetsFound { targets: targets.collect() }]
                }
                Next::Observe => {
                    vec![Event::FactsCollected { facts: Box::new(self.facts.clone()) }]
                }
                Next::Diagnose => {
                    let view = View::new(incident.alert(), self.facts, now);
                    let finding = self.policy.diagnose(&view);
                    decided.cause = Some(match &finding.conclusion {
                        Conclusion::Cause { name } => name.clone(),
                        Conclusion::Unknown { .. } => "unknown".to_owned(),
                        Conclusion::NoCause => "none".to_owned(),
                    });
                    vec![Event::CauseFound { finding }]
                }
                Next::Plan { cause, actions } => self.plan(&incident, cause, actions, decided),
                Next::Gate | Next::Reconsider => {
                    let events = self.gate(&incident, now, decided);
                    if events.is_empty() { break } else { events }
                }
                Next::Record(events) => events,
                Next::Tell { level, to } => {
                    let to = to.to_owned();
                    vec![Event::Escalated { to, level: Some(level), undelivered: None }]
                }
                Next::Wait { until: Some(until) } if undecided(&incident) && until > now => {
                    now = until;
                    continue;
                }
                Next::Start { .. } | Next::LookBack { .. } | Next::Verify { .. } => {
                    decided.outcome = "acts".to_owned();
                    return;
                }
                Next::Wait { .. } | Next::Nothing => break,
            };
            for event in &events {
                incident.apply(now, event);
            }
        }
        let (outcome, reason) = ending(&incident.phase);
        decided.outcome = outcome.to_owned();
        decided.reason = reason.to_owned();
    }

    fn plan(
        &self,
        incident: &Incident,
        cause: String,
        actions: &[crate::domain::policy::spec::ActionSpec],
        decided: &mut Decided,
    ) -> Vec<Event> {
        let stamp = Stamp { time: incident.opened };
        let spec = &incident.policy.spec;
        let planned = match action::plan(actions, self.facts, stamp) {
            Ok(steps) => {
                let plan = Plan { cause, policy: incident.policy.digest, steps };
                match check::check(&plan, spec, actions, self.facts) {
                    Ok(()) => Ok(plan),
                    Err(violation) => {
                        let why = action::Impossible::RefusedByCheck { violation };
                        Err(("plan".to_owned(), why))
                    }
                }
            }
            Err(impossible) => Err(impossible),
        };
        match planned {
            Ok(plan) => {
                let steps = plan.steps.iter();
                let steps =
                    steps.map(|it| (it.action.clone(), it.summary.clone(), it.reason.clone()));
                decided.plan = Some(steps.collect());
                let digest = plan.digest();
                vec![Event::PlanProposed { plan: Box::new(plan), digest, previews: Vec::new() }]
            }
            Err((action, why)) => {
                decided.impossible = Some(why.to_string());
                lifecycle::impossible(incident, action, why)
            }
        }
    }

    fn gate(&self, incident: &Incident, now: Timestamp, decided: &mut Decided) -> Vec<Event> {
        let Some(proposal) = &incident.proposal else { return Vec::new() };
        let mut ledger = Ledger::default();
        self.remember(&mut ledger, incident, &proposal.plan, now);
        let workloads = self.given.workloads.unwrap_or(20);
        let alert = if self.given.silenced {
            AlertState::Silenced("somebody".to_owned())
        } else {
            AlertState::Firing
        };
        let monitoring = if self.given.monitoring_in_doubt {
            Monitoring::InDoubt("the test says so".to_owned())
        } else {
            Monitoring::Sane("the test says so".to_owned())
        };
        let inputs = Inputs {
            incident: &incident.id,
            policy: &incident.policy.name,
            spec: &incident.policy.spec,
            mode_now: Some(incident.policy.spec.mode),
            plan: &proposal.plan,
            facts: self.facts,
            rails: &self.given.rails,
            ledger: &ledger,
            workloads: &Fact::Known { value: workloads, source: "the test".to_owned(), at: now },
            alert: &alert,
            monitoring: &monitoring,
            now,
        };
        let (ruling, verdicts) = gate::decide(&inputs);
        decided.gates.clone_from(&verdicts);
        lifecycle::gated(incident, ruling, verdicts)
    }

    /// What happened before, as the journal would tell it.
    fn remember(&self, ledger: &mut Ledger, incident: &Incident, plan: &Plan, now: Timestamp) {
        let given = self.given;
        let ago = |period: Period| now.saturating_sub(period.get()).unwrap_or(Timestamp::MIN);
        let yesterday = Period::from_mins(24 * 60);
        let mut past = Past { ledger, incident, policy: self.policy, plan, count: 0 };
        for _ in 0..given.ineffective {
            past.story(ago(yesterday), &[], Some(Outcome::NotFixed));
        }
        let other = given.other_changes_ago.unwrap_or(Period::from_mins(10));
        for number in 0..given.other_changes {
            let elsewhere = Target { name: format!("other-{number}"), ..first(self.facts) };
            past.story(ago(other), &[elsewhere], Some(Outcome::Fixed));
        }
        if let Some(changed) = given.changed_ago {
            past.story(ago(changed), &incident.targets, Some(Outcome::Fixed));
        }
        for _ in 0..given.incidents {
            past.open(ago(Period::from_secs(30)), &[]);
        }
        if given.in_hand {
            past.open(ago(Period::from_mins(1)), &incident.targets);
        }
        past.ledger.note(&Stream::Incident(incident.id.clone()), now, &past.opened());
        if given.kill_switch {
            let by =
                Person { name: "somebody".to_owned(), groups: Vec::new(), path: "test".to_owned() };
            let event =
                Event::KillSwitchSet { on: true, by, reason: "the test says so".to_owned() };
            past.ledger.note(&Stream::Control, now, &event);
        }
    }
}

fn first(facts: &Facts) -> Target {
    let first = facts.targets.first().map(|found| found.target.clone());
    first.unwrap_or_else(|| Target {
        kind: crate::domain::facts::Kind::Deployment,
        namespace: "default".to_owned(),
        name: "none".to_owned(),
    })
}

/// Earlier incidents, told to a ledger.
struct Past<'p> {
    ledger: &'p mut Ledger,
    incident: &'p Incident,
    policy: &'p CompiledPolicy,
    plan: &'p Plan,
    count: u64,
}

impl Past<'_> {
    fn opened(&self) -> Event {
        opened(self.policy, self.incident.alert(), &[])
    }

    /// An incident that is still open.
    fn open(&mut self, at: Timestamp, targets: &[Target]) -> IncidentId {
        self.count += 1;
        let starts_at = at.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(at);
        let id = IncidentId::of(Episode { fingerprint: Fingerprint(self.count), starts_at });
        let stream = Stream::Incident(id.clone());
        self.ledger.note(&stream, at, &self.opened());
        self.ledger.note(&stream, at, &Event::TargetsFound { targets: targets.to_vec() });
        id
    }

    /// An incident that changed `targets` and ended.
    fn story(&mut self, at: Timestamp, targets: &[Target], outcome: Option<Outcome>) {
        let id = self.open(at, targets);
        let stream = Stream::Incident(id);
        let mut plan = self.plan.clone();
        plan.steps.clear();
        for target in targets {
            plan.steps.extend(retargeted(self.plan, target));
        }
        let digest = plan.digest();
        let proposed = Event::PlanProposed { plan: Box::new(plan), digest, previews: Vec::new() };
        self.ledger.note(&stream, at, &proposed);
        self.ledger.note(&stream, at, &Event::StepStarted { digest, step: 0, attempt: 1 });
        if let Some(outcome) = outcome {
            let reason = "the test says so".to_owned();
            self.ledger.note(&stream, at, &Event::IncidentClosed { outcome, reason });
        }
    }
}

/// The plan's steps as if they had been for another workload.
fn retargeted(plan: &Plan, target: &Target) -> Vec<crate::domain::plan::Step> {
    use crate::domain::plan::Change;
    let mut steps = plan.steps.clone();
    for step in &mut steps {
        match &mut step.change {
            Change::Patch(change) => {
                change.object.kind = target.kind.to_string();
                change.object.namespace.clone_from(&target.namespace);
                change.object.name.clone_from(&target.name);
            }
            Change::DeletePods(change) => change.owner = target.clone(),
            Change::Notify { .. } => {}
        }
    }
    steps
}

/// Waiting for facts that would decide the cause; in a test they never change.
fn undecided(incident: &Incident) -> bool {
    let conclusion = incident.finding.as_ref().map(|finding| &finding.conclusion);
    match (&incident.phase, conclusion) {
        (Phase::Held { .. }, Some(Conclusion::Unknown { .. } | Conclusion::NoCause)) => {
            incident.proposal.is_none()
        }
        _ => false,
    }
}

fn ending(phase: &Phase) -> (&str, &str) {
    match phase {
        Phase::Closed { outcome, reason, .. } | Phase::GivenUp { outcome, reason } => {
            (outcome.name(), reason)
        }
        Phase::Asking => ("asks", ""),
        Phase::Held { .. } => ("holds", ""),
        other => (other.name(), ""),
    }
}
