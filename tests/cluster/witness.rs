//! The API server's audit log is the witness of what Orderly asked for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::plane::{Namespace, audited, kubectl, try_kubectl};
use crate::remedy::{Policy, Remedy, WEB, web};

/// Whether a request changed something, Events left out.
pub fn changes(entry: &Value) -> bool {
    let verb = entry["verb"].as_str().unwrap_or_default();
    let reading = ["get", "list", "watch"].contains(&verb);
    !reading && !dry(entry) && entry["objectRef"]["resource"] != "events"
}

fn dry(entry: &Value) -> bool {
    entry["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All"))
}

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
    let namespace = web("witness-dry");
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
    let namespace = web("witness-auto");
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

/// The two accounts of `orderly rbac`, as a `kubernetes` section.
fn accounts(namespace: &Namespace, policy: &Policy<'_>, at: &Path) -> String {
    let (reader, writer) = (format!("{}-reader", namespace.0), format!("{}-writer", namespace.0));
    std::fs::write(at.join("policy.yaml"), policy.text(&namespace.0)).unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_orderly"))
        .args(["rbac", "policy.yaml", "--namespace", &namespace.0])
        .args(["--reader", &reader, "--writer", &writer])
        .current_dir(at)
        .output()
        .unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    namespace.apply(&String::from_utf8(printed.stdout).unwrap());

    let token = |account: &str| namespace.kubectl(&["create", "token", account]).trim().to_owned();
    let shown = kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&shown).unwrap();
    config["users"][0]["user"] = json!({"token": token(&reader)});
    std::fs::write(at.join("reader.kubeconfig"), config.to_string()).unwrap();
    std::fs::write(at.join("writer.token"), token(&writer)).unwrap();
    let at = at.display();
    format!(
        "kubernetes: {{kubeconfig: '{at}/reader.kubeconfig', writeTokenFile: '{at}/writer.token'}}"
    )
}

fn forbidden(entries: &[Value]) -> Vec<&Value> {
    entries.iter().filter(|entry| entry["responseStatus"]["code"] == 403).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_rights_are_enough_and_no_more() {
    let namespace = Namespace::new("rights");
    let elsewhere = Namespace::new("elsewhere");
    for place in [&namespace, &elsewhere] {
        place.apply(WEB);
        place.rolled_out("deployment/web");
    }
    let directory = tempfile::tempdir().unwrap();
    let policy = policy("auto");
    let kubernetes = accounts(&namespace, &policy, directory.path());

    let mut remedy = Remedy::start_with(&kubernetes, &namespace, &policy).await;
    let id = remedy.fire().await;
    remedy.until_over(&id, "fixed").await;
    let seen = audited(&namespace.0);
    assert!(forbidden(&seen).is_empty(), "{:#?}", forbidden(&seen));
    for entry in &seen {
        let user = entry["user"]["username"].as_str().unwrap();
        let reads = ["get", "list", "watch"].contains(&entry["verb"].as_str().unwrap());
        assert!(reads || user.ends_with("-writer"), "whoever looks does not act: {entry:#}");
    }

    // Nothing beside the actions of the policy, and nothing in another place.
    let account =
        |name: &str| format!("--as=system:serviceaccount:{}:{}-{name}", namespace.0, namespace.0);
    for (account, verb, resource, place) in [
        (account("reader"), "patch", "deployments", &namespace),
        (account("reader"), "get", "secrets", &namespace),
        (account("writer"), "get", "secrets", &namespace),
        (account("writer"), "delete", "pods", &namespace),
        (account("writer"), "patch", "statefulsets", &namespace),
        (account("writer"), "patch", "deployments", &elsewhere),
        (account("reader"), "list", "pods", &elsewhere),
    ] {
        let asked = ["-n", &place.0, "auth", "can-i", verb, resource, &account];
        let (may, said) = try_kubectl(&asked, "");
        assert!(!may && said.starts_with("no"), "{asked:?}: {said}");
    }
    let astray = Remedy::start_with(&kubernetes, &elsewhere, &policy).await;
    let _id = astray.fire().await;
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while forbidden(&audited(&elsewhere.0)).is_empty() {
        assert!(std::time::Instant::now() < end, "{:#?}", audited(&elsewhere.0));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        !audited(&elsewhere.0)
            .iter()
            .any(|entry| { changes(entry) && entry["responseStatus"]["code"] != 403 })
    );
    for kind in ["clusterrole", "clusterrolebinding"] {
        kubectl(&["delete", kind, &format!("{}-reader", namespace.0)]);
    }
}
