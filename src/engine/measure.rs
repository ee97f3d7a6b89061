//! Measuring: what the events say in numbers. Labels are names of policies, gates, actions and
//! outcomes; nothing that an alert could multiply.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::event::{Event, Stream};
use crate::domain::gate::Stand;
use crate::domain::id::IncidentId;
use crate::domain::incident::Phase;
use crate::domain::plan::Plan;
use crate::journal::codec::Recorded;
use crate::metrics::Metrics;

use super::board::Board;

/// When things began that are measured by their length.
#[derive(Debug, Default)]
pub struct Measures {
    begun: HashMap<IncidentId, Begun>,
}

#[derive(Debug, Default)]
struct Begun {
    policy: String,
    plan: Option<Plan>,
    asked: Option<Timestamp>,
    step: Option<Timestamp>,
    verification: Option<Timestamp>,
}

impl Measures {
    /// Takes note of one event.
    pub fn note(&mut self, metrics: &Metrics, recorded: &Recorded) {
        let Stream::Incident(id) = &recorded.stream else {
            if let Event::KillSwitchSet { on, .. } = recorded.event {
                metrics.kill_switch(on);
            }
            return;
        };
        let at = recorded.at;
        let begun = self.begun.entry(id.clone()).or_default();
        let since = |begun: Option<Timestamp>| elapsed(begun, at);
        match &recorded.event {
            Event::IncidentOpened { policy, .. } => begun.policy.clone_from(&policy.name),
            Event::PlanProposed { plan, .. } => begun.plan = Some((**plan).clone()),
            Event::GateDecided { verdicts, .. } => {
                for verdict in verdicts {
                    let stand = match verdict.stand {
                        Stand::Allow => continue,
                        Stand::Ask => "ask",
                        Stand::Hold { .. } => "hold",
                        Stand::Deny => "deny",
                    };
                    metrics.gate_refusal(verdict.gate.name(), stand);
                }
            }
            Event::ApprovalRequested { .. } => begun.asked = Some(at),
            Event::ApprovalGiven { .. } => metrics.approval("approved", since(begun.asked)),
            Event::ApprovalRefused { .. } => metrics.approval("refused", since(begun.asked)),
            Event::ApprovalExpired { .. } => metrics.approval("expired", since(begun.asked)),
            Event::StepStarted { .. } => begun.step = Some(at),
            Event::StepFinished { step, .. } => {
                metrics.step(begun.action(*step), "done", since(begun.step));
                begun.verification = Some(at);
            }
            Event::StepFailed { step, .. } => {
                metrics.step(begun.action(*step), "failed", since(begun.step));
            }
            Event::StepNotApplied { step, .. } => {
                metrics.step(begun.action(*step), "not-applied", since(begun.step));
            }
            Event::StepOutcomeUnknown { step, .. } => {
                metrics.step(begun.action(*step), "unknown", since(begun.step));
            }
            Event::ResolutionMet { .. } => metrics.verification("met", since(begun.verification)),
            Event::ResolutionMissed { .. } => {
                metrics.verification("missed", since(begun.verification));
            }
            Event::IncidentClosed { outcome, .. } => {
                metrics.decision(&begun.policy, outcome.name());
                self.begun.remove(id);
            }
            Event::AlertsReceived { .. }
            | Event::AlertsCorrelated { .. }
            | Event::KillSwitchSet { .. }
            | Event::BreakerReset { .. }
            | Event::ClickReceived { .. }
            | Event::ClickAnswered { .. }
            | Event::MessagePosted { .. }
            | Event::ReceiverTold { .. }
            | Event::StoryTold { .. }
            | Event::Snoozed { .. }
            | Event::AlertAttached { .. }
            | Event::AlertResolved { .. }
            | Event::TargetsFound { .. }
            | Event::TargetNotFound { .. }
            | Event::FactsCollected { .. }
            | Event::CauseFound { .. }
            | Event::PlanImpossible { .. }
            | Event::DecisionDenied { .. }
            | Event::AbortRequested { .. }
            | Event::PlanStale { .. }
            | Event::ProgressNoted { .. }
            | Event::FallbackChosen { .. }
            | Event::GivenUp { .. }
            | Event::Escalated { .. } => {}
        }
    }
}

impl Begun {
    /// The name of the action behind a step, from the fixed list of actions.
    fn action(&self, step: usize) -> &'static str {
        let action = self.plan.as_ref().and_then(|plan| plan.steps.get(step));
        match action.map(|step| step.action.as_str()) {
            Some("restart") => "restart",
            Some("scale") => "scale",
            Some("rollback") => "rollback",
            Some("setResources") => "setResources",
            Some("setProbe") => "setProbe",
            Some("escalate") => "escalate",
            Some(_) | None => "other",
        }
    }
}

fn elapsed(begun: Option<Timestamp>, at: Timestamp) -> Duration {
    let begun = begun.unwrap_or(at);
    Duration::try_from(at.duration_since(begun)).unwrap_or_default()
}

/// Counts the incidents by where they stand.
pub fn states(metrics: &Metrics, board: &Board) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for summary in board.open() {
        *counts.entry(summary.phase.as_str()).or_default() += 1;
    }
    for name in Phase::NAMES {
        metrics.incidents(name, counts.get(name).copied().unwrap_or(0));
    }
}
