//! The demo's cluster as it stands at the start.

use orderly::sandbox::Contents;
use serde_json::Value;

use super::support::World;

fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

#[tokio::test]
async fn the_support_agent_has_three_revisions_and_runs_the_bad_one() {
    let world = World::start(Contents::Demo).await;
    let agent = world.sandbox.get("deploy", "ai-agents", "support-agent-deployment");
    let agent = agent.expect("the support agent");
    assert_eq!(count(&agent, "/status/readyReplicas"), 3);
    assert_eq!(agent["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    let mut sets = world.sandbox.list("rs", "ai-agents");
    sets.retain(|set| set["metadata"]["labels"]["app"] == "support-agent");
    sets.sort_by_key(|set| set["metadata"]["creationTimestamp"].to_string());
    let images: Vec<&str> = sets
        .iter()
        .filter_map(|set| set.pointer("/spec/template/spec/containers/0/image"))
        .filter_map(Value::as_str)
        .filter_map(|image| image.rsplit(':').next())
        .collect();
    assert_eq!(images, ["v1.4.0", "v1.4.1", "v1.5.0"]);
    let made = sets[2]["metadata"]["creationTimestamp"].as_str().expect("a time");
    let age = world.now().duration_since(made.parse().expect("a time"));
    assert_eq!(age.as_mins(), 8);
}

#[tokio::test]
async fn the_troubled_agents_are_in_trouble() {
    let world = World::start(Contents::Demo).await;
    for (namespace, name, reason) in [
        ("production-agents", "agent-deployment", "OOMKilled"),
        ("ai-agents", "research-agent-deployment", "Error"),
    ] {
        let pods = world.sandbox.pods_of(namespace, name);
        assert_eq!(pods.len(), 2, "{name}");
        for pod in pods {
            let status = &pod["status"]["containerStatuses"][0];
            assert!(count(status, "/restartCount") >= 5, "{name}: {status}");
            assert_eq!(status["lastState"]["terminated"]["reason"], reason, "{name}");
            assert_eq!(status["lastState"]["terminated"]["exitCode"], 137, "{name}");
        }
    }
    let before = count(
        &world.sandbox.pods_of("production-agents", "agent-deployment")[0],
        "/status/containerStatuses/0/restartCount",
    );
    world.pass(20);
    let after = count(
        &world.sandbox.pods_of("production-agents", "agent-deployment")[0],
        "/status/containerStatuses/0/restartCount",
    );
    assert!(after > before, "the present goes on at the sandbox's pace");
}

#[tokio::test]
async fn the_rest_is_healthy() {
    let world = World::start(Contents::Demo).await;
    let postgres = world.sandbox.get("sts", "ai-agents", "postgres").expect("postgres");
    assert_eq!(count(&postgres, "/status/readyReplicas"), 2);
    let api = world.sandbox.get("deploy", "ai-agents", "agent-api").expect("the api");
    assert_eq!(count(&api, "/status/availableReplicas"), 2);
    let budget = world.sandbox.get("pdb", "ai-agents", "agent-api").expect("the budget");
    assert_eq!(count(&budget, "/status/disruptionsAllowed"), 1);
    let collector = world.sandbox.get("ds", "kube-system", "log-collector").expect("the collector");
    assert_eq!(count(&collector, "/status/numberReady"), 3);
}
