//! Compares a planned change with the live object, and adds to the patch what makes it safe. Pure.
//!
//! The patch carries the `resourceVersion` of the object that was compared, so that nothing can
//! come between looking and changing.

use serde_json::{Map, Value, json};

use super::outcome::{Mark, Observation};
use crate::domain::plan::{Expected, ObjectRef, Patch, PatchChange};
use crate::domain::quantity::Quantity;
use crate::kubernetes::json;

/// The annotation that marks which step changed an object last. It stands on the object's own
/// metadata, not on its pod template, so that it causes no rollout.
pub const MARK: &str = "orderly.dev/step";

/// Says how the live object differs from the one that the plan was made for, if it does.
pub fn difference(change: &PatchChange, live: &Value) -> Option<String> {
    let planned = &change.object;
    let name = format!("`{}/{}/{}`", planned.namespace, planned.kind, planned.name);
    let uid = json::uid(live);
    if uid != planned.uid {
        return Some(format!(
            "{name} was made anew since the plan was made (uid {} is now {uid})",
            planned.uid
        ));
    }
    let generation = json::generation(live);
    if generation != planned.generation {
        return Some(format!(
            "the spec of {name} was changed since the plan was made (generation {} is now {generation}){}",
            planned.generation,
            last_writer(live)
        ));
    }
    // Objects without generations, such as autoscalers: what the change replaces must still be so.
    if generation == 0 {
        let differs = first_difference(change.inverse.body(), live, &mut Vec::new())?;
        return Some(format!("{name} was changed since the plan was made: {differs}"));
    }
    None
}

/// Who wrote anything but the status.
fn writers(live: &Value) -> impl Iterator<Item = &Value> {
    let entries = json::list(live, &["metadata", "managedFields"]);
    entries.iter().filter(|entry| json::text(entry, &["subresource"]) != Some("status"))
}

/// The first field of a merge patch that the object does not agree with.
fn first_difference(patch: &Value, live: &Value, path: &mut Vec<String>) -> Option<String> {
    if let Value::Object(fields) = patch {
        for (key, wanted) in fields {
            path.push(key.clone());
            let found = first_difference(wanted, live.get(key).unwrap_or(&Value::Null), path);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        return None;
    }
    (patch != live).then(|| format!("`{}` is {live}, planned for {patch}", path.join(".")))
}

/// Who changed the object last, when its managed fields say.
fn last_writer(live: &Value) -> String {
    let last = writers(live).max_by_key(|entry| json::time(entry, &["time"]));
    match last.and_then(|entry| json::text(entry, &["manager"])) {
        Some(manager) => format!(", last by `{manager}`"),
        None => String::new(),
    }
}

/// The patch as it is sent: with the precondition, and with the mark where it can carry one.
pub fn body(change: &PatchChange, live: &Value, mark: &Mark) -> Value {
    let mut body = change.patch.body().clone();
    let mut metadata = match body.get_mut("metadata").map(Value::take) {
        Some(Value::Object(metadata)) => metadata,
        Some(_) | None => Map::new(),
    };
    metadata.insert("resourceVersion".to_owned(), json::resource_version(live).into());
    // A subresource carries no annotations; its object's uid is covered by the resourceVersion.
    if change.object.subresource.is_none() {
        metadata.insert("uid".to_owned(), change.object.uid.as_str().into());
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Value::Object(annotations) = annotations {
            annotations.insert(MARK.to_owned(), mark.to_string().into());
        }
    }
    if let Value::Object(fields) = &mut body {
        fields.insert("metadata".to_owned(), Value::Object(metadata));
    }
    body
}

/// The content type of a patch.
pub fn content_type(patch: &Patch) -> &'static str {
    match patch {
        Patch::Merge(_) => "application/merge-patch+json",
        Patch::Strategic(_) => "application/strategic-merge-patch+json",
    }
}

/// What is seen of a patch.
///
/// A change of the `scale` subresource cannot carry a mark. There the generation tells: as long as
/// it is the planned one the change was not made; when it has moved and the wanted number stands
/// there, then the change is made, whoever made it, and making it again would be of no use.
pub fn observe(change: &PatchChange, live: &Value, mark: &Mark) -> Observation {
    if json::uid(live) != change.object.uid {
        return Observation::Gone;
    }
    let Some(what) = difference(change, live) else {
        // A change that was made moves the generation on, or the values that it replaces; whatever
        // the postcondition says, which may have held before.
        return Observation::NotApplied;
    };
    let missing = change.postcondition.iter().find_map(|expected| missing(expected, live));
    let marked = json::annotation(live, MARK) == Some(&mark.to_string());
    match (marked, change.object.subresource.is_some(), missing) {
        (true, _, None) | (false, true, None) => Observation::Applied,
        (true, _, Some(missing)) => {
            let what = format!("it was applied and then changed: {missing}{}", last_writer(live));
            Observation::Changed { what }
        }
        (false, _, _) => Observation::Changed { what },
    }
}

/// Says how a field differs from what is expected, if it does.
fn missing(expected: &Expected, live: &Value) -> Option<String> {
    let found = resolve(&expected.path, live);
    let resources = expected.path.iter().any(|step| step == "resources");
    if found == expected.value || (resources && same_amount(&found, &expected.value)) {
        return None;
    }
    Some(format!("`{}` is {found}, not {}", expected.path.join("."), expected.value))
}

/// The server writes quantities in its own way: `1024Mi` comes back as `1Gi`.
fn same_amount(a: &Value, b: &Value) -> bool {
    let amount = |value: &Value| serde_json::from_value::<Quantity>(value.clone()).ok();
    amount(a).is_some_and(|a| amount(b) == Some(a))
}

/// The value at a path; null when there is none. `[name=agent]` picks the entry of a list,
/// `{name:image}` makes an object of a list: from each entry's name to its image.
pub fn resolve(path: &[String], object: &Value) -> Value {
    let Some((step, rest)) = path.split_first() else { return object.clone() };
    if let (Value::Array(items), Some((key, field))) = (object, inside(step, '{', '}', ':')) {
        let entries = items.iter().filter_map(|item| {
            let name = item.get(key)?.as_str()?.to_owned();
            Some((name, item.get(field).cloned().unwrap_or(Value::Null)))
        });
        return resolve(rest, &Value::Object(entries.collect()));
    }
    enter(step, object).map_or(Value::Null, |value| resolve(rest, value))
}

fn enter<'a>(step: &str, value: &'a Value) -> Option<&'a Value> {
    match (value, inside(step, '[', ']', '=')) {
        (Value::Array(items), Some((field, wanted))) => {
            items.iter().find(|item| match item.get(field) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Number(number)) => number.to_string() == wanted,
                Some(_) | None => false,
            })
        }
        (Value::Array(items), None) => items.get(step.parse::<usize>().ok()?),
        (value, _) => value.get(step),
    }
}

fn inside(step: &str, open: char, close: char, between: char) -> Option<(&str, &str)> {
    step.strip_prefix(open)?.strip_suffix(close)?.split_once(between)
}

/// Whether every field that a step promises is there; says which is not.
pub fn holds(expected: &[Expected], live: &Value) -> Result<(), String> {
    expected.iter().find_map(|expected| missing(expected, live)).map_or(Ok(()), Err)
}

/// The place that a patch is sent to.
pub fn path(object: &ObjectRef) -> String {
    let ObjectRef { api_version, namespace, plural, name, .. } = object;
    let path = crate::kubernetes::path::object(api_version, namespace, plural, name);
    match &object.subresource {
        Some(subresource) => format!("{path}/{}", crate::kubernetes::path::encode(subresource)),
        None => path,
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
