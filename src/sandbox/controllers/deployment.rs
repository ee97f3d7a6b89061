//! The Deployment controller: revisions, rolling update, recreate, pause, scaling.
//!
//! It follows the real controller step by step, one scaling at a time, because remediation is
//! judged by exactly these intermediate states.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, annotation, flag, number, text};
use super::super::resources::{DEPLOYMENTS, PODS, REPLICA_SETS};
use super::super::write::Write;
use super::{Round, deployment_status, share};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that stay where they are when a Deployment's are copied to its ReplicaSets.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// The numbers that a rolling update keeps to.
pub(super) struct Bounds {
    pub(super) replicas: i64,
    pub(super) surge: i64,
    pub(super) unavailable: i64,
}

impl Bounds {
    pub(super) fn of(deployment: &Value) -> Self {
        let replicas = number(deployment, "/spec/replicas").unwrap_or(1);
        if text(deployment, "/spec/strategy/type") == "Recreate" {
            return Self { replicas, surge: 0, unavailable: 0 };
        }
        let field =
            |name: &str| deployment.pointer(&format!("/spec/strategy/rollingUpdate/{name}"));
        let surge = share(field("maxSurge"), replicas, Round::Up);
        let unavailable = share(field("maxUnavailable"), replicas, Round::Down).min(replicas);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { replicas, surge, unavailable }
    }

    fn most(&self) -> i64 {
        self.replicas + self.surge
    }
}

pub(super) fn sync(cluster: &mut Cluster, deployment: &Arc<Value>, now: Timestamp) {
    if object::terminating(deployment) {
        return;
    }
    let bounds = Bounds::of(deployment);
    let sets = owned(cluster, deployment);
    let paused = flag(deployment, "/spec/paused");
    let new = newest(deployment, &sets);
    if let Some(new) = &new {
        adopt_revision(cluster, deployment, new, &sets);
    }
    if paused || is_scaling(&sets, &bounds) {
        scale(cluster, deployment, &bounds, now);
    } else if text(deployment, "/spec/strategy/type") == "Recreate" {
        recreate(cluster, deployment, &bounds, now);
    } else {
        roll(cluster, deployment, &bounds, now);
    }
    let sets = owned(cluster, deployment);
    let new = newest(deployment, &sets);
    deployment_status::sync(cluster, deployment, new.as_ref(), &sets, now);
    clean_up(cluster, deployment, new.as_ref(), &sets);
}

/// The ReplicaSets of a Deployment, oldest first.
fn owned(cluster: &Cluster, deployment: &Value) -> Vec<Arc<Value>> {
    let mut sets = cluster.controlled(&REPLICA_SETS, deployment);
    sets.retain(|set| !object::terminating(set));
    sets.sort_by_key(|set| {
        (
            text(set, "/metadata/creationTimestamp").to_owned(),
            revision(set),
            object::name(set).to_owned(),
        )
    });
    sets
}

/// The ReplicaSet with the Deployment's template; the oldest, when there are several.
fn newest(deployment: &Value, sets: &[Arc<Value>]) -> Option<Arc<Value>> {
    let wanted = object::bare_template(&deployment["spec"]["template"]);
    sets.iter().find(|set| object::bare_template(&set["spec"]["template"]) == wanted).cloned()
}

fn is(set: &Value, other: Option<&Arc<Value>>) -> bool {
    other.is_some_and(|other| object::uid(other) == object::uid(set))
}

pub(super) fn revision(set: &Value) -> i64 {
    annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn size(set: &Value) -> i64 {
    number(set, "/spec/replicas").unwrap_or(0)
}

fn available(set: &Value) -> i64 {
    number(set, "/status/availableReplicas").unwrap_or(0)
}

fn total(sets: &[Arc<Value>]) -> i64 {
    sets.iter().map(|set| size(set)).sum()
}

/// Gives the current ReplicaSet the highest number and copies the Deployment's annotations.
fn adopt_revision(
    cluster: &mut Cluster,
    deployment: &Value,
    new: &Arc<Value>,
    sets: &[Arc<Value>],
) {
    let others = sets.iter().filter(|set| !is(set, Some(new)));
    let wanted = others.map(|set| revision(set)).max().unwrap_or(0) + 1;
    let copied = copied_annotations(deployment);
    let seconds = number(deployment, "/spec/minReadySeconds").unwrap_or(0);
    let namespace = object::namespace(new).to_owned();
    let stored = cluster.store.modify(&REPLICA_SETS, &namespace, object::name(new), |set| {
        let former = revision(set);
        if former < wanted {
            let history = annotation(set, HISTORY).unwrap_or_default().to_owned();
            if former > 0 {
                let history = if history.is_empty() {
                    former.to_string()
                } else {
                    format!("{history},{former}")
                };
                object::put(set, &["metadata", "annotations", HISTORY], history);
            }
            object::put(set, &["metadata", "annotations", REVISION], wanted.to_string());
        }
        for (key, value) in copied {
            object::put(set, &["metadata", "annotations", &key], value);
        }
        super::put_count(&mut set["spec"], "minReadySeconds", seconds);
    });
    if let Some(stored) = stored {
        set_revision(cluster, deployment, revision(&stored));
    }
}

fn set_revision(cluster: &mut Cluster, deployment: &Value, number: i64) {
    let (namespace, name) = (object::namespace(deployment), object::name(deployment));
    cluster.store.modify(&DEPLOYMENTS, namespace, name, |deployment| {
        object::put(deployment, &["metadata", "annotations", REVISION], number.to_string());
    });
}

fn copied_annotations(deployment: &Value) -> Vec<(String, Value)> {
    let all = deployment.pointer("/metadata/annotations").and_then(Value::as_object);
    all.into_iter()
        .flatten()
        .filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn create_new(
    cluster: &mut Cluster,
    deployment: &Value,
    sets: &[Arc<Value>],
    bounds: &Bounds,
    now: Timestamp,
) {
    let replicas = if text(deployment, "/spec/strategy/type") == "Recreate" {
        bounds.replicas
    } else {
        (bounds.most() - total(sets)).clamp(0, bounds.replicas)
    };
    let number = sets.iter().map(|set| revision(set)).max().unwrap_or(0) + 1;
    let mut template = deployment["spec"]["template"].clone();
    let hash = object::template_hash(&template);
    let name = format!("{}-{hash}", object::name(deployment));
    object::put(&mut template, &["metadata", "labels", "pod-template-hash"], hash.clone());
    let mut selector = deployment["spec"]["selector"].clone();
    object::put(&mut selector, &["matchLabels", "pod-template-hash"], hash);
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "labels": template["metadata"]["labels"], "annotations": {
                REVISION: number.to_string(), DESIRED: bounds.replicas.to_string(),
                MAXIMUM: bounds.most().to_string(),
            },
            "ownerReferences": [object::owner_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    for (key, value) in copied_annotations(deployment) {
        object::put(&mut set, &["metadata", "annotations", &key], value);
    }
    if let Some(seconds) = deployment.pointer("/spec/minReadySeconds") {
        object::put(&mut set, &["spec", "minReadySeconds"], seconds.clone());
    }
    let namespace = object::namespace(deployment);
    match cluster.create(&REPLICA_SETS, namespace, set, &Write::controller(now)) {
        Ok(_) => {
            set_revision(cluster, deployment, number);
            deployment_status::created(cluster, deployment, &name, now);
            if replicas > 0 {
                let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                cluster.note(deployment, "Normal", "ScalingReplicaSet", &message, now);
            }
        }
        Err(error) => {
            let message = format!("Failed to create new replica set \"{name}\": {}", error.message);
            cluster.note(deployment, "Warning", "ReplicaSetCreateError", &message, now);
        }
    }
}

/// Sets the size of a ReplicaSet; says so when it differs.
fn resize(
    cluster: &mut Cluster,
    deployment: &Value,
    set: &Value,
    to: i64,
    bounds: &Bounds,
    now: Timestamp,
) -> Resized {
    let from = size(set);
    let (namespace, name) = (object::namespace(set).to_owned(), object::name(set).to_owned());
    cluster.store.modify(&REPLICA_SETS, &namespace, &name, |set| {
        object::put(set, &["spec", "replicas"], to);
        object::put(set, &["metadata", "annotations", DESIRED], bounds.replicas.to_string());
        object::put(set, &["metadata", "annotations", MAXIMUM], bounds.most().to_string());
    });
    if from == to {
        return Resized::No;
    }
    let direction = if to > from { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    cluster.note(deployment, "Normal", "ScalingReplicaSet", &message, now);
    Resized::Yes
}

#[derive(PartialEq, Eq)]
enum Resized {
    Yes,
    No,
}

/// Has `spec.replicas` changed since the active ReplicaSets were last sized?
fn is_scaling(sets: &[Arc<Value>], bounds: &Bounds) -> bool {
    sets.iter().filter(|set| size(set) > 0).any(|set| {
        annotation(set, DESIRED)
            .and_then(|text| text.parse::<i64>().ok())
            .is_some_and(|desired| desired != bounds.replicas)
    })
}

fn scale(cluster: &mut Cluster, deployment: &Value, bounds: &Bounds, now: Timestamp) {
    let sets = owned(cluster, deployment);
    let active: Vec<&Arc<Value>> = sets.iter().filter(|set| size(set) > 0).collect();
    let new = newest(deployment, &sets);
    match active.as_slice() {
        [] => {
            // Nothing runs: the newest takes it all, if there is one.
            if let Some(latest) =
                new.as_ref().or_else(|| sets.iter().max_by_key(|set| revision(set)))
            {
                resize(cluster, deployment, latest, bounds.replicas, bounds, now);
            }
        }
        [only] => {
            resize(cluster, deployment, only, bounds.replicas, bounds, now);
        }
        several => {
            // In the middle of a rollout every ReplicaSet keeps its share.
            let allowed = if bounds.replicas == 0 { 0 } else { bounds.most() };
            let before = total(&sets).max(1);
            let mut left = allowed - total(&sets);
            let mut ordered: Vec<&Arc<Value>> = several.to_vec();
            ordered.sort_by_key(|set| std::cmp::Reverse(size(set)));
            let mut sizes: Vec<i64> = Vec::new();
            for set in &ordered {
                let change = size(set) * allowed / before - size(set);
                let change = if left >= 0 { change.clamp(0, left) } else { change.clamp(left, 0) };
                left -= change;
                sizes.push(size(set) + change);
            }
            if let Some(first) = sizes.first_mut() {
                *first = (*first + left).max(0);
            }
            for (set, to) in ordered.into_iter().zip(sizes) {
                resize(cluster, deployment, set, to, bounds, now);
            }
        }
    }
}

fn recreate(cluster: &mut Cluster, deployment: &Value, bounds: &Bounds, now: Timestamp) {
    let sets = owned(cluster, deployment);
    let new = newest(deployment, &sets);
    let mut busy = false;
    for set in sets.iter().filter(|set| !is(set, new.as_ref())) {
        if size(set) > 0 {
            resize(cluster, deployment, set, 0, bounds, now);
        }
        busy |= !cluster.controlled(&PODS, set).is_empty();
    }
    if busy {
        return;
    }
    match new {
        None => create_new(cluster, deployment, &sets, bounds, now),
        Some(new) => {
            resize(cluster, deployment, &new, bounds.replicas, bounds, now);
        }
    }
}

fn roll(cluster: &mut Cluster, deployment: &Value, bounds: &Bounds, now: Timestamp) {
    let sets = owned(cluster, deployment);
    let Some(new) = newest(deployment, &sets) else {
        create_new(cluster, deployment, &sets, bounds, now);
        return;
    };
    let room = (bounds.most() - total(&sets)).max(0);
    let wanted = if size(&new) > bounds.replicas {
        bounds.replicas
    } else {
        size(&new) + room.min(bounds.replicas - size(&new))
    };
    if resize(cluster, deployment, &new, wanted, bounds, now) == Resized::Yes {
        return;
    }
    let old: Vec<Arc<Value>> = sets.iter().filter(|set| !is(set, Some(&new))).cloned().collect();
    if total(&old) == 0 {
        return;
    }
    let least = bounds.replicas - bounds.unavailable;
    let coming = size(&new) - available(&new);
    let mut allowance = total(&sets) - least - coming;
    if allowance <= 0 {
        return;
    }
    // Pods of old revisions that do not serve anyway go first.
    for set in &old {
        let unhealthy = (size(set) - available(set)).min(allowance);
        if unhealthy > 0 {
            resize(cluster, deployment, set, size(set) - unhealthy, bounds, now);
            allowance -= unhealthy;
        }
    }
    let sets = owned(cluster, deployment);
    let serving: i64 = sets.iter().map(|set| available(set).min(size(set))).sum();
    let mut spare = serving - least;
    for set in sets.iter().filter(|set| !is(set, Some(&new))) {
        let step = size(set).min(spare);
        if step > 0 {
            resize(cluster, deployment, set, size(set) - step, bounds, now);
            spare -= step;
        }
    }
}

/// Forgets old revisions beyond `revisionHistoryLimit` once the rollout is complete.
fn clean_up(
    cluster: &mut Cluster,
    deployment: &Value,
    new: Option<&Arc<Value>>,
    sets: &[Arc<Value>],
) {
    let Some(limit) = number(deployment, "/spec/revisionHistoryLimit") else { return };
    let mut old: Vec<&Arc<Value>> = sets.iter().filter(|set| !is(set, new)).collect();
    let spare = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    if spare == 0 || total(sets) != new.map_or(0, |new| size(new)) {
        return;
    }
    old.sort_by_key(|set| revision(set));
    for set in old.into_iter().take(spare) {
        let empty = number(set, "/status/replicas").unwrap_or(0) == 0 && size(set) == 0;
        if empty {
            cluster.store.remove(&REPLICA_SETS, object::namespace(set), object::name(set));
        }
    }
}
