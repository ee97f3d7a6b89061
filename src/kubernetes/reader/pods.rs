//! Converts pods, and says which of them fail and how. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::domain::facts::{Container, ContainerState, Pod, Termination};
use crate::domain::quantity::Quantity;
use crate::kubernetes::json;

/// Reasons of waiting that are part of every healthy start.
const STARTING: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];

/// A pod of the workload, with what the domain's view of it leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The domain's view.
    pub pod: Pod,
    /// Ready for `minReadySeconds`.
    pub available: bool,
}

/// What tells a workload's pods from others that its selector happens to match.
#[derive(Clone, Debug, Default)]
pub struct Belonging {
    /// Uids of controllers whose pods belong: the ReplicaSets of a Deployment, or the workload.
    pub owners: BTreeSet<String>,
    /// The revision object's name by what a pod says: its owner's uid, or its revision label.
    pub revisions: BTreeMap<String, String>,
}

/// The pods among `items` that belong, by name.
pub fn seen(items: &[Value], belonging: &Belonging, min_ready: i64, now: Timestamp) -> Vec<Seen> {
    let owned = |pod: &&Value| {
        let owner = json::controller(pod).and_then(|owner| json::text(owner, &["uid"]));
        owner.is_some_and(|uid| belonging.owners.contains(uid))
    };
    let mut pods: Vec<Seen> = items
        .iter()
        .filter(owned)
        .map(|item| {
            let pod = pod(item, belonging);
            let since = json::condition(item, "Ready")
                .and_then(|condition| json::time(condition, &["lastTransitionTime"]));
            let wait = SignedDuration::from_secs(min_ready.max(0));
            let long_enough =
                wait.is_zero() || since.is_some_and(|since| now.duration_since(since) >= wait);
            Seen { available: pod.ready && !pod.terminating && long_enough, pod }
        })
        .collect();
    pods.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
    pods
}

fn pod(item: &Value, belonging: &Belonging) -> Pod {
    let owner = json::controller(item).and_then(|owner| json::text(owner, &["uid"]));
    let hash = json::label(item, "controller-revision-hash");
    let revision = [owner, hash].into_iter().flatten();
    let revision = revision.filter_map(|key| belonging.revisions.get(key)).next().cloned();
    let is = |kind: &str| {
        let condition = json::condition(item, kind);
        condition.and_then(|condition| json::text(condition, &["status"])) == Some("True")
    };
    let scheduled = json::condition(item, "PodScheduled");
    let unschedulable = scheduled
        .filter(|condition| json::text(condition, &["status"]) == Some("False"))
        .map(|condition| match json::text(condition, &["message"]) {
            Some(message) => message.to_owned(),
            None => json::owned(condition, &["reason"]),
        });
    Pod {
        name: json::name(item).to_owned(),
        uid: json::uid(item).to_owned(),
        phase: json::owned(item, &["status", "phase"]),
        reason: json::text(item, &["status", "reason"]).map(str::to_owned),
        ready: is("Ready"),
        terminating: json::at(item, &["metadata", "deletionTimestamp"]).is_some(),
        created: json::created(item),
        node: json::text(item, &["spec", "nodeName"]).map(str::to_owned),
        unschedulable,
        revision,
        containers: containers(item),
    }
}

fn containers(item: &Value) -> Vec<Container> {
    let of = |spec: &str, status: &str, init| {
        let statuses = json::list(item, &["status", status]);
        let specs = json::list(item, &["spec", spec]);
        specs.iter().map(|spec| container(spec, statuses, init)).collect::<Vec<_>>()
    };
    let mut all = of("initContainers", "initContainerStatuses", true);
    all.append(&mut of("containers", "containerStatuses", false));
    all
}

fn container(spec: &Value, statuses: &[Value], init: bool) -> Container {
    let name = json::owned(spec, &["name"]);
    let status = statuses.iter().find(|status| json::text(status, &["name"]) == Some(&name));
    let status = status.unwrap_or(&Value::Null);
    // Between a crash and the restart the reason stands in `state`, afterwards in `lastState`.
    let now = json::at(status, &["state", "terminated"]).map(termination);
    let before = json::at(status, &["lastState", "terminated"]).map(termination);
    Container {
        name,
        init,
        image: json::owned(spec, &["image"]),
        ready: json::is_true(status, &["ready"]),
        restarts: json::number(status, &["restartCount"]).unwrap_or_default(),
        state: state(status),
        last_terminated: now.or(before),
        limits: amounts(spec, "limits"),
        requests: amounts(spec, "requests"),
    }
}

fn state(status: &Value) -> ContainerState {
    if let Some(running) = json::at(status, &["state", "running"]) {
        return ContainerState::Running { since: json::time(running, &["startedAt"]) };
    }
    if let Some(terminated) = json::at(status, &["state", "terminated"]) {
        return ContainerState::Terminated(termination(terminated));
    }
    // No state at all means waiting, says the API.
    ContainerState::Waiting {
        reason: json::owned(status, &["state", "waiting", "reason"]),
        message: json::owned(status, &["state", "waiting", "message"]),
    }
}

fn termination(terminated: &Value) -> Termination {
    Termination {
        reason: json::owned(terminated, &["reason"]),
        exit_code: json::number(terminated, &["exitCode"]).unwrap_or_default(),
        finished: json::time(terminated, &["finishedAt"]),
        message: super::mask::text(&json::owned(terminated, &["message"])),
    }
}

fn amounts(spec: &Value, which: &str) -> BTreeMap<String, Quantity> {
    let amounts = json::at(spec, &["resources", which]).and_then(Value::as_object);
    let parsed = amounts.into_iter().flatten().filter_map(|(name, amount)| {
        let amount = serde_json::from_value(amount.clone()).ok()?;
        Some((name.clone(), amount))
    });
    parsed.collect()
}

/// What is wrong with a pod, in a few words; nothing for one that is healthy, starting or going.
pub fn failure(pod: &Pod) -> Option<String> {
    if pod.terminating {
        return None;
    }
    if pod.phase == "Failed" {
        let reason = pod.reason.as_deref().unwrap_or("failed");
        return Some(format!("pod `{}`: {reason}", pod.name));
    }
    if let Some(why) = &pod.unschedulable {
        return Some(format!("pod `{}` cannot be scheduled: {why}", pod.name));
    }
    pod.containers.iter().find_map(|container| {
        let what = container_failure(container, pod.ready)?;
        Some(format!("pod `{}`, container `{}`: {what}", pod.name, container.name))
    })
}

fn container_failure(container: &Container, pod_ready: bool) -> Option<String> {
    let last = container.last_terminated.as_ref();
    let last = last.filter(|last| last.exit_code != 0).map(|last| last.reason.as_str());
    match &container.state {
        ContainerState::Waiting { reason, .. } if STARTING.contains(&reason.as_str()) => None,
        ContainerState::Waiting { reason, .. } => Some(match last {
            Some(last) => format!("{reason} after {last}"),
            None => reason.clone(),
        }),
        ContainerState::Terminated(end) if end.exit_code != 0 => {
            Some(format!("{} with exit code {}", end.reason, end.exit_code))
        }
        ContainerState::Terminated(_) => None,
        ContainerState::Running { .. } if container.restarts > 0 && !pod_ready => {
            let last = last.unwrap_or("ended");
            Some(format!("not ready after {} restarts, the last one {last}", container.restarts))
        }
        ContainerState::Running { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn crashing() -> Value {
        json!({
            "metadata": {"name": "api-7-x", "uid": "p1", "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"kind": "ReplicaSet", "name": "api-7", "uid": "rs7", "controller": true}]},
            "spec": {"nodeName": "n1",
                "initContainers": [{"name": "setup", "image": "setup:1"}],
                "containers": [{"name": "agent", "image": "agent:2",
                    "resources": {"limits": {"memory": "512Mi", "cpu": 1}}}]},
            "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "False"}],
                "initContainerStatuses": [{"name": "setup", "ready": true, "restartCount": 0,
                    "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}],
                "containerStatuses": [{"name": "agent", "ready": false, "restartCount": 4,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137,
                        "finishedAt": "2026-01-01T00:10:00Z"}}}]}
        })
    }

    fn belonging() -> Belonging {
        Belonging {
            owners: ["rs7".to_owned()].into(),
            revisions: [("rs7".to_owned(), "api-7".to_owned())].into(),
        }
    }

    #[test]
    fn a_crashing_pod_shows_its_cause_from_the_last_state() {
        let pods = seen(&[crashing()], &belonging(), 0, Timestamp::UNIX_EPOCH);
        let pod = &pods[0].pod;
        assert_eq!(pod.revision.as_deref(), Some("api-7"));
        let [setup, agent] = pod.containers.as_slice() else { panic!("{:?}", pod.containers) };
        assert!(setup.init && !agent.init);
        assert_eq!(agent.limits["memory"].to_string(), "512Mi");
        assert_eq!(agent.limits["cpu"].to_string(), "1");
        assert_eq!(agent.last_terminated.as_ref().map(|last| last.exit_code), Some(137));
        assert_eq!(
            failure(pod).as_deref(),
            Some("pod `api-7-x`, container `agent`: CrashLoopBackOff after OOMKilled")
        );
    }

    #[test]
    fn between_crash_and_restart_the_present_state_tells() {
        let mut item = crashing();
        item["status"]["containerStatuses"][0]["state"] =
            json!({"terminated": {"reason": "Error", "exitCode": 1}});
        let pods = seen(&[item], &belonging(), 0, Timestamp::UNIX_EPOCH);
        let last = pods[0].pod.containers[1].last_terminated.as_ref();
        assert_eq!(last.map(|last| last.reason.as_str()), Some("Error"));
    }

    #[test]
    fn pods_of_other_controllers_that_the_selector_matches_are_left_out() {
        let mut foreign = crashing();
        foreign["metadata"]["ownerReferences"][0]["uid"] = json!("rs-of-another");
        assert_eq!(seen(&[foreign], &belonging(), 0, Timestamp::UNIX_EPOCH), []);
    }

    #[test]
    fn a_pod_is_available_only_after_its_minimum_time() {
        let mut item = crashing();
        item["status"]["conditions"] = json!([{"type": "Ready", "status": "True",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let early = at("2026-01-01T00:00:20Z");
        assert!(!seen(&[item.clone()], &belonging(), 30, early)[0].available);
        assert!(seen(&[item], &belonging(), 30, at("2026-01-01T00:00:30Z"))[0].available);
    }
}
