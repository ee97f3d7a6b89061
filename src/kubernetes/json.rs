//! Reading raw Kubernetes JSON: absent fields are `None` or empty, never an error and never a panic.

use jiff::Timestamp;
use serde_json::Value;

/// The value at a path of object fields.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(field)).filter(|value| !value.is_null())
}

/// The text at a path.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path).and_then(Value::as_str)
}

/// The text at a path, or nothing written.
pub fn owned(value: &Value, path: &[&str]) -> String {
    text(value, path).unwrap_or_default().to_owned()
}

/// The whole number at a path.
pub fn number(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// True only when the path holds `true`.
pub fn is_true(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool) == Some(true)
}

/// The list at a path; empty when there is none.
pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The time at a path, when it is one.
pub fn time(value: &Value, path: &[&str]) -> Option<Timestamp> {
    text(value, path).and_then(|text| text.parse().ok())
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"]).unwrap_or_default()
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"]).unwrap_or_default()
}

/// `metadata.resourceVersion`.
pub fn resource_version(object: &Value) -> &str {
    text(object, &["metadata", "resourceVersion"]).unwrap_or_default()
}

/// `metadata.generation`; 0 for objects that have none, such as autoscalers.
pub fn generation(object: &Value) -> i64 {
    number(object, &["metadata", "generation"]).unwrap_or_default()
}

/// `metadata.creationTimestamp`.
pub fn created(object: &Value) -> Timestamp {
    time(object, &["metadata", "creationTimestamp"]).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    text(object, &["metadata", "annotations", key])
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    text(object, &["metadata", "labels", key])
}

/// The owner reference with `controller: true`.
pub fn controller(object: &Value) -> Option<&Value> {
    list(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| is_true(owner, &["controller"]))
}

/// The condition of that type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == Some(kind))
}
