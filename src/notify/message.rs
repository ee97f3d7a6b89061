//! A message to people about an incident, in the terms of the domain; how it looks is each receiver's
//! own affair.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::briefing::Briefing;
use crate::domain::conversation::Stage;
use crate::domain::id::Digest;

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Whether it calls, takes the call back, or ends it.
    pub stage: Stage,
    /// What a person has to know first, or to do.
    pub text: String,
    /// Everything else.
    pub briefing: Briefing,
    /// When it was written.
    pub at: Timestamp,
}

impl Message {
    /// The same for the same message, however often it is sent: a receiver can drop the second.
    pub fn id(&self) -> Digest {
        Digest::of("orderly-message-v2", self)
    }

    /// Names and values for receivers that show a table.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let briefing = &self.briefing;
        let mut facts = vec![
            ("Incident", briefing.incident.to_string()),
            ("Target", briefing.target.clone()),
            ("Policy", briefing.policy.clone()),
            ("State", briefing.status.clone()),
        ];
        let optional = [
            ("Severity", briefing.severity.clone()),
            ("Cause", briefing.cause.clone()),
            ("Plan", briefing.plan.as_ref().map(|plan| plan.sentence.clone())),
        ];
        facts.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        if !briefing.evidence.is_empty() {
            facts.push(("Evidence", briefing.evidence.join("; ")));
        }
        facts
    }
}
