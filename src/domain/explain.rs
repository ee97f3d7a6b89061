//! Words for what happened and what stands: one renderer for logs, tables, messages and the demo.
//!
//! Text is made from data here and nowhere else; nothing is decided from text.

use jiff::Timestamp;

use super::conversation::Subject;
use super::diagnosis::{Conclusion, Finding};
use super::event::{Event, IgnoredBecause, Outcome};
use super::gate::{Ruling, Stand, Verdict};
use super::incident::{Incident, Phase};
use super::period::Period;
use super::plan::Plan;
use super::policy::spec::Mode;

/// One event in one line, whatever the words in it were that came from outside: a break in a policy's
/// message or in a person's reason must not look like another line of the log.
pub fn line(event: &Event) -> String {
    words(event).replace(char::is_control, " ")
}

fn words(event: &Event) -> String {
    match event {
        Event::AlertsReceived { delivery, alerts } => {
            format!("{} from receiver `{}`", count(alerts.len(), "alert"), delivery.receiver)
        }
        Event::AlertsCorrelated { through, ignored_total, duplicates, .. } => format!(
            "correlated up to entry {through}: {ignored_total} start nothing, {duplicates} are known"
        ),
        Event::KillSwitchSet { on: true, by, reason } => {
            format!("{} turned the kill switch on: {reason}", by.name)
        }
        Event::KillSwitchSet { on: false, by, reason } => {
            format!("{} turned the kill switch off: {reason}", by.name)
        }
        Event::BreakerReset { policy, by, reason } => {
            format!("{} trusts policy `{policy}` again: {reason}", by.name)
        }
        Event::ClickReceived { click } => {
            let about = click.wish.incident().map_or_else(String::new, |id| format!(" ({id})"));
            format!("slack:{} asks to {}{about}", click.user, click.wish.verb())
        }
        Event::ClickAnswered { answer, .. } => format!("answered: {answer}"),
        Event::MessagePosted { about, channel, .. } => {
            format!("channel {channel} was told of {}", subject(about))
        }
        Event::ReceiverTold { incident, to, stage, undelivered: None } => {
            format!("`{to}` was told of incident {incident}: {}", stage.name())
        }
        Event::ReceiverTold { incident, to, undelivered: Some(why), .. } => {
            format!("`{to}` could not be told of incident {incident}: {why}")
        }
        Event::StoryTold { about, settled: true, .. } => {
            format!("the whole story of {} is told", subject(about))
        }
        Event::StoryTold { about, version, .. } => {
            format!("the story of {} is told up to its event {version}", subject(about))
        }
        Event::IncidentOpened { alert, policy, target, .. } => {
            let target = match target {
                Ok(target) => target.to_string(),
                Err(why) => format!("no target ({why})"),
            };
            format!("{} on {target}, answered by policy `{}`", alert.name(), policy.name)
        }
        Event::AlertAttached { alert } => format!("{} joined", alert.name()),
        Event::AlertResolved { fingerprint, .. } => format!("alert {fingerprint} resolved"),
        Event::TargetsFound { targets } => {
            let names: Vec<_> = targets.iter().map(ToString::to_string).collect();
            format!("the target is {}", names.join(", "))
        }
        Event::TargetNotFound { why } => format!("no target: {why}"),
        Event::FactsCollected { facts } => {
            let pods: usize =
                facts.targets.iter().filter_map(|it| it.pods.known()).map(Vec::len).sum();
            format!(
                "looked at {} and {}",
                count(facts.targets.len(), "workload"),
                count(pods, "pod")
            )
        }
        Event::CauseFound { finding } => cause(finding),
        Event::PlanProposed { plan, digest, .. } => {
            format!("plan {}: {}", digest.short(), summary(plan))
        }
        Event::PlanImpossible { action, why } => format!("`{action}` cannot be done: {why}"),
        Event::GateDecided { ruling, verdicts, .. } => words_of_ruling(*ruling, verdicts),
        Event::ApprovalRequested { digest, quorum, expires } => format!(
            "plan {} waits for {} until {}",
            digest.short(),
            count(*quorum as usize, "approval"),
            clock(*expires)
        ),
        Event::ApprovalGiven { by, digest, reason } => {
            let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{} approved plan {} ({}){why}", by.name, digest.short(), by.path)
        }
        Event::ApprovalRefused { by, reason, .. } => format!("{} refused: {reason}", by.name),
        Event::DecisionDenied { by, attempt, why } => {
            format!("{} tried to {attempt} and may not: {why}", by.name)
        }
        Event::ApprovalExpired { .. } => "nobody answered in time".to_owned(),
        Event::Snoozed { by, until, reason } => {
            let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{} put it off until {}{why}", by.name, clock(*until))
        }
        Event::AbortRequested { by, reason } => format!("{} wants it stopped: {reason}", by.name),
        Event::PlanStale { why } => format!("the plan is stale: {why}"),
        Event::StepStarted { step, attempt: 1, .. } => format!("step {} started", step + 1),
        Event::StepStarted { step, attempt, .. } => {
            format!("step {} started, try {attempt}", step + 1)
        }
        Event::StepFinished { step, evidence, .. } => format!("step {} done: {evidence}", step + 1),
        Event::StepNotApplied { step, evidence } => {
            format!("step {} did not happen: {evidence}", step + 1)
        }
        Event::StepFailed { step, why } => format!("step {} failed: {why}", step + 1),
        Event::StepOutcomeUnknown { step, why } => {
            format!("nobody knows yet whether step {} happened: {why}", step + 1)
        }
        Event::ProgressNoted { progress } => {
            let states: Vec<_> = progress.criteria.iter().map(ToString::to_string).collect();
            states.join("; ")
        }
        Event::ResolutionMet { .. } => "the resolution criteria held for their time".to_owned(),
        Event::ResolutionMissed { progress } => {
            let missing = progress.criteria.iter().filter(|state| state.since.is_none());
            let missing: Vec<_> = missing.map(ToString::to_string).collect();
            format!("not resolved in time: {}", missing.join("; "))
        }
        Event::FallbackChosen { index, action } => {
            format!("on failure {}: `{action}` is tried", index + 1)
        }
        Event::GivenUp { outcome, reason } => format!("{}: {reason}", outcome.name()),
        Event::Escalated { to, undelivered: None, .. } => format!("`{to}` was told"),
        Event::Escalated { to, undelivered: Some(why), .. } => {
            format!("`{to}` could not be told: {why}")
        }
        Event::IncidentClosed { outcome, reason } => format!("{}: {reason}", outcome.name()),
    }
}

fn subject(about: &Subject) -> String {
    match about {
        Subject::Incident(id) => format!("incident {id}"),
        Subject::Storm => "a storm".to_owned(),
    }
}

/// Why an alert started nothing.
pub fn ignored(why: &IgnoredBecause) -> String {
    match why {
        IgnoredBecause::NoPolicy => "no policy matches".to_owned(),
        IgnoredBecause::PolicyOff { policy } => format!("policy `{policy}` is switched off"),
        IgnoredBecause::Watchdog => "the dead man's switch".to_owned(),
    }
}

/// The cause in one line.
pub fn cause(finding: &Finding) -> String {
    match &finding.conclusion {
        Conclusion::Cause { name } => {
            let when = finding.considered.last().and_then(|it| it.when.as_deref());
            when.map_or_else(
                || format!("the cause is `{name}` (no other cause holds)"),
                |when| format!("the cause is `{name}`: {}", one_line(when)),
            )
        }
        Conclusion::Unknown { name, why } => {
            format!("whether `{name}` is the cause cannot be decided: {why}")
        }
        Conclusion::NoCause => "none of the policy's causes holds".to_owned(),
    }
}

/// An expression as it is written over several lines, in one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A plan in one line.
pub fn summary(plan: &Plan) -> String {
    let steps: Vec<_> = plan.steps.iter().map(|step| step.summary.as_str()).collect();
    steps.join("; then ")
}

fn words_of_ruling(ruling: Ruling, verdicts: &[Verdict]) -> String {
    let because = |wanted: fn(Stand) -> bool| {
        let found: Vec<_> = verdicts
            .iter()
            .filter(|verdict| wanted(verdict.stand))
            .map(|verdict| format!("{}: {}", verdict.gate.name(), verdict.evidence))
            .collect();
        found.join("; ")
    };
    match ruling {
        Ruling::Act => "every gate lets it pass".to_owned(),
        Ruling::Ask => format!("a person must approve ({})", because(|it| it == Stand::Ask)),
        Ruling::Preview => "dry run: it stops here".to_owned(),
        Ruling::Hold { until } => format!(
            "held until {} ({})",
            clock(until),
            because(|it| matches!(it, Stand::Hold { .. }))
        ),
        Ruling::Deny => format!("denied ({})", because(|it| it == Stand::Deny)),
    }
}

/// Where an incident stands, in a sentence for people who are called to it.
pub fn standing(incident: &Incident) -> String {
    let cause = incident.finding.as_ref().map(cause);
    let cause = cause.unwrap_or_else(|| "no cause is known yet".to_owned());
    let now = match &incident.phase {
        Phase::Locating | Phase::Observing | Phase::Diagnosing | Phase::Planning => {
            "it is being looked at".to_owned()
        }
        Phase::Gating => "the gates are being asked".to_owned(),
        Phase::Held { until } => match (&incident.snooze, &incident.gates) {
            (Some(snooze), _) => {
                format!("{} put it off until {}", snooze.by.name, clock(snooze.until))
            }
            (None, Some(gates)) if matches!(gates.ruling, Ruling::Hold { .. }) => {
                let ruling = Ruling::Hold { until: *until };
                format!("it is {}", words_of_ruling(ruling, &gates.verdicts))
            }
            (None, _) => format!("it is held until {}", clock(*until)),
        },
        Phase::Asking => "it waits for approval".to_owned(),
        Phase::Executing { step, .. } => format!("step {} is being carried out", step + 1),
        Phase::Verifying { .. } => "the change is made and being verified".to_owned(),
        Phase::GivenUp { outcome, reason } | Phase::Closed { outcome, reason, .. } => {
            format!("{}: {reason}", outcome.name())
        }
    };
    format!("{now}; {cause}")
}

/// What an outcome means for a person.
pub const fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fixed => "changed, and proven to have helped",
        Outcome::Recovered => "the alert ended by itself",
        Outcome::DryRun => "nothing was changed",
        Outcome::Refused => "a person said no",
        Outcome::Expired => "nobody answered in time",
        Outcome::Denied => "a gate said no",
        Outcome::Undiagnosed => "no cause could be named",
        Outcome::Impossible => "no plan could be made",
        Outcome::HandedOver => "this cause is a person's work",
        Outcome::NotFixed => "changed, and it did not help",
        Outcome::Failed => "a step failed",
        Outcome::Aborted => "a person stopped it",
        Outcome::Joined => "another incident has the target in hand",
    }
}

/// What a mode means for a person.
pub const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "does nothing",
        Mode::DryRun => "plans and shows, changes nothing",
        Mode::Approval => "acts when a person has approved",
        Mode::Auto => "acts by itself",
    }
}

/// A time as people read it.
pub fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago, rounded to whole seconds.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", Period::between(at, now))
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::super::event::Person;
    use super::*;

    #[test]
    fn a_line_is_a_line() {
        let by = Person { name: "eve".into(), groups: Vec::new(), path: "api".into() };
        let reason = "fine\nINFO approved\r\u{1b}[2J".to_owned();
        let line = line(&Event::KillSwitchSet { on: true, by, reason });
        assert_eq!(line, "eve turned the kill switch on: fine INFO approved  [2J");
    }
}
