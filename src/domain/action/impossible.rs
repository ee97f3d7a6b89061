//! Why an action cannot be planned: each refusal with its evidence.

use serde::{Deserialize, Serialize};

use crate::domain::facts::Kind;
use crate::domain::quantity::Quantity;

/// A resource of a ResourceQuota that does not suffice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceeded {
    /// Its name in the quota, such as `limits.memory`.
    pub resource: String,
    /// What is needed besides what is used.
    pub requested: Quantity,
    /// What is used.
    pub used: Quantity,
    /// What there is.
    pub limited: Quantity,
}

/// As the API server lists them in its own refusal.
fn listed(exceeded: &[Exceeded], amount: impl Fn(&Exceeded) -> Quantity) -> String {
    let all = exceeded.iter().map(|it| format!("{}={}", it.resource, amount(it)));
    all.collect::<Vec<_>>().join(",")
}

/// A reason not to plan an action. The text is for the person at 03:00.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "why")]
pub enum Impossible {
    /// The policy's target names nothing that exists.
    #[error("there is no workload to act on")]
    NoTarget,
    /// The workload that the action's `on` names does not exist.
    #[error("there is no {kind} `{name}` in the target's namespace")]
    RelatedNotFound {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// A fact that the plan needs could not be found out.
    #[error("{fact} could not be found out: {cause}")]
    FactUnknown {
        /// Which fact.
        fact: String,
        /// Why.
        cause: String,
    },
    /// Changes to a paused Deployment pile up and roll out all at once on resume.
    #[error("the Deployment is paused: resume it first (`kubectl rollout resume`)")]
    Paused,
    /// The controller would not replace any pod.
    #[error("its update strategy is OnDelete: a change of the template replaces no pod")]
    OnDelete,
    /// A person holds back its rollout.
    #[error(
        "its rollout is partitioned: the first {} of its {replicas} pods would keep the old \
         template; finish or undo that rollout first (`partition: 0`)", (*.partition).min(*.replicas)
    )]
    Partitioned {
        /// So many pods are left alone.
        partition: i64,
        /// Of so many.
        replicas: i64,
    },
    /// The kind has no replicas.
    #[error("a {kind} cannot be scaled")]
    NotScalable {
        /// Its kind.
        kind: Kind,
    },
    /// An autoscaler would undo it.
    #[error(
        "HorizontalPodAutoscaler `{name}` owns the replicas ({min} to {max}) and would undo it"
    )]
    AutoscalerOwns {
        /// Its name.
        name: String,
        /// Its lower bound.
        min: i64,
        /// Its upper bound.
        max: i64,
    },
    /// KEDA would undo it.
    #[error("KEDA ScaledObject `{name}` owns the replicas and the autoscaler's bounds")]
    ScaledObjectOwns {
        /// Its name.
        name: String,
    },
    /// It is as the policy wants it already.
    #[error("nothing to change: {what}")]
    NothingToChange {
        /// What is so already.
        what: String,
    },
    /// The policy's cap is reached.
    #[error(
        "{resource} of container `{container}` is {current}, at or above the policy's cap {cap}"
    )]
    AtCap {
        /// `memory limit` and the like.
        resource: String,
        /// Which container.
        container: String,
        /// What there is.
        current: Quantity,
        /// The policy's cap.
        cap: Quantity,
    },
    /// The action would take away what there is.
    #[error("{resource} of container `{container}` is {current}: {wanted} would lower it")]
    WouldLower {
        /// `memory limit` and the like.
        resource: String,
        /// Which container.
        container: String,
        /// What there is.
        current: Quantity,
        /// What the policy asks for.
        wanted: Quantity,
    },
    /// There is nothing to multiply or add to.
    #[error("container `{container}` has no {resource} to start from: use `to` in the policy")]
    NoAmount {
        /// `memory limit` and the like.
        resource: String,
        /// Which container.
        container: String,
    },
    /// No container of that name.
    #[error("there is no container `{container}`; there are: {}", available.join(", "))]
    NoContainer {
        /// The policy's name.
        container: String,
        /// The workload's names.
        available: Vec<String>,
    },
    /// The policy names none, and there are several.
    #[error("which container is meant? name one in the policy: {}", available.join(", "))]
    WhichContainer {
        /// The workload's names.
        available: Vec<String>,
    },
    /// The container has no such probe.
    #[error("container `{container}` has no {probe}")]
    NoProbe {
        /// Which container.
        container: String,
        /// `livenessProbe` and the like.
        probe: String,
    },
    /// No revision qualifies.
    #[error("no earlier revision is known to be healthy: {}", examined.join("; "))]
    NoHealthyRevision {
        /// Each revision with the reason against it.
        examined: Vec<String>,
    },
    /// The wanted revision is no longer in the history.
    #[error("revision {revision} is not in the history; there are: {}", available.join(", "))]
    NoSuchRevision {
        /// The wanted one.
        revision: i64,
        /// What there is.
        available: Vec<String>,
    },
    /// The API server said no to the dry run.
    #[error("the API server refuses it: {message}")]
    RefusedByServer {
        /// The server's own words.
        message: String,
    },
    /// The API server would take the change and then refuse its pods.
    #[error(
        "its pods would be refused: exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
        listed(exceeded, |it| it.requested), listed(exceeded, |it| it.used),
        listed(exceeded, |it| it.limited)
    )]
    QuotaExceeded {
        /// Which ResourceQuota.
        quota: String,
        /// The resources that do not suffice.
        exceeded: Vec<Exceeded>,
    },
    /// The independent check found fault with the plan.
    #[error("the plan check refuses it: {violation}")]
    RefusedByCheck {
        /// What is wrong.
        violation: String,
    },
}
