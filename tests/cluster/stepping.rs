//! The clock is set while incidents are under way: nothing is done twice, and no deadline is lost.
//!
//! Only Orderly's clock is set, by libfaketime, and only the time of day: the time that passes goes on
//! as it is. It begins two hours ahead, so that it can be set back without leaving the time in which
//! the cluster's certificates are valid.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::plane::{self, Namespace};
use crate::remedy::{Policy, Remedy, WEB};

/// A clock that can be set.
struct Clock(tempfile::TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.set(2);
        clock
    }

    /// So many hours ahead of everybody else's.
    fn set(&self, hours: u32) {
        let new = self.0.path().join("new");
        std::fs::write(&new, format!("+{}", hours * 3_600)).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }
}

/// Debian has one for each architecture.
fn library() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let library = |place: &Path| place.join("faketime/libfaketimeMT.so.1");
    let found = places.map(|place| library(&place.path())).find(|library| library.exists());
    found.expect("libfaketime (Debian's package)")
}

/// A workload and its policy, under that clock.
async fn start(clock: &Clock, namespace: &Namespace, mode: &str, more: &str) -> Remedy {
    namespace.apply(WEB);
    namespace.rolled_out("deployment/web");
    let policy = Policy {
        mode,
        kind: "Deployment",
        name: "web",
        actions: "[{restart: {}}]",
        verify: "{within: 80s, rollout: complete, stableFor: 4s, alert: any}",
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_orderly"));
    command
        .env_clear()
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", clock.file())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    let config = format!("kubernetes: {{kubeconfig: '{}'}}\n{more}", plane::kubeconfig().display());
    let remedy = Remedy::start_within(&mut command, &config, namespace, &policy).await;
    let status = format!("{}/status", remedy.serving.admin);
    let status: Value = Client::new().get(status).send().await.unwrap().json().await.unwrap();
    let started: jiff::Timestamp = status["started"].as_str().unwrap().parse().unwrap();
    let ahead = started.duration_since(jiff::Timestamp::now());
    assert!(ahead.as_mins() > 100, "its clock is not the test's: {status:#}");
    remedy
}

fn generation(namespace: &Namespace) -> Value {
    namespace.get("deployment/web")["metadata"]["generation"].clone()
}

fn is_sound(remedy: &Remedy) {
    let verified = Command::new(env!("CARGO_BIN_EXE_orderly"))
        .args(["audit", "verify", "orderly.db"])
        .current_dir(remedy.directory.path())
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_forward_nobody_waits_for_a_time_that_is_over() {
    let (clock, namespace) = (Clock::new(), Namespace::new("forward"));
    let mut remedy = start(&clock, &namespace, "approval", "").await;
    let id = remedy.fire().await;
    remedy.until(&id, "waiting-for-approval").await;
    clock.set(3);
    // Far less than the half hour for which people are asked.
    remedy.serving.patience = Duration::from_secs(30);
    remedy.until_over(&id, "expired").await;
    assert_eq!(generation(&namespace), 1);
    is_sound(&remedy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_forward_while_it_is_verified_it_ends_with_a_reason_and_is_done_once() {
    let (clock, namespace) = (Clock::new(), Namespace::new("forward-verifying"));
    let mut remedy = start(&clock, &namespace, "auto", "").await;
    let id = remedy.fire().await;
    remedy.until(&id, "verifying").await;
    clock.set(3);
    // The time for the proof is over, by the only clock there is.
    let shown = remedy.until_over(&id, "notFixed").await;
    assert!(shown["summary"]["standing"].as_str().is_some_and(|it| !it.is_empty()), "{shown:#}");
    assert_eq!(generation(&namespace), 2);
    is_sound(&remedy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_back_while_it_is_verified_it_is_proven_all_the_same() {
    let (clock, namespace) = (Clock::new(), Namespace::new("back-verifying"));
    let mut remedy = start(&clock, &namespace, "auto", "").await;
    let id = remedy.fire().await;
    remedy.until(&id, "verifying").await;
    clock.set(1);
    remedy.until_over(&id, "fixed").await;
    assert_eq!(generation(&namespace), 2);
    is_sound(&remedy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_back_while_people_are_asked_their_answer_counts() {
    let (clock, namespace) = (Clock::new(), Namespace::new("back-asking"));
    let mut remedy = start(&clock, &namespace, "approval", "").await;
    let id = remedy.fire().await;
    remedy.until(&id, "waiting-for-approval").await;
    clock.set(1);
    let url = format!("{}/api/v1/incidents/{id}/approve", remedy.serving.api);
    let agreed = Client::new().post(url).json(&json!({})).send().await.unwrap();
    assert!(agreed.status().is_success(), "{}", agreed.text().await.unwrap());
    remedy.until_over(&id, "fixed").await;
    assert_eq!(generation(&namespace), 2);
    is_sound(&remedy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_back_while_a_gate_holds_it_the_gate_is_asked_again_soon() {
    let (clock, namespace) = (Clock::new(), Namespace::new("back-held"));
    // Held until monitoring shows a sign of life.
    let rails = "rails: {monitoring: {watchdog: {freshness: 60s}}}";
    let mut remedy = start(&clock, &namespace, "auto", rails).await;
    let id = remedy.fire().await;
    remedy.until(&id, "held").await;
    clock.set(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(remedy.post("Watchdog").await, StatusCode::ACCEPTED);
    remedy.until_over(&id, "fixed").await;
    assert_eq!(generation(&namespace), 2);
    is_sound(&remedy);
}
