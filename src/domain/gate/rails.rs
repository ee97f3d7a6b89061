//! The guard rails that hold over all policies, from the operator's configuration.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::period::Period;
use crate::domain::policy::spec::{FreezeSpec, Mode, QuerySpec};

/// Limits over all policies. A policy can be stricter, never laxer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GuardRails {
    /// The boldest mode that any policy may have. Default `auto`: the policies decide.
    pub mode: Mode,
    /// Namespaces in which nothing is ever changed. Default `kube-system`, `kube-public`,
    /// `kube-node-lease`; Orderly's own namespace is always protected.
    pub protected_namespaces: BTreeSet<String>,
    /// How much may be changed in a while, over all policies.
    pub budget: BudgetSpec,
    /// When too much fires at once, nothing is changed without a person.
    pub storm: StormSpec,
    /// When fixes do not help, `auto` becomes `approval` until a person resets it.
    pub breaker: BreakerSpec,
    /// Times at which nothing is changed.
    pub freeze: Vec<FreezeSpec>,
    /// How to see that monitoring itself is sane; without it the gate allows and says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<MonitoringSpec>,
}

impl Default for GuardRails {
    fn default() -> Self {
        let protected = ["kube-system", "kube-public", "kube-node-lease"];
        Self {
            mode: Mode::Auto,
            protected_namespaces: protected.into_iter().map(str::to_owned).collect(),
            budget: BudgetSpec::default(),
            storm: StormSpec::default(),
            breaker: BreakerSpec::default(),
            freeze: Vec::new(),
            monitoring: None,
        }
    }
}

/// The blast-radius budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BudgetSpec {
    /// At most so many different targets are changed. Default 10.
    pub targets: u32,
    /// Within this time. Default 1h.
    pub per: Period,
    /// And at most so many percent of a namespace's workloads, but always at least one. Default
    /// 30. What is being remediated counts.
    pub namespace_percent: u8,
}

impl Default for BudgetSpec {
    fn default() -> Self {
        Self { targets: 10, per: Period::from_mins(60), namespace_percent: 30 }
    }
}

/// The storm brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StormSpec {
    /// So many incidents opened. Default 20.
    pub incidents: u32,
    /// Within this time. Default 5m.
    pub within: Period,
}

impl Default for StormSpec {
    fn default() -> Self {
        Self { incidents: 20, within: Period::from_mins(5) }
    }
}

/// The breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BreakerSpec {
    /// So many fixes of one policy in a row that failed or did not help. Default 3.
    pub ineffective: u32,
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self { ineffective: 3 }
    }
}

/// How to see that monitoring itself works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MonitoringSpec {
    /// An alert that always fires; it must have been received within `freshness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<WatchdogSpec>,
    /// A query that holds while scraping works, such as `up{job="kube-state-metrics"}` above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QuerySpec>,
}

/// The dead man's switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchdogSpec {
    /// The alert's name. Default `Watchdog`.
    #[serde(default = "watchdog")]
    pub alertname: String,
    /// How old its last delivery may be; longer than Alertmanager's `repeat_interval` for it.
    pub freshness: Period,
}

fn watchdog() -> String {
    "Watchdog".to_owned()
}
