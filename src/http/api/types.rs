//! What goes over the wire between the API and its clients; the command line uses the same types.
//! Texts that people give are checked when they are parsed.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::event::{Outcome, Preview};
use crate::domain::id::{Digest, IncidentId};
use crate::domain::incident::Incident;
use crate::domain::period::Period;
use crate::domain::plan::Plan;

/// A reason is a sentence for the journal, not a document.
const REASON_CHARACTERS: usize = 1000;
/// 48 bits of a digest: enough not to be met by chance, short enough to be typed.
const DIGEST_DIGITS: usize = 12;

/// A day: who wants to wait longer wants to refuse.
const LONGEST_SNOOZE: Period = Period::from_mins(24 * 60);

/// A text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseInputError {
    /// Of a reason.
    #[error("a reason must be 1 to {REASON_CHARACTERS} printable characters")]
    Reason,
    /// Of a digest.
    #[error("a digest must be {DIGEST_DIGITS} to 64 hex digits, as `orderly incident show` prints")]
    Digest,
    /// Of the length of a snooze.
    #[error("a snooze must last `0s` to `24h`: write for example `30m` or `4h`")]
    Snooze,
}

macro_rules! checked_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = ParseInputError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
checked_text!(Reason, DigestPrefix);

/// For how long a question is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnoozeLength(Period);

impl SnoozeLength {
    /// As a length of time.
    pub fn get(self) -> Period {
        self.0
    }
}

impl FromStr for SnoozeLength {
    type Err = ParseInputError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length: Period = text.parse().map_err(|_| ParseInputError::Snooze)?;
        if length <= LONGEST_SNOOZE { Ok(Self(length)) } else { Err(ParseInputError::Snooze) }
    }
}

impl TryFrom<String> for SnoozeLength {
    type Error = ParseInputError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SnoozeLength> for String {
    fn from(length: SnoozeLength) -> Self {
        length.0.to_string()
    }
}

impl fmt::Display for SnoozeLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a person decides so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

impl FromStr for Reason {
    type Err = ParseInputError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let printable = !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
        if printable && (1..=REASON_CHARACTERS).contains(&text.chars().count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseInputError::Reason)
        }
    }
}

/// A plan's digest, or its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// Whether it is the beginning of `digest`.
    pub fn matches(&self, digest: &Digest) -> bool {
        digest.to_string().starts_with(&self.0)
    }
}

impl FromStr for DigestPrefix {
    type Err = ParseInputError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits && (DIGEST_DIGITS..=64).contains(&text.len()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ParseInputError::Digest)
        }
    }
}

/// `POST /api/v1/incidents/{id}/approve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveRequest {
    /// The plan that was looked at. Without it the plan that stands is approved, whichever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<DigestPrefix>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// `POST /api/v1/incidents/{id}/refuse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefuseRequest {
    /// Why.
    pub reason: Reason,
}

/// `POST /api/v1/incidents/{id}/abort`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortRequest {
    /// Why.
    pub reason: Reason,
}

/// `POST /api/v1/incidents/{id}/snooze`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnoozeRequest {
    /// For how long, from now; `0s` asks again at once.
    #[serde(rename = "for")]
    pub length: SnoozeLength,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// `POST /api/v1/policies/{name}/breaker/reset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetRequest {
    /// Why.
    pub reason: Reason,
}

/// `POST /api/v1/kill-switch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KillSwitchRequest {
    /// On: nothing is changed anywhere.
    pub on: bool,
    /// Why.
    pub reason: Reason,
}

/// How the kill switch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KillSwitch {
    /// On: nothing is changed anywhere.
    pub on: bool,
    /// Who turned it last; nobody ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which incidents. `GET /api/v1/incidents?state=waiting&limit=20`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentFilter {
    /// Where they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateFilter>,
    /// Which policy answers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// A part of the target's name as tables show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many at most; the other side has a limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Where incidents stand, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum StateFilter {
    /// Not over.
    Open,
    /// People are asked.
    Waiting,
    /// Over.
    Closed,
}

/// Incidents, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentList {
    /// These.
    pub incidents: Vec<IncidentSummary>,
    /// Whether there are more than the limit.
    pub more: bool,
}

/// An incident in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSummary {
    /// Its id.
    pub id: IncidentId,
    /// When it was opened.
    pub opened: Timestamp,
    /// The name of the alert that opened it.
    pub alert: String,
    /// What it is about.
    pub target: String,
    /// The policy that answers it.
    pub policy: String,
    /// The name of the state it is in.
    pub state: String,
    /// The state in one sentence.
    pub standing: String,
    /// What is asked of people, when something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
}

/// A question to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// About which plan.
    pub digest: Digest,
    /// Until when.
    pub expires: Timestamp,
    /// How many different people are needed.
    pub quorum: u32,
    /// Who agreed so far.
    pub approved_by: Vec<String>,
}

/// An incident with everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentDetail {
    /// In one line.
    pub summary: IncidentSummary,
    /// The plan that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<ProposalView>,
    /// What happened, in order.
    pub history: Vec<HistoryLine>,
    /// Everything that is known.
    pub incident: Box<Incident>,
}

/// A plan as a person decides on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalView {
    /// What an approval binds to.
    pub digest: Digest,
    /// The steps.
    pub plan: Plan,
    /// What the API server says to each step.
    pub previews: Vec<Preview>,
}

/// One event of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryLine {
    /// Its number in the journal.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The event's name.
    pub event: String,
    /// In one sentence.
    pub line: String,
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// Of which incident.
    pub id: IncidentId,
    /// About which plan, when it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// True when it had been decided so before, by the same person.
    pub already: bool,
    /// How it stands now, in one sentence.
    pub standing: String,
}

/// Which entries of the journal. `GET /api/v1/audit?since=2026-01-31T00:00:00Z&policy=agent-down`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditFilter {
    /// From then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Of one incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// Of incidents that this policy answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Of incidents about a target whose name contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of incidents that ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How many at most; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A part of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditPage {
    /// In order.
    pub entries: Vec<AuditEntry>,
    /// The last entry that was looked at, when there is more after it.
    pub next: Option<u64>,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Its stream.
    pub stream: String,
    /// The event's name.
    pub kind: String,
    /// The policy, for an incident's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The target, for an incident's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// In one sentence.
    pub line: String,
    /// Its hash in the chain, 64 hex digits.
    pub hash: String,
    /// The event itself.
    pub event: Value,
}
