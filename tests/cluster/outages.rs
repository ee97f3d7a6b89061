//! The API server vanishes and returns, its store hangs: nothing is done blindly, nothing that was
//! acknowledged is lost, and what was under way is finished afterwards.
//!
//! Alone on the control plane, and only on the kit's: `tests/cluster/run` plays these last.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::plane::{Namespace, audited, kubeconfig, kubectl, until};
use crate::remedy::{Policy, Remedy, web};
use crate::serving::Serving;
use crate::witness::changes;

/// The kit's directory of the running control plane; nothing when the suite runs on another cluster.
fn kit() -> Option<PathBuf> {
    let kit = std::env::var_os("ORDERLY_TEST_PLANE").map(PathBuf::from);
    if kit.is_none() {
        assert!(std::env::var_os("CI").is_none(), "nothing may be skipped where it is to prove");
        println!("skipped: only the kit's control plane can be broken");
    }
    kit
}

fn signal(plane: &std::path::Path, component: &str, signal: &str) {
    let pid = std::fs::read_to_string(plane.join(format!("{component}.pid"))).unwrap();
    let sent = Command::new("kill").args([signal, pid.trim()]).status().unwrap();
    assert!(sent.success(), "{component}");
}

fn bring_back() {
    let up = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/controlplane/up.sh");
    let up = Command::new(up).output().unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
}

fn policy(mode: &str) -> Policy<'_> {
    Policy {
        mode,
        kind: "Deployment",
        name: "web",
        actions: "[{restart: {}}]",
        verify: "{within: 80s, rollout: complete, alert: any}",
    }
}

fn changed(namespace: &Namespace) -> usize {
    let all = audited(&namespace.0);
    all.iter().filter(|it| changes(it) && it["responseStatus"]["code"] == 200).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_vanishes_while_people_are_asked() {
    let Some(plane) = kit() else { return };
    let namespace = web("vanishes");
    let mut remedy = Remedy::start(&namespace, &policy("approval")).await;
    let id = remedy.fire().await;
    remedy.until(&id, "waiting-for-approval").await;

    signal(&plane, "kube-apiserver", "-KILL");
    let api = remedy.serving.api.clone();
    let approve = || async {
        let url = format!("{api}/api/v1/incidents/{id}/approve");
        Client::new().post(url).json(&json!({})).send().await.unwrap()
    };
    // What cannot be looked at cannot be confirmed; the approval is not taken on trust.
    let refused = approve().await;
    let status = refused.status();
    let said: Value = refused.json().await.unwrap();
    assert_eq!(status, StatusCode::CONFLICT, "{said:#}");
    assert!(
        said["detail"].as_str().is_some_and(|it| it.contains("cannot be confirmed")),
        "{said:#}"
    );
    let unready = async |admin: &str| {
        let answer = Client::new().get(format!("{admin}/readyz")).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let admin = remedy.serving.admin.clone();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let (status, said) = unready(&admin).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(said.contains("cluster"), "{said}");
            break;
        }
        assert!(std::time::Instant::now() < end, "{said}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Alerts are taken all the same: the journal is what they need.
    let _accepted = remedy.fire().await;

    tokio::task::spawn_blocking(bring_back).await.unwrap();
    remedy.serving.ready().await;
    remedy.until(&id, "waiting-for-approval").await;
    let agreed = approve().await;
    assert!(agreed.status().is_success(), "{}", agreed.text().await.unwrap());
    remedy.serving.patience = Duration::from_secs(120);
    remedy.until_over(&id, "fixed").await;
    assert_eq!(changed(&namespace), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_hangs_while_a_change_is_made() {
    let Some(plane) = kit() else { return };
    let namespace = web("hangs");
    let mut remedy = Remedy::start(&namespace, &policy("auto")).await;
    let id = remedy.fire().await;
    // Right when the step is durable, and its request is on the way or about to be.
    remedy
        .serving
        .until("step under way", async |serving| {
            serving.log().iter().any(|line| line.contains("StepStarted")).then_some(())
        })
        .await;
    signal(&plane, "etcd", "-STOP");
    tokio::time::sleep(Duration::from_secs(12)).await;
    signal(&plane, "etcd", "-CONT");

    // Components that lost their leases on life are started again.
    tokio::task::spawn_blocking(bring_back).await.unwrap();
    remedy.serving.patience = Duration::from_secs(180);
    remedy.until_over(&id, "fixed").await;
    let web = until("deployment", || Some(namespace.get("deployment/web")));
    assert_eq!(web["metadata"]["generation"], 2, "restarted once: {web:#}");
    assert_eq!(changed(&namespace), 1);
}

/// Orderly is there before the definitions of its policies, as on the day it is installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_definitions_of_policies_come_later() {
    if kit().is_none() {
        return;
    }
    let namespace = Namespace::new("definitions");
    let definitions = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    let definitions = definitions.to_str().unwrap();
    kubectl(&["delete", "--ignore-not-found", "-f", definitions]);
    let resources = "policyResources: all\n";
    let config = format!("{resources}kubernetes: {{kubeconfig: '{}'}}", kubeconfig().display());
    let mut remedy = Remedy::start_with(&config, &namespace, &policy("dry-run")).await;
    let bad = async |serving: &Serving, wanted: bool| {
        let url = format!("{}/status", serving.admin);
        let status: Value = Client::new().get(url).send().await.ok()?.json().await.ok()?;
        let told = status["policies"].to_string();
        assert!(told.contains("\"name\":\"test\""), "the file's policy is in force: {told}");
        let missing = told.contains("install the definitions with `orderly schema --crd");
        (missing == wanted).then_some(())
    };
    let said = async |serving: &Serving| bad(serving, true).await;
    remedy.serving.until("word of what is missing", said).await;
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", definitions]);
    let found = async |serving: &Serving| bad(serving, false).await;
    remedy.serving.until("definitions", found).await;
}
