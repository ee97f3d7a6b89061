//! The custom resource definitions of policies, made from the same types as the files.
//!
//! What a shape can say, the API server refuses by itself: unknown fields, wrong types, too many of
//! something, and by CEL rules what excludes each other. What a text must be read for (expressions,
//! templates, matchers) and what depends on the configuration is said in the status of the object.

use kube_core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Value, json};

use super::resource::ResourceKind;
use crate::domain::policy::spec::{API_VERSION, PolicySpec};

/// Upper bounds by place in the spec. The API server wants them to know what a CEL rule can cost;
/// the smaller ones are those of the check of a policy.
const BOUNDS: &[(&str, &str, u64)] = &[
    ("summary", "maxLength", 1_000),
    ("runbook", "maxLength", 2_000),
    ("match", "maxItems", 32),
    ("match", "minItems", 1),
    ("match[]", "maxLength", 2_000),
    ("target.namespaces", "minItems", 1),
    ("target.namespaces", "maxItems", 100),
    ("target.namespaces[]", "maxLength", 63),
    ("target.selector", "maxProperties", 20),
    ("target.maxTargets", "minimum", 1),
    ("target.maxTargets", "maximum", 10),
    ("queries", "maxProperties", 10),
    ("queries{}", "maxLength", 10_000),
    ("causes", "minItems", 1),
    ("causes", "maxItems", 32),
    ("causes[].name", "maxLength", 63),
    ("causes[].when", "maxLength", 10_000),
    ("causes[].actions", "minItems", 1),
    ("causes[].actions", "maxItems", 10),
    ("gates.minReadyPercent", "maximum", 100),
    ("gates.limit.actions", "minimum", 1),
    ("gates.freeze", "maxItems", 20),
    ("approval.approvers", "maxItems", 20),
    ("approval.quorum", "minimum", 1),
    ("approval.quorum", "maximum", 10),
    ("onFailure", "maxItems", 10),
    ("escalate", "maxItems", 10),
];

/// A quantity as the API server knows it: a whole number, or a text.
const QUANTITIES: &[&str] = &["to", "add", "max"];

/// CEL rules by place in the spec, each with what it says when it does not hold.
const RULES: &[(&str, &str, &str)] = &[
    (
        "target",
        "[has(self.name), has(self.selector), has(self.ownerOf)].filter(given, given).size() == 1",
        "exactly one of name, selector and ownerOf must be given",
    ),
    (
        "target",
        "self.namespaces.size() == 1 || has(self.namespace)",
        "namespace is missing: the list has more than one namespace to choose from",
    ),
    (
        "causes",
        "self.all(cause, self.exists_one(other, other.name == cause.name))",
        "two causes have the same name",
    ),
    (
        "verify.query",
        "has(self.below) != has(self.above)",
        "exactly one of below and above must be given",
    ),
];

/// The same within each action, wherever actions stand.
const ACTION_RULES: &[(&str, &str, &str)] = &[
    (
        "scale",
        "[has(self.to), has(self.by), has(self.percent)].filter(given, given).size() == 1",
        "exactly one of to, by and percent must be given",
    ),
    (
        "setProbe",
        "has(self.initialDelaySeconds) || has(self.periodSeconds) || has(self.failureThreshold) \
         || has(self.timeoutSeconds)",
        "at least one of the four numbers must be given",
    ),
    (
        "setResources",
        "has(self.limits) || has(self.requests)",
        "neither limits nor requests are given",
    ),
    (
        "setResources.limits{}",
        "[has(self.to), has(self.multiply), has(self.add)].filter(given, given).size() == 1",
        "exactly one of to, multiply and add must be given",
    ),
    (
        "setResources.requests{}",
        "[has(self.to), has(self.multiply), has(self.add)].filter(given, given).size() == 1",
        "exactly one of to, multiply and add must be given",
    ),
];

/// Where actions stand.
const ACTIONS: [&str; 2] = ["causes[].actions[]", "onFailure[]"];

/// Both definitions.
pub fn definitions() -> [Value; 2] {
    ResourceKind::ALL.map(definition)
}

/// Both definitions as they are committed and applied: a stream of YAML documents.
pub fn definitions_text() -> Result<String, serde_saphyr::ser::Error> {
    let mut text = "# orderly schema --crd\n".to_owned();
    for definition in definitions() {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&definition)?);
    }
    Ok(text)
}

fn definition(kind: ResourceKind) -> Value {
    let (group, version) = API_VERSION.split_once('/').unwrap_or((API_VERSION, ""));
    let (name, plural) = (kind.kind(), kind.plural());
    let scope = match kind {
        ResourceKind::Namespaced => "Namespaced",
        ResourceKind::Cluster => "Cluster",
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "labels": {"app.kubernetes.io/name": "orderly"},
        },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {
                "kind": name, "listKind": format!("{name}List"), "plural": plural,
                "singular": name.to_lowercase(), "shortNames": [kind.short()],
                "categories": ["orderly"],
            },
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
                "schema": {"openAPIV3Schema": schema(kind)},
            }],
        },
    })
}

/// What `kubectl get` shows; the message only with `-o wide`. Nothing is written that the API server
/// would not keep, such as a priority of 0: then Helm and kubectl can apply the same definitions one
/// after the other without a conflict.
fn columns() -> Value {
    let column =
        |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let mut message =
        column("Message", "string", ".status.conditions[?(@.type==\"Accepted\")].message");
    message["priority"] = json!(1);
    json!([
        column("Mode", "string", ".spec.mode"),
        column("Accepted", "string", ".status.conditions[?(@.type==\"Accepted\")].status"),
        column("Reason", "string", ".status.conditions[?(@.type==\"Accepted\")].reason"),
        column("Matched", "integer", ".status.matched"),
        column("Last Match", "date", ".status.lastMatch"),
        column("Last Outcome", "string", ".status.lastOutcome"),
        column("Age", "date", ".metadata.creationTimestamp"),
        message,
    ])
}

fn schema(kind: ResourceKind) -> Value {
    let mut spec = structural();
    tidy(&mut spec);
    for (place, word, bound) in BOUNDS {
        at(&mut spec, place)[*word] = json!(bound);
    }
    at(&mut spec, "target.namespaces")["x-kubernetes-list-type"] = json!("set");
    if kind == ResourceKind::Namespaced {
        at(&mut spec, "target.namespaces")["maxItems"] = json!(1);
    }
    for (place, rule, message) in RULES {
        demand(at(&mut spec, place), rule, message);
    }
    for actions in ACTIONS {
        for (place, rule, message) in ACTION_RULES {
            demand(at(&mut spec, &format!("{actions}.{place}")), rule, message);
        }
        for amounts in ["limits", "requests"] {
            let amounts = at(&mut spec, &format!("{actions}.setResources.{amounts}"));
            amounts["maxProperties"] = json!(3);
            amounts["minProperties"] = json!(1);
            for field in QUANTITIES {
                let amount = at(amounts, &format!("{{}}.{field}"));
                if let Some(amount) = amount.as_object_mut() {
                    amount.remove("type");
                }
                amount["x-kubernetes-int-or-string"] = json!(true);
            }
        }
    }
    json!({
        "type": "object",
        "description": match kind {
            ResourceKind::Namespaced => {
                "A runbook as code, for alerts and workloads of its own namespace."
            }
            ResourceKind::Cluster => {
                "A runbook as code, for the namespaces that its target lists."
            }
        },
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status(),
        },
        "x-kubernetes-validations": [{
            "rule": "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
            "message": "the name must be a DNS label: lower-case letters, digits and -, at most 63",
        }],
    })
}

fn structural() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator();
    generator.into_root_schema_for::<PolicySpec>().to_value()
}

/// Takes away what the API server has no use for: Rust's widths of integers, `null` for what can be
/// left out, and defaults, which would be written into every object and so outlive a change of them.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_schema = !fields.contains_key("properties") || fields.contains_key("type");
            if is_schema {
                for word in ["title", "nullable"] {
                    if !fields.get(word).is_some_and(Value::is_object) {
                        fields.remove(word);
                    }
                }
                if fields.contains_key("type") {
                    fields.remove("default");
                    let known = ["int32", "int64", "double"];
                    let format = fields.get("format").and_then(Value::as_str);
                    if format.is_some_and(|format| !known.contains(&format)) {
                        fields.remove("format");
                    }
                }
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of a place: `causes[].actions[].scale`, `queries{}` for the values of a map.
fn at<'s>(schema: &'s mut Value, place: &str) -> &'s mut Value {
    let mut found = schema;
    for part in place.split('.') {
        let name = part.trim_end_matches("[]").trim_end_matches("{}");
        if !name.is_empty() {
            found = &mut found["properties"][name];
        }
        if part.ends_with("[]") {
            found = &mut found["items"];
        } else if part.ends_with("{}") {
            found = &mut found["additionalProperties"];
        }
    }
    found
}

fn demand(schema: &mut Value, rule: &str, message: &str) {
    let rule = json!({"rule": rule, "message": message});
    match schema["x-kubernetes-validations"].as_array_mut() {
        Some(rules) => rules.push(rule),
        None => schema["x-kubernetes-validations"] = json!([rule]),
    }
}

fn status() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let time = |description: &str| json!({"type": "string", "format": "date-time", "description": description});
    let count = |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    json!({
        "type": "object",
        "description": "What came of it. Written by Orderly.",
        "properties": {
            "observedGeneration": count("The generation that was looked at last."),
            "conditions": {
                "type": "array",
                "description": "Accepted, and its opposite Rejected.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
                    "properties": {
                        "type": text("Accepted or Rejected."),
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "reason": text("Valid, or what kind of mistake it is."),
                        "message": text("Every mistake with the field that it is in."),
                        "observedGeneration": count("The generation that it speaks of."),
                        "lastTransitionTime": time("Since when it has this status."),
                    },
                },
            },
            "inForce": {
                "type": "object",
                "description": "The version that alerts are held against: an older one while the newest is rejected.",
                "properties": {
                    "version": text("The beginning of its digest, as incidents show it."),
                    "mode": text("What it may do by itself."),
                    "since": time("Since when."),
                },
            },
            "matched": count("How many incidents it opened."),
            "lastMatch": time("When it opened the last one."),
            "lastOutcome": text("How the last incident that ended did."),
            "outcomes": {
                "type": "object",
                "description": "How many incidents ended in which way.",
                "additionalProperties": {"type": "integer", "format": "int64"},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_definitions_are_current() {
        let committed = include_str!("../../deploy/crds/orderly.dev.yaml");
        let hint = "run `orderly schema --crd > deploy/crds/orderly.dev.yaml`";
        assert_eq!(committed, definitions_text().expect("YAML"), "{hint}");
    }

    /// A bound or a rule at a place that is not there would be written nowhere and say nothing.
    #[test]
    fn bounds_and_rules_stand_at_places_that_are_there() {
        let mut spec = structural();
        let places = BOUNDS.iter().map(|it| it.0).chain(RULES.iter().map(|it| it.0));
        let mut places: Vec<_> = places.map(str::to_owned).collect();
        for actions in ACTIONS {
            places.extend(ACTION_RULES.iter().map(|it| format!("{actions}.{}", it.0)));
        }
        for place in places {
            let found = at(&mut spec, &place);
            assert!(found.get("type").is_some(), "{place}: {found}");
        }
    }

    /// What structural schemas forbid and the API server would refuse.
    #[test]
    fn the_schema_is_structural() {
        fn walk(schema: &Value, place: &str) {
            if let Some(fields) = schema.as_object() {
                for word in ["$ref", "$defs", "anyOf", "default", "nullable"] {
                    let is_field = place.ends_with("properties");
                    assert!(is_field || !fields.contains_key(word), "{word} at {place}");
                }
                for (name, field) in fields {
                    walk(field, &format!("{place}.{name}"));
                }
            }
        }
        for definition in definitions() {
            let version = &definition["spec"]["versions"][0];
            walk(&version["schema"]["openAPIV3Schema"], "");
        }
    }
}
