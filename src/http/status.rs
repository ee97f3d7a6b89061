//! What the service says about itself: whether it is ready, and how it stands.

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::KillSwitch;
use crate::domain::policy::spec::Mode;

/// What the operator's questions need from the rest of the house.
pub trait Health: Send + Sync + 'static {
    /// The three things that must work.
    fn readiness(&self) -> BoxFuture<'_, Readiness>;
    /// How the service stands.
    fn status(&self) -> BoxFuture<'_, Status>;
}

/// Whether the service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// The journal takes entries.
    pub store: Check,
    /// Policies are in force.
    pub policies: Check,
    /// The API server answers.
    pub cluster: Check,
}

impl Readiness {
    /// Each with its name.
    pub fn checks(&self) -> [(&'static str, &Check); 3] {
        [("store", &self.store), ("policies", &self.policies), ("cluster", &self.cluster)]
    }

    /// Whether all are good.
    pub fn is_ready(&self) -> bool {
        self.checks().iter().all(|(_, check)| matches!(check, Check::Good { .. }))
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Check {
    /// It works.
    Good {
        /// What was seen, in one sentence.
        detail: String,
    },
    /// It does not.
    Bad {
        /// Why, and what to do.
        reason: String,
    },
}

/// How the service stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// When the process started.
    pub started: Timestamp,
    /// The boldest mode that the configuration lets any policy have.
    pub mode: Mode,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// The three things that must work.
    pub readiness: Readiness,
    /// Every policy file.
    pub policies: Vec<PolicyStatus>,
    /// The journal.
    pub journal: JournalStatus,
    /// How many incidents are in which state.
    pub incidents: std::collections::BTreeMap<String, usize>,
}

/// A policy, or a file that should hold one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Its file.
    pub file: String,
    /// Its name, when one could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its mode, when it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The version in force, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What is wrong with the file as it is now; the version in force is an older one then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The journal's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalStatus {
    /// Where it is.
    pub path: String,
    /// The number of the last entry.
    pub seq: u64,
    /// Its hash: to be kept elsewhere, so that a journal that was written anew is found.
    pub hash: String,
}
