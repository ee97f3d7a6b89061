//! What the gates count: a fold over the journal, so that a restart resets nothing.
//!
//! Windows are cut to [`HORIZON`]; the breaker's counts have no window. Memory is bounded by what
//! happened within the horizon and by what is open.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::event::{Event, Outcome, Person, Stream};
use crate::domain::facts::Target;
use crate::domain::id::IncidentId;
use crate::domain::plan::{Change, Plan};

/// The longest window that a gate may look back over: a week.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One remediation that changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// When its first step left.
    pub at: Timestamp,
    /// For which incident.
    pub incident: IncidentId,
    /// By which policy.
    pub policy: String,
    /// What it touches.
    pub target: Target,
}

/// The kill switch, when it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillSwitch {
    /// Who turned it on.
    pub by: Person,
    /// Why.
    pub reason: String,
    /// When.
    pub since: Timestamp,
}

/// The counters behind the gates.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    kill_switch: Option<KillSwitch>,
    changes: VecDeque<Changed>,
    opened: VecDeque<Timestamp>,
    ineffective: BTreeMap<String, u32>,
    watchdogs: BTreeMap<String, Timestamp>,
    open: BTreeMap<IncidentId, Open>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    policy: String,
    targets: Vec<Target>,
    plan: Option<Plan>,
    /// People were asked about a plan of it.
    asked: bool,
    /// Something was changed, or may have been.
    changed: bool,
    /// The plan that was begun last: when, and what `changed` was before.
    begun: Option<(Timestamp, bool)>,
    /// A change was proven not to help.
    missed: bool,
}

impl Open {
    /// Everything that it works on: its targets, and what a plan that was begun touches besides.
    fn works_on(&self) -> BTreeSet<Target> {
        let begun = self.plan.as_ref().filter(|_| self.begun.is_some());
        let besides = begun.map(|plan| touched(plan, &self.targets)).unwrap_or_default();
        self.targets.iter().cloned().chain(besides).collect()
    }
}

impl Ledger {
    /// Takes note of one event.
    pub fn note(&mut self, stream: &Stream, at: Timestamp, event: &Event) {
        match stream {
            Stream::Incident(id) => self.note_incident(id, at, event),
            Stream::Intake => {
                if let Event::AlertsReceived { alerts, .. } = event {
                    for alert in alerts {
                        if let Some(seen) = self.watchdogs.get_mut(alert.name()) {
                            *seen = at;
                        }
                    }
                }
            }
            Stream::Conversation => {}
            Stream::Control => match event {
                Event::KillSwitchSet { on: true, by, reason } => {
                    let (by, reason) = (by.clone(), reason.clone());
                    self.kill_switch = Some(KillSwitch { by, reason, since: at });
                }
                Event::KillSwitchSet { on: false, .. } => self.kill_switch = None,
                Event::BreakerReset { policy, .. } => {
                    self.ineffective.remove(policy);
                }
                _ => {}
            },
        }
        self.forget(at);
    }

    fn note_incident(&mut self, id: &IncidentId, at: Timestamp, event: &Event) {
        if let Event::IncidentOpened { policy, .. } = event {
            self.opened.push_back(at);
            let policy = policy.name.clone();
            let open = Open {
                policy,
                targets: Vec::new(),
                plan: None,
                asked: false,
                changed: false,
                begun: None,
                missed: false,
            };
            self.open.insert(id.clone(), open);
            return;
        }
        let Some(open) = self.open.get_mut(id) else { return };
        match event {
            Event::TargetsFound { targets } => open.targets.clone_from(targets),
            Event::PlanProposed { plan, .. } => open.plan = Some((**plan).clone()),
            Event::ApprovalRequested { .. } => open.asked = true,
            Event::StepStarted { step: 0, attempt: 1, .. } => {
                // Nobody looks for a plan that only tells people.
                if open.plan.as_ref().is_some_and(Plan::changes_anything) {
                    open.begun = Some((at, open.changed));
                    open.changed = true;
                }
                for target in open.plan.iter().flat_map(|plan| touched(plan, &open.targets)) {
                    let policy = open.policy.clone();
                    self.changes.push_back(Changed { at, incident: id.clone(), policy, target });
                }
            }
            // This plan did not run, so it is not counted; what an earlier one of the incident
            // changed is.
            Event::PlanStale { .. } => {
                if let Some((begun, before)) = open.begun.take() {
                    open.changed = before;
                    self.changes.retain(|change| change.incident != *id || change.at != begun);
                }
            }
            Event::ResolutionMissed { .. } => open.missed = true,
            Event::IncidentClosed { outcome, .. } => {
                let policy = open.policy.clone();
                let useless = open.missed || (open.changed && *outcome == Outcome::Aborted);
                match outcome {
                    Outcome::Fixed => {
                        self.ineffective.remove(&policy);
                    }
                    Outcome::NotFixed | Outcome::Failed => {
                        *self.ineffective.entry(policy).or_default() += 1;
                    }
                    Outcome::Recovered
                    | Outcome::DryRun
                    | Outcome::Refused
                    | Outcome::Expired
                    | Outcome::Denied
                    | Outcome::Undiagnosed
                    | Outcome::Impossible
                    | Outcome::HandedOver
                    | Outcome::Aborted
                    | Outcome::Joined => {
                        // A fix that did not help did not, whatever became of the fallback.
                        if useless {
                            *self.ineffective.entry(policy).or_default() += 1;
                        }
                    }
                }
                self.open.remove(id);
            }
            _ => {}
        }
    }

    fn forget(&mut self, now: Timestamp) {
        let old = |at: Timestamp| now.duration_since(at) > HORIZON;
        while self.changes.front().is_some_and(|change| old(change.at)) {
            self.changes.pop_front();
        }
        while self.opened.front().is_some_and(|at| old(*at)) {
            self.opened.pop_front();
        }
    }

    /// Says which alert is the dead man's switch; from here on its deliveries are noted.
    pub fn watch(&mut self, alertname: &str) {
        self.watchdogs.entry(alertname.to_owned()).or_insert(Timestamp::MIN);
    }

    /// When that alert was last delivered; absent when never.
    pub fn watchdog_seen(&self, alertname: &str) -> Option<Timestamp> {
        self.watchdogs.get(alertname).copied().filter(|at| *at != Timestamp::MIN)
    }

    /// The kill switch, when it is on.
    pub fn kill_switch(&self) -> Option<&KillSwitch> {
        self.kill_switch.as_ref()
    }

    /// Remediations that changed something at or after `since`, oldest first.
    pub fn changes_since(&self, since: Timestamp) -> impl Iterator<Item = &Changed> {
        self.changes.iter().filter(move |change| change.at >= since)
    }

    /// When the last incidents were opened, at or after `since`.
    pub fn opened_since(&self, since: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.opened.iter().copied().filter(move |at| *at >= since)
    }

    /// How many fixes of `policy` in a row did not help.
    pub fn ineffective(&self, policy: &str) -> u32 {
        self.ineffective.get(policy).copied().unwrap_or(0)
    }

    /// Policies whose fixes did not help, and how often in a row.
    pub fn all_ineffective(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ineffective.iter().map(|(policy, count)| (policy.as_str(), *count))
    }

    /// Whether the incident has gone so far that others on its target give way to it: people were
    /// asked, and their answer must not be lost, or something was changed.
    pub fn engaged(&self, id: &IncidentId) -> bool {
        self.open.get(id).is_some_and(|open| open.asked || open.changed)
    }

    /// The open incidents other than `id` that have `target` in hand. To one that is engaged, those
    /// that are not are no hindrance: they see it and wait.
    pub fn others_on<'a>(
        &'a self,
        id: &'a IncidentId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a IncidentId> {
        let engaged = self.engaged(id);
        let others = self.open.iter().filter(move |(other, open)| {
            *other != id
                && (!engaged || open.asked || open.changed)
                && open.works_on().contains(target)
        });
        others.map(|(other, _)| other)
    }

    /// Everything that an open incident has changed, whenever that was.
    pub fn in_hand(&self) -> BTreeSet<&Target> {
        let changed = self.open.values().filter(|open| open.changed);
        changed.flat_map(|open| &open.targets).collect()
    }
}

/// What a plan touches: the objects of its patches that are workloads, or else its targets.
fn touched(plan: &Plan, targets: &[Target]) -> BTreeSet<Target> {
    let mut touched = BTreeSet::new();
    for step in &plan.steps {
        match &step.change {
            Change::Patch(change) => {
                let object = &change.object;
                let kind = serde_json::from_value(serde_json::json!(object.kind));
                match kind {
                    Ok(kind) => {
                        let (namespace, name) = (object.namespace.clone(), object.name.clone());
                        touched.insert(Target { kind, namespace, name });
                    }
                    Err(_) => touched.extend(targets.iter().cloned()),
                }
            }
            Change::DeletePods(change) => {
                touched.insert(change.owner.clone());
            }
            Change::Notify { .. } => {}
        }
    }
    touched
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
