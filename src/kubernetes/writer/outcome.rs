//! What can come of a write. An unknown outcome is an outcome of its own (invariant 4): it is never
//! taken for a failure and never repeated before the world was looked at.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::authority::ApprovedStep;
use crate::domain::id::{Digest, IncidentId};
use crate::kubernetes::connection::{CallError, Rejection};

/// The idempotency mark of a step: written with the change, looked for after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// For which incident.
    pub incident: IncidentId,
    /// Which of its plans: a fallback has a first step too.
    pub plan: Digest,
    /// Which step of it, from 0.
    pub step: usize,
}

impl From<&ApprovedStep> for Mark {
    fn from(step: &ApprovedStep) -> Self {
        Self { incident: step.incident().clone(), plan: step.digest(), step: step.index() }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incident, self.plan.short(), self.step)
    }
}

/// A no from the API server; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The HTTP code.
    pub code: u16,
    /// Kubernetes' reason, such as `Forbidden`.
    pub reason: String,
    /// Kubernetes' message.
    pub message: String,
    /// Whether asking again is of use.
    pub again: Again,
}

/// Whether asking again is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Again {
    /// The answer will be the same.
    Never,
    /// The server was busy.
    Later {
        /// For so long, when it said.
        seconds: Option<u64>,
    },
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let Rejection { code, reason, message, retry_after } = rejection;
        let again = match code {
            429 | 500.. => Again::Later { seconds: retry_after },
            _ => Again::Never,
        };
        Self { code, reason, message, again }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

/// What a server-side dry run says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum DryRun {
    /// It would be done.
    Would {
        /// The object now, without status and managed fields.
        before: Value,
        /// The object then, after defaulting and admission.
        after: Value,
    },
    /// It would be refused.
    Refused(Refusal),
    /// The object is another one, or was changed, or is gone, since the plan was made.
    Conflict {
        /// How it differs.
        what: String,
    },
    /// Nobody could say.
    Unavailable {
        /// Why not.
        why: String,
    },
}

/// What came of performing a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Performed {
    /// It is done. When it had been done before (its mark was there), nothing was sent and `before`
    /// equals `after`.
    Done {
        /// The object before, without status and managed fields.
        before: Value,
        /// The object after.
        after: Value,
        /// The `resourceVersion` of the object after.
        resource_version: String,
        /// The object's uid and generation after: what a later step on it expects. Nothing for pods.
        left: Option<(String, i64)>,
    },
    /// The server said no; nothing was changed.
    Refused(Refusal),
    /// The object is another one, or was changed, or is gone, since the plan was made; nothing was
    /// changed.
    Conflict {
        /// How it differs.
        what: String,
    },
    /// The request was never sent, since the object could not be looked at first.
    NotSent {
        /// Why not.
        why: String,
    },
    /// It may have been done or not: look before anything else.
    Unknown {
        /// What happened.
        why: String,
    },
}

/// What is seen of a step that may have been performed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Observation {
    /// It was performed and its postcondition holds.
    Applied,
    /// It was not performed; the object is as it was planned for.
    NotApplied,
    /// The object was changed by somebody else, before or after.
    Changed {
        /// How it differs.
        what: String,
    },
    /// The object is gone, or another one has its name.
    Gone,
    /// It could not be looked at.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// How a call that would change something failed.
pub(super) enum Failure {
    Conflict(String),
    Gone,
    Refused(Refusal),
    Unknown(String),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Rejected { rejection, .. } => match rejection.code {
                404 => Self::Gone,
                409 => Self::Conflict(rejection.message),
                // After 5xx the work may go on in the background and still be stored.
                500.. => Self::Unknown(rejection.to_string()),
                _ => Self::Refused(rejection.into()),
            },
            error @ (CallError::Timeout { .. }
            | CallError::Connection { .. }
            | CallError::Unreadable { .. }) => Self::Unknown(error.to_string()),
        }
    }
}
