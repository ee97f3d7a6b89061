//! A plan: the exact changes, each with what must be true before, what is true after, and how to
//! undo it. A plan is data; whether it may run is decided elsewhere.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::{Target, Workload};
use super::id::Digest;

/// An ordered list of exact changes for one incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The cause that it answers.
    pub cause: String,
    /// Its policy's version.
    pub policy: Digest,
    /// The changes, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// What an approval binds to: every byte of the plan that decides what happens.
    ///
    /// The `resourceVersion` is left out on purpose: a crash-looping workload's status changes every
    /// few seconds and no plan would live long enough to be approved. In its place stand the uid and
    /// the generation, which changes with every change of the spec; the writer reads the object
    /// again and sends the newest `resourceVersion` as the precondition.
    pub fn digest(&self) -> Digest {
        Digest::of("orderly-plan-v1", self)
    }

    /// Whether it touches the cluster; a plan that does not only tells people.
    pub fn changes_anything(&self) -> bool {
        self.steps.iter().any(|step| match step.change {
            Change::Patch(_) | Change::DeletePods(_) => true,
            Change::Notify { .. } => false,
        })
    }

    /// Whether it changes this workload, be it through the autoscaler that scales it.
    pub fn changes(&self, workload: &Workload) -> bool {
        self.steps.iter().any(|step| match &step.change {
            Change::Patch(change) => {
                let object = &change.object;
                let same = object.namespace == workload.target.namespace;
                let scales = workload.autoscaler.known().is_some_and(|owner| {
                    object.kind == "HorizontalPodAutoscaler" && object.name == owner.name
                });
                same && (object.uid == workload.uid || scales)
            }
            Change::DeletePods(change) => change.owner == workload.target,
            Change::Notify { .. } => false,
        })
    }
}

/// One exact change, or a message to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The action that asked for it, as named in the policy.
    pub action: String,
    /// What it does, in one sentence.
    pub summary: String,
    /// Why this and not something else: the choice with its evidence.
    pub reason: String,
    /// What is done.
    pub change: Change,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A patch of one object.
    Patch(PatchChange),
    /// Pods that a StatefulSet cannot replace by itself: each deleted by name and uid.
    DeletePods(DeletePods),
    /// A message to a receiver.
    Notify {
        /// The receiver's name.
        to: String,
        /// What a person has to do.
        message: String,
    },
}

/// A patch with its guard, its proof and its inverse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchChange {
    /// Which object.
    pub object: ObjectRef,
    /// The patch. Preconditions and the idempotency mark are added by the writer.
    pub patch: Patch,
    /// The patch that undoes it, for later.
    pub inverse: Patch,
    /// How to see that it was applied, also after a crash.
    pub postcondition: Vec<Expected>,
    /// True when pods are replaced by it.
    pub replaces_pods: bool,
}

/// One object as it was when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: the same name may be another object by now.
    pub uid: String,
    /// Its generation: the same object may have another spec by now.
    pub generation: i64,
    /// `scale`, when the change goes to that subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
}

/// A patch and its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", content = "body")]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' strategic merge patch: lists merge by key.
    Strategic(Value),
}

impl Patch {
    /// The body without its kind.
    pub fn body(&self) -> &Value {
        match self {
            Self::Merge(body) | Self::Strategic(body) => body,
        }
    }
}

/// A field that must have a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Where. Numbers and names step into objects; `[name=agent]` picks a list entry by a field.
    pub path: Vec<String>,
    /// What must be there; `null` for nothing at all.
    pub value: Value,
}

/// Pods to delete, by uid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeletePods {
    /// The workload that makes new ones.
    pub owner: Target,
    /// Name and uid of each.
    pub pods: Vec<(String, String)>,
}
