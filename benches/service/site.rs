//! What every measurement stands on: the sandbox cluster in this process, and a folder with the
//! configuration and policies of the Orderly under test, on the disk where the floor's file is too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orderly::clock::{SharedClock, SystemClock};
use orderly::sandbox::{Drive, Options, Sandbox};
use serde_json::json;
use tempfile::TempDir;

use super::child::{Child, free_address};

/// A policy that no alert of the flood asks for: intake is to be intake.
const OTHER: &str = r#"
apiVersion: orderly.dev/v1alpha1
kind: RemediationPolicy
metadata: {name: bench-restart}
spec:
  summary: Something has to be restarted
  match: ['alertname="BenchRestart"']
  target:
    kind: Deployment
    namespaces: [bench]
    name: "{{ labels.deployment }}"
  mode: auto
  causes:
    - name: otherwise
      actions: [{restart: {}}]
  gates:
    limit: {actions: 1000, per: 1h}
  verify: {within: 1m, rollout: complete, alert: any}
  escalate: [{after: 2h, to: oncall}]
"#;

/// The stage.
pub struct Site {
    pub sandbox: Sandbox,
    pub binary: PathBuf,
    folder: TempDir,
    /// Of the sandbox.
    pub kubeconfig: PathBuf,
    configuration: PathBuf,
    journals: AtomicU64,
}

impl Site {
    pub fn make(runtime: &tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let clock: SharedClock = Arc::new(SystemClock);
        let options = Options { drive: Drive::Clock, ..Options::new(clock) };
        let sandbox = runtime.block_on(Sandbox::start(options))?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, sandbox.kubeconfig())?;
        let binary = match std::env::var_os("ORDERLY_BENCH_BINARY") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(env!("CARGO_BIN_EXE_orderly")),
        };
        let (configuration, journals) = (PathBuf::new(), AtomicU64::new(0));
        let mut site = Self { sandbox, binary, folder, kubeconfig, configuration, journals };
        site.configuration = site.configure("orderly", &site.kubeconfig, &[OTHER.to_owned()])?;
        Ok(site)
    }

    /// The configuration of an Orderly for this cluster with these files of policies.
    pub fn configure(
        &self,
        name: &str,
        kubeconfig: &Path,
        policies: &[String],
    ) -> anyhow::Result<PathBuf> {
        let folder = self.folder().join(format!("{name}-policies"));
        std::fs::create_dir(&folder)?;
        for (number, text) in policies.iter().enumerate() {
            std::fs::write(folder.join(format!("{number:04}.yaml")), text)?;
        }
        let configuration = json!({
            "policies": [folder],
            "kubernetes": {"kubeconfig": kubeconfig},
            // What is measured is the way to an action, not what holds it back.
            "rails": {
                "budget": {"targets": 100_000, "namespacePercent": 100},
                "storm": {"incidents": 1_000_000},
            },
            "receivers": {"oncall": {"log": {}}},
        });
        let path = self.folder().join(format!("{name}.yaml"));
        std::fs::write(&path, configuration.to_string())?;
        Ok(path)
    }

    /// Where files of the measurements may lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A journal that does not exist yet.
    pub fn new_journal(&self) -> PathBuf {
        let number = self.journals.fetch_add(1, Ordering::Relaxed);
        self.folder().join(format!("journal-{number}.db"))
    }

    /// Orderly on this journal.
    pub fn orderly(&self, journal: &Path) -> anyhow::Result<Child> {
        self.orderly_with(&self.configuration, journal)
    }

    /// Orderly with this configuration on this journal.
    pub fn orderly_with(&self, configuration: &Path, journal: &Path) -> anyhow::Result<Child> {
        let addresses = (free_address()?, free_address()?);
        Child::orderly(&self.binary, configuration, addresses, journal)
    }
}

/// A namespace with small Deployments of one pod each.
pub fn deployments(namespace: &str, names: impl Iterator<Item = String>) -> String {
    let deployment = |name: String| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
             template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      containers: \
             [{{name: web, image: 'registry.example.com/web:v1'}}]\n"
        )
    };
    let head = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
    head + &names.map(deployment).collect::<String>()
}
