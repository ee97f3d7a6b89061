//! Reading and changing Kubernetes objects that are kept as raw JSON.
//!
//! Absent fields read as empty: the sandbox meets objects in every state of completeness, and the
//! places that must tell absent from empty use `Value::pointer` themselves.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The text at a JSON pointer; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The whole number at a JSON pointer.
pub(super) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The truth at a JSON pointer; false when there is none.
pub(super) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The elements of the list at a JSON pointer; none when there is no list.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The place at `path`, made of objects on the way where it is missing.
pub(super) fn child<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    let mut at = value;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = match at {
            Value::Object(map) => map.entry(*key).or_insert(Value::Null),
            other => other,
        };
    }
    at
}

/// Writes `new` at `path`.
pub(super) fn put(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    *child(value, path) = new.into();
}

/// Writes `new` at `path` when nothing (or null) is there.
pub(super) fn default(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    let place = child(value, path);
    if place.is_null() {
        *place = new.into();
    }
}

/// Takes the value at `path` away.
pub(super) fn take(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, way) = path.split_last()?;
    let mut at = value;
    for key in way {
        at = at.get_mut(*key)?;
    }
    at.as_object_mut()?.remove(*last)
}

/// `metadata.name`.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`; empty for cluster-scoped objects.
pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub(super) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// One label.
pub(super) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// One annotation.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// Is a deletion under way?
pub(super) fn terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// The owner reference that is marked as controller.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// Is `object` controlled by the object with this uid?
pub(super) fn controlled_by(object: &Value, owner: &str) -> bool {
    controller(object).is_some_and(|reference| text(reference, "/uid") == owner)
}

/// A controller reference to `owner`, as controllers write it.
pub(super) fn owner_reference(owner: &Value) -> Value {
    serde_json::json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner),
        "uid": uid(owner), "controller": true, "blockOwnerDeletion": true,
    })
}

/// A status condition by its type.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

/// Is the condition `True`?
pub(super) fn condition_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

/// Is the pod ready, and not on its way out?
pub(super) fn pod_ready(pod: &Value) -> bool {
    !terminating(pod) && condition_true(pod, "Ready")
}

/// Has the pod been ready for `min_ready_seconds`?
pub(super) fn pod_available(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> bool {
    pod_ready(pod)
        && (min_ready_seconds == 0
            || condition(pod, "Ready")
                .and_then(|ready| time(text(ready, "/lastTransitionTime")))
                .is_some_and(|since| now.duration_since(since).as_secs() >= min_ready_seconds))
}

/// A time as Kubernetes writes it: UTC, whole seconds.
pub(super) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads an RFC 3339 time.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A stable 32-bit hash.
pub(super) fn hash32(text: &str) -> u32 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(4).fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
}

/// The alphabet of generated names: Kubernetes' own, without vowels and look-alikes.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// `length` characters that follow from `seed` and are safe in names.
pub(super) fn safe_word(seed: &str, length: usize) -> String {
    let digest = Sha256::digest(seed.as_bytes());
    digest
        .iter()
        .take(length)
        .map(|byte| char::from(SAFE[usize::from(*byte) % SAFE.len()]))
        .collect()
}

/// `length` bytes that follow from `seed`, in hexadecimal.
pub(super) fn hex_word(seed: &str, length: usize) -> String {
    Sha256::digest(seed.as_bytes()).iter().take(length).fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The hash of a pod template, the label `pod-template-hash` left out.
pub(super) fn template_hash(template: &Value) -> String {
    safe_word(&bare_template(template).to_string(), 10)
}

/// A pod template without the label that the Deployment controller adds.
pub(super) fn bare_template(template: &Value) -> Value {
    let mut bare = template.clone();
    take(&mut bare, &["metadata", "labels", "pod-template-hash"]);
    take(&mut bare, &["metadata", "creationTimestamp"]);
    bare
}
