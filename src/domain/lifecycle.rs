//! What an incident needs next, and why. Pure: the engine carries it out and appends the result.
//!
//! The same question is asked after a start, a restart, a wake-up and every event; there is no
//! other path (invariant 4). Nothing here remembers anything that is not in the incident.

use jiff::{SignedDuration, Timestamp};

use super::action::Impossible;
use super::diagnosis::Conclusion;
use super::escalation;
use super::event::{Event, Outcome};
use super::facts::TargetQuery;
use super::gate::{Ruling, Stand, Verdict};
use super::incident::{Flight, Incident, Phase};
use super::plan::Change;
use super::policy::spec::ActionSpec;
use super::resolution::{Judgement, Progress};

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Next<'a> {
    /// Find the workloads that the target names.
    Locate(&'a TargetQuery),
    /// Collect facts.
    Observe,
    /// Compare the facts with the policy's causes.
    Diagnose,
    /// Make a plan of these actions, and ask the server what it would do.
    Plan {
        /// What the plan answers.
        cause: String,
        /// The actions.
        actions: &'a [ActionSpec],
    },
    /// Ask the gates.
    Gate,
    /// Ask the gates that held again, over fresh facts; nothing is noted while nothing changed.
    Reconsider,
    /// Nothing is to be done in the world: append these.
    Record(Vec<Event>),
    /// Start this step: append that it started, then perform it.
    Start {
        /// Which.
        step: usize,
        /// Which try, from 1.
        attempt: u32,
    },
    /// Look whether this step was applied.
    LookBack {
        /// Which.
        step: usize,
    },
    /// Look how the resolution stands.
    Verify {
        /// When it must have been met.
        deadline: Timestamp,
    },
    /// Tell this receiver.
    Tell {
        /// Which of the policy's escalations.
        level: usize,
        /// The receiver.
        to: &'a str,
    },
    /// Nothing until then; new events wake it earlier.
    Wait {
        /// When to ask again; absent when only an event can change anything.
        until: Option<Timestamp>,
    },
    /// It is over.
    Nothing,
}

/// How often a cause is looked for that could not be decided: a minute of 15-second looks.
pub const MAX_LOOKS: u32 = 4;
/// How often a step is tried whose earlier tries surely did not happen.
pub const MAX_ATTEMPTS: u32 = 3;
/// How often a plan may be stale at the last moment: a target that changes faster than this is in
/// somebody else's hands.
pub const MAX_STALE: u32 = 5;
/// How long gates may hold an incident before it is given up and escalated.
pub const MAX_HOLD: SignedDuration = SignedDuration::from_hours(1);
/// How old the gates' answer may be when the first step starts (a restart may lie between).
pub const FRESH: SignedDuration = SignedDuration::from_secs(60);
/// How old it may be when a later step starts. The gates are not asked between the steps of a plan,
/// and ten steps that each wait for a slow API server must fit; after an outage of Orderly they do
/// not, and what was decided before it no longer counts.
pub const MAX_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// Decides what `incident` needs at `now`.
pub fn next(incident: &Incident, now: Timestamp) -> Next<'_> {
    match wanted(incident, now) {
        // People are told in time, whatever else is waited for.
        Next::Wait { until } => {
            Next::Wait { until: until.into_iter().chain(escalation::next(incident)).min() }
        }
        other => other,
    }
}

fn wanted(incident: &Incident, now: Timestamp) -> Next<'_> {
    if let Phase::Closed { .. } = incident.phase {
        return Next::Nothing;
    }
    let in_flight = matches!(incident.phase, Phase::Executing { flight: Flight::Unknown, .. });
    // Whatever else is wanted: first find out what the step in flight did.
    if !in_flight {
        if let Some(abort) = &incident.abort {
            let reason = format!("{} stopped it: {}", abort.by.name, abort.reason);
            return Next::Record(vec![close(Outcome::Aborted, reason)]);
        }
        if incident.firing() == 0
            && let Some(events) = recovered(incident)
        {
            return Next::Record(events);
        }
        if let Some((level, to)) = escalation::due(incident, now) {
            return Next::Tell { level, to };
        }
    }
    match &incident.phase {
        Phase::Locating => match &incident.wanted {
            Ok(query) => Next::Locate(query),
            Err(why) => Next::Record(not_found(incident, why.clone())),
        },
        Phase::Observing => Next::Observe,
        Phase::Diagnosing if incident.fallback.is_some() => plan_fallback(incident),
        Phase::Diagnosing => Next::Diagnose,
        Phase::Planning => plan_cause(incident),
        Phase::Gating => Next::Gate,
        Phase::Held { until } => held(incident, *until, now),
        Phase::Asking => asking(incident, now),
        Phase::Executing { step, attempt, flight } => match flight {
            Flight::Unknown => Next::LookBack { step: *step },
            Flight::Ready if *step == 0 && *attempt == 0 && !fresh(incident, now) => Next::Observe,
            Flight::Ready if *step > 0 && gates_age(incident, now) > MAX_PAUSE => {
                let why = "it came to a halt half-way for too long: the gates' answer is too old";
                Next::Record(step_failed(incident, *step, why.to_owned()))
            }
            Flight::Ready if *attempt >= MAX_ATTEMPTS => {
                let why = format!("it was tried {attempt} times and did not happen");
                Next::Record(step_failed(incident, *step, why))
            }
            // Surely not applied, and by now the gates may say otherwise.
            Flight::Ready if *step == 0 && !fresh(incident, now) => {
                let why = "it did not happen, and the gates' answer is too old to try again";
                Next::Record(stale(incident, *step, why.to_owned()))
            }
            Flight::Ready => Next::Start { step: *step, attempt: attempt + 1 },
        },
        Phase::Verifying { since, .. } => {
            let within = incident.policy.spec.verify.within.get();
            Next::Verify { deadline: since.saturating_add(within).unwrap_or(Timestamp::MAX) }
        }
        Phase::GivenUp { outcome, reason } => match escalation::next(incident) {
            Some(until) => Next::Wait { until: Some(until) },
            None => Next::Record(vec![close(*outcome, reason.clone())]),
        },
        Phase::Closed { .. } => Next::Nothing,
    }
}

fn fresh(incident: &Incident, now: Timestamp) -> bool {
    gates_age(incident, now) <= FRESH
}

/// How old the gates' answer is; for ever when it comes from the future, because the clock was set
/// back then and nobody knows.
fn gates_age(incident: &Incident, now: Timestamp) -> SignedDuration {
    let age = incident.gates.as_ref().map(|gated| now.duration_since(gated.at));
    age.filter(|age| !age.is_negative()).unwrap_or(SignedDuration::MAX)
}

/// What follows when every alert has ended.
fn recovered(incident: &Incident) -> Option<Vec<Event>> {
    match &incident.phase {
        Phase::GivenUp { outcome, reason } => {
            Some(vec![close(*outcome, format!("{reason}; the alert has ended since"))])
        }
        // A change is being made or watched: it is seen through.
        Phase::Executing { step, .. } if *step > 0 => None,
        Phase::Verifying { .. } => None,
        _ if incident.applied > 0 => {
            let reason = "the alert ended, but only after the resolution was missed".to_owned();
            Some(vec![close(Outcome::NotFixed, reason)])
        }
        _ => {
            let reason = "the alert ended before anything was changed".to_owned();
            Some(vec![close(Outcome::Recovered, reason)])
        }
    }
}

fn plan_cause(incident: &Incident) -> Next<'_> {
    let cause = incident.finding.as_ref().and_then(|finding| match &finding.conclusion {
        Conclusion::Cause { name } => Some(name),
        Conclusion::Unknown { .. } | Conclusion::NoCause => None,
    });
    let causes = &incident.policy.spec.causes;
    match cause.and_then(|name| causes.iter().find(|cause| cause.name == *name)) {
        Some(cause) => Next::Plan { cause: cause.name.clone(), actions: &cause.actions },
        None => {
            let reason = "the policy has no cause of the name that was found".to_owned();
            Next::Record(vec![give_up(incident, Outcome::Undiagnosed, reason)])
        }
    }
}

fn plan_fallback(incident: &Incident) -> Next<'_> {
    let index = incident.fallback.unwrap_or(0);
    match incident.policy.spec.on_failure.get(index..=index) {
        Some(actions) => {
            let cause = format!("on failure {}: {}", index + 1, actions[0].name());
            Next::Plan { cause, actions }
        }
        None => {
            let reason = "the policy has no further action on failure".to_owned();
            Next::Record(vec![give_up(incident, Outcome::NotFixed, reason)])
        }
    }
}

fn held(incident: &Incident, until: Timestamp, now: Timestamp) -> Next<'_> {
    // The clock was set back since: what was to be asked again soon would be in hours.
    let until = if incident.seen_later(now) { now } else { until };
    if incident.snooze.is_some() {
        // What was seen before a person slept on it is old.
        return if now < until { Next::Wait { until: Some(until) } } else { Next::Observe };
    }
    let conclusion = incident.finding.as_ref().map(|finding| &finding.conclusion);
    let undecided = incident.proposal.is_none() || incident.looks > 0;
    match conclusion {
        Some(Conclusion::NoCause) if undecided && incident.fallback.is_none() => {
            let reason = "none of the policy's causes holds".to_owned();
            return Next::Record(vec![give_up(incident, Outcome::Undiagnosed, reason)]);
        }
        Some(Conclusion::Unknown { name, why }) if undecided && incident.fallback.is_none() => {
            if incident.looks >= MAX_LOOKS {
                let reason = format!("whether `{name}` is the cause could not be decided: {why}");
                return Next::Record(vec![give_up(incident, Outcome::Undiagnosed, reason)]);
            }
            return if now < until { Next::Wait { until: Some(until) } } else { Next::Observe };
        }
        _ => {}
    }
    let since = incident.gates.as_ref().and_then(|gated| gated.held_since);
    let give_up_at = since.and_then(|since| since.saturating_add(MAX_HOLD).ok());
    match give_up_at {
        Some(at) if at <= now => {
            let verdicts = incident.gates.as_ref().map_or(&[][..], |gated| &gated.verdicts);
            let reason = format!("the gates held it for an hour: {}", holding(verdicts));
            Next::Record(vec![give_up(incident, Outcome::Denied, reason)])
        }
        Some(at) if now < until => Next::Wait { until: Some(until.min(at)) },
        None if now < until => Next::Wait { until: Some(until) },
        Some(_) | None => Next::Reconsider,
    }
}

fn asking(incident: &Incident, now: Timestamp) -> Next<'_> {
    let Some(proposal) = &incident.proposal else { return Next::Observe };
    match &incident.question {
        Some(question) if question.digest == proposal.digest && now >= question.expires => {
            let reason = if question.answered() {
                "it was approved, but could not run before the approval lapsed".to_owned()
            } else {
                "nobody answered in time".to_owned()
            };
            Next::Record(vec![
                Event::ApprovalExpired { digest: question.digest },
                give_up(incident, Outcome::Expired, reason),
            ])
        }
        Some(question) if question.digest == proposal.digest => {
            Next::Wait { until: Some(question.expires) }
        }
        Some(_) | None => {
            let spec = &incident.policy.spec.approval;
            let expires = now.saturating_add(spec.expires_after.get());
            Next::Record(vec![Event::ApprovalRequested {
                digest: proposal.digest,
                expires: expires.unwrap_or(Timestamp::MAX),
                quorum: spec.quorum.max(1),
            }])
        }
    }
}

/// What follows when the target names nothing.
pub fn not_found(incident: &Incident, why: String) -> Vec<Event> {
    let end = give_up(incident, Outcome::Impossible, why.clone());
    vec![Event::TargetNotFound { why }, end]
}

/// What follows when no plan can be made.
pub fn impossible(incident: &Incident, action: String, why: Impossible) -> Vec<Event> {
    let reason = format!("`{action}` cannot be done: {why}");
    let mut events = vec![Event::PlanImpossible { action, why }];
    // The cause's own actions never ran: its fallbacks are for fixes that did not help.
    if incident.fallback.is_some() {
        events.push(fall_back(incident, Outcome::NotFixed, reason));
    } else {
        events.push(give_up(incident, Outcome::Impossible, reason));
    }
    events
}

/// What follows from the gates' answer.
pub fn gated(incident: &Incident, ruling: Ruling, verdicts: Vec<Verdict>) -> Vec<Event> {
    let Some(proposal) = &incident.proposal else { return Vec::new() };
    // A message to people needs nobody's approval.
    let ruling = match ruling {
        Ruling::Ask if !proposal.plan.changes_anything() => Ruling::Act,
        other => other,
    };
    let end = match ruling {
        Ruling::Act | Ruling::Ask | Ruling::Hold { .. } => None,
        // The policy's mode was turned down after an earlier plan had changed something.
        Ruling::Preview if incident.applied > 0 => {
            let reason = "the earlier change did not help, and the mode is `dry-run` by now";
            Some(give_up(incident, Outcome::NotFixed, reason.to_owned()))
        }
        Ruling::Preview => Some(close(Outcome::DryRun, would_have(&verdicts))),
        Ruling::Deny => Some(give_up(incident, Outcome::Denied, denying(&verdicts))),
    };
    let decided = Event::GateDecided { digest: proposal.digest, ruling, verdicts };
    [decided].into_iter().chain(end).collect()
}

fn would_have(verdicts: &[Verdict]) -> String {
    let stands = |wanted: fn(Stand) -> bool| {
        let mut named: Vec<_> =
            verdicts.iter().filter(|it| wanted(it.stand)).map(|it| it.gate.name()).collect();
        named.dedup();
        named.join(", ")
    };
    let denied = stands(|stand| stand == Stand::Deny);
    let held = stands(|stand| matches!(stand, Stand::Hold { .. }));
    if !denied.is_empty() {
        format!("nothing was changed; gates would have refused it: {denied}")
    } else if !held.is_empty() {
        format!("nothing was changed; gates would have held it: {held}")
    } else {
        "nothing was changed; every gate would have let it pass".to_owned()
    }
}

fn denying(verdicts: &[Verdict]) -> String {
    let denied = verdicts.iter().find(|verdict| verdict.stand == Stand::Deny);
    denied.map_or_else(
        || "the policy is switched off".to_owned(),
        |verdict| format!("gate `{}`: {}", verdict.gate.name(), verdict.evidence),
    )
}

fn holding(verdicts: &[Verdict]) -> String {
    let held = verdicts.iter().find(|verdict| matches!(verdict.stand, Stand::Hold { .. }));
    held.map_or_else(
        || "no gate is known".to_owned(),
        |verdict| format!("gate `{}`: {}", verdict.gate.name(), verdict.evidence),
    )
}

/// What follows when a step is done.
pub fn step_finished(
    incident: &Incident,
    step: usize,
    evidence: String,
    diff: String,
    left: Option<(String, i64)>,
) -> Vec<Event> {
    let mut events = vec![Event::StepFinished { step, evidence, diff, left }];
    let plan = incident.proposal.as_ref().map(|proposal| &proposal.plan);
    let last = plan.is_none_or(|plan| step + 1 >= plan.steps.len());
    if last && plan.is_some_and(|plan| !plan.changes_anything()) {
        let reason = match plan.and_then(|plan| plan.steps.last()).map(|step| &step.change) {
            Some(Change::Notify { to, message }) => format!("`{to}` was told: {message}"),
            Some(Change::Patch(_) | Change::DeletePods(_)) | None => "people were told".to_owned(),
        };
        // Only messages were sent so far exactly when no plan before this one changed anything.
        let outcome =
            if incident.fallback.is_some() { Outcome::NotFixed } else { Outcome::HandedOver };
        events.push(fall_back(incident, outcome, reason));
    }
    events
}

/// What follows when a step did not happen and will not.
pub fn step_failed(incident: &Incident, step: usize, why: String) -> Vec<Event> {
    let reason = format!("step {} failed: {why}", step + 1);
    vec![Event::StepFailed { step, why }, give_up(incident, Outcome::Failed, reason)]
}

/// What follows when the target is no longer as it was planned for. Nothing was changed by the
/// step; what earlier steps of the plan did stands.
pub fn stale(incident: &Incident, step: usize, why: String) -> Vec<Event> {
    if step > 0 {
        return step_failed(incident, step, format!("the target changed between two steps: {why}"));
    }
    let mut events = vec![Event::PlanStale { why: why.clone() }];
    if incident.stale + 1 >= MAX_STALE {
        let reason = format!("the plan was stale {MAX_STALE} times, the last time because {why}");
        events.push(give_up(incident, Outcome::Failed, reason));
    }
    events
}

/// What follows when the kill switch is found on just before a step.
pub fn switched_off(incident: &Incident, step: usize, why: String) -> Vec<Event> {
    // Nothing of the plan has run: the gates refuse the one that is made next, and say why.
    if step == 0 { stale(incident, step, why) } else { step_failed(incident, step, why) }
}

/// What follows from a look at the resolution; nothing while nothing worth noting changed.
pub fn judged(incident: &Incident, judgement: Judgement) -> Vec<Event> {
    match judgement {
        Judgement::Met(progress) => {
            let reason = summary(&progress);
            vec![
                Event::ResolutionMet { progress, healthy: Vec::new() },
                close(Outcome::Fixed, reason),
            ]
        }
        Judgement::Pending { progress, changed: true } => vec![Event::ProgressNoted { progress }],
        Judgement::Pending { changed: false, .. } => Vec::new(),
        Judgement::Missed(progress) => {
            let missing = progress.criteria.iter().filter(|state| state.since.is_none());
            let missing: Vec<_> = missing.map(ToString::to_string).collect();
            let reason = if missing.is_empty() {
                "the criteria hold, but did not for their whole time".to_owned()
            } else {
                missing.join("; ")
            };
            let then = fall_back(incident, Outcome::NotFixed, reason);
            vec![Event::ResolutionMissed { progress }, then]
        }
    }
}

fn summary(progress: &Progress) -> String {
    let all: Vec<_> = progress.criteria.iter().map(|state| state.evidence.clone()).collect();
    if all.is_empty() { "the policy asks for no proof".to_owned() } else { all.join("; ") }
}

/// The next action on failure, or the end.
fn fall_back(incident: &Incident, outcome: Outcome, reason: String) -> Event {
    let index = incident.fallback.map_or(0, |index| index + 1);
    let proven_useless = outcome == Outcome::NotFixed;
    match incident.policy.spec.on_failure.get(index).filter(|_| proven_useless) {
        Some(action) => Event::FallbackChosen { index, action: action.name().to_owned() },
        None => give_up(incident, outcome, reason),
    }
}

/// Ends the incident, or keeps it open while people are still to be told.
fn give_up(incident: &Incident, outcome: Outcome, reason: String) -> Event {
    if escalation::next(incident).is_some() && incident.firing() > 0 {
        Event::GivenUp { outcome, reason }
    } else {
        close(outcome, reason)
    }
}

fn close(outcome: Outcome, reason: String) -> Event {
    Event::IncidentClosed { outcome, reason }
}

/// What follows when a person refuses the plan.
pub fn refused(digest: super::id::Digest, by: super::event::Person, reason: String) -> Vec<Event> {
    let said = format!("{} refused it: {reason}", by.name);
    vec![Event::ApprovalRefused { digest, by, reason }, close(Outcome::Refused, said)]
}

/// What follows when another incident has the target in hand.
pub fn joined(other: &super::id::IncidentId) -> Vec<Event> {
    let reason = format!("incident {other} has the target in hand; the alert joined it");
    vec![close(Outcome::Joined, reason)]
}
