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
    journals: AtomicU64,
}

impl Site {
    pub fn make(runtime: &tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let clock: SharedClock = Arc::new(SystemClock);
        let options = Options { drive: Drive::Clock, ..Options::new(clock) };
        let sandbox = runtime.block_on(Sandbox::start(options))?;
        let at = folder.path();
        std::fs::write(at.join("kubeconfig"), sandbox.kubeconfig())?;
        std::fs::create_dir(at.join("policies"))?;
        std::fs::write(at.join("policies/bench-restart.yaml"), OTHER)?;
        let configuration = json!({
            "policies": [at.join("policies")],
            "kubernetes": {"kubeconfig": at.join("kubeconfig")},
            // What is measured is the way to an action, not what holds it back.
            "rails": {
                "budget": {"targets": 100_000, "namespacePercent": 100},
                "storm": {"incidents": 100_000},
            },
            "receivers": {"oncall": {"log": {}}},
        });
        std::fs::write(at.join("orderly.yaml"), configuration.to_string())?;
        let binary = match std::env::var_os("ORDERLY_BENCH_BINARY") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(env!("CARGO_BIN_EXE_orderly")),
        };
        Ok(Self { sandbox, binary, folder, journals: AtomicU64::new(0) })
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
        let addresses = (free_address()?, free_address()?);
        Child::orderly(&self.binary, &self.folder().join("orderly.yaml"), addresses, journal)
    }
}
