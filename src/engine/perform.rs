//! Acting: sends one step of an approved plan, or looks whether it was sent, and says what came of
//! it. The writer takes only an [`ApprovedStep`] and the claim that is in hand (invariant 2).

use jiff::SignedDuration;

use crate::domain::authority::ApprovedStep;
use crate::domain::conversation::Stage;
use crate::domain::event::Event;
use crate::domain::incident::Incident;
use crate::domain::lifecycle;
use crate::domain::plan::{Change, ObjectRef};
use crate::kubernetes::diff;
use crate::kubernetes::event::{Event as KubernetesEvent, Regarding, Severity};
use crate::kubernetes::writer::{Again, Observation, Performed};

use super::Shared;
use super::drive::Hand;

/// How soon a step is tried again that was surely not sent, or that a busy server refused.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// How soon a step is looked at whose outcome is unknown.
const LOOK: SignedDuration = SignedDuration::from_secs(2);
/// The longest that a server's `Retry-After` is followed before other gates are asked again.
const LONGEST_AGAIN: u64 = 60;

/// What came of carrying something out.
pub enum Carried {
    /// These happened; go on.
    Events(Vec<Event>),
    /// These happened; go on after a while.
    Later(Vec<Event>, SignedDuration),
}

/// Performs one step.
pub async fn perform(hand: &mut Hand<'_>, approved: &ApprovedStep) -> Carried {
    let index = approved.index();
    let incident = &hand.incident;
    match &approved.step().change {
        Change::Notify { to, message } => {
            match tell(hand.shared, incident, to, Some(message)).await {
                Ok(()) => {
                    let evidence = format!("`{to}` was told");
                    let events =
                        lifecycle::step_finished(incident, index, evidence, String::new(), None);
                    Carried::Events(with_escalated(events, to, None))
                }
                Err(why) => {
                    let events = lifecycle::step_failed(incident, index, why.clone());
                    Carried::Events(with_escalated(events, to, Some(why)))
                }
            }
        }
        Change::Patch(_) | Change::DeletePods(_) => {
            let performed = hand.shared.ports.writer.perform(approved, &hand.claim).await;
            record_event(hand, approved, &performed).await;
            outcome(incident, index, performed)
        }
    }
}

fn with_escalated(mut events: Vec<Event>, to: &str, undelivered: Option<String>) -> Vec<Event> {
    events.insert(0, Event::Escalated { to: to.to_owned(), level: None, undelivered });
    events
}

fn outcome(incident: &Incident, index: usize, performed: Performed) -> Carried {
    match performed {
        Performed::Done { before, after, resource_version, left } => {
            let evidence = if resource_version.is_empty() {
                "the API server confirmed it".to_owned()
            } else {
                format!("the API server stored it as version {resource_version}")
            };
            let diff = diff::unified(&before, &after);
            Carried::Events(lifecycle::step_finished(incident, index, evidence, diff, left))
        }
        Performed::Refused(refusal) => match refusal.again {
            Again::Never => {
                Carried::Events(lifecycle::step_failed(incident, index, refusal.to_string()))
            }
            Again::Later { seconds } => {
                let wait = seconds.unwrap_or(0).min(LONGEST_AGAIN);
                let wait = SignedDuration::from_secs(i64::try_from(wait).unwrap_or(0)).max(AGAIN);
                let evidence = format!("the API server is busy: {refusal}");
                Carried::Later(vec![Event::StepNotApplied { step: index, evidence }], wait)
            }
        },
        Performed::Conflict { what } => Carried::Events(lifecycle::stale(incident, index, what)),
        Performed::NotSent { why } => {
            let evidence = format!("nothing was sent: {why}");
            Carried::Later(vec![Event::StepNotApplied { step: index, evidence }], AGAIN)
        }
        Performed::Unknown { why } => {
            Carried::Later(vec![Event::StepOutcomeUnknown { step: index, why }], LOOK)
        }
    }
}

/// Looks whether a step that was started was applied.
pub async fn look_back(hand: &mut Hand<'_>, step: usize) -> Carried {
    let incident = &hand.incident;
    let approved = match ApprovedStep::of(incident, step) {
        Ok(approved) => approved,
        Err(why) => {
            return Carried::Events(lifecycle::step_failed(incident, step, why.to_string()));
        }
    };
    if let Change::Notify { .. } = approved.step().change {
        let evidence = "whether the message arrived cannot be seen; it is sent again".to_owned();
        return Carried::Events(vec![Event::StepNotApplied { step, evidence }]);
    }
    match hand.shared.ports.writer.observe(&approved).await {
        Observation::Applied => {
            let evidence = "a look at the object found it done".to_owned();
            let left = left_behind(&approved.step().change);
            let events = lifecycle::step_finished(incident, step, evidence, String::new(), left);
            Carried::Events(events)
        }
        Observation::NotApplied => {
            let evidence = "a look at the object found it as it was".to_owned();
            Carried::Events(vec![Event::StepNotApplied { step, evidence }])
        }
        Observation::Changed { what } => {
            let why = format!("its outcome is unknown and the object was changed since: {what}");
            Carried::Events(lifecycle::step_failed(incident, step, why))
        }
        Observation::Gone => {
            let why = "its outcome is unknown and the object is gone".to_owned();
            Carried::Events(lifecycle::step_failed(incident, step, why))
        }
        Observation::Unknown { why } => {
            tracing::warn!(incident = %incident.id, why, "a step cannot be looked at yet");
            Carried::Later(Vec::new(), AGAIN)
        }
    }
}

/// What a change that was surely made left behind: one patch moves the generation on by one. If the
/// object is further than that, somebody else changed it since, and a later step must see so.
fn left_behind(change: &Change) -> Option<(String, i64)> {
    match change {
        Change::Patch(change) if change.object.generation > 0 => {
            Some((change.object.uid.clone(), change.object.generation + 1))
        }
        Change::Patch(_) | Change::DeletePods(_) | Change::Notify { .. } => None,
    }
}

/// Leaves a Kubernetes Event on the object. Best effort: the journal is the record.
async fn record_event(hand: &Hand<'_>, approved: &ApprovedStep, performed: &Performed) {
    let (severity, reason) = match performed {
        Performed::Done { .. } => (Severity::Normal, "RemediationApplied"),
        Performed::Refused(_) => (Severity::Warning, "RemediationRefused"),
        Performed::Unknown { .. } => (Severity::Warning, "RemediationUnknown"),
        // Nothing reached the object.
        Performed::Conflict { .. } | Performed::NotSent { .. } => return,
    };
    let step = approved.step();
    let regarding = match &step.change {
        Change::Patch(change) => regarding(&change.object),
        Change::DeletePods(_) | Change::Notify { .. } => return,
    };
    let note = format!(
        "incident {}, policy {}: {}",
        hand.incident.id, hand.incident.policy.name, step.summary
    );
    let action = step.action.clone();
    let event = KubernetesEvent { regarding, severity, reason: reason.to_owned(), action, note };
    if let Err(error) = hand.shared.ports.writer.record_event(&event).await {
        tracing::warn!(incident = %hand.incident.id, %error, "no Event was left on the object");
    }
}

fn regarding(object: &ObjectRef) -> Regarding {
    Regarding {
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        uid: object.uid.clone(),
    }
}

/// Tells a receiver about the incident.
///
/// # Errors
/// Why it was not delivered.
pub async fn tell(
    shared: &Shared,
    incident: &Incident,
    to: &str,
    task: Option<&str>,
) -> Result<(), String> {
    let text = task.map_or_else(|| crate::domain::explain::standing(incident), str::to_owned);
    let receivers = &shared.ports.receivers;
    let message = receivers.about(incident, Stage::Called, text, shared.clock.now());
    receivers.send(to, &message).await.map_err(|error| error.to_string())
}
