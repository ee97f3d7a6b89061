//! The controllers in miniature, and the clockwork that runs them.
//!
//! All work happens under the cluster's lock and at a given time; [`Cluster::work`] plays through
//! every moment at which something falls due, so that an hour passed at once leaves the same traces
//! as an hour lived through.

pub(super) mod agenda;
mod autoscaler;
mod behavior;
mod container;
mod daemonset;
mod deployment;
mod deployment_status;
mod disruption;
mod garbage;
pub(super) mod kubelet;
mod node;
mod quota;
mod replicaset;
mod revisions;
mod statefulset;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use agenda::{NODES_CHANGED, REMOVALS};

use super::cluster::Cluster;
use super::error::ApiError;
use super::object::{self, text};
use super::resources::{
    AUTOSCALERS, DAEMON_SETS, DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, REPLICA_SETS, RESOURCE_QUOTAS,
    ResourceType, STATEFUL_SETS,
};
use super::store::EventNote;
use super::write::Write;

/// Rounds of controllers at one moment; each round reacts to the one before, and a rollout of any
/// size settles in far fewer.
const ROUNDS: usize = 64;
/// Moments that one call plays through: days of a crash loop.
const MOMENTS: usize = 20_000;

/// How long a workload waits after the refusal of a pod.
const RETRY_SECONDS: i64 = 5;

type Sync = fn(&mut Cluster, &Arc<Value>, Timestamp);
/// What reacts to changes of its own objects and of those that it controls.
static CONTROLLERS: [(&ResourceType, Sync); 3] = [
    (&DEPLOYMENTS, deployment::sync),
    (&REPLICA_SETS, replicaset::sync),
    (&STATEFUL_SETS, statefulset::sync),
];
/// What reacts to anything in its namespace.
static OBSERVERS: [(&ResourceType, Sync); 3] = [
    (&DISRUPTION_BUDGETS, disruption::sync),
    (&AUTOSCALERS, autoscaler::sync),
    (&RESOURCE_QUOTAS, quota::sync),
];

impl Cluster {
    /// Lets the controllers work up to `now`.
    pub(super) fn work(&mut self, now: Timestamp) {
        for _ in 0..MOMENTS {
            // A change is answered when it was made, not when somebody looks again.
            let unanswered = self.agenda.is_behind(&self.store).then_some(self.touched);
            let due = self.agenda.next_alarm().into_iter().chain(unanswered).min();
            let Some(due) = due.filter(|due| *due <= now) else { break };
            self.moment(due.max(self.worked_until));
        }
        self.worked_until = self.worked_until.max(now);
        self.store.forget_events(now);
    }

    fn moment(&mut self, now: Timestamp) {
        self.worked_until = now;
        self.agenda.ring(now);
        for _ in 0..ROUNDS {
            let Some(round) = self.agenda.next_round(&self.store) else { break };
            for (kind, sync) in CONTROLLERS {
                for object in self.all(kind) {
                    if round.concerns(object::uid(&object)) {
                        sync(self, &object, now);
                    }
                }
            }
            for set in self.all(&DAEMON_SETS) {
                if round.concerns(object::uid(&set)) || round.concerns(NODES_CHANGED) {
                    daemonset::sync(self, &set, now);
                }
            }
            if round.concerns(REMOVALS) {
                garbage::collect(self);
            }
            node::schedule(self, now);
            for pod in self.all(&PODS) {
                if round.concerns(object::uid(&pod)) {
                    kubelet::sync(self, &pod, now);
                }
            }
            for (kind, sync) in OBSERVERS {
                for object in self.all(kind) {
                    if round.concerns_namespace(object::namespace(&object)) {
                        sync(self, &object, now);
                    }
                }
            }
        }
    }

    fn all(&self, kind: &'static ResourceType) -> Vec<Arc<Value>> {
        self.store.list(kind, None).cloned().collect()
    }

    /// The objects of a kind that `owner` controls.
    fn controlled(&self, kind: &'static ResourceType, owner: &Value) -> Vec<Arc<Value>> {
        let uid = object::uid(owner);
        self.store
            .list(kind, Some(object::namespace(owner)))
            .filter(|candidate| object::controlled_by(candidate, uid))
            .cloned()
            .collect()
    }

    fn note(&mut self, about: &Value, kind: &str, reason: &str, message: &str, now: Timestamp) {
        let component = match about["kind"].as_str().unwrap_or_default() {
            "Deployment" => "deployment-controller",
            "ReplicaSet" => "replicaset-controller",
            "StatefulSet" => "statefulset-controller",
            "DaemonSet" => "daemonset-controller",
            "HorizontalPodAutoscaler" => "horizontal-pod-autoscaler",
            _ => "default-scheduler",
        };
        let note = EventNote { kind, reason, message, component, host: "", field_path: "" };
        self.store.event(about, &note, now);
    }

    /// Creates a pod from a workload's template.
    fn create_pod(
        &mut self,
        owner: &Value,
        template: &Value,
        name: PodName,
        labels: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<String, ApiError> {
        // A refused pod is tried again after a while, not at once: as the real controllers do.
        if let Some((until, error)) = self.refused.get(object::uid(owner))
            && now < *until
        {
            return Err(error.clone());
        }
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": template["spec"].clone(),
        });
        for part in ["labels", "annotations"] {
            if let Some(map) =
                template.pointer(&format!("/metadata/{part}")).filter(|m| m.is_object())
            {
                object::put(&mut pod, &["metadata", part], map.clone());
            }
        }
        match name {
            PodName::Exact(name) => {
                object::put(&mut pod, &["spec", "hostname"], name.clone());
                object::put(&mut pod, &["metadata", "name"], name);
            }
            PodName::Prefix(prefix) => object::put(&mut pod, &["metadata", "generateName"], prefix),
        }
        for (key, value) in labels {
            object::put(&mut pod, &["metadata", "labels", key], *value);
        }
        object::put(
            &mut pod,
            &["metadata", "ownerReferences"],
            json!([object::owner_reference(owner)]),
        );
        let namespace = object::namespace(owner).to_owned();
        match self.create(&PODS, &namespace, pod, &Write::controller(now)) {
            Ok(written) => {
                let name = object::name(&written.object).to_owned();
                let message = match owner["kind"].as_str() {
                    Some("StatefulSet") => {
                        format!(
                            "create Pod {name} in StatefulSet {} successful",
                            object::name(owner)
                        )
                    }
                    _ => format!("Created pod: {name}"),
                };
                self.note(owner, "Normal", "SuccessfulCreate", &message, now);
                Ok(name)
            }
            Err(error) => {
                let message = format!("Error creating: {}", error.message);
                self.note(owner, "Warning", "FailedCreate", &message, now);
                let until = later(now, RETRY_SECONDS);
                self.refused.insert(object::uid(owner).to_owned(), (until, error.clone()));
                self.agenda.alarm(until, object::uid(owner));
                Err(error)
            }
        }
    }

    /// Deletes a pod on behalf of its workload.
    fn delete_pod_of(&mut self, owner: &Value, pod: &Value, now: Timestamp) {
        let (namespace, name) = (object::namespace(pod), object::name(pod));
        let options = json!({"preconditions": {"uid": object::uid(pod)}});
        let effect = super::write::Effect::Store;
        if self.delete(&PODS, (namespace, name), &options, effect, now).is_ok() {
            let message = match owner["kind"].as_str() {
                Some("StatefulSet") => {
                    format!("delete Pod {name} in StatefulSet {} successful", object::name(owner))
                }
                _ => format!("Deleted pod: {name}"),
            };
            self.note(owner, "Normal", "SuccessfulDelete", &message, now);
        }
    }
}

/// How a new pod gets its name.
enum PodName {
    Exact(String),
    Prefix(String),
}

/// Some seconds after `now`.
fn later(now: Timestamp, seconds: i64) -> Timestamp {
    now.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now)
}

/// Writes a count; zero is written by leaving the field out, as Go does.
fn put_count(status: &mut Value, field: &str, count: i64) {
    if count == 0 {
        object::take(status, &[field]);
    } else {
        object::put(status, &[field], count);
    }
}

/// A number of pods out of `total`, given as a number or a percentage.
fn share(value: Option<&Value>, total: i64, round: Round) -> i64 {
    match value {
        Some(Value::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            match round {
                Round::Up => (total * percent + 99) / 100,
                Round::Down => total * percent / 100,
            }
        }
        Some(other) => other.as_i64().unwrap_or(0),
        None => 0,
    }
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// When the last of `pods` that is ready now will count as available.
fn next_available(
    pods: &[Arc<Value>],
    min_ready_seconds: i64,
    now: Timestamp,
) -> Option<Timestamp> {
    if min_ready_seconds == 0 {
        return None;
    }
    pods.iter()
        .filter(|pod| object::pod_ready(pod) && !object::pod_available(pod, min_ready_seconds, now))
        .filter_map(|pod| object::condition(pod, "Ready"))
        .filter_map(|ready| object::time(text(ready, "/lastTransitionTime")))
        .map(|since| later(since, min_ready_seconds))
        .min()
}

/// Writes a condition: the transition time moves only with the status.
fn put_condition(
    status: &mut Value,
    (kind, state): (&str, &str),
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let list = object::child(status, &["conditions"]);
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let at = object::rfc3339(now);
    if let Some(old) = list.iter_mut().find(|condition| text(condition, "/type") == kind) {
        if text(old, "/status") == state
            && text(old, "/reason") == reason
            && text(old, "/message") == message
        {
            return;
        }
        if text(old, "/status") != state {
            old["lastTransitionTime"] = json!(at);
        }
        if old.get("lastUpdateTime").is_some() {
            old["lastUpdateTime"] = json!(at);
        }
        old["status"] = json!(state);
        old["reason"] = json!(reason);
        old["message"] = json!(message);
        return;
    }
    list.push(json!({
        "type": kind, "status": state, "reason": reason, "message": message,
        "lastTransitionTime": at,
    }));
}
