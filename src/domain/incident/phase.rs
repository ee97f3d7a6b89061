//! Where an incident stands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::event::Outcome;
use crate::domain::resolution::Progress;

/// Where an incident stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum Phase {
    /// Its target is to be found.
    Locating,
    /// Facts are to be collected.
    Observing,
    /// The cause is to be found.
    Diagnosing,
    /// A plan is to be made.
    Planning,
    /// The gates are to be asked.
    Gating,
    /// The gates hold it.
    Held {
        /// Until then.
        until: Timestamp,
    },
    /// People are asked.
    Asking,
    /// Steps are taken.
    Executing {
        /// The next step, or the one in flight.
        step: usize,
        /// How often it was tried.
        attempt: u32,
        /// How the step stands.
        flight: Flight,
    },
    /// The resolution is watched.
    Verifying {
        /// When the last step was done.
        since: Timestamp,
        /// How the criteria stand.
        progress: Progress,
        /// Restarts of each pod before the change: `(uid, restarts)`.
        restarts_before: Vec<(String, i64)>,
    },
    /// It could not be resolved: people are told at the policy's times.
    GivenUp {
        /// How it will end.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
    /// It is over.
    Closed {
        /// How it ended.
        outcome: Outcome,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Flight {
    /// Not begun, or looked at and found not done: it may be started.
    Ready,
    /// Started, and its outcome is not known: it must be looked at first.
    Unknown,
}

impl Phase {
    /// The word used in tables, metrics and tests.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Locating => "locating",
            Self::Observing => "observing",
            Self::Diagnosing => "diagnosing",
            Self::Planning => "planning",
            Self::Gating => "gating",
            Self::Held { .. } => "held",
            Self::Asking => "waiting-for-approval",
            Self::Executing { .. } => "executing",
            Self::Verifying { .. } => "verifying",
            Self::GivenUp { .. } => "escalating",
            Self::Closed { .. } => "closed",
        }
    }

    /// Every name, for metrics.
    pub const NAMES: [&'static str; 11] = [
        "locating",
        "observing",
        "diagnosing",
        "planning",
        "gating",
        "held",
        "waiting-for-approval",
        "executing",
        "verifying",
        "escalating",
        "closed",
    ];
}
