//! What the service says about itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::policy::spec::Mode;
use crate::engine::Engine;
use crate::http::status::{Check, Health, JournalStatus, PolicyStatus, Readiness, Status};
use crate::journal;
use crate::kubernetes::connection::ReadConnection;
use crate::policies::loader::PolicyStore;

use super::api;

/// What is looked at.
#[derive(Debug)]
pub struct Watch {
    /// The engine.
    pub engine: Engine,
    /// The policies.
    pub policies: Arc<PolicyStore>,
    /// The cluster.
    pub cluster: ReadConnection,
    /// Where the journal is.
    pub journal_path: String,
    /// When the process started.
    pub started: Timestamp,
    /// The boldest mode of any policy.
    pub ceiling: Mode,
}

impl Watch {
    fn store(&self) -> Check {
        match self.engine.journal().status() {
            journal::Status::Healthy => Check::Good { detail: "the journal takes entries".into() },
            journal::Status::Failed { reason, .. } => Check::Bad { reason: reason.to_string() },
        }
    }

    fn policies(&self) -> Check {
        let status = self.policies.status();
        match (status.policies.len(), status.diagnostics.len()) {
            // On the day of an installation nobody has applied one yet.
            (0, _) if self.policies.may_be_empty() => {
                Check::Good { detail: "no policy is in force yet".into() }
            }
            (0, _) => Check::Bad { reason: "no policy is in force: check `--policies`".into() },
            // A bad file never takes the good ones down, nor the service: it is in `/status`.
            (count, 0) => Check::Good { detail: format!("{count} policies are in force") },
            (count, bad) => {
                Check::Good { detail: format!("{count} policies are in force; {bad} findings") }
            }
        }
    }

    async fn cluster(&self) -> Check {
        match self.cluster.get("/version").await {
            Ok(version) => {
                let version = version["gitVersion"].as_str().unwrap_or("unknown").to_owned();
                Check::Good { detail: format!("the API server answers ({version})") }
            }
            Err(error) => Check::Bad { reason: error.to_string() },
        }
    }
}

impl Health for Watch {
    fn readiness(&self) -> BoxFuture<'_, Readiness> {
        Box::pin(async move {
            Readiness {
                store: self.store(),
                policies: self.policies(),
                cluster: self.cluster().await,
            }
        })
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(async move {
            let head = self.engine.journal().head().await;
            let (seq, hash) = head.map_or((0, String::new()), |it| (it.seq, it.hash.to_string()));
            let mut incidents: BTreeMap<String, usize> = BTreeMap::new();
            self.engine.board(|board| {
                for summary in board.open() {
                    *incidents.entry(summary.phase.clone()).or_default() += 1;
                }
            });
            Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: self.started,
                mode: self.ceiling,
                kill_switch: api::kill_switch(&self.engine),
                readiness: self.readiness().await,
                policies: policies(&self.policies),
                journal: JournalStatus { path: self.journal_path.clone(), seq, hash },
                incidents,
            }
        })
    }
}

/// Each policy in force, then each file that cannot be used.
fn policies(store: &PolicyStore) -> Vec<PolicyStatus> {
    let status = store.status();
    let mut all = Vec::new();
    for policy in &status.policies {
        let mine = |name: &Option<String>| name.as_ref() == Some(&policy.name);
        let problems = status.diagnostics.iter().filter(|it| mine(&it.policy));
        all.push(PolicyStatus {
            file: policy.file.clone(),
            name: Some(policy.name.clone()),
            mode: Some(policy.mode),
            digest: Some(policy.digest.to_string()),
            problems: problems.map(|it| it.one_line()).collect(),
        });
    }
    let known = |name: &Option<String>| {
        name.as_ref().is_some_and(|name| status.policies.iter().any(|it| it.name == *name))
    };
    for diagnostic in status.diagnostics.iter().filter(|it| !known(&it.policy)) {
        all.push(PolicyStatus {
            file: diagnostic.file.clone(),
            name: diagnostic.policy.clone(),
            mode: None,
            digest: None,
            problems: vec![diagnostic.one_line()],
        });
    }
    all
}
