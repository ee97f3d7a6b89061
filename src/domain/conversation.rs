//! What is said with people elsewhere (in Slack) and must survive a restart: which message is about
//! what, how much of a story was told, and what people asked for before it was carried out.

use serde::{Deserialize, Serialize};

use super::id::IncidentId;
use super::period::Period;

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// One incident.
    Incident(IncidentId),
    /// Too much at once: one message for all of it.
    Storm,
}

/// What somebody who is called knows of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// That it wants a person.
    Called,
    /// That a person has it in hand.
    InHand,
    /// That it is over.
    Over,
}

impl Stage {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Called => "it wants a person",
            Self::InHand => "a person has it in hand",
            Self::Over => "it is over",
        }
    }
}

/// What somebody asked for. Durable before it is acknowledged; carried out afterwards, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Click {
    /// The same for the same deed, however often it is delivered.
    pub key: String,
    /// The user's id; names are chosen freely and prove nothing.
    pub user: String,
    /// The id of the user's workspace.
    pub team: String,
    /// Where to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What.
    pub wish: Wish,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum Wish {
    /// Agree with a plan.
    Approve {
        /// Of which incident.
        incident: IncidentId,
        /// The beginning of the digest of the plan that was shown.
        digest: String,
    },
    /// Say no.
    Refuse {
        /// To which incident's plan.
        incident: IncidentId,
        /// Why.
        reason: String,
    },
    /// Put the question off.
    Snooze {
        /// Of which incident.
        incident: IncidentId,
        /// For how long; no time at all asks again at once.
        length: Period,
    },
    /// Stop it.
    Abort {
        /// Which incident.
        incident: IncidentId,
        /// Why.
        reason: String,
    },
    /// Turn the kill switch.
    KillSwitch {
        /// On: nothing is changed anywhere.
        on: bool,
        /// Why.
        reason: String,
    },
}

impl Wish {
    /// The incident that it is about, when it is about one.
    pub fn incident(&self) -> Option<&IncidentId> {
        match self {
            Self::Approve { incident, .. }
            | Self::Refuse { incident, .. }
            | Self::Snooze { incident, .. }
            | Self::Abort { incident, .. } => Some(incident),
            Self::KillSwitch { .. } => None,
        }
    }

    /// In a word or two, for a sentence such as `tried to …`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Refuse { .. } => "refuse",
            Self::Snooze { .. } => "put it off",
            Self::Abort { .. } => "abort",
            Self::KillSwitch { .. } => "turn the kill switch",
        }
    }
}
