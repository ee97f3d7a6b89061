//! Kubernetes Events about what Orderly does, in the `events.k8s.io/v1` form and within its limits.
//!
//! Own bodies: the client library's recorder drops the note of a second event of the same reason
//! within six minutes, and the note is where the incident's name stands.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Bytes of `note`: the API server's limit.
const NOTE_LIMIT: usize = 1024;
/// Bytes of `reason`, `action` and `reportingInstance`: the API server's limit.
const WORD_LIMIT: usize = 128;
/// Bytes of the object's name kept in the event's, so that the whole stays below 253.
const NAME_LIMIT: usize = 200;

/// Whether an event is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regarding {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its namespace, which is also the event's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// An event to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub regarding: Regarding,
    /// Good news or not.
    pub severity: Severity,
    /// CamelCase, one of few: `RemediationStarted`.
    pub reason: String,
    /// What was done: `Restart`.
    pub action: String,
    /// For people; name the incident here.
    pub note: String,
}

/// The event as the API wants it.
pub fn body(event: &Event, instance: &str, now: Timestamp) -> Value {
    let Regarding { api_version, kind, namespace, name, uid } = &event.regarding;
    // Unique by the nanosecond, as client-go names its events.
    let own = format!("{}.{:x}", bounded(name, NAME_LIMIT), now.as_nanosecond());
    let severity = match event.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": own, "namespace": namespace},
        "eventTime": format!("{now:.6}"),
        "reportingController": "orderly.dev/orderly",
        "reportingInstance": required(instance),
        "type": severity,
        "reason": required(&event.reason),
        "action": required(&event.action),
        "note": bounded(&event.note, NOTE_LIMIT),
        "regarding": {"apiVersion": api_version, "kind": kind, "namespace": namespace,
            "name": name, "uid": uid},
    })
}

/// The API server refuses empty words.
fn required(text: &str) -> String {
    bounded(if text.is_empty() { "Unknown" } else { text }, WORD_LIMIT)
}

/// At most so many bytes, cut between characters; three dots say that something is missing.
fn bounded(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(3);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_within_the_apis_limits() {
        let event = Event {
            regarding: Regarding {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                namespace: "prod".into(),
                name: "api".into(),
                uid: "u1".into(),
            },
            severity: Severity::Warning,
            reason: "RemediationStarted".into(),
            action: String::new(),
            note: "ä".repeat(2000),
        };
        let body = body(&event, &"x".repeat(300), Timestamp::UNIX_EPOCH);
        assert_eq!(body["eventTime"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(body["action"], "Unknown");
        assert!(body["note"].as_str().expect("text").len() <= NOTE_LIMIT);
        assert_eq!(body["reportingInstance"].as_str().expect("text").len(), WORD_LIMIT);
    }
}
