//! Label selectors (as text and as objects) and field selectors.

use serde_json::Value;

use super::error::ApiError;
use super::object::{self, text};
use super::resources::ResourceType;

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

/// A label selector as query parameters have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),!h,i`.
    pub(super) fn parse(input: &str) -> Result<Self, ApiError> {
        let refuse = || {
            ApiError::bad_request(format!(
                "unable to parse requirement: \"{input}\" is no label selector"
            ))
        };
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(input) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let requirement = if let Some((key, list)) = part.split_once(" notin ") {
                Requirement::NotIn(key.trim().into(), values(list).ok_or_else(refuse)?)
            } else if let Some((key, list)) = part.split_once(" in ") {
                Requirement::In(key.trim().into(), values(list).ok_or_else(refuse)?)
            } else if let Some((key, value)) = part.split_once("!=") {
                Requirement::NotIn(key.trim().into(), vec![value.trim().into()])
            } else if let Some((key, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                Requirement::In(key.trim().into(), vec![value.trim().into()])
            } else if let Some(key) = part.strip_prefix('!') {
                Requirement::Missing(key.trim().into())
            } else {
                Requirement::Exists(part.into())
            };
            let (Requirement::In(key, _)
            | Requirement::NotIn(key, _)
            | Requirement::Exists(key)
            | Requirement::Missing(key)) = &requirement;
            if key.is_empty() || key.contains(char::is_whitespace) {
                return Err(refuse());
            }
            requirements.push(requirement);
        }
        Ok(Self(requirements))
    }

    pub(super) fn matches(&self, candidate: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let has = |key: &str, list: &[String]| {
                object::label(candidate, key).is_some_and(|value| list.iter().any(|v| v == value))
            };
            match requirement {
                Requirement::In(key, list) => has(key, list),
                Requirement::NotIn(key, list) => !has(key, list),
                Requirement::Exists(key) => object::label(candidate, key).is_some(),
                Requirement::Missing(key) => object::label(candidate, key).is_none(),
            }
        })
    }

    /// Reads a `LabelSelector` object; `None` when it is absent, which selects nothing.
    pub(super) fn of_object(selector: Option<&Value>) -> Option<Self> {
        let selector = selector.filter(|selector| selector.is_object())?;
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                requirements.push(Requirement::In(key.clone(), vec![value]));
            }
        }
        for expression in object::items(selector, "/matchExpressions") {
            let key = text(expression, "/key").to_owned();
            let list = object::items(expression, "/values")
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect();
            requirements.push(match text(expression, "/operator") {
                "In" => Requirement::In(key, list),
                "NotIn" => Requirement::NotIn(key, list),
                "Exists" => Requirement::Exists(key),
                _ => Requirement::Missing(key),
            });
        }
        Some(Self(requirements))
    }

    /// The text form, as `status.selector` of a Scale has it.
    pub(super) fn to_text(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|requirement| match requirement {
                Requirement::In(key, list) if list.len() == 1 => format!("{key}={}", list[0]),
                Requirement::In(key, list) => format!("{key} in ({})", list.join(",")),
                Requirement::NotIn(key, list) => format!("{key} notin ({})", list.join(",")),
                Requirement::Exists(key) => key.clone(),
                Requirement::Missing(key) => format!("!{key}"),
            })
            .collect();
        parts.join(",")
    }
}

fn split_outside_parentheses(input: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, character) in input.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&input[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&input[start..]);
    parts
}

fn values(list: &str) -> Option<Vec<String>> {
    let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

/// A field selector: `path=value` or `path!=value`, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSelector(Vec<(String, Wanted, String)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Equal,
    Different,
}

/// What can be selected on every kind.
const COMMON_FIELDS: [&str; 2] = ["metadata.name", "metadata.namespace"];
const POD_FIELDS: [&str; 7] = [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];
const EVENT_FIELDS: [&str; 11] = [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

impl FieldSelector {
    pub(super) fn parse(kind: &ResourceType, input: &str) -> Result<Self, ApiError> {
        let mut parts = Vec::new();
        for part in input.split(',').filter(|part| !part.is_empty()) {
            let (path, wanted, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, Wanted::Different, value)
            } else if let Some((path, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (path, Wanted::Equal, value)
            } else {
                let message = format!("invalid selector: '{input}'; can't understand '{part}'");
                return Err(ApiError::bad_request(message));
            };
            // events.k8s.io calls the object `regarding`; both show the same objects.
            let path = path.replace("regarding.", "involvedObject.");
            let known = COMMON_FIELDS.contains(&path.as_str())
                || match kind.plural {
                    "pods" => POD_FIELDS.contains(&path.as_str()),
                    "events" => EVENT_FIELDS.contains(&path.as_str()),
                    "namespaces" => path == "status.phase",
                    "nodes" => path == "spec.unschedulable",
                    "secrets" => path == "type",
                    "replicasets" => path == "status.replicas",
                    _ => false,
                };
            if !known {
                let message = format!("field label not supported: {path}");
                return Err(ApiError::bad_request(message));
            }
            parts.push((path, wanted, value.to_owned()));
        }
        Ok(Self(parts))
    }

    pub(super) fn matches(&self, candidate: &Value) -> bool {
        self.0.iter().all(|(path, wanted, value)| {
            let path = if path == "source" { "source.component" } else { path };
            let pointer = format!("/{}", path.replace('.', "/"));
            let found = match candidate.pointer(&pointer) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            };
            match wanted {
                Wanted::Equal => found == *value,
                Wanted::Different => found != *value,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_mean_what_kubernetes_means() {
        let pod = json!({"metadata": {"labels": {"app": "agent", "tier": "blue"}}});
        for (selector, expected) in [
            ("app=agent", true),
            ("app==agent,tier!=green", true),
            ("app in (agent,other),tier", true),
            ("app notin (agent)", false),
            ("!app", false),
            ("!missing", true),
            ("missing!=x", true),
            ("", true),
        ] {
            let parsed = LabelSelector::parse(selector).expect(selector);
            assert_eq!(parsed.matches(&pod), expected, "{selector}");
        }
        assert!(LabelSelector::parse("app in agent").is_err());
    }
}
