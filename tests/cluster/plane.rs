//! The cluster under test, through kubectl and through what the API server wrote down.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the cluster may take for anything.
const PATIENCE: Duration = Duration::from_secs(90);

pub fn kubeconfig() -> PathBuf {
    let path = std::env::var_os("ORDERLY_TEST_KUBECONFIG");
    PathBuf::from(path.expect("ORDERLY_TEST_KUBECONFIG is not set: start with tests/cluster/run"))
}

/// Runs kubectl; what it printed, and whether it succeeded.
pub fn try_kubectl(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("kubectl")
        .arg(format!("--kubeconfig={}", kubeconfig().display()))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is on the path");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.success(), text)
}

/// Runs kubectl; what it printed.
pub fn kubectl(arguments: &[&str]) -> String {
    let (success, text) = try_kubectl(arguments, "");
    assert!(success, "kubectl {}: {text}", arguments.join(" "));
    text
}

/// A namespace of its own, gone with the test that made it.
pub struct Namespace(pub String);

impl Namespace {
    /// A fresh one; the name tells which test left it when a test run is broken off.
    pub fn new(name: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let own = format!("{name}-{}-{number}", std::process::id());
        kubectl(&["create", "namespace", &own]);
        // Pods can be made only when the controller has made it.
        until("service account", || {
            try_kubectl(&["-n", &own, "get", "serviceaccount", "default"], "").0.then_some(())
        });
        Self(own)
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", &self.0], arguments].concat())
    }

    pub fn try_kubectl(&self, arguments: &[&str]) -> (bool, String) {
        try_kubectl(&[&["-n", &self.0], arguments].concat(), "")
    }

    /// Applies manifests as a person does.
    pub fn apply(&self, manifests: &str) {
        let (success, text) = try_kubectl(&["-n", &self.0, "apply", "-f", "-"], manifests);
        assert!(success, "{text}\n{manifests}");
    }

    pub fn get(&self, object: &str) -> Value {
        let text = self.kubectl(&["get", object, "-o", "json", "--show-managed-fields"]);
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until kubectl says that the rollout is complete.
    pub fn rolled_out(&self, object: &str) -> String {
        self.kubectl(&["rollout", "status", object, "--timeout=90s"])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _left = try_kubectl(&["delete", "namespace", &self.0, "--wait=false"], "");
    }
}

/// Looks again and again until something is there.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the API server wrote down about a namespace's requests by programs whose user agent begins
/// with `orderly`, the oldest first.
pub fn audited(namespace: &str) -> Vec<Value> {
    let log = std::env::var_os("ORDERLY_TEST_AUDIT_LOG");
    let log = log.expect("ORDERLY_TEST_AUDIT_LOG is not set: start with tests/cluster/run");
    let log = std::fs::read_to_string(log).unwrap();
    let lines = log.lines().filter(|line| line.contains(namespace));
    let entries = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = |entry: &Value| {
        entry["objectRef"]["namespace"] == namespace
            && entry["userAgent"].as_str().is_some_and(|agent| agent.starts_with("orderly"))
    };
    entries.filter(ours).collect()
}
