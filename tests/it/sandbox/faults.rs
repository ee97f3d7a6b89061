//! Scripted faults: what a client can meet between its intent and the answer.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use orderly::sandbox::{Fault, FaultMatch, FaultOutcome};
use serde_json::json;

use super::support::{NAMESPACE, World, refusal};

const IMAGE: &str = "registry.example.com/agent:v1";

async fn scale(world: &World, replicas: i32) -> kube::Result<Deployment> {
    let patch = json!({"spec": {"replicas": replicas}});
    world.api().patch("agent", &PatchParams::default(), &Patch::Merge(&patch)).await
}

fn replicas(world: &World) -> i64 {
    let stored = world.sandbox.get("deploy", NAMESPACE, "agent").expect("stored");
    stored["spec"]["replicas"].as_i64().expect("replicas")
}

#[tokio::test]
async fn a_refusal_hits_the_nth_write_and_nothing_else() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let outcome = FaultOutcome::Status {
        code: 503,
        message: "etcdserver: leader changed".into(),
        retry_after: Some(1),
    };
    let fault =
        Fault { skip: 1, ..Fault::once(FaultMatch::write("patch", "deployments"), outcome) };
    let handle = world.sandbox.fault(fault);
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch = json!({"spec": {"replicas": 9}});
    let api = world.api::<Deployment>();
    api.patch("agent", &dry, &Patch::Merge(&patch)).await.expect("dry runs do not count");
    scale(&world, 2).await.expect("the first passes");
    let status = refusal(scale(&world, 3).await);
    assert_eq!((status.code, status.reason.as_str()), (503, "ServiceUnavailable"));
    assert_eq!((replicas(&world), handle.struck()), (2, 1));
    scale(&world, 4).await.expect("the third passes");
}

#[tokio::test]
async fn plain_text_is_what_flow_control_answers() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let outcome = FaultOutcome::PlainText {
        code: 429,
        body: "Too many requests, please try again later.".into(),
        retry_after: Some(3),
    };
    world.sandbox.fault(Fault::once(FaultMatch::write("patch", ""), outcome));
    assert_eq!(refusal(scale(&world, 2).await).code, 429);
    assert_eq!(replicas(&world), 1);
}

#[tokio::test]
async fn a_connection_dropped_before_leaves_the_object_alone() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let on = FaultMatch::write("patch", "deployments");
    world.sandbox.fault(Fault::once(on, FaultOutcome::DropBefore));
    let error = scale(&world, 2).await.expect_err("no answer");
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    assert_eq!(replicas(&world), 1);
    let writes = world.sandbox.writes();
    assert_eq!(writes.last().map(|entry| entry.code), Some(None));
}

#[tokio::test]
async fn a_connection_dropped_after_has_applied_the_change() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let on = FaultMatch::write("patch", "deployments");
    world.sandbox.fault(Fault::once(on, FaultOutcome::DropAfter));
    let error = scale(&world, 2).await.expect_err("no answer");
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    assert_eq!(replicas(&world), 2, "applied but unacknowledged");
}

#[tokio::test]
async fn a_held_request_waits_for_its_release() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let on = FaultMatch::write("patch", "deployments");
    let handle = world.sandbox.fault(Fault::once(on, FaultOutcome::HoldBefore));
    let call = scale(&world, 2);
    let check = async {
        handle.wait_struck(1).await;
        assert_eq!(replicas(&world), 1);
        handle.release();
    };
    let (answer, ()) =
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(call, check) })
            .await
            .expect("in time");
    answer.expect("applied after the release");
    assert_eq!(replicas(&world), 2);
}

#[tokio::test]
async fn stale_reads_come_from_the_past() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let on = FaultMatch::read("get", "deployments");
    world.sandbox.fault(Fault::once(on, FaultOutcome::Stale));
    scale(&world, 2).await.expect("scaled");
    let api = world.api::<Deployment>();
    let stale = api.get("agent").await.expect("an old answer");
    assert_eq!(stale.spec.and_then(|spec| spec.replicas), Some(1));
    let fresh = api.get("agent").await.expect("a new answer");
    assert_eq!(fresh.spec.and_then(|spec| spec.replicas), Some(2));
}
