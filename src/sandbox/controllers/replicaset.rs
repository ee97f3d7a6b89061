//! The ReplicaSet controller: as many pods as wanted, and a count of how they fare.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, number, text};
use super::super::resources::{PODS, REPLICA_SETS};
use super::{PodName, next_available, put_condition, put_count};

pub(super) fn sync(cluster: &mut Cluster, set: &Arc<Value>, now: Timestamp) {
    if object::terminating(set) {
        return;
    }
    let wanted = usize::try_from(number(set, "/spec/replicas").unwrap_or(0)).unwrap_or(0);
    let mut pods = active(cluster, set);
    let mut failure = None;
    if pods.len() > wanted {
        // Those that serve least go first: unscheduled, not ready, often restarted, young.
        pods.sort_by_cached_key(|pod| {
            let restarts: i64 = object::items(pod, "/status/containerStatuses")
                .iter()
                .filter_map(|status| number(status, "/restartCount"))
                .sum();
            (
                !text(pod, "/spec/nodeName").is_empty(),
                object::pod_ready(pod),
                std::cmp::Reverse(restarts),
                std::cmp::Reverse(text(pod, "/metadata/creationTimestamp").to_owned()),
            )
        });
        let surplus = pods.len() - wanted;
        for pod in pods.drain(..surplus) {
            cluster.delete_pod_of(set, &pod, now);
        }
    }
    for _ in pods.len()..wanted {
        let prefix = PodName::Prefix(format!("{}-", object::name(set)));
        if let Err(error) = cluster.create_pod(set, &set["spec"]["template"], prefix, &[], now) {
            failure = Some(error.message);
            break;
        }
    }
    let pods = active(cluster, set);
    let seconds = number(set, "/spec/minReadySeconds").unwrap_or(0);
    let ready = pods.iter().filter(|pod| object::pod_ready(pod)).count();
    let available = pods.iter().filter(|pod| object::pod_available(pod, seconds, now)).count();
    if let Some(at) = next_available(&pods, seconds, now) {
        cluster.agenda.alarm(at, object::uid(set));
    }
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let generation = set["metadata"]["generation"].clone();
    cluster.store.modify(&REPLICA_SETS, object::namespace(set), object::name(set), |set| {
        let status = object::child(set, &["status"]);
        object::put(status, &["replicas"], count(pods.len()));
        put_count(status, "fullyLabeledReplicas", count(pods.len()));
        put_count(status, "readyReplicas", count(ready));
        put_count(status, "availableReplicas", count(available));
        status["observedGeneration"] = generation;
        match failure {
            Some(message) => {
                put_condition(status, ("ReplicaFailure", "True"), "FailedCreate", &message, now);
            }
            None if status.get("conditions").is_some() => status["conditions"] = json!([]),
            None => {}
        }
    });
}

/// The pods of the set that are neither finished nor on their way out.
fn active(cluster: &Cluster, set: &Value) -> Vec<Arc<Value>> {
    let mut pods = cluster.controlled(&PODS, set);
    pods.retain(|pod| {
        !object::terminating(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
    });
    pods
}
