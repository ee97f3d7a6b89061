//! Facts as a person writes them: terse, with a healthy cluster as the default.
//!
//! Three replicas of which one pod is described are that pod and two healthy ones.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::pods::{EventCase, LogCase, PodCase};
use super::workload::workload;
use crate::domain::facts::{Fact, Facts, Kind, RolloutState, TargetBy, TargetQuery};
use crate::domain::period::Period;
use crate::domain::quantity::Quantity;

/// What is seen in the cluster and in Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FactsCase {
    /// The workload that the policy's target names.
    pub target: TargetCase,
    /// Where its rollout stands.
    pub rollout: RolloutCase,
    /// Its history, newest first. Default: one revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Vec<RevisionCase>>,
    /// Its pods. Those that are missing to `replicas` are healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<PodCase>,
    /// Recent events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventCase>,
    /// The last lines of containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogCase>,
    /// Its HorizontalPodAutoscaler. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<AutoscalerCase>,
    /// Its VerticalPodAutoscaler. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertical_autoscaler: Option<VerticalCase>,
    /// The PodDisruptionBudgets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetCase>,
    /// Who else manages it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<OwnerCase>,
    /// The nodes. Default: one that is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<NodeCase>>,
    /// The answers to the policy's queries; `null` for no data. Queries that are not here are unknown.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, Option<f64>>,
    /// Facts that cannot be found out, such as `pods` or `queries.errorRate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Several workloads, instead of `target` and what belongs to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Self>,
    /// Workloads that actions name by their own `on`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Self>,
    /// There is no such workload.
    pub not_found: bool,
}

/// A workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TargetCase {
    /// Its kind. Default: the one that the policy wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its namespace. Default: the one that the policy wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name. Default: the one that the policy wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many pods are wanted. Default: as many as are described, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Its containers. Default: one named `agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<TemplateContainerCase>>,
    /// `metadata.generation`. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Paused.
    pub paused: bool,
    /// `RollingUpdate` (the default), `Recreate` or `OnDelete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyCase>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StrategyCase {
    /// A few at a time.
    RollingUpdate,
    /// All at once.
    Recreate,
    /// Only when somebody deletes them.
    OnDelete,
}

/// A container of the template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TemplateContainerCase {
    /// Its name. Default `agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its image. Default `agent:1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its limits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
    /// Its requests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// Its liveness probe, as in Kubernetes.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub liveness_probe: Map<String, Value>,
    /// Its readiness probe, as in Kubernetes.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub readiness_probe: Map<String, Value>,
    /// Its startup probe, as in Kubernetes.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub startup_probe: Map<String, Value>,
}

/// A rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RolloutCase {
    /// Its state. Default `complete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RolloutStateCase>,
    /// What is still missing.
    pub message: String,
    /// Since the newest revision was made. Default 7d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Period>,
}

/// The states of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RolloutStateCase {
    /// Every pod is of the newest template and available.
    Complete,
    /// Under way.
    Progressing,
    /// `ProgressDeadlineExceeded`.
    Stuck,
    /// The controller has not seen the newest generation.
    Unobserved,
    /// `OnDelete`: nobody can say.
    Untracked,
}

impl RolloutStateCase {
    pub(crate) const fn state(self) -> RolloutState {
        match self {
            Self::Complete => RolloutState::Complete,
            Self::Progressing => RolloutState::Progressing,
            Self::Stuck => RolloutState::Stuck,
            Self::Unobserved => RolloutState::Unobserved,
            Self::Untracked => RolloutState::Untracked,
        }
    }
}

/// An entry of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevisionCase {
    /// Its number.
    pub number: i64,
    /// The images of its containers, in order. Default: those of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Since it was made. Default: the rollout's age for the current one, 30d for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Period>,
    /// The template that the workload has now. Default: the first.
    #[serde(default)]
    pub current: bool,
    /// What is known of its health. Default: `available` for the current one when all pods are
    /// ready, `served` with `servedFor`, otherwise `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCase>,
    /// How long it was in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_for: Option<Period>,
}

/// What is known of a revision's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HealthCase {
    /// All its pods are available now.
    Available,
    /// A resolution was met under it.
    Verified,
    /// It has pods and they fail.
    Failing,
    /// Nothing speaks for or against it.
    Unknown,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoscalerCase {
    /// Its name. Default: the workload's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `minReplicas`.
    pub min: i64,
    /// `maxReplicas`.
    pub max: i64,
    /// The ScaledObject that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_object: Option<String>,
}

/// A VerticalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerticalCase {
    /// Its name.
    pub name: String,
    /// Its update mode.
    pub mode: String,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetCase {
    /// Its name.
    pub name: String,
    /// How many pods may go now.
    pub disruptions_allowed: i64,
}

/// Somebody else who manages the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnerCase {
    /// Who.
    pub manager: ManagerCase,
    /// The application, Kustomization, release, or `Kind/name` of a controller.
    pub name: String,
}

/// Who can manage an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagerCase {
    /// Argo CD.
    ArgoCD,
    /// Flux.
    Flux,
    /// Helm.
    Helm,
    /// A controller.
    Controller,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeCase {
    /// Its name.
    pub name: String,
    /// Ready. Default true.
    #[serde(default = "yes")]
    pub ready: bool,
    /// Conditions that are not as they should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
}

fn yes() -> bool {
    true
}

/// What every fact of a test says about where it comes from.
pub(crate) const SOURCE: &str = "the test";

impl FactsCase {
    /// The facts at `now`, for a policy that wants `query` and asks `queries`.
    pub fn facts(
        &self,
        now: Timestamp,
        query: Option<&TargetQuery>,
        queries: &BTreeMap<String, String>,
    ) -> Facts {
        let targets = match (self.not_found, self.targets.as_slice()) {
            (true, _) => Vec::new(),
            (false, []) => vec![workload(self, now, query, "")],
            (false, several) => {
                let numbered = several.iter().enumerate();
                numbered
                    .map(|(at, one)| workload(one, now, query, &format!("-{}", at + 1)))
                    .collect()
            }
        };
        let related = self.related.iter().map(|one| workload(one, now, query, "-related"));
        let related = related.collect();
        let answers = queries.keys().chain(self.queries.keys()).map(|name| {
            let source = SOURCE.to_owned();
            let answer = match self.queries.get(name) {
                _ if self.is_unknown(&format!("queries.{name}")) => {
                    Fact::Unknown { source, at: now, why: "the test says so".to_owned() }
                }
                Some(Some(value)) => Fact::Known { value: *value, source, at: now },
                Some(None) => Fact::Absent { source, at: now },
                None => {
                    Fact::Unknown { source, at: now, why: "the test gives no answer".to_owned() }
                }
            };
            (name.clone(), answer)
        });
        Facts { at: now, targets, related, queries: answers.collect() }
    }

    /// Whether the test says that this fact cannot be found out.
    pub(crate) fn is_unknown(&self, name: &str) -> bool {
        self.unknown.iter().any(|unknown| unknown == name)
    }

    /// Names in `unknown` that are no facts.
    pub fn strangers(&self) -> impl Iterator<Item = &str> {
        self.unknown
            .iter()
            .map(String::as_str)
            .filter(|name| !UNKNOWABLE.contains(name) && !name.starts_with("queries."))
    }
}

/// The facts that can be unknown.
pub const UNKNOWABLE: [&str; 8] =
    ["revisions", "pods", "events", "logs", "autoscaler", "verticalAutoscaler", "budgets", "nodes"];

impl TargetCase {
    pub(crate) fn kind_for(&self, query: Option<&TargetQuery>) -> Kind {
        self.kind.or(query.map(|query| query.kind)).unwrap_or(Kind::Deployment)
    }

    pub(crate) fn namespace_for(&self, query: Option<&TargetQuery>) -> String {
        let wanted = query.map(|query| query.namespace.clone());
        self.namespace.clone().or(wanted).unwrap_or_else(|| "default".to_owned())
    }

    pub(crate) fn name_for(&self, query: Option<&TargetQuery>, suffix: &str) -> String {
        let wanted = query.and_then(|query| match &query.by {
            TargetBy::Name(name) => Some(name.clone()),
            TargetBy::Selector(_) | TargetBy::OwnerOfPod(_) => None,
        });
        let name = self.name.clone().or(wanted.filter(|_| suffix.is_empty()));
        name.unwrap_or_else(|| format!("agent{suffix}"))
    }
}

impl TemplateContainerCase {
    /// As it stands in a pod template.
    pub(crate) fn object(&self) -> Value {
        let mut object = json!({
            "name": self.name.as_deref().unwrap_or("agent"),
            "image": self.image.as_deref().unwrap_or("agent:1"),
        });
        let mut resources = Map::new();
        for (field, amounts) in [("limits", &self.limits), ("requests", &self.requests)] {
            if !amounts.is_empty() {
                resources.insert(field.to_owned(), json!(amounts));
            }
        }
        if !resources.is_empty() {
            object["resources"] = Value::Object(resources);
        }
        let probes = [
            ("livenessProbe", &self.liveness_probe),
            ("readinessProbe", &self.readiness_probe),
            ("startupProbe", &self.startup_probe),
        ];
        for (field, probe) in probes {
            if !probe.is_empty() {
                object[field] = Value::Object(probe.clone());
            }
        }
        object
    }
}
