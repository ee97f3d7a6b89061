//! How a call to the API server fails, in the terms that its callers decide by.
//!
//! The HTTP code decides; reasons and messages are for people, since API Priority & Fairness and
//! proxies answer without them.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;

/// The first pause between two tries of a read; doubled each time.
const READ_PAUSE: SignedDuration = SignedDuration::from_millis(200);
/// The longest `Retry-After` that a read waits for; longer ones are reported.
pub(super) const RETRY_AFTER_LIMIT: u64 = 2;

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The HTTP code.
    pub code: u16,
    /// Kubernetes' reason, such as `Conflict`; empty when the answer was not a Status.
    pub reason: String,
    /// Kubernetes' message, or the beginning of the body.
    pub message: String,
    /// Seconds to wait, when the server said.
    pub retry_after: Option<u64>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Why a call brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No whole answer in time.
    #[error("`{path}`: no answer within {}s: is the API server overloaded?", .limit.as_secs())]
    Timeout {
        /// The path.
        path: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection failed, before or after the request was sent.
    #[error("`{path}`: connection failed: {why}: check the address and the certificates")]
    Connection {
        /// The path.
        path: String,
        /// What the client library says.
        why: String,
    },
    /// The server said no.
    #[error("`{path}`: {rejection}")]
    Rejected {
        /// The path.
        path: String,
        /// What it said.
        rejection: Rejection,
    },
    /// A success whose body cannot be used.
    #[error("`{path}`: the answer cannot be used: {why}")]
    Unreadable {
        /// The path.
        path: String,
        /// Why not.
        why: String,
    },
}

impl CallError {
    /// The HTTP code, when there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Rejected { rejection, .. } => Some(rejection.code),
            Self::Timeout { .. } | Self::Connection { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// True when the object (or its whole kind) is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// How long to wait before a read is tried again; nothing when trying again is of no use.
    pub(super) fn pause(&self, attempt: u32) -> Option<SignedDuration> {
        let own = READ_PAUSE.saturating_mul(2_i32.saturating_pow(attempt));
        match self {
            Self::Connection { .. } => Some(own),
            Self::Rejected { rejection, .. } if matches!(rejection.code, 429 | 503 | 504) => {
                let asked = rejection.retry_after.unwrap_or(0);
                let asked_for = SignedDuration::from_secs(i64::try_from(asked).unwrap_or(i64::MAX));
                (asked <= RETRY_AFTER_LIMIT).then(|| own.max(asked_for))
            }
            Self::Rejected { .. } | Self::Timeout { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

pub(super) fn rejection(status: StatusCode, body: &[u8], retry_after: Option<u64>) -> Rejection {
    let code = status.as_u16();
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    match parsed.filter(|status| json::text(status, &["kind"]) == Some("Status")) {
        Some(status) => Rejection {
            code,
            reason: json::owned(&status, &["reason"]),
            message: json::owned(&status, &["message"]),
            retry_after: retry_after.or_else(|| {
                let seconds = json::number(&status, &["details", "retryAfterSeconds"])?;
                u64::try_from(seconds).ok()
            }),
        },
        // API Priority & Fairness and proxies answer in plain text.
        None => {
            let text = String::from_utf8_lossy(body);
            let message = text.trim().chars().take(200).collect();
            Rejection { code, reason: String::new(), message, retry_after }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_read_from_a_status_and_from_plain_text() {
        let status = br#"{"kind":"Status","reason":"Conflict","message":"the object has been modified","code":409}"#;
        let told = rejection(StatusCode::CONFLICT, status, None);
        assert_eq!(told.to_string(), "409 Conflict: the object has been modified");
        let fairness = rejection(StatusCode::TOO_MANY_REQUESTS, b"Too many requests\n", Some(3));
        assert_eq!(fairness.to_string(), "429: Too many requests");
        assert_eq!(fairness.retry_after, Some(3));
    }

    #[test]
    fn only_passing_trouble_is_tried_again_and_no_long_wait_is_obeyed() {
        let rejected = |code, retry_after| CallError::Rejected {
            path: "/x".to_owned(),
            rejection: Rejection {
                code,
                reason: String::new(),
                message: String::new(),
                retry_after,
            },
        };
        assert_eq!(rejected(503, Some(1)).pause(0), Some(SignedDuration::from_secs(1)));
        assert_eq!(rejected(429, None).pause(1), Some(SignedDuration::from_millis(400)));
        assert_eq!(rejected(429, Some(30)).pause(0), None);
        assert_eq!(rejected(403, None).pause(0), None);
    }
}
