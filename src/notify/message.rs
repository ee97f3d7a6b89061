//! A message to people, in the terms of the domain; how it looks is each receiver's own affair.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::id::{Digest, IncidentId};

/// How much a message wants to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

/// A message to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// About which incident.
    pub incident: IncidentId,
    /// How urgent.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What a person has to know and to do.
    pub text: String,
    /// Names and values: policy, target, cause, plan.
    pub facts: Vec<MessageFact>,
    /// Where to look next.
    pub links: Vec<Link>,
    /// When it was written.
    pub at: Timestamp,
}

/// A name and a value in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFact {
    /// Such as `target`.
    pub name: String,
    /// Such as `prod/Deployment/api`.
    pub value: String,
}

/// A place to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub title: String,
    /// Its address.
    pub url: String,
}

impl Message {
    /// The same for the same message, however often it is sent: a receiver can drop the second.
    pub fn id(&self) -> Digest {
        Digest::of("orderly-message-v1", self)
    }
}
