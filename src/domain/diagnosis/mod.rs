//! Which cause holds: the first of the policy's causes whose expression is true of the facts.
//!
//! An expression that cannot be decided is not false. The search stops there, because a later cause
//! is a bolder guess than the one that may hold (invariant 7).

pub mod expression;
#[cfg(test)]
pub(crate) mod sample;
pub mod typing;
pub mod view;
pub mod vocabulary;

use serde::{Deserialize, Serialize};

use self::expression::{Expression, Verdict};
use self::view::View;

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

/// One cause, ready to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its expression; without one it always holds.
    pub when: Option<&'a Expression>,
    /// The text of the expression.
    pub text: Option<&'a str>,
}

/// Takes the first cause that holds.
pub fn find<'a>(causes: impl IntoIterator<Item = Candidate<'a>>, view: &View) -> Finding {
    let mut considered = Vec::new();
    let mut conclusion = Conclusion::NoCause;
    for cause in causes {
        let verdict = cause.when.map_or(Verdict::Holds, |when| when.evaluate(view));
        let (said, end) = match verdict {
            Verdict::Holds => {
                let name = cause.name.to_owned();
                ("holds".to_owned(), Some(Conclusion::Cause { name }))
            }
            Verdict::DoesNotHold => ("does not hold".to_owned(), None),
            Verdict::Unknown { why } => {
                let name = cause.name.to_owned();
                (format!("unknown: {why}"), Some(Conclusion::Unknown { name, why }))
            }
        };
        considered.push(Considered {
            cause: cause.name.to_owned(),
            when: cause.text.map(str::to_owned),
            verdict: said,
        });
        if let Some(end) = end {
            conclusion = end;
            break;
        }
    }
    Finding { conclusion, considered }
}
