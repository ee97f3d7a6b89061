//! What events are made of: people, snapshots, previews, outcomes, streams.

use serde::{Deserialize, Serialize};

use crate::domain::facts::Target;
use crate::domain::id::{Digest, Fingerprint, IncidentId};
use crate::domain::policy::spec::PolicySpec;

/// How many ignored alerts one event lists by name; the rest is counted. Keeps an event small when
/// thousands of alerts match no policy.
pub const MAX_IGNORED_LISTED: usize = 20;

/// A firing alert that started nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ignored {
    /// Which.
    pub fingerprint: Fingerprint,
    /// Its name.
    pub alertname: String,
    /// Why.
    pub why: IgnoredBecause,
}

/// Why a firing alert starts nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IgnoredBecause {
    /// No policy matches it.
    NoPolicy,
    /// The policy that matches is switched off.
    PolicyOff {
        /// Which.
        policy: String,
    },
    /// It is the dead man's switch.
    Watchdog,
}

/// The policy as it was when an incident was opened: enough to finish the incident with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySnapshot {
    /// Its name.
    pub name: String,
    /// Its version.
    pub digest: Digest,
    /// The policy.
    pub spec: PolicySpec,
}

/// A policy that matched and was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotChosen {
    /// Its name.
    pub policy: String,
    /// Why not.
    pub why: String,
}

/// Who did something, and by which path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Person {
    /// The name that authentication established.
    pub name: String,
    /// The groups it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// `api`, `terminal`, ...
    pub path: String,
}

/// The API server's answer to one step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The unified diff after defaulting and admission; empty for a message.
    pub diff: String,
    /// The changed fields, one a line: `path: old → new`.
    pub changes: Vec<String>,
}

/// How an incident ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Changed, and the resolution criteria held.
    Fixed,
    /// The alert ended before anything was changed.
    Recovered,
    /// Dry run: nothing was changed.
    DryRun,
    /// Somebody said no.
    Refused,
    /// Nobody answered.
    Expired,
    /// A gate said no.
    Denied,
    /// No cause could be named.
    Undiagnosed,
    /// No plan could be made.
    Impossible,
    /// The policy hands this cause to people.
    HandedOver,
    /// Changed, and it did not help.
    NotFixed,
    /// A step failed.
    Failed,
    /// A person stopped it.
    Aborted,
    /// Its target is in the hand of another incident, which its alert joined.
    Joined,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 13] = [
        Self::Fixed,
        Self::Recovered,
        Self::DryRun,
        Self::Refused,
        Self::Expired,
        Self::Denied,
        Self::Undiagnosed,
        Self::Impossible,
        Self::HandedOver,
        Self::NotFixed,
        Self::Failed,
        Self::Aborted,
        Self::Joined,
    ];

    /// The word used in tables, metrics and tests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Recovered => "recovered",
            Self::DryRun => "dry-run",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Undiagnosed => "undiagnosed",
            Self::Impossible => "impossible",
            Self::HandedOver => "handed-over",
            Self::NotFixed => "not-fixed",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Joined => "joined",
        }
    }
}

/// The stream that an event belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Deliveries and what became of them.
    Intake,
    /// What people set for the whole service.
    Control,
    /// What is said with people elsewhere.
    Conversation,
    /// One incident.
    Incident(IncidentId),
}

impl Stream {
    /// The name in the journal.
    pub fn name(&self) -> String {
        match self {
            Self::Intake => "intake".to_owned(),
            Self::Control => "control".to_owned(),
            Self::Conversation => "conversation".to_owned(),
            Self::Incident(id) => format!("incident/{id}"),
        }
    }

    /// The stream of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "intake" => Some(Self::Intake),
            "control" => Some(Self::Control),
            "conversation" => Some(Self::Conversation),
            other => other.strip_prefix("incident/")?.parse().ok().map(Self::Incident),
        }
    }
}

/// A template under which an incident was resolved: evidence that a later rollback can rest on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthy {
    /// Of which workload.
    pub target: Target,
    /// Which template.
    pub template: Digest,
}
