//! The API server's audit log is the witness of what Orderly asked for.

use serde_json::Value;

use crate::plane::{Namespace, audited};
use crate::remedy::{Policy, Remedy};

/// Whether a request changed something, Events left out.
pub fn changes(entry: &Value) -> bool {
    let verb = entry["verb"].as_str().unwrap_or_default();
    let reading = ["get", "list", "watch"].contains(&verb);
    !reading && !dry(entry) && entry["objectRef"]["resource"] != "events"
}

fn dry(entry: &Value) -> bool {
    entry["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All"))
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {
  metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: "registry.example.com/app:v1"}]}}}
"#;

fn policy(mode: &str) -> Policy<'_> {
    Policy {
        mode,
        kind: "Deployment",
        name: "web",
        actions: "[{restart: {}}, {scale: {to: 3}}]",
        verify: "{within: 80s, rollout: complete, alert: any}",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_writes_nothing() {
    let namespace = Namespace::new("witness-dry");
    namespace.apply(WEB);
    namespace.rolled_out("deployment/web");
    let mut remedy = Remedy::start(&namespace, &policy("dry-run")).await;
    let id = remedy.fire().await;
    remedy.until_over(&id, "dryRun").await;

    let seen = audited(&namespace.0);
    assert!(seen.iter().any(dry), "the diff came from the server: {seen:#?}");
    let writes = seen.iter().filter(|entry| {
        !["get", "list", "watch"].contains(&entry["verb"].as_str().unwrap_or_default())
    });
    let not_dry: Vec<_> = writes.filter(|entry| !dry(entry)).collect();
    assert!(not_dry.is_empty(), "{not_dry:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_is_what_the_journal_says() {
    let namespace = Namespace::new("witness-auto");
    namespace.apply(WEB);
    namespace.rolled_out("deployment/web");
    let mut remedy = Remedy::start(&namespace, &policy("auto")).await;
    let id = remedy.fire().await;
    let shown = remedy.until_over(&id, "fixed").await;

    let history = shown["history"].as_array().unwrap();
    let claimed = history.iter().filter(|line| line["event"] == "StepFinished").count();
    let all: Vec<_> = audited(&namespace.0).into_iter().filter(changes).collect();
    // A precondition that no longer held changed nothing; it is looked at again and tried again.
    let (done, not_done): (Vec<_>, Vec<_>) =
        all.iter().partition(|entry| entry["responseStatus"]["code"] == 200);
    assert!(not_done.iter().all(|entry| entry["responseStatus"]["code"] == 409), "{not_done:#?}");
    let asked: Vec<_> = done
        .iter()
        .map(|entry| {
            let object = &entry["objectRef"];
            let part = object["subresource"].as_str().map_or(String::new(), |it| format!("/{it}"));
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (verb, resource) = (word(&entry["verb"]), word(&object["resource"]));
            format!("{verb} {resource}{part} {}", word(&object["name"]))
        })
        .collect();
    assert_eq!(asked, ["patch deployments web", "patch deployments/scale web"], "{done:#?}");
    assert_eq!(claimed, asked.len(), "{history:#?}");
}
