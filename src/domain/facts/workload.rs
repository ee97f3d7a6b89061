//! One workload and all that hangs on it: its rollout, history, pods, events, logs, and who else
//! manages it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fact, Target};
use crate::domain::id::Digest;
use crate::domain::quantity::Quantity;

/// One workload and all that hangs on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Which one.
    pub target: Target,
    /// `metadata.uid`: another object of the same name is another target.
    pub uid: String,
    /// `metadata.resourceVersion` when it was read.
    pub resource_version: String,
    /// `metadata.generation`: changes whenever its spec does.
    pub generation: i64,
    /// The live object without `managedFields` and `status`.
    pub object: Value,
    /// Replica counts of its status.
    pub replicas: Replicas,
    /// How its pods are replaced.
    pub strategy: Strategy,
    /// `spec.paused` of a Deployment.
    pub paused: bool,
    /// Where its latest rollout stands.
    pub rollout: Rollout,
    /// Its history, newest first.
    pub revisions: Fact<Vec<Revision>>,
    /// Its pods, of all revisions.
    pub pods: Fact<Vec<Pod>>,
    /// Recent events about it, its pods and its ReplicaSets, newest first.
    pub events: Fact<Vec<ClusterEvent>>,
    /// The last lines of containers that ended, secrets masked.
    pub logs: Fact<Vec<LogExcerpt>>,
    /// The HorizontalPodAutoscaler that scales it.
    pub autoscaler: Fact<Autoscaler>,
    /// The PodDisruptionBudgets that cover its pods.
    pub budgets: Fact<Vec<DisruptionBudget>>,
    /// The VerticalPodAutoscaler that sets its requests; its name and update mode.
    pub vertical_autoscaler: Fact<VerticalAutoscaler>,
    /// Who else would undo a change to it.
    pub owners: Vec<Owner>,
    /// The nodes that its pods run on.
    pub nodes: Fact<Vec<Node>>,
}

/// Replica counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// `spec.replicas`, or the nodes that a DaemonSet should run on.
    pub desired: i64,
    /// Pods that exist.
    pub current: i64,
    /// Pods of the newest template.
    pub updated: i64,
    /// Pods that are ready.
    pub ready: i64,
    /// Pods that have been ready for `minReadySeconds`.
    pub available: i64,
}

/// How a workload replaces its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// A few at a time; ordinals below `partition` stay (StatefulSet).
    RollingUpdate {
        /// First ordinal that is replaced; 0 elsewhere.
        partition: i64,
    },
    /// All at once (Deployment): an outage by design.
    Recreate,
    /// Only when somebody deletes them (StatefulSet, DaemonSet).
    OnDelete,
}

/// Where a rollout stands, judged as `kubectl rollout status` does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its state.
    pub state: RolloutState,
    /// What is still missing, in kubectl's manner; empty when complete.
    pub message: String,
    /// When the newest revision was made; absent when the history does not tell.
    pub started: Option<Timestamp>,
}

/// The states of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutState {
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

/// One entry of the rollout history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Kubernetes' number; moves when an old template is used again.
    pub number: i64,
    /// The ReplicaSet or ControllerRevision that holds it.
    pub name: String,
    /// When that object was made.
    pub created: Timestamp,
    /// The pod template, without `pod-template-hash`.
    pub template: Value,
    /// The template that the workload has now.
    pub current: bool,
    /// What is known of its health.
    pub health: RevisionHealth,
    /// `kubernetes.io/change-cause`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_cause: Option<String>,
}

/// What speaks for a revision. Kubernetes keeps no record of health; this is evidence, named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevisionHealth {
    /// All its pods are available now.
    Available,
    /// Orderly itself saw a resolution met under this template.
    Verified {
        /// When.
        at: Timestamp,
    },
    /// It was in service for so long before its successor came.
    Served {
        /// When its successor came.
        until: Timestamp,
        /// When it was made.
        since: Timestamp,
    },
    /// It has pods and they fail.
    Failing {
        /// What is seen.
        evidence: String,
    },
    /// Nothing speaks for or against it.
    Unknown,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// `status.phase`.
    pub phase: String,
    /// `status.reason`, such as `Evicted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Condition `Ready` is true.
    pub ready: bool,
    /// Being deleted.
    pub terminating: bool,
    /// When it was made.
    pub created: Timestamp,
    /// The node it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it cannot be scheduled, when it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<String>,
    /// The name of the revision it was made from, when its labels tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Its containers, init containers first.
    pub containers: Vec<Container>,
}

impl Pod {
    /// Restarts of all its containers.
    pub fn restarts(&self) -> i64 {
        self.containers.iter().map(|container| container.restarts).sum()
    }
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// An init container (restartable ones too).
    #[serde(default)]
    pub init: bool,
    /// Its image.
    pub image: String,
    /// Passes its readiness probe.
    pub ready: bool,
    /// How often it was restarted.
    pub restarts: i64,
    /// What it does now.
    pub state: ContainerState,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_terminated: Option<Termination>,
    /// Its limits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
    /// Its requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
}

/// What a container does now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// Not started, and why.
    Waiting {
        /// Such as `CrashLoopBackOff`.
        reason: String,
        /// The kubelet's words.
        message: String,
    },
    /// Running.
    Running {
        /// Since when.
        since: Option<Timestamp>,
    },
    /// Ended.
    Terminated(Termination),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Termination {
    /// Such as `OOMKilled`.
    pub reason: String,
    /// Its exit code.
    pub exit_code: i64,
    /// When.
    pub finished: Option<Timestamp>,
    /// The termination message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One Kubernetes Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterEvent {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub severity: String,
    /// Such as `BackOff`.
    pub reason: String,
    /// What it is about, `Kind/name`.
    pub regarding: String,
    /// The text.
    pub note: String,
    /// How often.
    pub count: i64,
    /// Last seen.
    pub last: Option<Timestamp>,
}

/// The end of one container's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogExcerpt {
    /// Which pod.
    pub pod: String,
    /// Which container.
    pub container: String,
    /// From the run before the present one.
    pub previous: bool,
    /// The text, bounded, with secrets masked.
    pub text: String,
}

/// A HorizontalPodAutoscaler, and KEDA's mark on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// `spec.minReplicas` (1 when unset).
    pub min: i64,
    /// `spec.maxReplicas`.
    pub max: i64,
    /// The ScaledObject that made it, when KEDA did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_object: Option<String>,
}

/// A VerticalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerticalAutoscaler {
    /// Its name.
    pub name: String,
    /// `Off`, `Initial`, `Recreate`, `InPlaceOrRecreate`, `Auto`.
    pub mode: String,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisruptionBudget {
    /// Its name.
    pub name: String,
    /// How many pods may go now.
    pub disruptions_allowed: i64,
}

/// Somebody else who manages the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// Argo CD application.
    ArgoCd {
        /// From the tracking id.
        application: String,
    },
    /// Flux Kustomization.
    FluxKustomization {
        /// `namespace/name`.
        name: String,
    },
    /// Flux HelmRelease.
    FluxHelmRelease {
        /// `namespace/name`.
        name: String,
    },
    /// Helm release.
    Helm {
        /// Its name.
        release: String,
    },
    /// A controller that made the object.
    Controller {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// A node and its trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `Ready` is `True`.
    pub ready: bool,
    /// Conditions that are not as they should be, such as `MemoryPressure`.
    pub trouble: Vec<String>,
}

/// Tells pod templates apart by what they run: restarts and hashes do not count.
pub fn template_digest(template: &Value) -> Digest {
    let mut template = template.clone();
    for (part, unimportant) in [
        ("/metadata/labels", &["pod-template-hash", "controller-revision-hash"][..]),
        ("/metadata/annotations", &["kubectl.kubernetes.io/restartedAt"][..]),
    ] {
        if let Some(fields) = template.pointer_mut(part).and_then(Value::as_object_mut) {
            fields.retain(|key, _| {
                !unimportant.contains(&key.as_str()) && !key.starts_with("orderly.dev/")
            });
        }
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        metadata.retain(|_, value| value.as_object().is_none_or(|fields| !fields.is_empty()));
    }
    Digest::of("orderly-template-v1", &template)
}
