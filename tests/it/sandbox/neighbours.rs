//! The sandbox's Prometheus and Alertmanager, and what kubectl asks first.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use orderly::sandbox::{QueryAnswer, QueryMatch, Sample};
use serde_json::{Value, json};

use super::support::World;

async fn json_of(world: &World, path: &str) -> (u16, Value) {
    let (code, body) = world.get(path).await;
    (code, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[tokio::test]
async fn queries_are_answered_from_the_cluster() {
    let world = World::empty().await;
    world.deployment("agent", 2, "registry.example.com/agent:v1.5.0").await;
    let on = QueryMatch::Exact("sum(rate(errors[5m])) / sum(rate(requests[5m]))".into());
    world.sandbox.set_query(on, |view| {
        QueryAnswer::value(if view.serves_image("default", "agent", "v1.5.0") {
            0.14
        } else {
            0.002
        })
    });
    let query =
        "/prometheus/api/v1/query?query=sum(rate(errors%5B5m%5D))%2Fsum(rate(requests%5B5m%5D))";
    let (code, body) = json_of(&world, query).await;
    assert_eq!((code, &body["status"]), (200, &json!("success")));
    assert_eq!(body["data"]["resultType"], "vector");
    assert_eq!(body["data"]["result"][0]["value"][1], "0.14");
    let image = "registry.example.com/agent:v1.4.1";
    world.sandbox.set_image("deploy", ("default", "agent"), "agent", image).expect("set");
    world.pass(10);
    let form =
        [("query", "sum(rate(errors[5m])) / sum(rate(requests[5m]))"), ("time", "1700000000.5")];
    let url = format!("{}/api/v1/query", world.sandbox.prometheus_url());
    let body: String = form
        .iter()
        .map(|(k, v)| format!("{k}={}&", v.replace(' ', "+").replace('/', "%2F")))
        .collect();
    let answer = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.replace('[', "%5B").replace(']', "%5D"))
        .send()
        .await
        .expect("an answer");
    let body: Value = answer.json().await.expect("json");
    assert_eq!(body["data"]["result"][0]["value"], json!([1_700_000_000, "0.002"]));
}

#[tokio::test]
async fn queries_can_be_empty_partial_wrong_and_not_a_number() {
    let world = World::empty().await;
    let (_, body) = json_of(&world, "/prometheus/api/v1/query?query=up").await;
    assert_eq!(body["data"]["result"], json!([]));
    let (code, body) = json_of(&world, "/prometheus/api/v1/query").await;
    assert_eq!((code, &body["errorType"]), (400, &json!("bad_data")));
    let on = |name: &str| QueryMatch::Contains(vec![name.into()]);
    world.sandbox.set_query(on("partial"), |_| QueryAnswer::Partial {
        samples: vec![Sample { labels: vec![("pod".into(), "a".into())], value: f64::NAN }],
        warnings: vec!["remote read failed".into()],
    });
    world.sandbox.set_query(on("broken"), |_| QueryAnswer::Error {
        code: 422,
        kind: "execution".into(),
        message: "many-to-many matching not allowed".into(),
    });
    let (_, body) = json_of(&world, "/prometheus/api/v1/query?query=partial").await;
    assert_eq!(body["warnings"], json!(["remote read failed"]));
    assert_eq!(body["data"]["result"][0]["metric"], json!({"pod": "a"}));
    assert_eq!(body["data"]["result"][0]["value"][1], "NaN");
    let (code, body) = json_of(&world, "/prometheus/api/v1/query?query=broken").await;
    assert_eq!((code, &body["status"]), (422, &json!("error")));
    assert_eq!(world.get("/prometheus/-/ready").await.0, 200);
}

#[tokio::test]
async fn alerts_fire_are_silenced_and_resolve() {
    let world = World::empty().await;
    let alertmanager = world.sandbox.alertmanager();
    let labels: BTreeMap<String, String> =
        [("alertname", "AgentDown"), ("agent_id", "research-agent")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let print = alertmanager.fire(labels.clone(), BTreeMap::new(), world.now());
    let alerts = "/alertmanager/api/v2/alerts?active=true&silenced=false&inhibited=false";
    let filter = "&filter=alertname%3D%22AgentDown%22";
    let (code, body) = json_of(&world, &format!("{alerts}{filter}")).await;
    assert_eq!((code, &body[0]["fingerprint"]), (200, &json!(print)));
    assert_eq!(body[0]["status"]["state"], "active");
    let (_, none) = json_of(&world, &format!("{alerts}&filter=alertname%3D~%22Other.*%22")).await;
    assert_eq!(none, json!([]));
    assert_eq!(json_of(&world, &format!("{alerts}&filter=nonsense")).await.0, 400);

    let until = world.now() + SignedDuration::from_mins(10);
    let id = alertmanager.silence(&labels, world.now(), until);
    assert_eq!(json_of(&world, alerts).await.1, json!([]));
    let (_, all) = json_of(&world, "/alertmanager/api/v2/alerts").await;
    assert_eq!(all[0]["status"]["silencedBy"], json!([id]));
    world.pass(601);
    assert_eq!(json_of(&world, alerts).await.1[0]["status"]["state"], "active");
    alertmanager.resolve(&print);
    assert_eq!(json_of(&world, alerts).await.1, json!([]));
}

#[tokio::test]
async fn silences_can_be_made_over_the_api() {
    let world = World::empty().await;
    let url = format!("{}/api/v2/silences", world.sandbox.alertmanager_url());
    let client = reqwest::Client::new();
    let mut body = json!({
        "matchers": [{"name": "alertname", "value": "X", "isRegex": false}],
        "startsAt": "2026-11-20T10:00:00Z", "endsAt": "2026-11-20T11:00:00Z", "comment": "test",
    });
    let refused = client.post(&url).json(&body).send().await.expect("an answer");
    assert_eq!(refused.status(), 400, "the author is missing");
    body["createdBy"] = json!("orderly");
    let made: Value =
        client.post(&url).json(&body).send().await.expect("an answer").json().await.expect("json");
    let id = made["silenceID"].as_str().expect("an id").to_owned();
    let (_, list) = json_of(&world, "/alertmanager/api/v2/silences").await;
    assert_eq!((&list[0]["id"], &list[0]["status"]["state"]), (&json!(id), &json!("active")));
    let one = format!("{}/api/v2/silence/{id}", world.sandbox.alertmanager_url());
    assert_eq!(client.delete(one).send().await.expect("an answer").status(), 200);
    let (_, list) = json_of(&world, "/alertmanager/api/v2/silences").await;
    assert_eq!(list[0]["status"]["state"], "expired");
}

#[tokio::test]
async fn discovery_lists_what_is_served() {
    let world = World::empty().await;
    let version = world.client.apiserver_version().await.expect("a version");
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
    let groups = world.client.list_api_groups().await.expect("groups");
    let names: Vec<&str> = groups.groups.iter().map(|group| group.name.as_str()).collect();
    for group in ["apps", "autoscaling", "policy", "events.k8s.io", "coordination.k8s.io"] {
        assert!(names.contains(&group), "{group} in {names:?}");
    }
    assert!(!names.contains(&"keda.sh"));
    let apps = world.client.list_api_group_resources("apps/v1").await.expect("resources");
    let found = apps.resources.iter().any(|resource| resource.name == "deployments/scale");
    assert!(found);
    assert_eq!(world.get("/apis/keda.sh/v1alpha1").await.0, 404);
    assert_eq!(world.get("/readyz").await, (200, "ok".into()));
}
