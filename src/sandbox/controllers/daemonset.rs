//! The DaemonSet controller: one pod on every node.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, label, number, text};
use super::super::resources::{DAEMON_SETS, NODES, PODS};
use super::{PodName, Round, next_available, put_count, revisions, share};

const REVISION_LABEL: &str = "controller-revision-hash";

pub(super) fn sync(cluster: &mut Cluster, set: &Arc<Value>, now: Timestamp) {
    if object::terminating(set) {
        return;
    }
    let Some(update) = revisions::current(cluster, set, now) else { return };
    let hash = revisions::hash(&update).to_owned();
    let nodes: Vec<String> =
        cluster.store.list(&NODES, None).map(|node| object::name(node).to_owned()).collect();
    let pods = cluster.controlled(&PODS, set);
    for node in &nodes {
        let here = |pod: &&Arc<Value>| text(pod, "/spec/nodeName") == node;
        let Some(pod) = pods.iter().find(here) else {
            let mut template = revisions::template(&update);
            object::put(&mut template, &["spec", "nodeName"], node.clone());
            object::put(&mut template, &["spec", "tolerations"], tolerations());
            let generation = set["metadata"]["generation"].to_string();
            let labels =
                [(REVISION_LABEL, hash.as_str()), ("pod-template-generation", &generation)];
            let prefix = PodName::Prefix(format!("{}-", object::name(set)));
            // A refusal is told in an event and tried again.
            let _told = cluster.create_pod(set, &template, prefix, &labels, now);
            continue;
        };
        if matches!(text(pod, "/status/phase"), "Failed" | "Succeeded") && !object::terminating(pod)
        {
            cluster.delete_pod_of(set, pod, now);
        }
    }
    for pod in
        pods.iter().filter(|pod| !nodes.iter().any(|node| text(pod, "/spec/nodeName") == node))
    {
        if !object::terminating(pod) {
            cluster.delete_pod_of(set, pod, now);
        }
    }
    if text(set, "/spec/updateStrategy/type") == "RollingUpdate" {
        roll(cluster, set, &hash, nodes.len(), now);
    }
    put_status(cluster, set, &hash, nodes.len(), now);
    revisions::clean_up(cluster, set, &[object::name(&update)]);
}

/// DaemonSet pods also run on nodes that others avoid.
fn tolerations() -> Value {
    let tolerate = |key: &str, effect: &str| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": effect});
    json!([
        tolerate("not-ready", "NoExecute"),
        tolerate("unreachable", "NoExecute"),
        tolerate("disk-pressure", "NoSchedule"),
        tolerate("memory-pressure", "NoSchedule"),
        tolerate("pid-pressure", "NoSchedule"),
        tolerate("unschedulable", "NoSchedule"),
    ])
}

fn roll(cluster: &mut Cluster, set: &Value, hash: &str, nodes: usize, now: Timestamp) {
    let pods = cluster.controlled(&PODS, set);
    let seconds = number(set, "/spec/minReadySeconds").unwrap_or(0);
    let total = i64::try_from(nodes).unwrap_or(0);
    let bound = set.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable");
    let allowed = share(bound, total, Round::Up).max(1);
    let serving = pods.iter().filter(|pod| object::pod_available(pod, seconds, now)).count();
    let mut spare = allowed - (total - i64::try_from(serving).unwrap_or(0));
    for pod in &pods {
        if label(pod, REVISION_LABEL) == Some(hash) || object::terminating(pod) {
            continue;
        }
        // An old pod that does not serve costs nothing.
        if !object::pod_available(pod, seconds, now) {
            cluster.delete_pod_of(set, pod, now);
        } else if spare > 0 {
            cluster.delete_pod_of(set, pod, now);
            spare -= 1;
        }
    }
}

fn put_status(cluster: &mut Cluster, set: &Value, hash: &str, nodes: usize, now: Timestamp) {
    let mut pods = cluster.controlled(&PODS, set);
    pods.retain(|pod| !object::terminating(pod));
    let seconds = number(set, "/spec/minReadySeconds").unwrap_or(0);
    if let Some(at) = next_available(&pods, seconds, now) {
        cluster.agenda.alarm(at, object::uid(set));
    }
    let count = |holds: &dyn Fn(&Value) -> bool| {
        i64::try_from(pods.iter().filter(|pod| holds(pod)).count()).unwrap_or(i64::MAX)
    };
    let wanted = i64::try_from(nodes).unwrap_or(i64::MAX);
    let ready = count(&object::pod_ready);
    let available = count(&|pod| object::pod_available(pod, seconds, now));
    let updated = count(&|pod| label(pod, REVISION_LABEL) == Some(hash));
    let current = count(&|_| true);
    let generation = set["metadata"]["generation"].clone();
    cluster.store.modify(&DAEMON_SETS, object::namespace(set), object::name(set), |set| {
        let status = object::child(set, &["status"]);
        object::put(status, &["currentNumberScheduled"], current);
        object::put(status, &["desiredNumberScheduled"], wanted);
        object::put(status, &["numberMisscheduled"], 0);
        object::put(status, &["numberReady"], ready);
        put_count(status, "numberAvailable", available);
        put_count(status, "numberUnavailable", wanted - available);
        put_count(status, "updatedNumberScheduled", updated);
        status["observedGeneration"] = generation;
    });
}
