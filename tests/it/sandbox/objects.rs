//! Objects over the API: writes, their refusals, selections, watches, access.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::ResourceExt;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    Preconditions, WatchEvent, WatchParams,
};
use orderly::sandbox::{AdmissionDenial, Identity, Rule};
use serde_json::{Value, json};

use super::support::{NAMESPACE, World, deployment, refusal};

const IMAGE: &str = "registry.example.com/agent:v1";

fn container(patch: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [patch]}}}})
}

#[tokio::test]
async fn defaults_are_filled_in_as_by_the_real_server() {
    let world = World::empty().await;
    let mut manifest = deployment("agent", 1, IMAGE);
    manifest["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] =
        json!({"httpGet": {"port": 8080}});
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"memory": "1024Mi", "cpu": 0.5}});
    world.sandbox.apply_yaml(&manifest.to_string()).expect("applied");
    let stored = world.sandbox.get("deploy", NAMESPACE, "agent").expect("stored");
    let spec = &stored["spec"];
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let pod = &spec["template"]["spec"];
    assert_eq!(
        (&pod["restartPolicy"], &pod["dnsPolicy"]),
        (&json!("Always"), &json!("ClusterFirst"))
    );
    let container = &pod["containers"][0];
    assert_eq!(container["livenessProbe"]["timeoutSeconds"], 1);
    assert_eq!(container["livenessProbe"]["failureThreshold"], 3);
    let amounts = json!({"memory": "1Gi", "cpu": "500m"});
    assert_eq!(container["resources"], json!({"limits": amounts, "requests": amounts}));
}

#[tokio::test]
async fn a_dry_run_shows_the_result_and_stores_nothing() {
    let world = World::empty().await;
    let before = world.deployment("agent", 1, IMAGE).await;
    let api = world.api::<Deployment>();
    let patch = container(json!({"name": "agent", "image": "registry.example.com/agent:v2"}));
    let params = PatchParams { dry_run: true, ..PatchParams::apply("orderly") };
    let tried = api.patch("agent", &params, &Patch::Strategic(&patch)).await.expect("tried");
    let image = |deployment: &Deployment| {
        let spec = deployment.spec.as_ref().expect("a spec").template.spec.clone();
        spec.expect("a pod spec").containers[0].image.clone().unwrap_or_default()
    };
    assert_eq!(image(&tried), "registry.example.com/agent:v2");
    assert_eq!(tried.metadata.generation, Some(2));
    assert_eq!(tried.resource_version(), before.resource_version());
    let live = api.get("agent").await.expect("get");
    assert_eq!(image(&live), IMAGE);
    assert_eq!(live.resource_version(), before.resource_version());
    let entry = world.sandbox.audit().into_iter().find(|entry| entry.verb == "patch");
    let entry = entry.expect("the patch is in the log");
    assert!(entry.dry_run && !entry.is_write());
    assert_eq!((entry.field_manager.as_str(), entry.code), ("orderly", Some(200)));
    assert!(world.sandbox.writes().is_empty());
    let other = serde_json::from_value(deployment("other", 1, IMAGE)).expect("a deployment");
    let params = PostParams { dry_run: true, field_manager: None };
    assert!(api.create(&params, &other).await.expect("tried").uid().is_some());
    assert_eq!(refusal(api.get("other").await).code, 404);
}

#[tokio::test]
async fn preconditions_are_409_and_422_as_documented() {
    let world = World::empty().await;
    let live = world.deployment("agent", 1, IMAGE).await;
    let api = world.api::<Deployment>();
    let params = PatchParams::default();
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}});
    let status = refusal(api.patch("agent", &params, &Patch::Merge(&stale)).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on deployments.apps \"agent\": the object has been modified; \
         please apply your changes to the latest version and try again"
    );
    let details = status.details.expect("details");
    assert_eq!((details.name.as_str(), details.group.as_str()), ("agent", "apps"));
    assert_eq!(details.kind, "deployments");

    let other = json!({"metadata": {"uid": "0000"}, "spec": {"replicas": 2}});
    let status = refusal(api.patch("agent", &params, &Patch::Merge(&other)).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));

    let test = json!([
        {"op": "test", "path": "/spec/replicas", "value": 7},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
    ]);
    let (code, status) =
        world.json_patch("/apis/apps/v1/namespaces/default/deployments/agent", test).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));

    let mut replaced = live.clone();
    replaced.metadata.uid = Some("0000".into());
    let status = refusal(api.replace("agent", &PostParams::default(), &replaced).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));

    let wrong = DeleteParams {
        preconditions: Some(Preconditions { uid: Some("0000".into()), resource_version: None }),
        ..DeleteParams::default()
    };
    assert_eq!(refusal(api.delete("agent", &wrong).await).code, 409);
    let unchanged = api.get("agent").await.expect("get");
    assert_eq!(unchanged.resource_version(), live.resource_version());
    let same = json!({"spec": {"replicas": 1}});
    let same = api.patch("agent", &params, &Patch::Merge(&same)).await.expect("no change");
    assert_eq!(same.resource_version(), live.resource_version());
}

#[tokio::test]
async fn invalid_objects_are_refused_with_the_field() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let api = world.api::<Deployment>();
    let params = PatchParams::default();
    for (patch, field) in [
        (
            container(json!({"name": "agent", "resources":
                {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}})),
            "spec.template.spec.containers[0].resources.requests",
        ),
        (
            container(json!({"name": "agent", "livenessProbe":
                {"httpGet": {"port": 80}, "periodSeconds": 0, "initialDelaySeconds": -1}})),
            "spec.template.spec.containers[0].livenessProbe.initialDelaySeconds",
        ),
        (json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}), "spec.selector"),
        (json!({"metadata": {"labels": {"team": "a b"}}}), "metadata.labels"),
        (json!({"spec": {"replicas": -1}}), "spec.replicas"),
    ] {
        let status = refusal(api.patch("agent", &params, &Patch::Strategic(&patch)).await);
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{patch}");
        let details = status.details.expect("details");
        assert_eq!(details.kind, "Deployment");
        assert!(details.causes.iter().any(|cause| cause.field == field), "{patch}: {details:?}");
    }
    let status = refusal(api.get("absent").await);
    assert_eq!(status.message, "deployments.apps \"absent\" not found");
    let again = serde_json::from_value(deployment("agent", 1, IMAGE)).expect("a deployment");
    let status = refusal(api.create(&PostParams::default(), &again).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));
}

#[tokio::test]
async fn unknown_fields_are_refused_when_strict_and_dropped_otherwise() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let api = world.api::<Deployment>();
    let patch = container(json!({"name": "agent", "imgae": "typo"}));
    let strict = PatchParams::default().validation_strict();
    let status = refusal(api.patch("agent", &strict, &Patch::Strategic(&patch)).await);
    assert_eq!((status.code, status.reason.as_str()), (400, "BadRequest"));
    let expected = "unknown field \"spec.template.spec.containers[0].imgae\"";
    assert!(status.message.contains(expected), "{}", status.message);
    api.patch("agent", &PatchParams::default(), &Patch::Strategic(&patch)).await.expect("warned");
    let stored = world.sandbox.get("deploy", NAMESPACE, "agent").expect("stored");
    assert!(!stored.to_string().contains("imgae"));
}

#[tokio::test]
async fn managers_own_what_they_change_and_apply_meets_conflicts() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let api = world.api::<Deployment>();
    let params = PatchParams { field_manager: Some("orderly".into()), ..PatchParams::default() };
    let patch = json!({"spec": {"replicas": 3}});
    let patched = api.patch("agent", &params, &Patch::Merge(&patch)).await.expect("patched");
    let entry = patched.managed_fields().iter().find(|f| f.manager.as_deref() == Some("orderly"));
    let fields = entry.and_then(|entry| entry.fields_v1.clone()).expect("fields").0;
    assert_eq!(fields, json!({"f:spec": {"f:replicas": {}}}));
    let apply = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 5}});
    let status =
        refusal(api.patch("agent", &PatchParams::apply("gitops"), &Patch::Apply(&apply)).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let cause = status.details.expect("details").causes.remove(0);
    assert_eq!(
        (cause.reason.as_str(), cause.field.as_str()),
        ("FieldManagerConflict", ".spec.replicas")
    );
    let forced = PatchParams::apply("gitops").force();
    let applied = api.patch("agent", &forced, &Patch::Apply(&apply)).await.expect("forced");
    assert_eq!(applied.spec.expect("a spec").replicas, Some(5));
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let world = World::empty().await;
    for name in ["one", "two", "three"] {
        let manifest = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"n": name}},
        });
        world.sandbox.apply_yaml(&manifest.to_string()).expect("applied");
    }
    let api = world.api::<ConfigMap>();
    let page = api.list(&ListParams::default().limit(2)).await.expect("a page");
    assert_eq!((page.items.len(), page.metadata.remaining_item_count), (2, Some(1)));
    let token = page.metadata.continue_.expect("a token");
    let rest =
        api.list(&ListParams::default().limit(2).continue_token(&token)).await.expect("rest");
    assert_eq!((rest.items.len(), rest.metadata.continue_), (1, None));
    let chosen = api.list(&ListParams::default().labels("n in (one,two)")).await.expect("labels");
    assert_eq!(chosen.items.len(), 2);
    let chosen =
        api.list(&ListParams::default().fields("metadata.name=two")).await.expect("fields");
    assert_eq!(chosen.items[0].name_any(), "two");
    let unknown = api.list(&ListParams::default().fields("data.x=y")).await;
    assert_eq!(refusal(unknown).code, 400);
}

#[tokio::test]
async fn a_watch_sees_changes_in_order_and_objects_that_leave_the_selection() {
    let world = World::empty().await;
    let api = world.api::<ConfigMap>();
    let version = api.list(&ListParams::default()).await.expect("list").metadata.resource_version;
    let params = WatchParams::default().labels("n=1");
    let events = api.watch(&params, &version.expect("a version")).await.expect("a watch");
    let manifest = |n: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map", "labels": {"n": n}},
        })
        .to_string()
    };
    world.sandbox.apply_yaml(&manifest("1")).expect("applied");
    let change = json!({"data": {"a": "b"}});
    world.sandbox.patch("cm", NAMESPACE, "map", &change).expect("patched");
    world.sandbox.apply_yaml(&manifest("2")).expect("applied");
    let seen: Vec<String> = tokio::time::timeout(Duration::from_secs(10), async {
        let mut events = events.boxed();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let event = events.try_next().await.expect("an event").expect("not the end");
            seen.push(match event {
                WatchEvent::Added(map) => format!("added {}", map.name_any()),
                WatchEvent::Modified(map) => format!("modified {}", map.name_any()),
                WatchEvent::Deleted(map) => format!("deleted {}", map.name_any()),
                other => format!("{other:?}"),
            });
        }
        seen
    })
    .await
    .expect("in time");
    assert_eq!(seen, ["added map", "modified map", "deleted map"]);
    let (code, body) =
        world.get("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=5").await;
    assert_eq!(code, 410, "{body}");
}

/// How kubectl and client-go have listed since 1.35.
#[tokio::test]
async fn a_streamed_list_ends_with_a_bookmark() {
    let world = World::empty().await;
    let api = world.api::<ConfigMap>();
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}});
    world.sandbox.apply_yaml(&manifest.to_string()).expect("applied");
    let events = api.watch(&WatchParams::default().initial_events(), "0").await.expect("a watch");
    let seen: Vec<String> = tokio::time::timeout(Duration::from_secs(10), async {
        let mut events = events.boxed();
        let mut seen = Vec::new();
        while !seen.iter().any(|it: &String| it.starts_with("bookmark")) {
            let event = events.try_next().await.expect("an event").expect("not the end");
            seen.push(match event {
                WatchEvent::Added(map) => format!("added {}", map.name_any()),
                WatchEvent::Bookmark(mark) => format!("bookmark {:?}", mark.metadata.annotations),
                other => format!("{other:?}"),
            });
        }
        seen
    })
    .await
    .expect("in time");
    let end = r#"bookmark {"k8s.io/initial-events-end": "true"}"#;
    assert_eq!(seen.last().map(String::as_str), Some(end));
    assert!(seen.contains(&"added map".to_owned()), "{seen:?}");

    let path = "/api/v1/namespaces/default/configmaps?sendInitialEvents=true";
    let refused = [
        (path.to_owned(), "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        (
            format!("{path}&watch=1"),
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
             resourceVersionMatch to NotOlderThan",
        ),
    ];
    for (path, why) in refused {
        let (code, body) = world.get(&path).await;
        assert_eq!(code, 422, "{body}");
        assert!(body.to_string().contains(why), "{body}");
    }
}

#[tokio::test]
async fn tokens_carry_their_rules() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    let identity = Identity {
        user: "system:serviceaccount:orderly:reader".into(),
        groups: Vec::new(),
        rules: vec![Rule::new(NAMESPACE, "apps", "deployments", "get,list,watch")],
    };
    world.sandbox.admit("reader-token", identity);
    let mut config = world.sandbox.client_config();
    config.auth_info.token = Some("reader-token".to_owned().into());
    let client = kube::Client::try_from(config).expect("a client");
    let api: kube::Api<Deployment> = kube::Api::namespaced(client.clone(), NAMESPACE);
    api.get("agent").await.expect("may read");
    let patch = json!({"spec": {"replicas": 2}});
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let status = refusal(api.patch("agent", &dry, &Patch::Merge(&patch)).await);
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        status.message,
        "deployments.apps \"agent\" is forbidden: User \"system:serviceaccount:orderly:reader\" \
         cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"default\""
    );
    let review: k8s_openapi::api::authorization::v1::SelfSubjectAccessReview =
        serde_json::from_value(json!({"spec": {"resourceAttributes": {
            "namespace": NAMESPACE, "group": "apps", "resource": "deployments",
            "subresource": "scale", "verb": "patch",
        }}}))
        .expect("a review");
    let reviews = kube::Api::all(client);
    let answer = reviews.create(&PostParams::default(), &review).await.expect("a review");
    assert!(!answer.status.expect("a status").allowed);
}

#[tokio::test]
async fn an_admission_webhook_denies() {
    let world = World::empty().await;
    world.deployment("agent", 1, IMAGE).await;
    world.sandbox.deny(AdmissionDenial {
        webhook: "policy.example.com".into(),
        verb: "update".into(),
        resource: "deployments".into(),
        namespace: String::new(),
        name: String::new(),
        message: "replicas are fixed".into(),
        code: 403,
    });
    let patch = json!({"spec": {"replicas": 2}});
    let api = world.api::<Deployment>();
    let status = refusal(api.patch("agent", &PatchParams::default(), &Patch::Merge(&patch)).await);
    assert_eq!(status.code, 403);
    assert_eq!(
        status.message,
        "admission webhook \"policy.example.com\" denied the request: replicas are fixed"
    );
}

#[tokio::test]
async fn both_event_apis_show_the_same_events() {
    let world = World::empty().await;
    let target = world.deployment("agent", 1, IMAGE).await;
    let event: k8s_openapi::api::events::v1::Event = serde_json::from_value(json!({
        "metadata": {"generateName": "orderly-", "namespace": NAMESPACE},
        "eventTime": "2026-11-20T10:00:00.000000Z", "reportingController": "orderly.dev/orderly",
        "reportingInstance": "orderly-0", "action": "RollBack", "reason": "RolledBack",
        "type": "Normal", "note": "incident 7",
        "regarding": {"kind": "Deployment", "name": "agent", "namespace": NAMESPACE,
                      "apiVersion": "apps/v1", "uid": target.uid()},
    }))
    .expect("an event");
    let api = world.api::<k8s_openapi::api::events::v1::Event>();
    api.create(&PostParams::default(), &event).await.expect("created");
    let uid = target.uid().expect("a uid");
    let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let events = world.api::<Event>().list(&params).await.expect("events").items;
    let messages: Vec<String> = events.iter().filter_map(|event| event.message.clone()).collect();
    assert!(messages.contains(&"incident 7".to_owned()), "{messages:?}");
    assert!(messages.iter().any(|message| message.starts_with("Scaled up replica set agent-")));
    let incomplete = k8s_openapi::api::events::v1::Event { action: None, ..event };
    assert_eq!(refusal(api.create(&PostParams::default(), &incomplete).await).code, 422);
}

#[tokio::test]
async fn optional_kinds_are_absent_until_installed_and_know_no_strategic_merge() {
    let world = World::empty().await;
    let resource = ApiResource {
        group: "autoscaling.k8s.io".into(),
        version: "v1".into(),
        api_version: "autoscaling.k8s.io/v1".into(),
        kind: "VerticalPodAutoscaler".into(),
        plural: "verticalpodautoscalers".into(),
    };
    let api: kube::Api<DynamicObject> =
        kube::Api::namespaced_with(world.client.clone(), NAMESPACE, &resource);
    assert_eq!(refusal(api.list(&ListParams::default()).await).code, 404);
    world.sandbox.install("verticalpodautoscalers");
    let object = DynamicObject::new("vpa", &resource).data(json!({"spec": {}}));
    api.create(&PostParams::default(), &object).await.expect("created");
    let patch = json!({"spec": {"x": 1}});
    let params = PatchParams::default();
    assert_eq!(refusal(api.patch("vpa", &params, &Patch::Strategic(&patch)).await).code, 415);
    api.patch("vpa", &params, &Patch::Merge(&patch)).await.expect("merged");
}

#[tokio::test]
async fn an_autoscaler_keeps_its_target_within_bounds() {
    let world = World::empty().await;
    world.deployment("agent", 2, IMAGE).await;
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "agent"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "agent"},
            "minReplicas": 3, "maxReplicas": 5,
        },
    });
    world.sandbox.apply_yaml(&autoscaler.to_string()).expect("applied");
    world.pass(5);
    assert_eq!(world.pods().await.len(), 3);
    let scale = json!({"spec": {"replicas": 9}});
    world.sandbox.patch("deploy", NAMESPACE, "agent", &scale).expect("patched");
    world.pass(5);
    assert_eq!(world.pods().await.len(), 5);
    let status = world.api::<HorizontalPodAutoscaler>().get("agent").await.expect("get").status;
    assert_eq!(status.expect("a status").current_replicas, Some(5));
}

#[tokio::test]
async fn owners_take_their_dependents_with_them() {
    let world = World::empty().await;
    world.deployment("agent", 2, IMAGE).await;
    world.api::<Deployment>().delete("agent", &DeleteParams::default()).await.expect("deleted");
    world.pass(5);
    assert!(world.replica_sets().await.is_empty());
    assert!(world.pods().await.is_empty());
    world.deployment("kept", 1, IMAGE).await;
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    world.api::<Deployment>().delete("kept", &orphan).await.expect("deleted");
    world.pass(5);
    assert_eq!(world.replica_sets().await.len(), 1);
    assert_eq!(world.pods().await.len(), 1);
}

#[tokio::test]
async fn a_quota_keeps_pods_out() {
    let world = World::empty().await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "1"}},
    });
    world.sandbox.apply_yaml(&quota.to_string()).expect("applied");
    let limited = world.deployment("agent", 2, IMAGE).await;
    assert_eq!(world.pods().await.len(), 1);
    let conditions = limited.status.expect("a status").conditions.expect("conditions");
    let failure = conditions.iter().find(|c| c.type_ == "ReplicaFailure").expect("told");
    assert!(failure.message.as_deref().unwrap_or_default().contains("exceeded quota: small"));
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "one-more"}, "spec": {"containers": [{"name": "a", "image": IMAGE}]},
    }))
    .expect("a pod");
    assert_eq!(refusal(world.api::<Pod>().create(&PostParams::default(), &pod).await).code, 403);
}
