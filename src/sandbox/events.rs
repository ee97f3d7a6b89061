//! Events: both event APIs show the same stored objects, which are kept in the core shape.

use serde_json::{Value, json};

use super::error::{ApiError, FieldError};
use super::object::{self, put, take, text};
use super::resources::{EVENTS_V1, ResourceType};

/// The limit of `note`, `reason` and `action` (events.k8s.io validation).
const NOTE_LENGTH: usize = 1024;
const WORD_LENGTH: usize = 128;

/// Field names: in `events.k8s.io/v1`, in the core API.
const NAMES: [(&str, &str); 6] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
];

/// Brings an event of `events.k8s.io/v1` into the stored shape, after its stricter validation.
pub(super) fn to_stored(kind: &ResourceType, event: &mut Value) -> Result<(), ApiError> {
    if *kind != EVENTS_V1 {
        return Ok(());
    }
    let mut errors = Vec::new();
    for field in ["eventTime", "reportingController", "reportingInstance", "reason", "action"] {
        if text(event, &format!("/{field}")).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    for (field, length) in [("note", NOTE_LENGTH), ("reason", WORD_LENGTH), ("action", WORD_LENGTH)]
    {
        if text(event, &format!("/{field}")).len() > length {
            let why = format!("can have at most {length} characters");
            errors.push(FieldError::invalid(field, &json!(""), &why));
        }
    }
    if !matches!(text(event, "/type"), "Normal" | "Warning") {
        errors.push(FieldError::invalid("type", &event["type"].clone(), "has invalid value: "));
    }
    if !errors.is_empty() && text(event, "/deprecatedFirstTimestamp").is_empty() {
        return Err(ApiError::invalid(kind, object::name(event), &errors));
    }
    for (new, old) in NAMES {
        if let Some(value) = take(event, &[new]) {
            put(event, &[old], value);
        }
    }
    if let Some(count) = take(event, &["deprecatedCount"]) {
        put(event, &["count"], count);
    }
    put(event, &["apiVersion"], "v1");
    Ok(())
}

/// The shape in which the API of `kind` shows a stored object.
pub(super) fn to_shown(kind: &ResourceType, stored: &Value) -> Value {
    let mut shown = stored.clone();
    if *kind != EVENTS_V1 {
        return shown;
    }
    for (new, old) in NAMES {
        if let Some(value) = take(&mut shown, &[old]) {
            put(&mut shown, &[new], value);
        }
    }
    if let Some(count) = take(&mut shown, &["count"]) {
        put(&mut shown, &["deprecatedCount"], count);
    }
    put(&mut shown, &["apiVersion"], "events.k8s.io/v1");
    shown
}
