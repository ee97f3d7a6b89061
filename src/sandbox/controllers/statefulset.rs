//! The StatefulSet controller: one pod after the other, and no further when one does not get ready.
//!
//! With `OrderedReady` a broken pod blocks the loop before the update stage, so that a reverted
//! template alone heals nothing: the broken pod has to be deleted. That is the real behaviour.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, label, number, text};
use super::super::resources::{PODS, STATEFUL_SETS};
use super::{PodName, next_available, put_count, revisions};

const REVISION_LABEL: &str = "controller-revision-hash";

pub(super) fn sync(cluster: &mut Cluster, set: &Arc<Value>, now: Timestamp) {
    if object::terminating(set) {
        return;
    }
    let Some(update) = revisions::current(cluster, set, now) else { return };
    let history = revisions::history(cluster, set);
    let current = history
        .iter()
        .find(|revision| object::name(revision) == text(set, "/status/currentRevision"))
        .unwrap_or(&update)
        .clone();
    arrange(cluster, set, &current, &update, now);
    put_status(cluster, set, &current, &update, now);
    let mut in_use = vec![object::name(&current).to_owned(), object::name(&update).to_owned()];
    in_use.extend(
        pods_of(cluster, set)
            .values()
            .filter_map(|pod| label(pod, REVISION_LABEL).map(str::to_owned)),
    );
    let in_use: Vec<&str> = in_use.iter().map(String::as_str).collect();
    revisions::clean_up(cluster, set, &in_use);
}

/// The set's pods by ordinal.
fn pods_of(cluster: &Cluster, set: &Value) -> BTreeMap<i64, Arc<Value>> {
    let prefix = format!("{}-", object::name(set));
    let ordinal = |pod: &Value| object::name(pod).strip_prefix(&prefix)?.parse().ok();
    cluster
        .controlled(&PODS, set)
        .into_iter()
        .filter_map(|pod| ordinal(&pod).map(|ordinal| (ordinal, pod)))
        .collect()
}

fn partition(set: &Value) -> i64 {
    number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
}

/// Takes the next step, or the next steps where pods need not wait for each other.
fn arrange(cluster: &mut Cluster, set: &Value, current: &Value, update: &Value, now: Timestamp) {
    let replicas = number(set, "/spec/replicas").unwrap_or(1);
    let start = number(set, "/spec/ordinals/start").unwrap_or(0);
    let ordered = text(set, "/spec/podManagementPolicy") != "Parallel";
    let rolling = text(set, "/spec/updateStrategy/type") == "RollingUpdate";
    let seconds = number(set, "/spec/minReadySeconds").unwrap_or(0);
    let pods = pods_of(cluster, set);
    for ordinal in start..start + replicas {
        let old_revision = if rolling {
            ordinal < start + partition(set)
        } else {
            ordinal < start + number(set, "/status/currentReplicas").unwrap_or(0)
        };
        let Some(pod) = pods.get(&ordinal) else {
            let revision = if old_revision { current } else { update };
            create(cluster, set, revision, ordinal, now);
            if ordered {
                return;
            }
            continue;
        };
        if matches!(text(pod, "/status/phase"), "Failed" | "Succeeded") && !object::terminating(pod)
        {
            cluster.delete_pod_of(set, pod, now);
            if ordered {
                return;
            }
            continue;
        }
        let settled = !object::terminating(pod) && object::pod_available(pod, seconds, now);
        if ordered && !settled {
            return;
        }
    }
    for (ordinal, pod) in pods.iter().rev() {
        if (start..start + replicas).contains(ordinal) {
            continue;
        }
        if object::terminating(pod) {
            if ordered {
                return;
            }
            continue;
        }
        cluster.delete_pod_of(set, pod, now);
        if ordered {
            return;
        }
    }
    if !rolling {
        return;
    }
    for ordinal in (start + partition(set)..start + replicas).rev() {
        let Some(pod) = pods.get(&ordinal) else { return };
        if label(pod, REVISION_LABEL) != Some(object::name(update)) && !object::terminating(pod) {
            cluster.delete_pod_of(set, pod, now);
            return;
        }
        if object::terminating(pod) || !object::pod_available(pod, seconds, now) {
            return;
        }
    }
}

fn create(cluster: &mut Cluster, set: &Value, revision: &Value, ordinal: i64, now: Timestamp) {
    let name = format!("{}-{ordinal}", object::name(set));
    let index = ordinal.to_string();
    let labels = [
        (REVISION_LABEL, object::name(revision)),
        ("statefulset.kubernetes.io/pod-name", &name),
        ("apps.kubernetes.io/pod-index", &index),
    ];
    let template = revisions::template(revision);
    // A refusal is told in an event and tried again; the set's status shows the missing pod.
    let _told = cluster.create_pod(set, &template, PodName::Exact(name.clone()), &labels, now);
}

fn put_status(cluster: &mut Cluster, set: &Value, current: &Value, update: &Value, now: Timestamp) {
    let pods: Vec<Arc<Value>> = pods_of(cluster, set).into_values().collect();
    let seconds = number(set, "/spec/minReadySeconds").unwrap_or(0);
    if let Some(at) = next_available(&pods, seconds, now) {
        cluster.agenda.alarm(at, object::uid(set));
    }
    let count = |holds: &dyn Fn(&Value) -> bool| {
        i64::try_from(pods.iter().filter(|pod| holds(pod)).count()).unwrap_or(i64::MAX)
    };
    let of = |pod: &Value, revision: &Value| {
        !object::terminating(pod) && label(pod, REVISION_LABEL) == Some(object::name(revision))
    };
    let total = count(&|_| true);
    let ready = count(&object::pod_ready);
    let available = count(&|pod| object::pod_available(pod, seconds, now));
    let mut at_current = count(&|pod| of(pod, current));
    let at_update = count(&|pod| of(pod, update));
    let replicas = number(set, "/spec/replicas").unwrap_or(1);
    let rolling = text(set, "/spec/updateStrategy/type") == "RollingUpdate";
    let complete = rolling && at_update == replicas && total == replicas && ready == replicas;
    let mut current_name = object::name(current).to_owned();
    if complete {
        current_name = object::name(update).to_owned();
        at_current = at_update;
    }
    let update_name = object::name(update).to_owned();
    let generation = set["metadata"]["generation"].clone();
    cluster.store.modify(&STATEFUL_SETS, object::namespace(set), object::name(set), |set| {
        let status = object::child(set, &["status"]);
        object::put(status, &["replicas"], total);
        object::put(status, &["availableReplicas"], available);
        put_count(status, "readyReplicas", ready);
        put_count(status, "currentReplicas", at_current);
        put_count(status, "updatedReplicas", at_update);
        status["currentRevision"] = json!(current_name);
        status["updateRevision"] = json!(update_name);
        status["observedGeneration"] = generation;
        status["collisionCount"] = json!(0);
    });
}
