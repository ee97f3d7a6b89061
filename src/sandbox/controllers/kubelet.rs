//! The kubelet in miniature: plays the pods that are assigned to nodes and reports their status.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, annotation, flag, hash32, items, number, text};
use super::super::resources::{CONFIG_MAPS, PODS, SECRETS};
use super::super::store::EventNote;
use super::behavior::{Behavior, duration};
use super::container::{ContainerRuntime, Moment, Said};

/// What the kubelet knows about a pod beyond its object.
#[derive(Debug, Clone)]
pub(in super::super) struct PodRuntime {
    init: Vec<ContainerRuntime>,
    main: Vec<ContainerRuntime>,
    /// The resource version that was last looked at.
    seen: String,
    /// When to look again though nothing has changed.
    next: Option<Timestamp>,
    evict_at: Option<Timestamp>,
    kill_at: Option<Timestamp>,
}

impl PodRuntime {
    fn new(pod: &Value) -> Self {
        let of = |list: &str| {
            items(pod, list).iter().map(|container| ContainerRuntime::new(pod, container)).collect()
        };
        Self {
            init: of("/spec/initContainers"),
            main: of("/spec/containers"),
            seen: String::new(),
            next: None,
            evict_at: None,
            kill_at: None,
        }
    }
}

impl Cluster {
    /// Brings everything that pods wait for within `limit`: after history has been made at a real
    /// kubelet's pace, the present goes on at the sandbox's.
    pub(in super::super) fn hurry_pods(&mut self, now: Timestamp, limit: SignedDuration) {
        for (uid, runtime) in &mut self.pods {
            for container in runtime.init.iter_mut().chain(&mut runtime.main) {
                container.hurry(now, limit);
            }
            let containers = runtime.init.iter().chain(&runtime.main);
            runtime.next = containers.filter_map(|container| container.due(now)).min();
            if let Some(at) = runtime.next {
                self.agenda.alarm(at, uid);
            }
        }
    }
}

pub(super) fn sync(cluster: &mut Cluster, pod: &Arc<Value>, now: Timestamp) {
    if text(pod, "/spec/nodeName").is_empty() {
        return;
    }
    let uid = object::uid(pod).to_owned();
    let version = text(pod, "/metadata/resourceVersion");
    let mut runtime = cluster.pods.remove(&uid).unwrap_or_else(|| PodRuntime::new(pod));
    let idle = runtime.seen == version && runtime.next.is_none_or(|next| next > now);
    if idle {
        cluster.pods.insert(uid, runtime);
        return;
    }
    let gone = if object::terminating(pod) {
        terminate(cluster, pod, &mut runtime, now)
    } else if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        runtime.next = None;
        Gone::No
    } else {
        play(cluster, pod, &mut runtime, now);
        Gone::No
    };
    if gone == Gone::Yes {
        return;
    }
    if let Some(at) = runtime.next {
        cluster.agenda.alarm(at, &uid);
    }
    if let Some(stored) = cluster.store.get(&PODS, object::namespace(pod), object::name(pod)) {
        text(stored, "/metadata/resourceVersion").clone_into(&mut runtime.seen);
    }
    cluster.pods.insert(uid, runtime);
}

#[derive(PartialEq, Eq)]
enum Gone {
    Yes,
    No,
}

fn play(cluster: &mut Cluster, pod: &Value, runtime: &mut PodRuntime, now: Timestamp) {
    let pace = cluster.pace;
    let mut said: Vec<(String, Said)> = Vec::new();
    let mut next: Option<Timestamp> = None;
    if runtime.main.iter().any(|container| container.behavior() == Behavior::Evicted) {
        let wait = duration(pod, "fake/run-seconds", SignedDuration::from_secs(3));
        let at = *runtime.evict_at.get_or_insert(now.saturating_add(wait).unwrap_or(now));
        if at <= now {
            evict(cluster, pod, now);
            runtime.next = None;
            return;
        }
        next = Some(at);
    }
    let mut initialized = true;
    for (place, list, containers) in [
        ("spec.initContainers", "/spec/initContainers", &mut runtime.init),
        ("spec.containers", "/spec/containers", &mut runtime.main),
    ] {
        for (container, state) in items(pod, list).iter().zip(containers.iter_mut()) {
            if !initialized {
                break;
            }
            let missing = missing(cluster, pod, container);
            let at = Moment { pod, container, pace: &pace, now, missing };
            let mut words = Vec::new();
            state.step(&at, &mut words);
            let field = format!("{place}{{{}}}", text(container, "/name"));
            said.extend(words.into_iter().map(|word| (field.clone(), word)));
            if list == "/spec/initContainers" {
                initialized = state.finished() == Some(0);
            }
            next = [next, state.due(now)].into_iter().flatten().min();
        }
    }
    for (field_path, word) in said {
        tell(cluster, pod, &field_path, &word, now);
    }
    runtime.next = next;
    report(cluster, pod, runtime, initialized, now);
}

fn tell(cluster: &mut Cluster, pod: &Value, field_path: &str, said: &Said, now: Timestamp) {
    let note = EventNote {
        kind: said.kind,
        reason: said.reason,
        message: &said.message,
        component: "kubelet",
        host: text(pod, "/spec/nodeName"),
        field_path,
    };
    cluster.store.event(pod, &note, now);
}

fn report(
    cluster: &mut Cluster,
    pod: &Value,
    runtime: &PodRuntime,
    initialized: bool,
    now: Timestamp,
) {
    let statuses = |list: &str, states: &[ContainerRuntime]| -> Vec<Value> {
        items(pod, list)
            .iter()
            .zip(states)
            .map(|(container, state)| state.status(container))
            .collect()
    };
    let codes: Vec<Option<i64>> = runtime.main.iter().map(ContainerRuntime::finished).collect();
    let failed_init =
        runtime.init.iter().any(|state| state.finished().is_some_and(|code| code != 0));
    let done = codes.iter().all(Option::is_some);
    let phase = if failed_init || (done && codes.iter().flatten().any(|code| *code != 0)) {
        "Failed"
    } else if done {
        "Succeeded"
    } else if initialized && runtime.main.iter().any(ContainerRuntime::has_run) {
        "Running"
    } else {
        "Pending"
    };
    let unready: Vec<&str> = items(pod, "/spec/containers")
        .iter()
        .zip(&runtime.main)
        .filter(|(_, state)| !state.ready)
        .map(|(container, _)| text(container, "/name"))
        .collect();
    let (reason, message) = match phase {
        "Failed" => ("PodFailed", String::new()),
        "Succeeded" => ("PodCompleted", String::new()),
        _ => (
            "ContainersNotReady",
            format!("containers with unready status: [{}]", unready.join(" ")),
        ),
    };
    let node = text(pod, "/spec/nodeName").to_owned();
    let ip = format!("10.244.{}.{}", hash32(&node) % 250, hash32(object::uid(pod)) % 250 + 2);
    let generation = number(pod, "/metadata/generation").unwrap_or(1);
    let (init, main) = (
        statuses("/spec/initContainers", &runtime.init),
        statuses("/spec/containers", &runtime.main),
    );
    cluster.store.modify(&PODS, object::namespace(pod), object::name(pod), |pod| {
        let status = object::child(pod, &["status"]);
        object::put(status, &["phase"], phase);
        object::put(status, &["observedGeneration"], generation);
        object::default(status, &["startTime"], object::rfc3339(now));
        object::put(status, &["hostIP"], "127.0.0.1");
        object::put(status, &["hostIPs"], json!([{"ip": "127.0.0.1"}]));
        object::put(status, &["podIP"], ip.clone());
        object::put(status, &["podIPs"], json!([{"ip": ip}]));
        if !init.is_empty() {
            object::put(status, &["initContainerStatuses"], init);
        }
        object::put(status, &["containerStatuses"], main);
        let ready = unready.is_empty();
        set_conditions(
            status,
            &[
                ("PodReadyToStartContainers", true, "", ""),
                (
                    "Initialized",
                    initialized,
                    "ContainersNotInitialized",
                    "containers with incomplete status",
                ),
                ("Ready", ready, reason, &message),
                ("ContainersReady", ready, reason, &message),
            ],
            generation,
            now,
        );
    });
}

/// Writes the kubelet's conditions: type, truth, and why not.
fn set_conditions(
    status: &mut Value,
    wanted: &[(&str, bool, &str, &str)],
    generation: i64,
    now: Timestamp,
) {
    let mut list = status["conditions"].as_array().cloned().unwrap_or_default();
    for (kind, truth, reason, message) in wanted {
        let state = if *truth { "True" } else { "False" };
        let old = list.iter().position(|condition| text(condition, "/type") == *kind);
        let since = old
            .map(|at| &list[at])
            .filter(|old| text(old, "/status") == state)
            .map(|old| old["lastTransitionTime"].clone());
        let mut condition = json!({
            "type": kind, "status": state, "observedGeneration": generation, "lastProbeTime": null,
            "lastTransitionTime": since.unwrap_or_else(|| json!(object::rfc3339(now))),
        });
        if !truth {
            for (field, why) in [("reason", reason), ("message", message)] {
                if !why.is_empty() {
                    condition[field] = json!(why);
                }
            }
        }
        match old {
            Some(at) => list[at] = condition,
            None => list.push(condition),
        }
    }
    status["conditions"] = Value::Array(list);
}

fn evict(cluster: &mut Cluster, pod: &Value, now: Timestamp) {
    let message = format!(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 12Mi. Container \
         {} was using 900Mi, request is 0, has larger consumption of memory. ",
        text(pod, "/spec/containers/0/name")
    );
    let said = Said { kind: "Warning", reason: "Evicted", message: message.clone() };
    tell(cluster, pod, "", &said, now);
    let generation = number(pod, "/metadata/generation").unwrap_or(1);
    cluster.store.modify(&PODS, object::namespace(pod), object::name(pod), |pod| {
        let status = object::child(pod, &["status"]);
        object::put(status, &["phase"], "Failed");
        object::put(status, &["reason"], "Evicted");
        object::put(status, &["message"], message);
        object::default(status, &["startTime"], object::rfc3339(now));
        object::take(status, &["containerStatuses"]);
        let not_ready =
            [("Ready", false, "PodFailed", ""), ("ContainersReady", false, "PodFailed", "")];
        set_conditions(status, &not_ready, generation, now);
    });
}

fn terminate(cluster: &mut Cluster, pod: &Value, runtime: &mut PodRuntime, now: Timestamp) -> Gone {
    if annotation(pod, "fake/stuck-terminating") == Some("true") {
        runtime.next = None;
        return Gone::No;
    }
    let kill_at = match runtime.kill_at {
        Some(at) => at,
        None => {
            let grace = number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(30);
            let wait = duration(pod, "fake/termination-seconds", cluster.pace.termination)
                .min(SignedDuration::from_secs(grace));
            for (container, state) in items(pod, "/spec/containers").iter().zip(&runtime.main) {
                if state.is_running() {
                    let name = text(container, "/name");
                    let message = format!("Stopping container {name}");
                    let said = Said { kind: "Normal", reason: "Killing", message };
                    tell(cluster, pod, &format!("spec.containers{{{name}}}"), &said, now);
                }
            }
            let at = now.saturating_add(wait).unwrap_or(now);
            runtime.kill_at = Some(at);
            at
        }
    };
    if kill_at > now {
        runtime.next = Some(kill_at);
        return Gone::No;
    }
    let pace = cluster.pace;
    for (container, state) in items(pod, "/spec/containers").iter().zip(&mut runtime.main) {
        state.stop(&Moment { pod, container, pace: &pace, now, missing: None });
    }
    let (namespace, name) = (object::namespace(pod), object::name(pod));
    if items(pod, "/metadata/finalizers").is_empty() {
        cluster.store.remove(&PODS, namespace, name);
        return Gone::Yes;
    }
    runtime.next = None;
    Gone::No
}

/// Which ConfigMap, Secret or key the container needs and lacks.
fn missing(cluster: &Cluster, pod: &Value, container: &Value) -> Option<String> {
    let namespace = object::namespace(pod);
    let find = |kind: &str, name: &str| {
        let resource = if kind == "configmap" { &CONFIG_MAPS } else { &SECRETS };
        cluster.store.get(resource, namespace, name)
    };
    for source in items(container, "/envFrom") {
        for (field, kind) in [("configMapRef", "configmap"), ("secretRef", "secret")] {
            let Some(reference) = source.get(field).filter(|r| !flag(r, "/optional")) else {
                continue;
            };
            let name = text(reference, "/name");
            if find(kind, name).is_none() {
                return Some(format!("{kind} \"{name}\" not found"));
            }
        }
    }
    for variable in items(container, "/env") {
        for (field, kind) in [("configMapKeyRef", "configmap"), ("secretKeyRef", "secret")] {
            let reference = variable.pointer(&format!("/valueFrom/{field}"));
            let Some(reference) = reference.filter(|r| !flag(r, "/optional")) else { continue };
            let (name, key) = (text(reference, "/name"), text(reference, "/key"));
            let Some(found) = find(kind, name) else {
                return Some(format!("{kind} \"{name}\" not found"));
            };
            if found.get("data").and_then(|data| data.get(key)).is_none() {
                let what = if kind == "configmap" { "ConfigMap" } else { "Secret" };
                return Some(format!("couldn't find key {key} in {what} {namespace}/{name}"));
            }
        }
    }
    None
}
