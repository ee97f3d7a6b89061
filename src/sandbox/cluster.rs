//! The cluster's whole state: objects, what the pods are doing, and the rules of its administrator.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::access::Access;
use super::controllers::agenda::Agenda;
use super::controllers::kubelet::PodRuntime;
use super::error::ApiError;
use super::object;
use super::resources::{self, ResourceType};
use super::store::Store;

/// How fast things happen in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the scheduling of a pod to the start of its containers.
    pub start_delay: SignedDuration,
    /// From the start of a container to its readiness, where the pod does not say otherwise.
    pub ready_after: SignedDuration,
    /// The first CrashLoopBackOff delay; it doubles.
    pub backoff: SignedDuration,
    /// The longest CrashLoopBackOff delay.
    pub backoff_limit: SignedDuration,
    /// How long a pod takes to stop, where the pod does not say otherwise.
    pub termination: SignedDuration,
}

impl Pace {
    /// Quick enough to watch: what the demo and most tests want.
    pub const QUICK: Self = Self {
        start_delay: SignedDuration::from_millis(500),
        ready_after: SignedDuration::from_millis(200),
        backoff: SignedDuration::from_secs(1),
        backoff_limit: SignedDuration::from_secs(5),
        termination: SignedDuration::from_millis(400),
    };
    /// The delays of a real kubelet.
    pub const REAL: Self = Self {
        start_delay: SignedDuration::from_secs(2),
        ready_after: SignedDuration::from_secs(3),
        backoff: SignedDuration::from_secs(10),
        backoff_limit: SignedDuration::from_secs(300),
        termination: SignedDuration::from_secs(2),
    };
}

/// A denial that an admission webhook of the scenario gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionDenial {
    /// The name of the webhook, for the error text.
    pub webhook: String,
    /// `create`, `update`, `delete`; patches count as updates. Empty: all.
    pub verb: String,
    /// The plural of the kind. Empty: all.
    pub resource: String,
    /// Empty: all.
    pub namespace: String,
    /// Empty: all.
    pub name: String,
    /// What the webhook says.
    pub message: String,
    /// The HTTP code of the refusal; 400 is what most webhooks cause.
    pub code: u16,
}

/// Everything that the lock around the cluster guards.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) store: Store,
    pub(super) pods: BTreeMap<String, PodRuntime>,
    pub(super) pace: Pace,
    pub(super) access: Access,
    pub(super) denials: Vec<AdmissionDenial>,
    pub(super) optional: Vec<&'static str>,
    /// What the controllers have to look at.
    pub(super) agenda: Agenda,
    /// Workloads whose pods were refused: until when they do not try again, and why.
    pub(super) refused: BTreeMap<String, (Timestamp, ApiError)>,
    /// When a client last changed something.
    pub(super) touched: Timestamp,
    /// Until when the controllers have worked.
    pub(super) worked_until: Timestamp,
}

impl Cluster {
    pub(super) fn new(seed: u64, pace: Pace, now: Timestamp) -> Self {
        Self {
            store: Store::new(seed),
            pods: BTreeMap::new(),
            pace,
            access: Access::default(),
            denials: Vec::new(),
            optional: Vec::new(),
            agenda: Agenda::default(),
            refused: BTreeMap::new(),
            touched: now,
            worked_until: now,
        }
    }

    /// Is the kind served?
    pub(super) fn serves(&self, kind: &ResourceType) -> bool {
        match kind.availability {
            resources::Availability::BuiltIn => true,
            resources::Availability::Optional => self.optional.contains(&kind.plural),
        }
    }

    /// The kind at a path, if it is served.
    pub(super) fn served(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&'static ResourceType> {
        resources::find(group, version, plural).filter(|kind| self.serves(kind))
    }
}

/// What a scenario can read of the cluster while it answers, without going over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(super) store: &'a Store,
    /// The cluster's time.
    pub now: Timestamp,
}

impl View<'_> {
    /// One object by the plural (or short name) of its kind.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let kind = resources::by_name(resource)?;
        self.store.get(kind, namespace, name).map(|object| (**object).clone())
    }

    /// The objects of a kind in one namespace, or in all when it is empty.
    pub fn list(&self, resource: &str, namespace: &str) -> Vec<Value> {
        let Some(kind) = resources::by_name(resource) else { return Vec::new() };
        let namespace = (!namespace.is_empty()).then_some(namespace);
        self.store.list(kind, namespace).map(|object| (**object).clone()).collect()
    }

    /// The pods that a Deployment's ReplicaSets, a StatefulSet or a DaemonSet controls.
    pub fn pods_of(&self, namespace: &str, workload: &str) -> Vec<Value> {
        let mut owners: Vec<String> = Vec::new();
        for kind in [&resources::DEPLOYMENTS, &resources::STATEFUL_SETS, &resources::DAEMON_SETS] {
            if let Some(found) = self.store.get(kind, namespace, workload) {
                owners.push(object::uid(found).to_owned());
            }
        }
        for set in self.store.list(&resources::REPLICA_SETS, Some(namespace)) {
            if owners.iter().any(|owner| object::controlled_by(set, owner)) {
                owners.push(object::uid(set).to_owned());
            }
        }
        self.store
            .list(&resources::PODS, Some(namespace))
            .filter(|pod| owners.iter().any(|owner| object::controlled_by(pod, owner)))
            .map(|pod| (**pod).clone())
            .collect()
    }

    /// Does any ready pod of the workload run an image that contains `fragment`?
    pub fn serves_image(&self, namespace: &str, workload: &str, fragment: &str) -> bool {
        self.pods_of(namespace, workload).iter().any(|pod| {
            object::pod_ready(pod)
                && object::items(pod, "/spec/containers")
                    .iter()
                    .any(|container| object::text(container, "/image").contains(fragment))
        })
    }

    /// How many pods of the workload are ready.
    pub fn ready_pods(&self, namespace: &str, workload: &str) -> usize {
        self.pods_of(namespace, workload).iter().filter(|pod| object::pod_ready(pod)).count()
    }
}

/// A list object around `items`.
pub(super) fn list_of(kind: &ResourceType, version: u64, items: Vec<Value>) -> Value {
    json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": version.to_string()}, "items": items,
    })
}
