//! Rollouts of Deployments, StatefulSets and DaemonSets.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::support::{NAMESPACE, World, revision};

const GOOD: &str = "registry.example.com/agent:v1";
const BETTER: &str = "registry.example.com/agent:v2";
const UNPULLABLE: &str = "registry.example.com/agent:does-not-exist";

fn condition(deployment: &Deployment, kind: &str) -> (String, String) {
    let status = deployment.status.clone().expect("a status");
    let found = status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == kind);
    let found = found.unwrap_or_else(|| panic!("no condition {kind}"));
    (found.status, found.reason.unwrap_or_default())
}

#[tokio::test]
async fn a_new_image_rolls_out_and_keeps_the_old_revision() {
    let world = World::empty().await;
    let first = world.deployment("agent", 3, GOOD).await;
    assert_eq!(revision(&first), "1");
    assert_eq!(first.metadata.generation, Some(1));
    let status = first.status.expect("a status");
    assert_eq!((status.ready_replicas, status.updated_replicas), (Some(3), Some(3)));

    world.sandbox.set_image("deployments", (NAMESPACE, "agent"), "agent", BETTER).expect("set");
    let api = world.api::<Deployment>();
    let before_work = api.get("agent").await.expect("get");
    let observed = before_work.status.clone().expect("a status").observed_generation;
    assert_eq!((before_work.metadata.generation, observed), (Some(2), Some(1)));

    world.sandbox.tick();
    let running = api.get("agent").await.expect("get").status.expect("a status");
    // 25 % surge of three is one more; nothing may go before it is ready.
    assert_eq!((running.replicas, running.updated_replicas), (Some(4), Some(1)));
    assert_eq!(running.available_replicas, Some(3));

    world.pass(10);
    let done = api.get("agent").await.expect("get");
    assert_eq!(revision(&done), "2");
    assert_eq!(condition(&done, "Progressing"), ("True".into(), "NewReplicaSetAvailable".into()));
    let status = done.status.expect("a status");
    assert_eq!((status.replicas, status.updated_replicas), (Some(3), Some(3)));
    let mut sets = world.replica_sets().await;
    sets.sort_by_key(revision);
    let sizes: Vec<Option<i32>> =
        sets.iter().map(|set| set.spec.as_ref().and_then(|spec| spec.replicas)).collect();
    assert_eq!(sizes, [Some(0), Some(3)]);
}

#[tokio::test]
async fn going_back_reuses_the_old_replica_set_under_a_new_number() {
    let world = World::empty().await;
    world.deployment("agent", 2, GOOD).await;
    let first = world.replica_sets().await.remove(0);
    world.sandbox.set_image("deploy", (NAMESPACE, "agent"), "agent", UNPULLABLE).expect("set");
    world.pass(20);
    let stuck = world.api::<Deployment>().get("agent").await.expect("get");
    let status = stuck.status.expect("a status");
    assert_eq!((status.available_replicas, status.updated_replicas), (Some(2), Some(1)));

    world.sandbox.set_image("deploy", (NAMESPACE, "agent"), "agent", GOOD).expect("set");
    world.pass(20);
    let healed = world.api::<Deployment>().get("agent").await.expect("get");
    assert_eq!(revision(&healed), "3");
    let sets = world.replica_sets().await;
    assert_eq!(sets.len(), 2);
    let reused = sets.iter().find(|set| set.uid() == first.uid()).expect("the first replica set");
    assert_eq!(revision(reused), "3");
    assert_eq!(reused.annotations()["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(healed.status.expect("a status").replicas, Some(2));
}

#[tokio::test]
async fn a_stuck_rollout_exceeds_its_deadline() {
    let world = World::empty().await;
    world.deployment("agent", 2, GOOD).await;
    world.sandbox.set_image("deploy", (NAMESPACE, "agent"), "agent", UNPULLABLE).expect("set");
    world.pass(30);
    let api = world.api::<Deployment>();
    let progressing = condition(&api.get("agent").await.expect("get"), "Progressing");
    assert_eq!(progressing.0, "True");
    world.pass(700);
    let late = api.get("agent").await.expect("get");
    let expected = ("False".into(), "ProgressDeadlineExceeded".into());
    assert_eq!(condition(&late, "Progressing"), expected);
}

#[tokio::test]
async fn a_paused_deployment_rolls_out_when_it_is_resumed() {
    let world = World::empty().await;
    world.deployment("agent", 2, GOOD).await;
    let pause = |paused: bool| json!({"spec": {"paused": paused}});
    world.sandbox.patch("deploy", NAMESPACE, "agent", &pause(true)).expect("paused");
    world.sandbox.set_image("deploy", (NAMESPACE, "agent"), "agent", BETTER).expect("set");
    world.pass(10);
    assert_eq!(world.replica_sets().await.len(), 1);
    world.sandbox.patch("deploy", NAMESPACE, "agent", &pause(false)).expect("resumed");
    world.pass(10);
    let pods = world.pods().await;
    let images: Vec<Option<String>> = pods
        .iter()
        .map(|pod| pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone()))
        .collect();
    assert_eq!(images, [Some(BETTER.to_owned()), Some(BETTER.to_owned())]);
}

#[tokio::test]
async fn recreate_stops_all_before_it_starts_one() {
    let world = World::empty().await;
    let mut manifest = super::support::deployment("agent", 2, GOOD);
    manifest["spec"]["strategy"] = json!({"type": "Recreate"});
    world.sandbox.apply_yaml(&manifest.to_string()).expect("applied");
    world.pass(5);
    world.sandbox.set_image("deploy", (NAMESPACE, "agent"), "agent", BETTER).expect("set");
    world.sandbox.tick();
    let leaving = world.pods().await;
    assert_eq!(leaving.len(), 2);
    assert!(leaving.iter().all(|pod| pod.metadata.deletion_timestamp.is_some()));
    world.pass(10);
    let status = world.api::<Deployment>().get("agent").await.expect("get").status;
    assert_eq!(status.expect("a status").updated_replicas, Some(2));
}

#[tokio::test]
async fn history_is_kept_to_its_limit() {
    let world = World::empty().await;
    let mut manifest = super::support::deployment("agent", 1, GOOD);
    manifest["spec"]["revisionHistoryLimit"] = json!(2);
    world.sandbox.apply_yaml(&manifest.to_string()).expect("applied");
    for version in 2..7 {
        world.pass(5);
        let image = format!("registry.example.com/agent:v{version}");
        world.sandbox.set_image("deploy", (NAMESPACE, "agent"), "agent", &image).expect("set");
    }
    world.pass(10);
    let mut revisions: Vec<String> = world.replica_sets().await.iter().map(revision).collect();
    revisions.sort();
    assert_eq!(revisions, ["4", "5", "6"]);
}

#[tokio::test]
async fn scaling_follows_the_scale_subresource_and_its_precondition() {
    let world = World::empty().await;
    world.deployment("agent", 2, GOOD).await;
    let api = world.api::<Deployment>();
    let mut scale = api.get_scale("agent").await.expect("a scale");
    assert_eq!(scale.spec.clone().and_then(|spec| spec.replicas), Some(2));
    assert_eq!(scale.status.clone().and_then(|s| s.selector).as_deref(), Some("app=agent"));
    scale.spec.as_mut().expect("a spec").replicas = Some(4);
    api.replace_scale("agent", &Default::default(), &scale).await.expect("replaced");
    world.pass(5);
    assert_eq!(world.pods().await.len(), 4);
    let status =
        super::support::refusal(api.replace_scale("agent", &Default::default(), &scale).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
}

fn stateful_set(image: &str) -> Value {
    let mut manifest = super::support::deployment("db", 3, image);
    manifest["kind"] = json!("StatefulSet");
    manifest["spec"]["serviceName"] = json!("db");
    manifest
}

fn ready_names(pods: &[Pod]) -> Vec<String> {
    let ready = |pod: &Pod| {
        pod.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|all| {
            all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
    };
    pods.iter().filter(|pod| ready(pod)).map(ResourceExt::name_any).collect()
}

#[tokio::test]
async fn a_stateful_set_starts_in_order_and_stays_stuck_after_a_revert() {
    let world = World::empty().await;
    world.sandbox.apply_yaml(&stateful_set(GOOD).to_string()).expect("applied");
    world.sandbox.tick();
    assert_eq!(world.pods().await.len(), 1, "the second waits for the first");
    world.pass(10);
    assert_eq!(ready_names(&world.pods().await), ["db-0", "db-1", "db-2"]);

    world.sandbox.set_image("sts", (NAMESPACE, "db"), "agent", UNPULLABLE).expect("set");
    world.pass(20);
    let broken = world.api::<StatefulSet>().get("db").await.expect("get");
    let status = broken.status.expect("a status");
    assert_eq!((status.ready_replicas, status.updated_replicas), (Some(2), Some(1)));
    assert_ne!(status.current_revision, status.update_revision);

    // Reverting the template heals nothing: the broken pod blocks the loop.
    world.sandbox.set_image("sts", (NAMESPACE, "db"), "agent", GOOD).expect("set");
    world.pass(60);
    assert_eq!(ready_names(&world.pods().await), ["db-0", "db-1"]);
    world.api::<Pod>().delete("db-2", &DeleteParams::default()).await.expect("deleted");
    world.pass(10);
    assert_eq!(ready_names(&world.pods().await), ["db-0", "db-1", "db-2"]);
    let healed = world.api::<StatefulSet>().get("db").await.expect("get").status;
    let healed = healed.expect("a status");
    assert_eq!(healed.current_revision, healed.update_revision);
}

#[tokio::test]
async fn controller_revisions_are_patches_that_bring_the_template_back() {
    let world = World::empty().await;
    world.sandbox.apply_yaml(&stateful_set(GOOD).to_string()).expect("applied");
    world.pass(10);
    world.sandbox.set_image("sts", (NAMESPACE, "db"), "agent", BETTER).expect("set");
    world.pass(20);
    let api = world.api::<ControllerRevision>();
    let mut all = api.list(&ListParams::default()).await.expect("list").items;
    all.sort_by_key(|revision| revision.revision);
    assert_eq!(all.iter().map(|revision| revision.revision).collect::<Vec<_>>(), [1, 2]);
    let data = all[0].data.clone().expect("data").0;
    assert_eq!(data["spec"]["template"]["$patch"], "replace");
    let sets = world.api::<StatefulSet>();
    sets.patch("db", &PatchParams::default(), &Patch::Strategic(data)).await.expect("patched");
    world.pass(20);
    let mut all = api.list(&ListParams::default()).await.expect("list").items;
    all.sort_by_key(|revision| revision.revision);
    assert_eq!(all.iter().map(|revision| revision.revision).collect::<Vec<_>>(), [2, 3]);
    let image = world.pods().await[0].spec.clone().expect("a spec").containers[0].image.clone();
    assert_eq!(image.as_deref(), Some(GOOD));
}

#[tokio::test]
async fn a_partition_and_on_delete_hold_pods_back() {
    let world = World::empty().await;
    let mut manifest = stateful_set(GOOD);
    manifest["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    world.sandbox.apply_yaml(&manifest.to_string()).expect("applied");
    world.pass(10);
    world.sandbox.set_image("sts", (NAMESPACE, "db"), "agent", BETTER).expect("set");
    world.pass(20);
    let status = world.api::<StatefulSet>().get("db").await.expect("get").status;
    assert_eq!(status.expect("a status").updated_replicas, Some(1));
    let strategy = json!({"spec": {"updateStrategy": {"$patch": "replace", "type": "OnDelete"}}});
    world.sandbox.patch("sts", NAMESPACE, "db", &strategy).expect("patched");
    world.pass(20);
    let status = world.api::<StatefulSet>().get("db").await.expect("get").status;
    assert_eq!(status.expect("a status").updated_replicas, Some(1));
}

#[tokio::test]
async fn a_daemon_set_runs_on_every_node_and_rolls_one_by_one() {
    let world = World::empty().await;
    let mut manifest = super::support::deployment("collector", 1, GOOD);
    manifest["kind"] = json!("DaemonSet");
    manifest["spec"].as_object_mut().expect("a spec").remove("replicas");
    world.sandbox.apply_yaml(&manifest.to_string()).expect("applied");
    world.pass(5);
    let api = world.api::<DaemonSet>();
    let status = api.get("collector").await.expect("get").status.expect("a status");
    assert_eq!((status.desired_number_scheduled, status.number_ready), (3, 3));
    world.sandbox.set_image("ds", (NAMESPACE, "collector"), "agent", BETTER).expect("set");
    world.sandbox.tick();
    let leaving = |pods: Vec<Pod>| {
        pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()).count()
    };
    assert_eq!(leaving(world.pods().await), 1);
    world.pass(20);
    let status = api.get("collector").await.expect("get").status.expect("a status");
    assert_eq!((status.updated_number_scheduled, status.number_ready), (Some(3), 3));
}
