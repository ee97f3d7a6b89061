//! Gates: whether a plan may run now, later, or not at all, each with its evidence.
//!
//! Every gate is asked every time, so that a person sees the whole picture; the ruling is the most
//! cautious of the verdicts. What a gate cannot find out makes it hold or deny, never allow
//! (invariant 7).

mod checks;
pub mod evidence;
pub mod freeze;
pub mod ledger;
mod pods;
pub mod rails;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::evidence::Evidence;
use self::ledger::Ledger;
use self::rails::GuardRails;
use super::facts::{Fact, Facts};
use super::id::IncidentId;
use super::plan::Plan;
use super::policy::spec::{Mode, PolicySpec};

/// The gates, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Gate {
    /// The policy's mode and the configuration's ceiling.
    Mode,
    /// The kill switch.
    KillSwitch,
    /// Protected namespaces.
    ProtectedNamespace,
    /// The annotation with which an object opts out.
    OptOut,
    /// One incident on a target at a time.
    OneIncident,
    /// The time between changes of one target.
    Cooldown,
    /// Changes by one policy in a while.
    ActionLimit,
    /// Ready pods before pods are taken away.
    MinReady,
    /// PodDisruptionBudgets without headroom.
    DisruptionBudget,
    /// The blast radius over all policies.
    Budget,
    /// Too much at once.
    Storm,
    /// Fixes that do not help.
    Breaker,
    /// Freeze windows.
    Freeze,
    /// Another manager of the object.
    Ownership,
    /// A rollout that is under way.
    Rollout,
    /// The alert still fires and is not silenced.
    StillFiring,
    /// Monitoring itself.
    Monitoring,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Self; 17] = [
        Self::Mode,
        Self::KillSwitch,
        Self::ProtectedNamespace,
        Self::OptOut,
        Self::OneIncident,
        Self::Cooldown,
        Self::ActionLimit,
        Self::MinReady,
        Self::DisruptionBudget,
        Self::Budget,
        Self::Storm,
        Self::Breaker,
        Self::Freeze,
        Self::Ownership,
        Self::Rollout,
        Self::StillFiring,
        Self::Monitoring,
    ];

    /// The word used in tables, metrics and tests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mode => "mode",
            Self::KillSwitch => "kill-switch",
            Self::ProtectedNamespace => "protected-namespace",
            Self::OptOut => "opt-out",
            Self::OneIncident => "one-incident",
            Self::Cooldown => "cooldown",
            Self::ActionLimit => "action-limit",
            Self::MinReady => "min-ready",
            Self::DisruptionBudget => "disruption-budget",
            Self::Budget => "budget",
            Self::Storm => "storm",
            Self::Breaker => "breaker",
            Self::Freeze => "freeze",
            Self::Ownership => "ownership",
            Self::Rollout => "rollout",
            Self::StillFiring => "still-firing",
            Self::Monitoring => "monitoring",
        }
    }
}

/// One gate's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which gate.
    pub gate: Gate,
    /// Its answer.
    pub stand: Stand,
    /// What it rests on.
    pub evidence: Evidence,
}

/// What one gate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stand {
    /// Go on.
    Allow,
    /// Go on, but only with a person's approval, also in mode `auto`.
    Ask,
    /// Ask again then.
    Hold {
        /// When.
        until: Timestamp,
    },
    /// No.
    Deny,
}

/// What follows from all gates together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ruling {
    /// Act now.
    Act,
    /// A person must approve first.
    Ask,
    /// Dry run: stop here.
    Preview,
    /// Ask again then.
    Hold {
        /// When.
        until: Timestamp,
    },
    /// No.
    Deny,
}

/// What Alertmanager says about the incident's alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlertState {
    /// At least one fires and is not muted.
    Firing,
    /// Silenced, by whom.
    Silenced(String),
    /// Inhibited, by what.
    Inhibited(String),
    /// Alertmanager does not have it.
    NotFound,
    /// Nobody knows.
    Unknown(String),
    /// No Alertmanager is configured.
    NotConfigured,
}

/// What a check of monitoring says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Monitoring {
    /// Sane, and how that is known.
    Sane(String),
    /// In doubt, and why.
    InDoubt(String),
    /// No check is configured.
    Unchecked,
}

/// Everything that the gates look at.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The incident.
    pub incident: &'a IncidentId,
    /// The name of its policy.
    pub policy: &'a str,
    /// Its policy.
    pub spec: &'a PolicySpec,
    /// The mode that the policy of that name has now; absent when it is no longer loaded.
    pub mode_now: Option<Mode>,
    /// The plan.
    pub plan: &'a Plan,
    /// The facts that it was made from.
    pub facts: &'a Facts,
    /// The operator's limits.
    pub rails: &'a GuardRails,
    /// The counters.
    pub ledger: &'a Ledger,
    /// How many workloads the target's namespace has.
    pub workloads: &'a Fact<u32>,
    /// What Alertmanager says.
    pub alert: &'a AlertState,
    /// What a check of monitoring says.
    pub monitoring: &'a Monitoring,
    /// Now.
    pub now: Timestamp,
}

/// Asks every gate.
pub fn decide(inputs: &Inputs<'_>) -> (Ruling, Vec<Verdict>) {
    let mut verdicts = Vec::with_capacity(Gate::ALL.len());
    for gate in Gate::ALL {
        checks::check(gate, inputs, &mut verdicts);
    }
    let mode = inputs.mode_now.unwrap_or(Mode::Off).min(inputs.spec.mode).min(inputs.rails.mode);
    let ruling = if inputs.plan.changes_anything() {
        rule(mode, &verdicts)
    } else {
        // What keeps Orderly's hands off the cluster must not keep it from telling people.
        let speaks = |verdict: &Verdict| verdict.gate == Gate::StillFiring;
        rule(mode, &verdicts.iter().filter(|it| speaks(it)).cloned().collect::<Vec<_>>())
    };
    (ruling, verdicts)
}

/// The most cautious of the verdicts, under the mode.
fn rule(mode: Mode, verdicts: &[Verdict]) -> Ruling {
    let denied = verdicts.iter().any(|verdict| verdict.stand == Stand::Deny);
    let held = verdicts.iter().filter_map(|verdict| match verdict.stand {
        Stand::Hold { until } => Some(until),
        Stand::Allow | Stand::Ask | Stand::Deny => None,
    });
    let asked = verdicts.iter().any(|verdict| verdict.stand == Stand::Ask);
    match (mode, denied, held.max()) {
        (Mode::Off, _, _) => Ruling::Deny,
        (Mode::DryRun, _, _) => Ruling::Preview,
        (Mode::Approval | Mode::Auto, true, _) => Ruling::Deny,
        (Mode::Approval | Mode::Auto, false, Some(until)) => Ruling::Hold { until },
        (Mode::Approval, false, None) => Ruling::Ask,
        (Mode::Auto, false, None) => {
            if asked {
                Ruling::Ask
            } else {
                Ruling::Act
            }
        }
    }
}
