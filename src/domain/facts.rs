//! What was seen in the cluster and in Prometheus: read-only, each with its source and its time.
//!
//! Absent is not zero and unknown is not absent: a [`Fact`] says which of the three it is, and a
//! rule that needs an unknown fact is itself unknown (invariant 7).

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod workload;

pub use workload::*;

/// Something looked for: found, surely not there, or not to be found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Fact<T> {
    /// It is there.
    Known {
        /// What was found.
        value: T,
        /// Where: an API path, a query.
        source: String,
        /// When.
        at: Timestamp,
    },
    /// It was looked for and is not there.
    Absent {
        /// Where it was looked for.
        source: String,
        /// When.
        at: Timestamp,
    },
    /// It could not be found out.
    Unknown {
        /// Where it was looked for.
        source: String,
        /// When.
        at: Timestamp,
        /// Why not.
        why: String,
    },
}

impl<T> Fact<T> {
    /// The value when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Absent { .. } | Self::Unknown { .. } => None,
        }
    }

    /// Why it is not known, when it could not be found out.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown { why, .. } => Some(why),
            Self::Known { .. } | Self::Absent { .. } => None,
        }
    }

    /// Where it was looked for.
    pub fn source(&self) -> &str {
        match self {
            Self::Known { source, .. }
            | Self::Absent { source, .. }
            | Self::Unknown { source, .. } => source,
        }
    }

    /// When it was looked for.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Known { at, .. } | Self::Absent { at, .. } | Self::Unknown { at, .. } => *at,
        }
    }
}

/// The kinds of workload that Orderly remediates.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Kind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// The name in API paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        })
    }
}

/// Names one workload: what "one hand on a target at a time" is about.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A target as a policy and an alert name it, before the cluster has been asked. Already inside the
/// policy's allow-list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetQuery {
    /// The kind that is wanted.
    pub kind: Kind,
    /// Where.
    pub namespace: String,
    /// How it is found.
    pub by: TargetBy,
    /// How many may be found.
    pub max: u32,
}

impl TargetQuery {
    /// Whether `target` can be what is meant, as far as names tell.
    pub fn fits(&self, target: &Target) -> bool {
        let named = match &self.by {
            TargetBy::Name(name) => *name == target.name,
            TargetBy::Selector(_) | TargetBy::OwnerOfPod(_) => true,
        };
        named && self.kind == target.kind && self.namespace == target.namespace
    }
}

/// The three ways to find a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetBy {
    /// By its name.
    Name(String),
    /// By a label selector, in Kubernetes' syntax.
    Selector(String),
    /// By a pod that it owns.
    OwnerOfPod(String),
}

impl fmt::Display for TargetQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, by, .. } = self;
        match by {
            TargetBy::Name(name) => write!(f, "{namespace}/{kind}/{name}"),
            TargetBy::Selector(selector) => write!(f, "{namespace}/{kind} with {selector}"),
            TargetBy::OwnerOfPod(pod) => write!(f, "{namespace}/{kind} that owns pod {pod}"),
        }
    }
}

/// Everything that was collected for one incident at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// When collecting ended.
    pub at: Timestamp,
    /// The workloads that the policy's target names.
    pub targets: Vec<Workload>,
    /// Workloads that an action names by its own `on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Workload>,
    /// The answers to the policy's queries, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, Fact<f64>>,
}
