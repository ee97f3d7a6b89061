//! Escalation: which receiver of the policy's list is told next, and when. A snooze puts it off: who
//! snoozed has the incident in hand until then.

use jiff::Timestamp;

use super::incident::Incident;
use super::policy::spec::{EscalationSpec, Mode};

/// The escalation that is due, with its place in the policy's list.
pub fn due(incident: &Incident, now: Timestamp) -> Option<(usize, &str)> {
    let mut left = left(incident);
    let due = left.find(|(_, escalation)| at(incident, escalation).is_some_and(|at| at <= now));
    due.map(|(level, escalation)| (level, escalation.to.as_str()))
}

/// When the next one is due, if any is left.
pub fn next(incident: &Incident) -> Option<Timestamp> {
    left(incident).filter_map(|(_, escalation)| at(incident, escalation)).min()
}

/// Those that were not sent. A dry run calls nobody.
fn left(incident: &Incident) -> impl Iterator<Item = (usize, &EscalationSpec)> {
    let spec = &incident.policy.spec;
    let all = spec.escalate.iter().enumerate().filter(|_| spec.mode > Mode::DryRun);
    all.filter(|(level, _)| !incident.escalated.contains(level))
}

fn at(incident: &Incident, escalation: &EscalationSpec) -> Option<Timestamp> {
    let at = incident.opened.saturating_add(escalation.after.get()).ok()?;
    Some(incident.snooze.as_ref().map_or(at, |snooze| at.max(snooze.until)))
}
