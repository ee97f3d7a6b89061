//! The actions of a policy and their parameters, as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::facts::Kind;
use crate::domain::period::Period;
use crate::domain::quantity::Quantity;

/// One action and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ActionSpec {
    /// Roll all pods anew, as `kubectl rollout restart`.
    Restart(RestartSpec),
    /// Change the number of replicas.
    Scale(ScaleSpec),
    /// Go back to an earlier revision.
    Rollback(RollbackSpec),
    /// Change requests and limits of one container.
    SetResources(SetResourcesSpec),
    /// Change the timing of one container's probe.
    SetProbe(SetProbeSpec),
    /// Hand over to people.
    Escalate(EscalateSpec),
}

impl ActionSpec {
    /// The name of each, as it is written in a policy.
    pub const NAMES: [&'static str; 6] =
        ["restart", "scale", "rollback", "setResources", "setProbe", "escalate"];

    /// The name as it is written in a policy.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Restart(_) => "restart",
            Self::Scale(_) => "scale",
            Self::Rollback(_) => "rollback",
            Self::SetResources(_) => "setResources",
            Self::SetProbe(_) => "setProbe",
            Self::Escalate(_) => "escalate",
        }
    }

    /// The other workload that the action is about, when it names one.
    pub fn on(&self) -> Option<&OnSpec> {
        match self {
            Self::Restart(spec) => spec.on.as_ref(),
            Self::Scale(spec) => spec.on.as_ref(),
            Self::Rollback(_) | Self::SetResources(_) | Self::SetProbe(_) | Self::Escalate(_) => {
                None
            }
        }
    }
}

/// Another workload in the target's namespace, named by the policy itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnSpec {
    /// Its kind.
    pub kind: Kind,
    /// Its name; no template, so that no label can choose it.
    pub name: String,
}

/// Parameters of `restart`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestartSpec {
    /// Another workload than the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<OnSpec>,
}

/// Parameters of `scale`: exactly one of `to`, `by` and `percent`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleSpec {
    /// Another workload than the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<OnSpec>,
    /// This many replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// So many more, or fewer when negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<i32>,
    /// So many percent of what there is; 150 is half as many again, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Never below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// Never above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// What to do when a HorizontalPodAutoscaler owns the replicas.
    #[serde(default)]
    pub when_autoscaled: WhenAutoscaled,
}

/// What `scale` does when an autoscaler owns the replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenAutoscaled {
    /// Nothing: the autoscaler would undo it.
    #[default]
    Refuse,
    /// Raise the autoscaler's `minReplicas`, within its `maxReplicas`.
    RaiseMinReplicas,
}

/// Parameters of `rollback`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackSpec {
    /// To this revision number; without it, to the last revision known to be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<i64>,
    /// How long a revision must have been in service before its successor came to count as
    /// healthy, when Orderly itself has not seen it healthy. Default 30m.
    #[serde(default = "half_an_hour")]
    pub served_for: Period,
}

impl Default for RollbackSpec {
    fn default() -> Self {
        Self { to_revision: None, served_for: half_an_hour() }
    }
}

/// Parameters of `setResources`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetResourcesSpec {
    /// Which container; without it the only one, or the one that was OOM-killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// New limits by resource (`cpu`, `memory`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, AmountSpec>,
    /// New requests by resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, AmountSpec>,
}

/// How an amount changes: exactly one of `to`, `multiply` and `add`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AmountSpec {
    /// To exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Quantity>,
    /// Times this (above 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply: Option<f64>,
    /// Plus this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Quantity>,
    /// The cap: never above. Required with `multiply` and `add`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Quantity>,
}

/// Parameters of `setProbe`. At least one of the four numbers is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetProbeSpec {
    /// Which container; without it the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Which probe.
    #[serde(default)]
    pub probe: Probe,
    /// Seconds before the first probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<u32>,
    /// Seconds between probes (at least 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<u32>,
    /// Failures until it counts as failed (at least 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// Seconds until one probe times out (at least 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// The three probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// `livenessProbe`.
    #[default]
    Liveness,
    /// `readinessProbe`.
    Readiness,
    /// `startupProbe`.
    Startup,
}

impl Probe {
    /// The field of a container that holds it.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Liveness => "livenessProbe",
            Self::Readiness => "readinessProbe",
            Self::Startup => "startupProbe",
        }
    }
}

/// Parameters of `escalate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EscalateSpec {
    /// The receiver, by its name in the configuration.
    pub to: String,
    /// What a person has to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

fn half_an_hour() -> Period {
    Period::from_mins(30)
}
