//! When the controllers of a real cluster have done what they were asked to do.
//!
//! Not a pause in which nothing was seen to happen, but the state in which nothing is left to do:
//! rollouts complete, or stuck at a pod that fails.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is in a scenario's namespaces, by the plural of the kind.
pub type Seen = BTreeMap<&'static str, Vec<Value>>;

/// The kinds that are looked at, with where the API has them.
pub const KINDS: [(&str, &str); 5] = [
    ("deployments", "apis/apps/v1"),
    ("replicasets", "apis/apps/v1"),
    ("statefulsets", "apis/apps/v1"),
    ("pods", "api/v1"),
    ("poddisruptionbudgets", "apis/policy/v1"),
];

fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn owned_by(owner: &Value, object: &Value) -> bool {
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let uid = text(owner, "/metadata/uid");
    references.is_some_and(|all| all.iter().any(|it| text(it, "/uid") == uid))
}

fn count<T>(number: &[T]) -> i64 {
    i64::try_from(number.len()).unwrap()
}

/// Does the pod serve?
pub fn ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = |it: &Value| text(it, "/type") == "Ready" && text(it, "/status") == "True";
    conditions.is_some_and(|all| all.iter().any(ready))
}

/// Has a container of the pod failed, or will none start?
pub fn failing(pod: &Value) -> bool {
    let containers = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let failing = |container: &Value| {
        let waits = text(container, "/state/waiting/reason");
        number(container, "/restartCount") > 0
            || container.pointer("/state/terminated").is_some()
            || !["", "ContainerCreating", "PodInitializing"].contains(&waits)
    };
    containers.is_some_and(|all| all.iter().any(failing))
}

/// The pods of a Deployment or StatefulSet.
pub fn pods_of<'a>(seen: &'a Seen, workload: &Value) -> Vec<&'a Value> {
    let sets: Vec<_> = seen["replicasets"].iter().filter(|set| owned_by(workload, set)).collect();
    let owners = || sets.iter().copied().chain([workload]);
    seen["pods"].iter().filter(|pod| owners().any(|owner| owned_by(owner, pod))).collect()
}

fn said(what: &str, object: &Value) -> Option<String> {
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    Some(format!("{namespace}/{name} {what}"))
}

/// A pod of which is not yet known whether it will serve or fail, or that is not yet gone.
pub fn unsettled(pods: &[Value]) -> Option<String> {
    for pod in pods {
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            return said("terminates", pod);
        }
        if !ready(pod) && !failing(pod) {
            return said("starts", pod);
        }
    }
    None
}

/// What the controllers still have to do, for people; nothing when they rest.
pub fn left_to_do(seen: &Seen) -> Option<String> {
    let observed = |it: &&Value| {
        number(it, "/status/observedGeneration") >= number(it, "/metadata/generation")
    };
    let said = |what: &str, object: &Value| {
        let place =
            format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        Some(format!("{place} {what}"))
    };
    for pod in &seen["pods"] {
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            return said("terminates", pod);
        }
        if !ready(pod) && !failing(pod) {
            return said("starts", pod);
        }
    }
    for (kind, _) in KINDS.iter().filter(|(kind, _)| *kind != "pods") {
        if let Some(object) = seen[kind].iter().find(|it| !observed(it)) {
            return said("is not observed", object);
        }
    }
    for deployment in &seen["deployments"] {
        if !rolled_out(seen, deployment) {
            return said("rolls out", deployment);
        }
    }
    for set in &seen["statefulsets"] {
        if !updated(seen, set) {
            return said("is updated", set);
        }
    }
    let stale = |it: &&Value| {
        let pods = number(it, "/status/expectedPods");
        pods == 0 || number(it, "/status/currentHealthy") != pods
    };
    seen["poddisruptionbudgets"].iter().find(stale).and_then(|it| said("is counted", it))
}

/// Is a Deployment's rollout complete, or stuck at a pod of the newest revision?
fn rolled_out(seen: &Seen, deployment: &Value) -> bool {
    let revision = |it: &Value| {
        it["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
            .as_str()
            .map(str::to_owned)
    };
    let newest = |set: &&Value| owned_by(deployment, set) && revision(set) == revision(deployment);
    let Some(newest) = seen["replicasets"].iter().find(newest) else { return false };
    let (all, wanted) = (pods_of(seen, deployment), number(deployment, "/spec/replicas"));
    let new: Vec<_> = all.iter().filter(|pod| owned_by(newest, pod)).collect();
    let status = |name: &str| number(deployment, &format!("/status/{name}"));
    let stuck = new.iter().any(|pod| failing(pod));
    let complete = ["replicas", "updatedReplicas"].iter().all(|name| status(name) == wanted)
        && count(&all) == wanted
        && count(&new) == wanted;
    count(&new) == number(newest, "/spec/replicas")
        && (stuck || complete && status("availableReplicas") == wanted)
}

/// Is a StatefulSet's update complete, or stuck at a pod of the newest revision?
fn updated(seen: &Seen, set: &Value) -> bool {
    let (pods, wanted) = (pods_of(seen, set), number(set, "/spec/replicas"));
    let newest = text(set, "/status/updateRevision");
    let new = |pod: &&&Value| text(pod, "/metadata/labels/controller-revision-hash") == newest;
    let stuck = pods.iter().filter(new).any(|pod| failing(pod));
    let complete =
        pods.iter().all(|pod| ready(pod)) && number(set, "/status/readyReplicas") == wanted;
    let all_new = text(set, "/spec/updateStrategy/type") == "OnDelete"
        || pods.iter().filter(new).count() == pods.len()
            && text(set, "/status/currentRevision") == newest;
    count(&pods) == wanted && (stuck || complete && all_new)
}
