//! What changes between two versions of an object: field by field, and as a text for people.
//!
//! Pure. What the server keeps for itself is left out; secrets are masked, but that a secret
//! changed is said.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use similar::TextDiff;

use super::reader::mask;

/// Fields that are listed; a plan changes a handful, a rollback some dozens.
const CHANGES: usize = 200;
/// Lines of the text: several screens, and beyond what anybody approves by reading.
const LINES: usize = 300;
/// Bytes of one line; longer ones are cut.
const LINE: usize = 400;
/// Characters of one value in a one-line rendering.
const SHOWN: usize = 120;
/// Unchanged lines around a change, enough to see which container it is in.
const CONTEXT: usize = 4;
/// Objects nested deeper than any of Kubernetes' own kinds are compared as a whole.
const DEPTH: usize = 64;
/// Fields of `metadata` that the server keeps for itself.
const SERVERS: [&str; 6] =
    ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];
/// kubectl's copy of the whole object, in one line.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One field that changes. Values are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where: `spec.template.spec.containers[agent].resources.limits.memory`.
    pub path: String,
    /// What was there; nothing when the field is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What is there then; nothing when the field goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{path}: {} → {}", shown(from), shown(to)),
            (None, Some(to)) => write!(f, "{path}: added {}", shown(to)),
            (Some(from), None) => write!(f, "{path}: removed {}", shown(from)),
            (None, None) => f.write_str(path),
        }
    }
}

/// A value in one line.
fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

/// The fields that differ, sorted by path; lists of named things are compared by name.
pub fn fields(before: &Value, after: &Value) -> Vec<FieldChange> {
    let (before, after) = (quiet(before), quiet(after));
    let (masked_before, masked_after) = (mask::value(&before), mask::value(&after));
    let mut changes = Vec::new();
    let from = Side { raw: &before, masked: &masked_before };
    let to = Side { raw: &after, masked: &masked_after };
    walk("", from, to, 0, &mut changes);
    changes
}

/// The difference as a unified diff of YAML; empty when nothing differs.
pub fn unified(before: &Value, after: &Value) -> String {
    let (before, after) = (quiet(before), quiet(after));
    let (old, new) = (yaml(&mask::value(&before)), yaml(&mask::value(&after)));
    let difference = TextDiff::from_lines(old.as_str(), new.as_str());
    let text = difference.unified_diff().context_radius(CONTEXT).to_string();
    let mut lines: Vec<String> = text.lines().map(cut).collect();
    if lines.len() > LINES {
        let more = lines.len() - LINES;
        lines.truncate(LINES);
        lines.push(format!("… and {more} more lines"));
    }
    // What differs only behind the masks cannot be seen above.
    for change in fields(&before, &after) {
        if change.to == Some(Value::from(OTHER)) {
            lines.push(format!("! {}: changed, its value is masked", change.path));
        }
    }
    lines.join("\n")
}

/// Stands for a masked value that is not the masked value before.
const OTHER: &str = "[masked, another value]";

fn cut(line: &str) -> String {
    if line.len() <= LINE {
        return line.to_owned();
    }
    let mut end = LINE;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &line[..end])
}

fn yaml(value: &Value) -> String {
    let yaml = serde_saphyr::to_string(value);
    // Any JSON can be written as YAML; and JSON is YAML.
    yaml.unwrap_or_else(|_| format!("{value:#}\n"))
}

/// The object without what the server keeps for itself.
fn quiet(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !SERVERS.contains(&key.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    object
}

/// A value as it is and as it may be shown; masking keeps the structure.
#[derive(Clone, Copy)]
struct Side<'a> {
    raw: &'a Value,
    masked: &'a Value,
}

impl<'a> Side<'a> {
    fn field(self, key: &str) -> Option<Self> {
        Some(Self { raw: self.raw.get(key)?, masked: self.masked.get(key)? })
    }

    fn item(self, index: usize) -> Option<Self> {
        Some(Self { raw: self.raw.get(index)?, masked: self.masked.get(index)? })
    }

    /// The items of a list by what they are called: by name when all have one, else by place.
    fn items(self) -> Vec<(String, Self)> {
        let length = self.raw.as_array().map_or(0, Vec::len);
        let items = (0..length).filter_map(|index| Some((index, self.item(index)?)));
        let by_name = named(self.raw);
        let call = |(index, side): (usize, Side<'a>)| {
            let name = side.raw.get("name").and_then(Value::as_str).filter(|_| by_name);
            (name.map_or_else(|| index.to_string(), str::to_owned), side)
        };
        items.map(call).collect()
    }
}

/// Whether every item of a list has a name of its own.
fn named(list: &Value) -> bool {
    let names: Option<Vec<&str>> = list
        .as_array()
        .map(|items| items.iter().map(|item| item.get("name")?.as_str()).collect())
        .unwrap_or_default();
    names.is_some_and(|mut names| {
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        names.len() == count
    })
}

fn walk(path: &str, from: Side<'_>, to: Side<'_>, depth: usize, changes: &mut Vec<FieldChange>) {
    if from.raw == to.raw || changes.len() >= CHANGES {
        return;
    }
    match (from.raw, to.raw) {
        (Value::Object(old), Value::Object(new)) if depth < DEPTH => {
            for key in keys(old, new) {
                step(&join(path, key), from.field(key), to.field(key), depth, changes);
            }
        }
        (Value::Array(_), Value::Array(_)) if depth < DEPTH && named(from.raw) == named(to.raw) => {
            let (old, new) = (from.items(), to.items());
            for (name, side) in &old {
                let other = new.iter().find(|(other, _)| other == name).map(|(_, side)| *side);
                step(&format!("{path}[{name}]"), Some(*side), other, depth, changes);
            }
            for (name, side) in &new {
                if !old.iter().any(|(other, _)| other == name) {
                    step(&format!("{path}[{name}]"), None, Some(*side), depth, changes);
                }
            }
        }
        _ => step_value(path, Some(from), Some(to), changes),
    }
}

fn step(
    path: &str,
    from: Option<Side<'_>>,
    to: Option<Side<'_>>,
    depth: usize,
    changes: &mut Vec<FieldChange>,
) {
    match (from, to) {
        (Some(from), Some(to)) => walk(path, from, to, depth + 1, changes),
        (from, to) => step_value(path, from, to, changes),
    }
}

fn step_value(
    path: &str,
    from: Option<Side<'_>>,
    to: Option<Side<'_>>,
    changes: &mut Vec<FieldChange>,
) {
    if changes.len() >= CHANGES {
        return;
    }
    let from = from.map(|side| side.masked.clone());
    let mut to = to.map(|side| side.masked.clone());
    if from == to {
        to = Some(OTHER.into());
    }
    changes.push(FieldChange { path: path.to_owned(), from, to });
}

fn keys<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = old.keys().chain(new.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Keys with dots, such as annotations, are put into quotes.
fn join(path: &str, key: &str) -> String {
    match (path, key.contains(['.', '[', ' '])) {
        ("", false) => key.to_owned(),
        (path, false) => format!("{path}.{key}"),
        (path, true) => format!("{path}[\"{key}\"]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(memory: &str, image: &str, version: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "api", "resourceVersion": version, "uid": "u", "generation": 3},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [
                {"name": "side", "image": "side:1"},
                {"name": "agent", "image": image, "resources": {"limits": {"memory": memory}}}]}}},
            "status": {"replicas": version}})
    }

    #[test]
    fn a_list_of_named_things_is_compared_by_name() {
        let mut after = deployment("1Gi", "agent:1", "2");
        let containers = after["spec"]["template"]["spec"]["containers"].as_array_mut();
        containers.expect("a list").reverse();
        let changes = fields(&deployment("512Mi", "agent:1", "1"), &after);
        let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["spec.template.spec.containers[agent].resources.limits.memory: 512Mi → 1Gi"]
        );
    }

    #[test]
    fn what_is_new_and_what_goes_is_said_and_dotted_keys_are_quoted() {
        let before = json!({"metadata": {"annotations": {"a.b/c": "1"}}});
        let after = json!({"metadata": {"annotations": {"d.e/f": "2"}}});
        let lines: Vec<_> = fields(&before, &after).iter().map(ToString::to_string).collect();
        let expected = [
            r#"metadata.annotations["a.b/c"]: removed 1"#,
            r#"metadata.annotations["d.e/f"]: added 2"#,
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_text_shows_the_change_with_its_surroundings_and_nothing_of_the_servers() {
        let text =
            unified(&deployment("512Mi", "agent:1", "1"), &deployment("1Gi", "agent:1", "2"));
        insta::assert_snapshot!(text, @"
        @@ -12,5 +12,5 @@
               - image: agent:1
                 name: agent
                 resources:
                   limits:
        -            memory: 512Mi
        +            memory: 1Gi
        ");
    }

    #[test]
    fn a_masked_value_that_changes_is_said_to_change_and_not_shown() {
        let object = |secret: &str| {
            json!({"spec": {"containers": [{"name": "a",
                "env": [{"name": "DB_PASSWORD", "value": secret}]}]}})
        };
        let text = unified(&object("hunter2"), &object("hunter3"));
        assert!(!text.contains("hunter"), "{text}");
        assert_eq!(
            text,
            "! spec.containers[a].env[DB_PASSWORD].value: changed, its value is masked"
        );
        assert_eq!(unified(&object("x"), &object("x")), "");
    }

    #[test]
    fn a_huge_difference_is_bounded() {
        let object = |of: &str| {
            let data: Map<String, Value> =
                (0..5_000).map(|n| (format!("k{n}"), format!("{of}{n}").into())).collect();
            json!({ "data": data })
        };
        let (before, after) = (object("a"), object("b"));
        assert_eq!(fields(&before, &after).len(), CHANGES);
        assert_eq!(unified(&before, &after).lines().count(), LINES + 1);
    }
}
