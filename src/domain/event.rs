//! What happens, in the past tense. The journal is made of these and nothing else; every state is
//! a fold over them.
//!
//! An event carries its reasons as data. New fields are optional, so that an older journal stays
//! readable; a changed meaning is a new event.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::Impossible;
use super::alert::{Alert, Delivery};
use super::conversation::{Click, Stage, Subject};
use super::diagnosis::Finding;
use super::facts::{Facts, Target, TargetQuery};
use super::gate::{Ruling, Verdict};
use super::id::{Digest, Fingerprint, IncidentId};
use super::plan::Plan;
use super::resolution::Progress;

mod parts;

pub use parts::*;

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

    /// Somebody asked for something in Slack: durable before Slack is answered. Stream
    /// `conversation`.
    ClickReceived {
        /// What.
        click: Box<Click>,
    },
    /// What somebody asked for was carried out, or could not be. Stream `conversation`.
    ClickAnswered {
        /// Which.
        key: String,
        /// What came of it.
        answer: String,
    },
    /// A message stands in a channel. Stream `conversation`.
    MessagePosted {
        /// What it is about.
        about: Subject,
        /// The channel.
        channel: String,
        /// Its name there.
        ts: String,
    },
    /// Whoever was called about an incident was told how it stands. Stream `conversation`.
    ReceiverTold {
        /// Which incident.
        incident: IncidentId,
        /// The receiver's name.
        to: String,
        /// What they know now.
        stage: Stage,
        /// The receiver's error, when it was given up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undelivered: Option<String>,
    },
    /// The story of something was told up to here. Stream `conversation`.
    StoryTold {
        /// Of what.
        about: Subject,
        /// How many of the incident's events.
        version: u64,
        /// The end is told, and the message shows it.
        settled: bool,
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
    /// A person puts the question off. Until then nothing is done and nobody is called; then it is
    /// looked at again and asked anew.
    Snoozed {
        /// Who.
        by: Person,
        /// Until when.
        until: Timestamp,
        /// Why, when they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
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
        /// The templates that the targets had then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        healthy: Vec<Healthy>,
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
            Self::ClickReceived { .. } => "ClickReceived",
            Self::ClickAnswered { .. } => "ClickAnswered",
            Self::MessagePosted { .. } => "MessagePosted",
            Self::ReceiverTold { .. } => "ReceiverTold",
            Self::StoryTold { .. } => "StoryTold",
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
            Self::Snoozed { .. } => "Snoozed",
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

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
