//! What happens, in the past tense. The journal is made of these and nothing else; every state is
//! a fold over them.
//!
//! An event carries its reasons as data. New fields are optional, so that an older journal stays
//! readable; a changed meaning is a new event.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::Impossible;
use super::alert::{Alert, Delivery};
use super::diagnosis::Finding;
use super::facts::{Facts, Target, TargetQuery};
use super::gate::{Ruling, Verdict};
use super::id::{Digest, Fingerprint, IncidentId};
use super::plan::Plan;
use super::policy::spec::PolicySpec;
use super::resolution::Progress;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "event")]
pub enum Event {
    /// A webhook was accepted. Stream `intake`.
    AlertsReceived {
        /// What came besides the alerts.
        delivery: Delivery,
        /// The alerts, as they came.
        alerts: Vec<Alert>,
    },
    /// Alerts were compared with policies and incidents, up to an entry of the journal. Stream
    /// `intake`. What opened or joined an incident has an event of its own there.
    AlertsCorrelated {
        /// The last `AlertsReceived` that was looked at.
        through: u64,
        /// Firing alerts that start nothing, and why; at most [`MAX_IGNORED_LISTED`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ignored: Vec<Ignored>,
        /// How many there were in all.
        ignored_total: u64,
        /// Alerts whose episode is known already.
        duplicates: u64,
    },
    /// A person turned the kill switch. Stream `control`.
    KillSwitchSet {
        /// On: nothing is changed anywhere.
        on: bool,
        /// Who.
        by: Person,
        /// Why.
        reason: String,
    },
    /// A person trusts a policy again whose fixes did not help. Stream `control`.
    BreakerReset {
        /// The policy.
        policy: String,
        /// Who.
        by: Person,
        /// Why.
        reason: String,
    },

    /// An episode began that a policy answers.
    IncidentOpened {
        /// The alert that began it.
        alert: Alert,
        /// The policy as it was then.
        policy: Box<PolicySnapshot>,
        /// The policies that matched and were not taken, and why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<NotChosen>,
        /// What the policy and the labels name, or why they name nothing that may be touched.
        target: Result<TargetQuery, String>,
    },
    /// Another alert joined it.
    AlertAttached {
        /// The alert.
        alert: Alert,
    },
    /// One of its alerts ended.
    AlertResolved {
        /// Which.
        fingerprint: Fingerprint,
        /// When, as Alertmanager says.
        ended: Option<Timestamp>,
    },
    /// The workloads that the target names.
    TargetsFound {
        /// At least one.
        targets: Vec<Target>,
    },
    /// The target names nothing that can be worked on.
    TargetNotFound {
        /// Why.
        why: String,
    },
    /// The cluster was looked at.
    FactsCollected {
        /// What was seen.
        facts: Box<Facts>,
    },
    /// The facts were compared with the policy's causes.
    CauseFound {
        /// What was found.
        finding: Finding,
    },
    /// A plan was made and the API server was asked what it would do.
    PlanProposed {
        /// The plan.
        plan: Box<Plan>,
        /// What an approval binds to.
        digest: Digest,
        /// The server's answer, step by step.
        previews: Vec<Preview>,
    },
    /// No plan can be made.
    PlanImpossible {
        /// The action that cannot be planned.
        action: String,
        /// Why.
        why: Impossible,
    },
    /// The gates were asked.
    GateDecided {
        /// For which plan.
        digest: Digest,
        /// What follows.
        ruling: Ruling,
        /// Each gate with its evidence.
        verdicts: Vec<Verdict>,
    },
    /// People are asked.
    ApprovalRequested {
        /// About which plan.
        digest: Digest,
        /// Until when.
        expires: Timestamp,
        /// How many different people are needed.
        quorum: u32,
    },
    /// A person agreed.
    ApprovalGiven {
        /// To which plan.
        digest: Digest,
        /// Who.
        by: Person,
        /// Why, when they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person said no.
    ApprovalRefused {
        /// To which plan.
        digest: Digest,
        /// Who.
        by: Person,
        /// Why.
        reason: String,
    },
    /// Somebody tried to decide who may not.
    DecisionDenied {
        /// Who.
        by: Person,
        /// What they tried.
        attempt: String,
        /// Why they may not.
        why: String,
    },
    /// Nobody answered in time.
    ApprovalExpired {
        /// Which plan.
        digest: Digest,
    },
    /// A person wants it stopped.
    AbortRequested {
        /// Who.
        by: Person,
        /// Why.
        reason: String,
    },
    /// A step is about to leave: durable before it does (invariant 4).
    StepStarted {
        /// Of which plan.
        digest: Digest,
        /// Which step, from 0.
        step: usize,
        /// Which try, from 1.
        attempt: u32,
    },
    /// A step is done.
    StepFinished {
        /// Which.
        step: usize,
        /// How it is known.
        evidence: String,
        /// What changed, as it was stored; empty when a look back found it done.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        diff: String,
        /// The object's uid and its generation afterwards: what a later step on it expects.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<(String, i64)>,
    },
    /// The target is no longer as it was planned for; nothing was changed.
    PlanStale {
        /// What differs.
        why: String,
    },
    /// A step did not happen.
    StepFailed {
        /// Which.
        step: usize,
        /// Why.
        why: String,
    },
    /// Nobody knows whether it happened: it will be looked at before anything else.
    StepOutcomeUnknown {
        /// Which.
        step: usize,
        /// What is known.
        why: String,
    },
    /// It was looked at: it did not happen, and may be tried again.
    StepNotApplied {
        /// Which.
        step: usize,
        /// How it is known.
        evidence: String,
    },
    /// A criterion of the resolution began or ceased to hold.
    ProgressNoted {
        /// All criteria as they stand.
        progress: Progress,
    },
    /// All criteria held for their time.
    ResolutionMet {
        /// As they stood.
        progress: Progress,
    },
    /// They did not, in time.
    ResolutionMissed {
        /// As they stood.
        progress: Progress,
    },
    /// The next of the policy's `onFailure` actions is tried.
    FallbackChosen {
        /// Which, from 0.
        index: usize,
        /// Its name.
        action: String,
    },
    /// The incident could not be resolved: from here it only escalates.
    GivenUp {
        /// How it will end.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
    /// Somebody was told.
    Escalated {
        /// The receiver's name.
        to: String,
        /// Which of the policy's escalations; absent for a step of a plan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<usize>,
        /// The receiver's error, when it could not be delivered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undelivered: Option<String>,
    },
    /// It is over.
    IncidentClosed {
        /// How it ended.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
}

impl Event {
    /// The name under which the journal stores it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::AlertsReceived { .. } => "AlertsReceived",
            Self::AlertsCorrelated { .. } => "AlertsCorrelated",
            Self::KillSwitchSet { .. } => "KillSwitchSet",
            Self::BreakerReset { .. } => "BreakerReset",
            Self::IncidentOpened { .. } => "IncidentOpened",
            Self::AlertAttached { .. } => "AlertAttached",
            Self::AlertResolved { .. } => "AlertResolved",
            Self::TargetsFound { .. } => "TargetsFound",
            Self::TargetNotFound { .. } => "TargetNotFound",
            Self::FactsCollected { .. } => "FactsCollected",
            Self::CauseFound { .. } => "CauseFound",
            Self::PlanProposed { .. } => "PlanProposed",
            Self::PlanImpossible { .. } => "PlanImpossible",
            Self::GateDecided { .. } => "GateDecided",
            Self::ApprovalRequested { .. } => "ApprovalRequested",
            Self::ApprovalGiven { .. } => "ApprovalGiven",
            Self::ApprovalRefused { .. } => "ApprovalRefused",
            Self::DecisionDenied { .. } => "DecisionDenied",
            Self::ApprovalExpired { .. } => "ApprovalExpired",
            Self::AbortRequested { .. } => "AbortRequested",
            Self::StepStarted { .. } => "StepStarted",
            Self::StepFinished { .. } => "StepFinished",
            Self::PlanStale { .. } => "PlanStale",
            Self::StepFailed { .. } => "StepFailed",
            Self::StepOutcomeUnknown { .. } => "StepOutcomeUnknown",
            Self::StepNotApplied { .. } => "StepNotApplied",
            Self::ProgressNoted { .. } => "ProgressNoted",
            Self::ResolutionMet { .. } => "ResolutionMet",
            Self::ResolutionMissed { .. } => "ResolutionMissed",
            Self::FallbackChosen { .. } => "FallbackChosen",
            Self::GivenUp { .. } => "GivenUp",
            Self::Escalated { .. } => "Escalated",
            Self::IncidentClosed { .. } => "IncidentClosed",
        }
    }
}

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
    /// One incident.
    Incident(IncidentId),
}

impl Stream {
    /// The name in the journal.
    pub fn name(&self) -> String {
        match self {
            Self::Intake => "intake".to_owned(),
            Self::Control => "control".to_owned(),
            Self::Incident(id) => format!("incident/{id}"),
        }
    }

    /// The stream of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "intake" => Some(Self::Intake),
            "control" => Some(Self::Control),
            other => other.strip_prefix("incident/")?.parse().ok().map(Self::Incident),
        }
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
