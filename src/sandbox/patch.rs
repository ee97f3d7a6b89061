//! The four kinds of patches. Strategic merge follows the merge keys of the built-in types.

use serde_json::{Map, Value};

use super::error::ApiError;

/// More operations than this and the server answers 413.
const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// How a patch is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    /// Reads the `Content-Type`.
    pub(super) fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }

    /// The operation under which managed fields are recorded.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Json | Self::Merge | Self::Strategic => "Update",
        }
    }
}

/// The object after the patch.
pub(super) fn patched(kind: PatchKind, object: &Value, patch: &Value) -> Result<Value, ApiError> {
    let mut result = object.clone();
    match kind {
        PatchKind::Json => {
            if patch.as_array().is_some_and(|list| list.len() > MAX_JSON_PATCH_OPERATIONS) {
                let message = format!(
                    "The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}"
                );
                return Err(ApiError::scripted(413, &message, None));
            }
            let operations: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
            json_patch::patch(&mut result, &operations).map_err(|_| ApiError::unprocessable())?;
        }
        PatchKind::Merge => {
            expect_object(patch)?;
            json_patch::merge(&mut result, patch);
        }
        PatchKind::Strategic | PatchKind::Apply => {
            expect_object(patch)?;
            strategic(&mut result, patch)?;
        }
    }
    Ok(result)
}

fn expect_object(patch: &Value) -> Result<(), ApiError> {
    if patch.is_object() {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "error decoding patch: json: cannot unmarshal into map[string]interface {}",
    ))
}

/// By which field the elements of a list are told apart; `None` when the list is replaced whole.
pub(super) fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "ownerReferences" => Some("uid"),
        "conditions" => Some("type"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

/// Lists of plain values that are merged as sets.
fn is_set(list: &str) -> bool {
    list == "finalizers"
}

fn strategic(target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match changes.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(ApiError::bad_request(format!("Unknown patch type: {other}")));
        }
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return Ok(()) };
    if let Some(keep) = changes.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| keep.iter().any(|kept| kept.as_str() == Some(key)));
    }
    for (key, change) in changes {
        if key.starts_with('$') {
            if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/")
                && let (Some(Value::Array(from)), Value::Array(gone)) = (map.get_mut(list), change)
            {
                from.retain(|value| !gone.contains(value));
            }
            continue;
        }
        match change {
            Value::Null => {
                map.remove(key);
            }
            Value::Array(elements) => {
                let place = map.entry(key.clone()).or_insert(Value::Null);
                merge_list(place, elements, key)?;
            }
            Value::Object(_) => {
                let place = map.entry(key.clone()).or_insert(Value::Null);
                strategic(place, change)?;
                if change.get("$patch").and_then(Value::as_str) == Some("delete") {
                    map.remove(key);
                }
            }
            plain => {
                map.insert(key.clone(), plain.clone());
            }
        }
    }
    Ok(())
}

fn merge_list(target: &mut Value, elements: &[Value], field: &str) -> Result<(), ApiError> {
    let directive =
        |element: &Value| element.get("$patch").and_then(Value::as_str) == Some("replace");
    let Some(key) = merge_key(field).filter(|_| elements.iter().all(Value::is_object)) else {
        if is_set(field) {
            let mut all = target.as_array().cloned().unwrap_or_default();
            all.extend(elements.iter().filter(|e| !all.contains(e)).cloned().collect::<Vec<_>>());
            *target = Value::Array(all);
        } else {
            *target = Value::Array(elements.iter().map(without_directives).collect());
        }
        return Ok(());
    };
    if elements.iter().any(directive) {
        let rest = elements.iter().filter(|element| !directive(element));
        *target = Value::Array(rest.map(without_directives).collect());
        return Ok(());
    }
    // Service ports are told apart by another field than container ports.
    let key = if field == "ports" && elements.iter().any(|e| e.get("port").is_some()) {
        "port"
    } else {
        key
    };
    let mut merged = target.as_array().cloned().unwrap_or_default();
    for element in elements {
        let Some(identity) = element.get(key) else {
            return Err(ApiError::bad_request(format!(
                "map: {element} does not contain declared merge key: {key}"
            )));
        };
        let found = merged.iter().position(|existing| existing.get(key) == Some(identity));
        let delete = element.get("$patch").and_then(Value::as_str) == Some("delete");
        match (found, delete) {
            (Some(at), true) => {
                merged.remove(at);
            }
            (None, true) => {}
            (Some(at), false) => strategic(&mut merged[at], element)?,
            (None, false) => merged.push(without_directives(element)),
        }
    }
    *target = Value::Array(merged);
    Ok(())
}

/// A patch as plain content: directives and deletions left out.
fn without_directives(patch: &Value) -> Value {
    match patch {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
                .map(|(key, value)| (key.clone(), without_directives(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(without_directives).collect()),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strategic_patched(object: &Value, patch: &Value) -> Value {
        patched(PatchKind::Strategic, object, patch).expect("a valid patch")
    }

    #[test]
    fn containers_and_env_merge_by_name() {
        let object = json!({"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b", "image": "b:1"}]});
        let patch = json!({"containers": [
            {"name": "a", "env": [{"name": "X", "value": "9"}, {"name": "Y", "$patch": "delete"}]}]});
        let after = strategic_patched(&object, &patch);
        assert_eq!(
            after,
            json!({"containers": [
                {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "9"}]},
                {"name": "b", "image": "b:1"}]})
        );
    }

    #[test]
    fn replace_directive_replaces_and_null_deletes() {
        let object = json!({"spec": {"template": {"a": 1, "b": 2}, "x": 1}});
        let patch = json!({"spec": {"template": {"$patch": "replace", "c": 3}, "x": null}});
        assert_eq!(strategic_patched(&object, &patch), json!({"spec": {"template": {"c": 3}}}));
    }

    #[test]
    fn failed_test_operation_is_unprocessable() {
        let object = json!({"a": 1});
        let patch = json!([{"op": "test", "path": "/a", "value": 2}]);
        let error = patched(PatchKind::Json, &object, &patch).expect_err("must fail");
        assert_eq!((error.code, error.reason), (422, "Invalid"));
    }
}
