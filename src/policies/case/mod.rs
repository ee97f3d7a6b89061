//! Tests of policies, in files beside them: given alerts, facts and time, expect policy, cause,
//! plan, gates and outcome. In the manner of `promtool test rules`.
//!
//! Facts are written tersely: what is not said is as in a healthy cluster.

pub mod compare;
pub mod expect;
pub mod facts;
pub mod pods;
pub mod run;
mod workload;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::expect::Expectation;
use self::facts::FactsCase;
use crate::document::diagnostic::{Diagnostic, SourceFile};
use crate::document::{self, Read, schema_of};
use crate::domain::alert::{Alert, AlertStatus, Labels};
use crate::domain::gate::rails::GuardRails;
use crate::domain::id::Fingerprint;
use crate::domain::period::Period;
use crate::domain::policy::problem::Severity;
use crate::domain::policy::spec::Mode;

/// Noon on a Monday: in no freeze window that a person would think of.
const NOON: Timestamp = Timestamp::constant(1_767_614_400, 0);

static CASES: LazyLock<Value> = LazyLock::new(schema_of::<CaseFile>);
static FACTS: LazyLock<Value> = LazyLock::new(schema_of::<FactsCase>);

/// A file of tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaseFile {
    /// The policies that are loaded: files, relative to this one.
    pub policies: Vec<String>,
    /// The tests.
    pub tests: Vec<Case>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// When it plays. Default noon on Monday, 2026-01-05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub now: Option<String>,
    /// The alert's labels.
    pub alert: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// How long it has been firing. Default 5m.
    #[serde(default = "five_minutes")]
    pub firing_for: Period,
    /// What is seen in the cluster.
    #[serde(default)]
    pub facts: FactsCase,
    /// What happened before, and what the configuration says.
    #[serde(default)]
    pub given: Given,
    /// What must be decided.
    pub expect: Expectation,
}

/// What the gates look at besides the facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Given {
    /// The mode, instead of the policy's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Somebody turned the kill switch on.
    pub kill_switch: bool,
    /// Somebody silenced the alert in Alertmanager.
    pub silenced: bool,
    /// Monitoring itself is in doubt.
    pub monitoring_in_doubt: bool,
    /// Another incident has the target in hand.
    pub in_hand: bool,
    /// An earlier incident of the same policy changed the target so long ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_ago: Option<Period>,
    /// So many incidents of the same policy changed other targets a while ago.
    pub other_changes: u32,
    /// How long ago that was. Default 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_changes_ago: Option<Period>,
    /// So many of the policy's fixes in a row did not help, a day ago.
    pub ineffective: u32,
    /// So many other incidents were opened within the last minute.
    pub incidents: u32,
    /// How many workloads the namespace has. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workloads: Option<u32>,
    /// The limits over all policies.
    pub rails: GuardRails,
}

fn five_minutes() -> Period {
    Period::from_mins(5)
}

/// Reads a file of tests.
///
/// # Errors
/// Everything that is wrong with its shape.
pub fn read_cases(file: &SourceFile) -> Result<Read<CaseFile>, Vec<Diagnostic>> {
    read(file, &CASES)
}

/// Reads facts alone, for `orderly explain --facts`.
///
/// # Errors
/// Everything that is wrong with their shape.
pub fn read_facts(file: &SourceFile) -> Result<Read<FactsCase>, Vec<Diagnostic>> {
    read(file, &FACTS)
}

fn read<T: DeserializeOwned>(
    file: &SourceFile,
    schema: &Value,
) -> Result<Read<T>, Vec<Diagnostic>> {
    document::read(file, schema, &[])?.ok_or_else(|| {
        vec![Diagnostic::at(file, 0..1, Severity::Error, "yaml", "the file is empty")]
    })
}

impl Case {
    /// When it plays.
    ///
    /// # Errors
    /// That `now` is not a point in time.
    pub fn time(&self) -> Result<Timestamp, String> {
        match &self.now {
            None => Ok(NOON),
            Some(text) => text.parse().map_err(|_| {
                format!("`{text}` is not a point in time: write for example `2026-11-22T03:00:00Z`")
            }),
        }
    }

    /// The alert as it would arrive.
    pub fn alert_at(&self, now: Timestamp) -> Alert {
        let labels: Labels = self.alert.clone();
        let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fingerprint = Fingerprint::of(pairs);
        Alert {
            status: AlertStatus::Firing,
            annotations: self.annotations.clone(),
            starts_at: now.saturating_sub(self.firing_for.get()).unwrap_or(Timestamp::MIN),
            ends_at: None,
            generator_url: String::new(),
            fingerprint,
            labels,
        }
    }
}
