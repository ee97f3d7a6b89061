//! Pods: how they run and fail, what they log, and when they may be evicted.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, LogParams, Request};
use serde_json::{Value, json};

use super::support::{NAMESPACE, World, deployment, refusal};

const IMAGE: &str = "registry.example.com/agent:v1";

fn status(pod: &Pod) -> ContainerStatus {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone());
    statuses.and_then(|statuses| statuses.into_iter().next()).expect("a container status")
}

fn waiting(pod: &Pod) -> String {
    let state = status(pod).state.and_then(|state| state.waiting);
    state.and_then(|waiting| waiting.reason).unwrap_or_default()
}

fn annotated(annotations: Value, container: Value) -> String {
    let mut manifest = deployment("agent", 1, IMAGE);
    manifest["spec"]["template"]["metadata"]["annotations"] = annotations;
    json_patch::merge(&mut manifest["spec"]["template"]["spec"]["containers"][0], &container);
    manifest.to_string()
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_backs_off() {
    let world = World::empty().await;
    world.deployment("agent", 1, "registry.example.com/agent:no-such").await;
    let pod = world.pods().await.remove(0);
    assert!(matches!(waiting(&pod).as_str(), "ErrImagePull" | "ImagePullBackOff"));
    assert_eq!(pod.status.clone().and_then(|status| status.phase).as_deref(), Some("Pending"));
    let fields = format!("involvedObject.name={}", pod.name_any());
    let events = world.api::<Event>().list(&ListParams::default().fields(&fields)).await;
    let reasons: Vec<String> =
        events.expect("events").into_iter().filter_map(|event| event.reason).collect();
    for reason in ["Scheduled", "Pulling", "Failed", "BackOff"] {
        assert!(reasons.iter().any(|seen| seen == reason), "{reason} in {reasons:?}");
    }
    let log = world.api::<Pod>().logs(&pod.name_any(), &LogParams::default()).await;
    assert!(refusal(log).message.contains("is waiting to start"));
}

#[tokio::test]
async fn an_out_of_memory_loop_ends_when_the_limit_is_raised() {
    let world = World::empty().await;
    let limit = |amount: &str| json!({"resources": {"limits": {"memory": amount}}});
    let annotations = json!({"fake/oom-below": "512Mi", "fake/ready-after": "2"});
    world.sandbox.apply_yaml(&annotated(annotations, limit("256Mi"))).expect("applied");
    world.pass(20);
    let pod = world.pods().await.remove(0);
    let loops = status(&pod);
    assert!(loops.restart_count >= 2, "{}", loops.restart_count);
    let last = loops.last_state.and_then(|state| state.terminated).expect("a last end");
    assert_eq!((last.reason.as_deref(), last.exit_code), (Some("OOMKilled"), 137));
    assert!(last.finished_at.is_some());
    world.pass(60);
    assert!(status(&world.pods().await[0]).restart_count > loops.restart_count);

    let containers = json!([{"name": "agent", "resources": limit("512Mi")["resources"]}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.sandbox.patch("deploy", NAMESPACE, "agent", &patch).expect("patched");
    world.pass(10);
    let pods = world.pods().await;
    assert_eq!(pods.len(), 1);
    let healed = status(&pods[0]);
    assert!(healed.ready && healed.restart_count == 0);
    world.pass(120);
    assert_eq!(status(&world.pods().await[0]).restart_count, 0);
}

#[tokio::test]
async fn a_liveness_probe_that_is_too_eager_kills_until_it_waits() {
    let world = World::empty().await;
    let probe = |delay: u32| json!({"livenessProbe": {"httpGet": {"port": 80}, "initialDelaySeconds": delay}});
    let annotations = json!({"fake/liveness-needs-initial-delay": "45"});
    world.sandbox.apply_yaml(&annotated(annotations, probe(5))).expect("applied");
    world.pass(60);
    let pod = world.pods().await.remove(0);
    let killed = status(&pod);
    assert!(killed.restart_count >= 3);
    let last = killed.last_state.and_then(|state| state.terminated).expect("a last end");
    assert_eq!((last.reason.as_deref(), last.exit_code), (Some("Error"), 137));
    let containers = json!([{"name": "agent", "livenessProbe": {"initialDelaySeconds": 60}}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    world.sandbox.patch("deploy", NAMESPACE, "agent", &patch).expect("patched");
    world.pass(120);
    let pods = world.pods().await;
    assert_eq!((pods.len(), status(&pods[0]).restart_count), (1, 0));
}

#[tokio::test]
async fn previous_logs_tell_how_a_container_ended() {
    let world = World::empty().await;
    let annotations = json!({
        "fake/behavior": "CrashLoopBackOff", "fake/exit-code": "3",
        "fake/crash-log": "connecting\nfatal: token=hunter2 rejected",
        "fake/log-line": "line {i}", "fake/run-seconds": "4",
    });
    world.sandbox.apply_yaml(&annotated(annotations, json!({}))).expect("applied");
    world.pass(3);
    let name = world.pods().await[0].name_any();
    let api = world.api::<Pod>();
    let previous = LogParams { previous: true, ..LogParams::default() };
    let status = refusal(api.logs(&name, &previous).await);
    assert_eq!(status.code, 400);
    let expected = format!("previous terminated container \"agent\" in pod \"{name}\" not found");
    assert_eq!(status.message, expected);
    world.pass(20);
    let log = api.logs(&name, &previous).await.expect("a log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "line 0");
    assert_eq!(lines[lines.len() - 2..], ["connecting", "fatal: token=hunter2 rejected"]);
    let short = LogParams { tail_lines: Some(1), limit_bytes: Some(5), ..previous };
    assert_eq!(api.logs(&name, &short).await.expect("a log"), "fatal");
    let last = self::status(&api.get(&name).await.expect("get")).last_state;
    assert_eq!(last.and_then(|state| state.terminated).expect("an end").exit_code, 3);
}

#[tokio::test]
async fn a_missing_config_map_holds_the_container_back_until_it_is_there() {
    let world = World::empty().await;
    let source = json!({"envFrom": [{"configMapRef": {"name": "settings"}}]});
    world.sandbox.apply_yaml(&annotated(json!({}), source)).expect("applied");
    world.pass(5);
    assert_eq!(waiting(&world.pods().await[0]), "CreateContainerConfigError");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}});
    world.sandbox.apply_yaml(&map.to_string()).expect("applied");
    world.pass(10);
    assert!(status(&world.pods().await[0]).ready);
}

#[tokio::test]
async fn a_deleted_pod_takes_its_grace_and_a_wrong_uid_spares_it() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let pod = world.pods().await.remove(0);
    let api = world.api::<Pod>();
    let leaving = api.delete(&pod.name_any(), &DeleteParams::default()).await.expect("deleted");
    let leaving = leaving.left().expect("the pod on its way out");
    assert_eq!(leaving.metadata.deletion_grace_period_seconds, Some(30));
    world.sandbox.tick();
    let pods = world.pods().await;
    assert_eq!(pods.len(), 2, "the replacement comes at once");
    world.pass(5);
    let pods = world.pods().await;
    assert_eq!(pods.len(), 1);
    assert_ne!(pods[0].uid(), pod.uid());
}

async fn evict(world: &World, pod: &str, body: Value) -> kube::Result<Value> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let request = Request::new(path).create_subresource(
        "eviction",
        pod,
        &Default::default(),
        serde_json::to_vec(&body).expect("json"),
    );
    world.client.request(request.expect("a request")).await
}

#[tokio::test]
async fn evictions_spend_the_budget_and_meet_429_when_it_is_gone() {
    let world = World::empty().await;
    world.deployment("agent", 2, IMAGE).await;
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "keep"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "agent"}}},
    });
    world.sandbox.apply_yaml(&budget.to_string()).expect("applied");
    world.pass(1);
    let pod = world.pods().await.remove(0);
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
                      "metadata": {"name": pod.name_any()}});
    let status = refusal(evict(&world, &pod.name_any(), body.clone()).await);
    assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
    let cause = status.details.expect("details").causes.remove(0);
    assert_eq!(cause.reason, "DisruptionBudget");
    assert_eq!(
        cause.message,
        "The disruption budget keep needs 2 healthy pods and has 2 currently"
    );
    let relaxed = json!({"spec": {"minAvailable": 1}});
    world.sandbox.patch("pdb", NAMESPACE, "keep", &relaxed).expect("patched");
    let status = refusal(evict(&world, &pod.name_any(), body.clone()).await);
    assert_eq!(status.details.expect("details").retry_after_seconds, 10, "not observed yet");
    world.pass(1);
    evict(&world, &pod.name_any(), body.clone()).await.expect("evicted");
    let other = world.pods().await.into_iter().find(|other| other.uid() != pod.uid());
    let other = other.expect("the other pod").name_any();
    let body = json!({"metadata": {"name": other}});
    assert_eq!(refusal(evict(&world, &other, body).await).code, 429, "the budget is spent");
    let mismatch = json!({"metadata": {"name": "else"}});
    assert_eq!(refusal(evict(&world, &other, mismatch).await).code, 400);
}

#[tokio::test]
async fn a_cordoned_node_gets_no_pods() {
    let world = World::empty().await;
    for node in ["node-1", "node-2", "node-3"] {
        let patch = json!({"spec": {"unschedulable": true}});
        world.sandbox.patch("nodes", "", node, &patch).expect("cordoned");
    }
    world.deployment("agent", 1, IMAGE).await;
    let pod = world.pods().await.remove(0);
    let conditions = pod.status.expect("a status").conditions.expect("conditions");
    let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled").expect("told");
    assert_eq!(scheduled.reason.as_deref(), Some("Unschedulable"));
    let patch = json!({"spec": {"unschedulable": null}});
    world.sandbox.patch("nodes", "", "node-2", &patch).expect("uncordoned");
    world.pass(5);
    let pod = world.pods().await.remove(0);
    assert_eq!(pod.spec.and_then(|spec| spec.node_name).as_deref(), Some("node-2"));
}
