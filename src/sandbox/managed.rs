//! Who manages which field: `metadata.managedFields`.
//!
//! A manager owns the paths that it changed or applied; list elements are addressed by their merge
//! key, as the real server does. Removing ownership of fields that are no longer applied, and the
//! deletion of such fields, is left out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::object::{self, text};
use super::patch::merge_key;

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Author<'a> {
    pub(super) manager: &'a str,
    pub(super) operation: &'static str,
    pub(super) subresource: &'a str,
}

/// Records that `author` made the difference between `before` and `after`.
pub(super) fn record(after: &mut Value, before: &Value, author: Author<'_>, now: Timestamp) {
    let mut changed = Map::new();
    for part in ["spec", "status", "data", "stringData", "type"] {
        let empty = Value::Null;
        let old = before.get(part).unwrap_or(&empty);
        if let Some(new) = after.get(part)
            && let Some(fields) = difference(old, new, part)
        {
            changed.insert(format!("f:{part}"), fields);
        }
    }
    let mut metadata = Map::new();
    for part in ["labels", "annotations", "ownerReferences", "finalizers"] {
        let pointer = format!("/metadata/{part}");
        let empty = Value::Null;
        let old = before.pointer(&pointer).unwrap_or(&empty);
        if let Some(new) = after.pointer(&pointer)
            && let Some(fields) = difference(old, new, part)
        {
            metadata.insert(format!("f:{part}"), fields);
        }
    }
    if !metadata.is_empty() {
        changed.insert("f:metadata".into(), Value::Object(metadata));
    }
    if !changed.is_empty() {
        own(after, &Value::Object(changed), author, now);
    }
}

/// Makes `author` an owner of `fields` and takes them from managers that updated them before.
pub(super) fn own(after: &mut Value, fields: &Value, author: Author<'_>, now: Timestamp) {
    let api_version = after["apiVersion"].clone();
    let list = object::child(after, &["metadata", "managedFields"]);
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let same = |entry: &Value| {
        text(entry, "/manager") == author.manager
            && text(entry, "/operation") == author.operation
            && text(entry, "/subresource") == author.subresource
    };
    for entry in list.iter_mut().filter(|entry| !same(entry)) {
        subtract(&mut entry["fieldsV1"], fields);
    }
    list.retain(|entry| {
        entry["fieldsV1"].as_object().is_some_and(|map| !map.is_empty()) || same(entry)
    });
    let at = object::rfc3339(now);
    match list.iter_mut().find(|entry| same(entry)) {
        Some(entry) => {
            entry["time"] = json!(at);
            union(&mut entry["fieldsV1"], fields);
        }
        None => {
            let mut entry = json!({
                "manager": author.manager, "operation": author.operation,
                "apiVersion": api_version, "time": at, "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            });
            if !author.subresource.is_empty() {
                entry["subresource"] = json!(author.subresource);
            }
            list.push(entry);
        }
    }
}

/// The fields that a configuration sets, as an applier owns them.
pub(super) fn applied(configuration: &Value) -> Value {
    let mut bare = configuration.clone();
    for path in [&["apiVersion"][..], &["kind"], &["metadata", "name"], &["metadata", "namespace"]]
    {
        object::take(&mut bare, path);
    }
    difference(&Value::Null, &bare, "").unwrap_or_else(|| json!({}))
}

/// Fields of `changed` that other managers own: (manager, dotted field).
pub(super) fn conflicts(current: &Value, changed: &Value, manager: &str) -> Vec<(String, String)> {
    let mut found = BTreeMap::new();
    for entry in object::items(current, "/metadata/managedFields") {
        if text(entry, "/manager") != manager || text(entry, "/operation") != "Apply" {
            let mut shared = Vec::new();
            common(&entry["fieldsV1"], changed, "", &mut shared);
            for field in shared {
                found.insert(field, text(entry, "/manager").to_owned());
            }
        }
    }
    found.into_iter().map(|(field, manager)| (manager, field)).collect()
}

/// The changed fields between two values in the notation of `fieldsV1`.
pub(super) fn difference(before: &Value, after: &Value, field: &str) -> Option<Value> {
    if before == after {
        return None;
    }
    match after {
        Value::Object(map) if !map.is_empty() => {
            let mut changed = Map::new();
            for (key, new) in map {
                let old = before.get(key).unwrap_or(&Value::Null);
                if let Some(fields) = difference(old, new, key) {
                    changed.insert(format!("f:{key}"), fields);
                }
            }
            (!changed.is_empty()).then_some(Value::Object(changed))
        }
        Value::Array(list) => {
            let key = merge_key(field).filter(|key| list.iter().all(|e| e.get(key).is_some()));
            let Some(key) = key else { return Some(json!({})) };
            let mut changed = Map::new();
            for element in list {
                let identity = &element[key];
                let old =
                    before.as_array().and_then(|old| old.iter().find(|o| &o[key] == identity));
                if let Some(fields) = difference(old.unwrap_or(&Value::Null), element, "") {
                    changed.insert(format!("k:{}", json!({key: identity})), fields);
                }
            }
            (!changed.is_empty()).then_some(Value::Object(changed))
        }
        _ => Some(json!({})),
    }
}

fn union(into: &mut Value, more: &Value) {
    let (Value::Object(into), Value::Object(more)) = (into, more) else { return };
    for (key, fields) in more {
        union(into.entry(key.clone()).or_insert_with(|| json!({})), fields);
    }
}

fn subtract(from: &mut Value, fields: &Value) {
    let (Value::Object(from), Value::Object(fields)) = (from, fields) else { return };
    for (key, inner) in fields {
        let Some(own) = from.get_mut(key) else { continue };
        let leaf = inner.as_object().is_none_or(Map::is_empty);
        subtract(own, inner);
        if leaf || own.as_object().is_some_and(Map::is_empty) {
            from.remove(key);
        }
    }
}

fn common(one: &Value, other: &Value, path: &str, found: &mut Vec<String>) {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return };
    for (key, fields) in other {
        let Some(own) = one.get(key) else { continue };
        let step = match key.strip_prefix("k:") {
            Some(identity) => {
                let identity: Value = serde_json::from_str(identity).unwrap_or_default();
                let pairs = identity.as_object().into_iter().flatten();
                let pairs: Vec<String> =
                    pairs.map(|(key, value)| format!("{key}={value}")).collect();
                format!("{path}[{}]", pairs.join(","))
            }
            None => format!("{path}.{}", key.trim_start_matches("f:")),
        };
        if fields.as_object().is_none_or(Map::is_empty) {
            found.push(step);
        } else {
            common(own, fields, &step, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_writer_owns_what_it_changed() {
        let now = Timestamp::UNIX_EPOCH;
        let first = Author { manager: "one", operation: "Update", subresource: "" };
        let second = Author { manager: "two", ..first };
        let mut object = json!({"apiVersion": "v1", "metadata": {}, "spec": {"a": 1, "b": 2}});
        record(&mut object, &json!({}), first, now);
        let before = object.clone();
        object["spec"]["b"] = json!(3);
        record(&mut object, &before, second, now);
        let fields = &object["metadata"]["managedFields"];
        assert_eq!(fields[0]["fieldsV1"], json!({"f:spec": {"f:a": {}}}));
        assert_eq!(fields[1]["fieldsV1"], json!({"f:spec": {"f:b": {}}}));
        let changed = json!({"f:spec": {"f:a": {}}});
        assert_eq!(conflicts(&object, &changed, "three"), [("one".into(), ".spec.a".into())]);
    }
}
