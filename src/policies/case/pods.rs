//! Pods, their events and their logs as a person writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::period::Period;

/// A pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodCase {
    /// Its name. Default: the workload's with a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its phase. Default `Running`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Such as `Evicted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ready. Default true.
    pub ready: bool,
    /// Being deleted.
    pub terminating: bool,
    /// Since it was made. Default: the rollout's age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Period>,
    /// Its node. Default `node-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it cannot be scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<String>,
    /// The name of the revision that it was made from. Default: the current one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Its containers. Default: those of the template, running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<ContainerCase>>,
}

impl Default for PodCase {
    fn default() -> Self {
        Self {
            name: None,
            phase: None,
            reason: None,
            ready: true,
            terminating: false,
            age: None,
            node: None,
            unschedulable: None,
            revision: None,
            containers: None,
        }
    }
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContainerCase {
    /// Its name. Default: the template's in the same place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An init container.
    pub init: bool,
    /// Its image. Default: the template's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Passes its readiness probe. Default: as the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// How often it was restarted.
    pub restarts: i64,
    /// Why it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingCase>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<TerminationCase>,
    /// How it ended the time before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_terminated: Option<TerminationCase>,
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitingCase {
    /// Such as `CrashLoopBackOff`.
    pub reason: String,
    /// The kubelet's words.
    #[serde(default)]
    pub message: String,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TerminationCase {
    /// Such as `OOMKilled`. Default `Error`.
    #[serde(default = "error")]
    pub reason: String,
    /// Its exit code. Default 137 for `OOMKilled`, 0 for `Completed`, otherwise 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The termination message.
    #[serde(default)]
    pub message: String,
    /// Since it ended. Default 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Period>,
}

fn error() -> String {
    "Error".to_owned()
}

/// A Kubernetes Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventCase {
    /// `Normal` or `Warning` (the default).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Such as `BackOff`.
    pub reason: String,
    /// `Kind/name`. Default: the first pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regarding: Option<String>,
    /// The text.
    #[serde(default)]
    pub note: String,
    /// How often. Default 1.
    #[serde(default = "one")]
    pub count: i64,
    /// Since it was last seen. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Period>,
}

fn one() -> i64 {
    1
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogCase {
    /// The pod. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The container. Default: the template's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// From the run before. Default true.
    #[serde(default = "yes")]
    pub previous: bool,
    /// The text.
    pub text: String,
}

fn yes() -> bool {
    true
}
