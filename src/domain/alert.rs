//! An alert as Orderly keeps it, after the webhook's text has been parsed at the edge.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{Episode, Fingerprint};

/// Names and values, sorted by name.
pub type Labels = BTreeMap<String, String>;

/// Whether an alert fires or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// The condition holds.
    Firing,
    /// The condition no longer holds, or Alertmanager no longer hears of it.
    Resolved,
}

/// One alert of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Firing or resolved; each alert's own, not the group's.
    pub status: AlertStatus,
    /// What identifies it.
    pub labels: Labels,
    /// What explains it to people; not part of its identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Labels,
    /// When this firing began.
    pub starts_at: Timestamp,
    /// When it ended; absent while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Where it came from; often a link to Prometheus.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
    /// Alertmanager's identity of the label set.
    pub fingerprint: Fingerprint,
}

impl Alert {
    /// The alert's name, or nothing when the label is missing.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }

    /// The firing that this alert belongs to.
    pub fn episode(&self) -> Episode {
        Episode { fingerprint: self.fingerprint, starts_at: self.starts_at }
    }
}

/// What came with one webhook besides its alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Alertmanager's name for this receiver (with its regular-expression quoting undone).
    pub receiver: String,
    /// SHA-256 of the group key, lower-case hex, as Alertmanager computes it for PagerDuty.
    pub group: String,
    /// How many alerts Alertmanager cut off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated_alerts: u64,
    /// Why it was sent, when Alertmanager says (0.32 and later).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The replica that sent it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub external_url: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
