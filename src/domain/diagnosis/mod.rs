//! Which cause holds: the first of the policy's causes whose expression is true of the facts.
//!
//! An expression that cannot be decided is not false. The search stops there, because a later cause
//! is a bolder guess than the one that may hold (invariant 7).

pub mod documentation;
pub mod expression;
#[cfg(test)]
pub(crate) mod sample;
mod tree;
pub mod typing;
pub mod view;
pub mod vocabulary;

use serde::{Deserialize, Serialize};

/// What the facts say about a policy's causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was found.
    pub conclusion: Conclusion,
    /// Each cause that was looked at, in order.
    pub considered: Vec<Considered>,
}

/// What a search for the cause ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Conclusion {
    /// This cause holds.
    Cause {
        /// Its name.
        name: String,
    },
    /// Whether this cause holds could not be decided.
    Unknown {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// None of them holds.
    NoCause,
}

/// One cause and what the facts say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// Its name.
    pub cause: String,
    /// Its expression; absent for a cause that always holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// `holds`, `does not hold`, or why it is unknown.
    pub verdict: String,
}
