//! One incident: a fold over its events. Knows what happened, decides nothing.
//!
//! Every state that a restart must find again is here and comes from events alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertStatus};
use super::approval::{Given, Question};
use super::diagnosis::{Conclusion, Finding};
use super::event::{Event, NotChosen, Person, PolicySnapshot, Preview};
use super::facts::{Facts, Target, TargetQuery};
use super::gate::{Ruling, Verdict};
use super::id::{Digest, IncidentId};
use super::plan::Plan;
use super::resolution::Progress;

mod phase;

pub use phase::*;

/// How long to wait before a cause is looked for again that could not be decided.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(15);

/// One incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// How many events made it: what an append is compared with (invariant 5).
    pub version: u64,
    /// When it was opened.
    pub opened: Timestamp,
    /// Its alerts; the first opened it.
    pub alerts: Vec<Attached>,
    /// The policy as it was then.
    pub policy: PolicySnapshot,
    /// The policies that were not taken.
    pub others: Vec<NotChosen>,
    /// What the policy and the labels name.
    pub wanted: Result<TargetQuery, String>,
    /// The workloads in hand.
    pub targets: Vec<Target>,
    /// What was seen last.
    pub facts: Option<Facts>,
    /// How often facts were collected in the present phase without a decision.
    pub looks: u32,
    /// What was found.
    pub finding: Option<Finding>,
    /// The plan that stands.
    pub proposal: Option<Proposal>,
    /// What the gates said last.
    pub gates: Option<Gated>,
    /// The question to people.
    pub question: Option<Question>,
    /// Which of the policy's `onFailure` actions is tried; absent for the cause's own actions.
    pub fallback: Option<usize>,
    /// How many steps are done, of all plans.
    pub applied: u32,
    /// How often a plan was stale when it was about to run.
    pub stale: u32,
    /// What steps of the present plan left behind: the generation of each object, by uid.
    pub generations: BTreeMap<String, i64>,
    /// The plan that the last step to start belongs to.
    pub started: Option<Digest>,
    /// Which escalations were sent: indices into the policy's list.
    pub escalated: Vec<usize>,
    /// A person wants it stopped.
    pub abort: Option<Abort>,
    /// A person put the question off; absent once it was looked at again.
    pub snooze: Option<Snooze>,
    /// Where it stands.
    pub phase: Phase,
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// The alert as it came first.
    pub alert: Alert,
    /// When it ended.
    pub resolved: Option<Timestamp>,
}

/// A plan with the server's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The plan.
    pub plan: Plan,
    /// What an approval binds to.
    pub digest: Digest,
    /// The server's answer, step by step.
    pub previews: Vec<Preview>,
    /// When it was made.
    pub at: Timestamp,
}

/// What the gates said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gated {
    /// Which plan they were asked about.
    pub digest: Digest,
    /// What follows.
    pub ruling: Ruling,
    /// Each gate.
    pub verdicts: Vec<Verdict>,
    /// When they were asked.
    pub at: Timestamp,
    /// Since when they hold without interruption.
    pub held_since: Option<Timestamp>,
}

/// A person's wish to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Abort {
    /// Who.
    pub by: Person,
    /// Why.
    pub reason: String,
}

/// A person's wish to be asked later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snooze {
    /// Who.
    pub by: Person,
    /// Until when.
    pub until: Timestamp,
}

/// The events of a stream do not make an incident.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The stream is empty.
    #[error("incident {0} has no events")]
    Empty(IncidentId),
    /// Something came before the incident was opened.
    #[error("incident {0} does not begin with its opening")]
    NotOpened(IncidentId),
}

impl Incident {
    /// Folds the events of one stream, oldest first.
    ///
    /// # Errors
    /// When the stream does not begin with `IncidentOpened`.
    pub fn fold<'a>(
        id: &IncidentId,
        events: impl IntoIterator<Item = (Timestamp, &'a Event)>,
    ) -> Result<Self, FoldError> {
        let mut events = events.into_iter();
        let (at, first) = events.next().ok_or_else(|| FoldError::Empty(id.clone()))?;
        let mut incident = Self::open(id, at, first).ok_or(FoldError::NotOpened(id.clone()))?;
        for (at, event) in events {
            incident.apply(at, event);
        }
        Ok(incident)
    }

    /// The incident that `event` opens.
    pub fn open(id: &IncidentId, at: Timestamp, event: &Event) -> Option<Self> {
        let Event::IncidentOpened { alert, policy, others, target } = event else { return None };
        Some(Self {
            id: id.clone(),
            version: 1,
            opened: at,
            alerts: vec![Attached { alert: alert.clone(), resolved: None }],
            policy: (**policy).clone(),
            others: others.clone(),
            wanted: target.clone(),
            targets: Vec::new(),
            facts: None,
            looks: 0,
            finding: None,
            proposal: None,
            gates: None,
            question: None,
            fallback: None,
            applied: 0,
            stale: 0,
            generations: BTreeMap::new(),
            started: None,
            escalated: Vec::new(),
            abort: None,
            snooze: None,
            phase: Phase::Locating,
        })
    }

    /// Whether it waits, for people or for gates, so that it can wait longer.
    pub fn may_be_snoozed(&self) -> bool {
        matches!(self.phase, Phase::Asking | Phase::Held { .. })
    }

    /// Takes one more event.
    pub fn apply(&mut self, at: Timestamp, event: &Event) {
        self.version += 1;
        // What is over stays over, whatever arrives late.
        let over = self.closed().then(|| self.phase.clone());
        self.take(at, event);
        if let Some(over) = over {
            self.phase = over;
        }
    }

    fn take(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::AlertAttached { alert } => self.attach(alert),
            Event::AlertResolved { fingerprint, ended } => {
                for attached in &mut self.alerts {
                    if attached.alert.fingerprint == *fingerprint && attached.resolved.is_none() {
                        attached.resolved = Some(ended.unwrap_or(at));
                    }
                }
            }
            Event::TargetsFound { targets } => {
                self.targets.clone_from(targets);
                self.observe_anew();
            }
            Event::FactsCollected { facts } => {
                self.facts = Some((**facts).clone());
                self.looks += 1;
                self.snooze = None;
                self.phase = Phase::Diagnosing;
            }
            Event::CauseFound { finding } => {
                self.phase = match finding.conclusion {
                    Conclusion::Cause { .. } => Phase::Planning,
                    // What was unknown may be known at the next look; lifecycle counts the looks.
                    Conclusion::Unknown { .. } | Conclusion::NoCause => {
                        Phase::Held { until: at.saturating_add(LOOK_AGAIN).unwrap_or(at) }
                    }
                };
                self.finding = Some(finding.clone());
            }
            Event::PlanProposed { plan, digest, previews } => {
                let (plan, previews) = ((**plan).clone(), previews.clone());
                self.proposal = Some(Proposal { plan, digest: *digest, previews, at });
                self.looks = 0;
                self.generations.clear();
                self.phase = Phase::Gating;
            }
            Event::GateDecided { digest, ruling, verdicts } => {
                self.gated(at, *digest, *ruling, verdicts);
            }
            Event::ApprovalRequested { digest, expires, quorum } => {
                self.question = Some(Question {
                    digest: *digest,
                    asked: at,
                    expires: *expires,
                    quorum: *quorum,
                    given: Vec::new(),
                });
                self.phase = Phase::Asking;
            }
            Event::ApprovalGiven { digest, by, .. } => {
                // A second yes that comes while the plan runs already must not begin it anew, and one
                // that comes too late is none.
                let asking = matches!(self.phase, Phase::Asking);
                let question = self.question.as_mut().filter(|_| asking);
                if let Some(question) =
                    question.filter(|it| it.digest == *digest && at < it.expires)
                    && !question.given.iter().any(|given| given.by.name == by.name)
                {
                    question.given.push(Given { by: by.clone(), at });
                    if question.answered() {
                        // The last look before the change: facts and gates once more.
                        self.observe_anew();
                    }
                }
            }
            Event::Snoozed { by, until, .. } => {
                // One that comes too late puts nothing off.
                if self.may_be_snoozed() {
                    self.snooze = Some(Snooze { by: by.clone(), until: *until });
                    // The question is asked anew, over fresh facts; so is every yes to it.
                    self.question = None;
                    if let Some(gates) = &mut self.gates {
                        gates.held_since = None;
                    }
                    self.phase = Phase::Held { until: *until };
                }
            }
            Event::AbortRequested { by, reason } => {
                self.abort = Some(Abort { by: by.clone(), reason: reason.clone() });
            }
            Event::StepStarted { digest, step, attempt } => {
                let (step, attempt) = (*step, *attempt);
                self.started = Some(*digest);
                self.phase = Phase::Executing { step, attempt, flight: Flight::Unknown };
            }
            Event::StepOutcomeUnknown { step, .. } => {
                let attempt = self.attempt();
                let step = *step;
                self.phase = Phase::Executing { step, attempt, flight: Flight::Unknown };
            }
            Event::StepFinished { step, left, .. } => {
                self.generations.extend(left.clone());
                self.step_finished(at, *step);
            }
            Event::PlanStale { .. } => {
                self.stale += 1;
                self.observe_anew();
            }
            Event::StepNotApplied { step, .. } => {
                let attempt = self.attempt();
                let step = *step;
                self.phase = Phase::Executing { step, attempt, flight: Flight::Ready };
            }
            Event::ProgressNoted { progress } => {
                if let Phase::Verifying { progress: old, .. } = &mut self.phase {
                    old.clone_from(progress);
                }
            }
            Event::FallbackChosen { index, .. } => {
                self.fallback = Some(*index);
                self.question = None;
                self.observe_anew();
            }
            Event::GivenUp { outcome, reason } => {
                let (outcome, reason) = (*outcome, reason.clone());
                self.phase = Phase::GivenUp { outcome, reason };
            }
            Event::Escalated { level: Some(level), .. } => self.escalated.push(*level),
            Event::IncidentClosed { outcome, reason } => {
                self.phase = Phase::Closed { outcome: *outcome, reason: reason.clone(), at };
            }
            // What these say is decided upon at once: the next event carries the state.
            Event::TargetNotFound { .. }
            | Event::PlanImpossible { .. }
            | Event::ApprovalRefused { .. }
            | Event::ApprovalExpired { .. }
            | Event::DecisionDenied { .. }
            | Event::StepFailed { .. }
            | Event::ResolutionMet { .. }
            | Event::ResolutionMissed { .. }
            | Event::Escalated { level: None, .. } => {}
            // Not events of an incident.
            Event::AlertsReceived { .. }
            | Event::AlertsCorrelated { .. }
            | Event::KillSwitchSet { .. }
            | Event::BreakerReset { .. }
            | Event::ClickReceived { .. }
            | Event::ClickAnswered { .. }
            | Event::MessagePosted { .. }
            | Event::ReceiverTold { .. }
            | Event::StoryTold { .. }
            | Event::IncidentOpened { .. } => {}
        }
    }

    fn attach(&mut self, alert: &Alert) {
        let known = self.alerts.iter_mut().find(|it| it.alert.episode() == alert.episode());
        match known {
            Some(attached) => attached.resolved = None,
            None => self.alerts.push(Attached { alert: alert.clone(), resolved: None }),
        }
    }

    fn observe_anew(&mut self) {
        self.looks = 0;
        self.phase = Phase::Observing;
    }

    fn attempt(&self) -> u32 {
        match self.phase {
            Phase::Executing { attempt, .. } => attempt,
            _ => 0,
        }
    }

    fn gated(&mut self, at: Timestamp, digest: Digest, ruling: Ruling, verdicts: &[Verdict]) {
        let held_before = self.gates.as_ref().and_then(|gated| gated.held_since);
        let held_since = match ruling {
            Ruling::Hold { .. } => Some(held_before.unwrap_or(at)),
            Ruling::Act | Ruling::Ask | Ruling::Preview | Ruling::Deny => None,
        };
        self.gates = Some(Gated { digest, ruling, verdicts: verdicts.to_vec(), at, held_since });
        self.phase = match ruling {
            Ruling::Act => Phase::Executing { step: 0, attempt: 0, flight: Flight::Ready },
            Ruling::Ask => match &self.question {
                Some(question) if self.approved(question, at) => {
                    Phase::Executing { step: 0, attempt: 0, flight: Flight::Ready }
                }
                _ => Phase::Asking,
            },
            Ruling::Hold { until } => Phase::Held { until },
            // Decided upon at once: the next event closes it.
            Ruling::Preview | Ruling::Deny => Phase::Gating,
        };
    }

    /// Whether `question` is answered, is about the plan that stands, and is good still.
    fn approved(&self, question: &Question, at: Timestamp) -> bool {
        let digest = self.proposal.as_ref().map(|proposal| proposal.digest);
        digest == Some(question.digest) && question.answered() && at < question.lapses()
    }

    fn step_finished(&mut self, at: Timestamp, step: usize) {
        self.applied += 1;
        let steps = self.proposal.as_ref().map_or(0, |proposal| proposal.plan.steps.len());
        self.phase = if step + 1 < steps {
            Phase::Executing { step: step + 1, attempt: 0, flight: Flight::Ready }
        } else {
            Phase::Verifying {
                since: at,
                progress: Progress::default(),
                restarts_before: self.restarts(),
            }
        };
    }

    fn restarts(&self) -> Vec<(String, i64)> {
        let workloads = self.facts.iter().flat_map(|facts| &facts.targets);
        let pods = workloads.filter_map(|workload| workload.pods.known()).flatten();
        pods.map(|pod| (pod.uid.clone(), pod.restarts())).collect()
    }

    /// Whether anything of it was seen at a time that is still to come: the clock was set back since.
    pub fn seen_later(&self, now: Timestamp) -> bool {
        let facts = self.facts.as_ref().map(|facts| facts.at);
        let gates = self.gates.as_ref().map(|gated| gated.at);
        facts.max(gates).is_some_and(|seen| seen > now)
    }

    /// How many of its alerts still fire.
    pub fn firing(&self) -> usize {
        self.alerts.iter().filter(|attached| attached.resolved.is_none()).count()
    }

    /// Whether something was changed, or may have been.
    pub fn changed(&self) -> bool {
        let flying = matches!(self.phase, Phase::Executing { flight: Flight::Unknown, .. });
        self.applied > 0 || flying
    }

    /// The alert that opened it.
    pub fn alert(&self) -> &Alert {
        &self.alerts[0].alert
    }

    /// Whether it is over.
    pub fn closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    /// What people call its target.
    pub fn target_name(&self) -> String {
        match (self.targets.as_slice(), &self.wanted) {
            ([only], _) => only.to_string(),
            ([first, rest @ ..], _) => format!("{first} and {} more", rest.len()),
            ([], Ok(wanted)) => wanted.to_string(),
            ([], Err(_)) => "no target".to_owned(),
        }
    }

    /// Whether `alert` fires on, as far as this incident knows.
    pub fn holds(&self, alert: &Alert) -> bool {
        let mut same = self.alerts.iter().filter(|it| it.alert.episode() == alert.episode());
        same.any(|it| match alert.status {
            AlertStatus::Firing => it.resolved.is_none(),
            AlertStatus::Resolved => it.resolved.is_some(),
        })
    }
}
