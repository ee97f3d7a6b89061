//! A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, flag, number, text};
use super::super::resources::DEPLOYMENTS;
use super::deployment::Bounds;
use super::{later, put_condition, put_count};

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// Says that a new ReplicaSet was made; the progress deadline counts from here.
pub(super) fn created(cluster: &mut Cluster, deployment: &Value, set: &str, now: Timestamp) {
    let message = format!("Created new replica set \"{set}\"");
    progressing(cluster, deployment, ("True", "NewReplicaSetCreated"), &message, now);
}

fn progressing(
    cluster: &mut Cluster,
    deployment: &Value,
    (state, reason): (&str, &str),
    message: &str,
    now: Timestamp,
) {
    let (namespace, name) = (object::namespace(deployment), object::name(deployment));
    cluster.store.modify(&DEPLOYMENTS, namespace, name, |deployment| {
        let status = object::child(deployment, &["status"]);
        put_dated_condition(status, ("Progressing", state), reason, message, now);
    });
}

/// Conditions of Deployments also carry the time of the last update.
fn put_dated_condition(
    status: &mut Value,
    kind: (&str, &str),
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    put_condition(status, kind, reason, message, now);
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if condition.get("lastUpdateTime").is_none() {
            condition["lastUpdateTime"] = json!(object::rfc3339(now));
        }
    }
}

pub(super) fn sync(
    cluster: &mut Cluster,
    deployment: &Value,
    new: Option<&Arc<Value>>,
    sets: &[Arc<Value>],
    now: Timestamp,
) {
    let (namespace, name) = (object::namespace(deployment), object::name(deployment));
    let bounds = Bounds::of(deployment);
    let sum = |field: &str| sets.iter().filter_map(|set| number(set, field)).sum::<i64>();
    let replicas = sum("/status/replicas");
    let available = sum("/status/availableReplicas");
    let ready = sum("/status/readyReplicas");
    let updated = new.and_then(|new| number(new, "/status/replicas")).unwrap_or(0);
    let old = &deployment["status"];
    let was = |field: &str| number(old, &format!("/{field}")).unwrap_or(0);
    let progressed = updated > was("updatedReplicas")
        || replicas - updated < was("replicas") - was("updatedReplicas")
        || ready > was("readyReplicas")
        || available > was("availableReplicas");
    let generation = deployment["metadata"]["generation"].clone();
    let complete =
        updated == bounds.replicas && replicas == bounds.replicas && available >= bounds.replicas;
    let set_name = new.map_or("", |new| object::name(new)).to_owned();
    let deadline = number(deployment, "/spec/progressDeadlineSeconds");
    let paused = flag(deployment, "/spec/paused");
    let failure = sets.iter().find_map(|set| object::condition(set, "ReplicaFailure")).cloned();
    let stored = cluster.store.modify(&DEPLOYMENTS, namespace, name, |deployment| {
        let status = object::child(deployment, &["status"]);
        if !status.is_object() {
            *status = json!({});
        }
        for (field, count) in [
            ("replicas", replicas),
            ("updatedReplicas", updated),
            ("readyReplicas", ready),
            ("availableReplicas", available),
            ("unavailableReplicas", (sum("/spec/replicas") - available).max(0)),
        ] {
            put_count(status, field, count);
        }
        status["observedGeneration"] = generation;
        let (state, reason, message) = if available >= bounds.replicas - bounds.unavailable {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        put_dated_condition(status, ("Available", state), reason, message, now);
        match &failure {
            Some(failure) => {
                let (reason, message) = (text(failure, "/reason"), text(failure, "/message"));
                put_dated_condition(status, ("ReplicaFailure", "True"), reason, message, now);
            }
            None => {
                if let Some(list) = status["conditions"].as_array_mut() {
                    list.retain(|condition| text(condition, "/type") != "ReplicaFailure");
                }
            }
        }
        let mut whole = json!({"status": status.clone()});
        progress(
            &mut whole["status"],
            Progress { paused, complete, progressed, deadline, set: &set_name },
            now,
        );
        *status = whole["status"].take();
    });
    // The deadline must be noticed when it passes, though nothing happens then.
    if let (Some(stored), Some(deadline)) = (stored, deadline)
        && let Some(condition) = object::condition(&stored, "Progressing")
        && !matches!(text(condition, "/reason"), COMPLETE | TIMED_OUT | "DeploymentPaused")
        && let Some(since) = object::time(text(condition, "/lastUpdateTime"))
    {
        cluster.agenda.alarm(later(since, deadline + 1), object::uid(&stored));
    }
}

struct Progress<'a> {
    paused: bool,
    complete: bool,
    progressed: bool,
    deadline: Option<i64>,
    set: &'a str,
}

fn progress(status: &mut Value, facts: Progress<'_>, now: Timestamp) {
    let Some(deadline) = facts.deadline else { return };
    let condition = super::super::object::items(status, "/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == "Progressing")
        .cloned();
    let reason = condition.as_ref().map_or("", |condition| text(condition, "/reason"));
    if facts.paused {
        if reason != TIMED_OUT {
            let why = ("DeploymentPaused", "Deployment is paused");
            put_dated_condition(status, ("Progressing", "Unknown"), why.0, why.1, now);
        }
        return;
    }
    if reason == "DeploymentPaused" {
        let why = ("DeploymentResumed", "Deployment is resumed");
        put_dated_condition(status, ("Progressing", "Unknown"), why.0, why.1, now);
        return;
    }
    let settled =
        number(status, "/replicas") == number(status, "/updatedReplicas") && reason == COMPLETE;
    if settled {
        return;
    }
    let set = facts.set;
    let name = format!("ReplicaSet \"{set}\"");
    if facts.complete {
        let message = format!("{name} has successfully progressed.");
        put_dated_condition(status, ("Progressing", "True"), COMPLETE, &message, now);
    } else if facts.progressed {
        let message = format!("{name} is progressing.");
        put_dated_condition(status, ("Progressing", "True"), "ReplicaSetUpdated", &message, now);
        // Progress moves the deadline even when it is the same condition again.
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if text(condition, "/type") == "Progressing" {
                condition["lastUpdateTime"] = json!(object::rfc3339(now));
            }
        }
    } else if let Some(since) =
        condition.as_ref().and_then(|condition| object::time(text(condition, "/lastUpdateTime")))
        && reason != COMPLETE
        && now.duration_since(since).as_secs() > deadline
    {
        let message = format!("{name} has timed out progressing.");
        put_dated_condition(status, ("Progressing", "False"), TIMED_OUT, &message, now);
    }
}
