//! The scheduler: pods go to the ready node with the fewest pods; and the taint of cordoned nodes.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, flag, items, text};
use super::super::resources::{NODES, PODS};
use super::put_condition;

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub(super) fn schedule(cluster: &mut Cluster, now: Timestamp) {
    taint_cordoned(cluster, now);
    let waiting: Vec<Arc<Value>> = cluster
        .store
        .list(&PODS, None)
        .filter(|pod| {
            text(pod, "/spec/nodeName").is_empty()
                || object::condition(pod, "PodScheduled").is_none()
        })
        .filter(|pod| !object::terminating(pod))
        .cloned()
        .collect();
    for pod in waiting {
        let (namespace, name) = (object::namespace(&pod).to_owned(), object::name(&pod).to_owned());
        let node = match text(&pod, "/spec/nodeName") {
            "" => emptiest(cluster),
            given => Some(given.to_owned()),
        };
        match node {
            Some(node) => {
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                let stored = cluster.store.modify(&PODS, &namespace, &name, |pod| {
                    // The node is not part of what the owner specified: the generation stays.
                    object::put(pod, &["spec", "nodeName"], node);
                    let status = object::child(pod, &["status"]);
                    put_condition(status, ("PodScheduled", "True"), "", "", now);
                    tidy(status);
                });
                if let Some(stored) = stored {
                    cluster.note(&stored, "Normal", "Scheduled", &message, now);
                }
            }
            None => {
                let nodes = cluster.store.list(&NODES, None).count();
                let message =
                    format!("0/{nodes} nodes are available: {nodes} node(s) were unschedulable.");
                let known = object::condition(&pod, "PodScheduled").is_some();
                cluster.store.modify(&PODS, &namespace, &name, |pod| {
                    let status = object::child(pod, &["status"]);
                    put_condition(
                        status,
                        ("PodScheduled", "False"),
                        "Unschedulable",
                        &message,
                        now,
                    );
                });
                if !known {
                    cluster.note(&pod, "Warning", "FailedScheduling", &message, now);
                }
            }
        }
    }
}

/// Conditions without a reason have no such field.
fn tidy(status: &mut Value) {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        for field in ["reason", "message"] {
            if text(condition, &format!("/{field}")).is_empty() {
                object::take(condition, &[field]);
            }
        }
    }
}

fn emptiest(cluster: &Cluster) -> Option<String> {
    let load = |node: &str| {
        cluster.store.list(&PODS, None).filter(|pod| text(pod, "/spec/nodeName") == node).count()
    };
    cluster
        .store
        .list(&NODES, None)
        .filter(|node| !flag(node, "/spec/unschedulable") && object::condition_true(node, "Ready"))
        .map(|node| object::name(node).to_owned())
        .min_by_key(|node| load(node))
}

fn taint_cordoned(cluster: &mut Cluster, now: Timestamp) {
    let nodes: Vec<Arc<Value>> = cluster.store.list(&NODES, None).cloned().collect();
    for node in nodes {
        let cordoned = flag(&node, "/spec/unschedulable");
        let tainted =
            items(&node, "/spec/taints").iter().any(|taint| text(taint, "/key") == UNSCHEDULABLE);
        if cordoned == tainted {
            continue;
        }
        cluster.store.modify(&NODES, "", object::name(&node), |node| {
            let mut taints: Vec<Value> = items(node, "/spec/taints").to_vec();
            taints.retain(|taint| text(taint, "/key") != UNSCHEDULABLE);
            if cordoned {
                taints.push(json!({
                    "key": UNSCHEDULABLE, "effect": "NoSchedule", "timeAdded": object::rfc3339(now),
                }));
            }
            object::put(node, &["spec", "taints"], taints);
        });
    }
}
