//! The policy as it is written: the same shape in a file, in a ConfigMap and as a custom resource.
//!
//! These types only hold what was written; `compile` turns them into something that can be
//! decided with, and says what is wrong and where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::facts::Kind;
use crate::domain::period::Period;

mod actions;

pub use actions::*;

/// The only version so far.
pub const API_VERSION: &str = "orderly.dev/v1alpha1";
/// The kind of a policy. With a namespace it may touch only that one.
pub const KIND: &str = "RemediationPolicy";
/// The kind of a policy that belongs to no namespace.
pub const CLUSTER_KIND: &str = "ClusterRemediationPolicy";

/// A whole policy document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "RemediationPolicy")]
pub struct PolicyDocument {
    /// `orderly.dev/v1alpha1`.
    pub api_version: String,
    /// `RemediationPolicy`, or `ClusterRemediationPolicy`.
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// The policy.
    pub spec: PolicySpec,
}

/// What names a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique among all policies, or in its namespace; a DNS label.
    pub name: String,
    /// The namespace that a `RemediationPolicy` belongs to: it touches only that one, and answers
    /// only alerts with the label `namespace` of that value. Without it, in a file, `target` alone
    /// says what the policy may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Free marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// The name that no other policy has: `NAME`, or `NAMESPACE/NAME`.
    pub fn qualified_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A runbook as code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySpec {
    /// One sentence for people.
    pub summary: String,
    /// Where the runbook for people is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Among policies that match one alert the highest priority wins, then the most specific.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Alertmanager matchers; all must match.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// What may be changed.
    pub target: TargetSpec,
    /// What the policy may do by itself.
    #[serde(default)]
    pub mode: Mode,
    /// Prometheus queries whose answers the causes may use, as `queries.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, String>,
    /// The causes in order: the first whose `when` holds is taken.
    pub causes: Vec<CauseSpec>,
    /// When to hold back.
    #[serde(default)]
    pub gates: GatesSpec,
    /// Who must agree.
    #[serde(default)]
    pub approval: ApprovalSpec,
    /// When it counts as resolved.
    #[serde(default)]
    pub verify: VerifySpec,
    /// What to do when the resolution is missed, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<ActionSpec>,
    /// Whom to tell while the incident lasts, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate: Vec<EscalationSpec>,
}

/// What a policy may do by itself. Ordered from careful to bold.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing; the alert is noted.
    Off,
    /// Diagnose, plan, ask the API server what the change would do, and stop there.
    #[default]
    DryRun,
    /// Act when a person has approved the plan.
    Approval,
    /// Act.
    Auto,
}

/// Which workload an alert is about, and which ones it may ever be about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// The kind of the workload; with `ownerOf` the kind that the owner must have.
    pub kind: Kind,
    /// The allow-list: labels choose inside it, never outside.
    pub namespaces: Vec<String>,
    /// The namespace, as a template over the alert's labels; may be left out when the allow-list
    /// has exactly one entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name, as a template. Exactly one of `name`, `selector` and `ownerOf` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A label selector: names and templates of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<BTreeMap<String, String>>,
    /// The workload that owns a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_of: Option<OwnerOfSpec>,
    /// How many workloads a selector may find (1 to 10: each takes a step of the plan).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub max_targets: u32,
}

/// Finds a workload by one of its pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnerOfSpec {
    /// The pod's name, as a template.
    pub pod: String,
}

/// One possible cause and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CauseSpec {
    /// A DNS label, unique in the policy.
    pub name: String,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// A CEL expression over the facts; without it the cause always holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What to do, in order.
    pub actions: Vec<ActionSpec>,
}

/// When to hold back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatesSpec {
    /// No second change to one target within this time. Default 15m.
    pub cooldown: Period,
    /// At most so many changes by this policy in a while. Default 3 per 1h.
    pub limit: LimitSpec,
    /// So many percent of the target's pods must be ready before a change that takes pods away;
    /// 0 (the default) asks for none.
    pub min_ready_percent: u8,
    /// What to do when a change takes pods away and a PodDisruptionBudget lets none go. A target of
    /// which no pod is ready has nothing to lose and is not held back. Default `approval`.
    pub disruption_budget: NoHeadroom,
    /// What a rollout that is already under way means. Default `hold`.
    pub rollout_in_progress: InProgress,
    /// What to do when somebody else manages the object. Default `approval`.
    pub owned_elsewhere: OwnedElsewhere,
    /// Times at which nothing is changed, besides those of the configuration.
    pub freeze: Vec<FreezeSpec>,
}

impl Default for GatesSpec {
    fn default() -> Self {
        Self {
            cooldown: Period::from_mins(15),
            limit: LimitSpec { actions: 3, per: Period::from_mins(60) },
            min_ready_percent: 0,
            disruption_budget: NoHeadroom::Approval,
            rollout_in_progress: InProgress::Hold,
            owned_elsewhere: OwnedElsewhere::Approval,
            freeze: Vec::new(),
        }
    }
}

/// So many changes in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitSpec {
    /// How many.
    pub actions: u32,
    /// In what time.
    pub per: Period,
}

/// What a PodDisruptionBudget without headroom means for a change that takes pods away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NoHeadroom {
    /// Wait until it has some.
    Hold,
    /// Do not act.
    Deny,
    /// Ask a person, who sees the budget; also in mode `auto`.
    Approval,
    /// Act all the same, as `kubectl rollout restart` does.
    Allow,
}

/// What a rollout under way means for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InProgress {
    /// Wait for it, for an hour at most. A rollout that is stuck is not waited for.
    Hold,
    /// Do not act.
    Deny,
    /// Act all the same.
    Allow,
}

/// What another manager of the object means for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OwnedElsewhere {
    /// Do not act.
    Deny,
    /// Ask a person, who sees who would undo it; also in mode `auto`.
    Approval,
    /// Act all the same.
    Allow,
}

/// A time at which nothing is changed: from each start for a duration, in a time zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezeSpec {
    /// Why, for people.
    pub name: String,
    /// When it starts, as a cron expression with five fields: `0 18 * * FRI`.
    pub starts: String,
    /// How long it lasts.
    pub lasts: Period,
    /// An IANA time zone. Default UTC.
    #[serde(default = "utc")]
    pub zone: String,
}

/// Who must agree to a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApprovalSpec {
    /// Groups of the configuration whose members may approve; empty means every approver.
    pub approvers: Vec<String>,
    /// Groups for plans with certain actions, by the action's name (`rollback`, `scale`, ...), in
    /// place of `approvers`. Who decides on a plan with several actions may decide on each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_action: BTreeMap<String, Vec<String>>,
    /// How many different people. Default 1.
    pub quorum: u32,
    /// When the question lapses. Default 30m.
    pub expires_after: Period,
    /// Whoever asked for the change cannot be its only approver.
    pub four_eyes: bool,
}

impl Default for ApprovalSpec {
    fn default() -> Self {
        Self {
            approvers: Vec::new(),
            by_action: BTreeMap::new(),
            quorum: 1,
            expires_after: Period::from_mins(30),
            four_eyes: false,
        }
    }
}

/// When an incident counts as resolved: all that is given must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VerifySpec {
    /// All of it within this time after the change. Default 10m.
    pub within: Period,
    /// The rollout is complete.
    pub rollout: RolloutExpectation,
    /// All pods ready and no container restarted for this long. 0s asks for nothing.
    pub stable_for: Period,
    /// The alert is resolved.
    pub alert: AlertExpectation,
    /// A Prometheus query stays beyond a threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<QuerySpec>,
}

impl Default for VerifySpec {
    fn default() -> Self {
        Self {
            within: Period::from_mins(10),
            rollout: RolloutExpectation::Complete,
            stable_for: Period::ZERO,
            alert: AlertExpectation::Resolved,
            query: None,
        }
    }
}

/// What is asked of the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RolloutExpectation {
    /// Complete, as `kubectl rollout status` judges.
    Complete,
    /// Nothing.
    Any,
}

/// What is asked of the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AlertExpectation {
    /// Every alert of the incident is resolved.
    Resolved,
    /// Nothing.
    Any,
}

/// A query that must stay below or above a value for a time. No data, a warning and an error are
/// not success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuerySpec {
    /// PromQL, as a template over the alert's labels (`{{ labels.agent_id }}`); values are quoted
    /// for a PromQL string.
    pub expr: String,
    /// Every sample is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// Every sample is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// For this long without interruption.
    #[serde(default, rename = "for")]
    pub hold: Period,
}

/// Tell somebody when the incident has lasted so long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EscalationSpec {
    /// Since the incident was opened.
    pub after: Period,
    /// The receiver, by its name in the configuration.
    pub to: String,
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn utc() -> String {
    "UTC".to_owned()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
