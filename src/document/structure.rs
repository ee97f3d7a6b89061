//! Holds a document against the JSON Schema of its type, so that every unknown field, missing
//! field and wrong value is found at once and with its place. Deserialising would stop at the
//! first and not say where.
//!
//! Understands what the schema generator writes for the types of this project, no more.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::yaml::{Node, Yaml};
use crate::domain::nearest::nearest;
use crate::domain::period::Period;
use crate::domain::policy::problem::{FieldPath, Problem};
use crate::domain::quantity::Quantity;

/// Deepest that a schema refers to itself; the types do not recurse.
const MAX_DEPTH: usize = 32;

/// A text with a form of its own, which the schema only names.
#[derive(Debug)]
pub struct TextKind {
    /// The name of its type in the schema.
    pub name: &'static str,
    /// The code of a problem with one.
    pub code: &'static str,
    /// What is wrong with a text, if anything.
    pub wrong: fn(&str) -> Option<String>,
}

/// Those that every kind of document uses.
const TEXTS: &[TextKind] = &[
    TextKind { name: "Period", code: "duration", wrong: wrong::<Period> },
    TextKind {
        name: "Quantity",
        code: "quantity",
        wrong: |text| text.parse::<Quantity>().err().map(|error| error.to_string()),
    },
];

/// For types that say themselves what is wrong.
pub fn wrong<T: TryFrom<String, Error: Display>>(text: &str) -> Option<String> {
    T::try_from(text.to_owned()).err().map(|error| error.to_string())
}

/// Everything in which `node` differs from `schema`; `texts` are the document's own, besides lengths
/// of time and quantities.
pub fn problems(schema: &Value, texts: &'static [TextKind], node: &Node) -> Vec<Problem> {
    let definitions = schema.get("$defs").and_then(Value::as_object);
    let empty = Map::new();
    let mut check =
        Check { definitions: definitions.unwrap_or(&empty), texts, problems: Vec::new(), depth: 0 };
    check.value(schema, node, &FieldPath::default());
    check.problems
}

struct Check<'s> {
    definitions: &'s Map<String, Value>,
    texts: &'static [TextKind],
    problems: Vec<Problem>,
    depth: usize,
}

impl<'s> Check<'s> {
    fn error(&mut self, code: &'static str, path: &FieldPath, message: String) {
        self.problems.push(Problem::error(code, path.clone(), message));
    }

    fn value(&mut self, schema: &'s Value, node: &Node, path: &FieldPath) {
        if self.depth >= MAX_DEPTH {
            return;
        }
        self.depth += 1;
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            self.reference(reference, node, path);
        } else if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
            // The generator writes this for a value that may be left out: itself, or `null`.
            if node.yaml != Yaml::Null
                && let Some(choice) = choices.iter().find(|choice| !is_null(choice))
            {
                self.value(choice, node, path);
            }
        } else if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            self.one_of(choices, node, path);
        } else if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            self.word(&values.iter().filter_map(Value::as_str).collect::<Vec<_>>(), node, path);
        } else {
            self.plain(schema, node, path);
        }
        self.depth -= 1;
    }

    fn reference(&mut self, reference: &str, node: &Node, path: &FieldPath) {
        let name = reference.trim_start_matches("#/$defs/");
        let written = match &node.yaml {
            Yaml::Text(text) => Some(text.clone()),
            Yaml::Number(number) => Some(number.to_string()),
            Yaml::Null | Yaml::Bool(_) | Yaml::List(_) | Yaml::Map(_) => None,
        };
        let mut kinds = TEXTS.iter().chain(self.texts);
        match (kinds.find(|kind| kind.name == name), written) {
            (Some(kind), Some(text)) => {
                if let Some(message) = (kind.wrong)(&text) {
                    self.error(kind.code, path, message);
                }
            }
            _ => {
                let definitions = self.definitions;
                if let Some(schema) = definitions.get(name) {
                    self.value(schema, node, path);
                }
            }
        }
    }

    /// Either a word out of several, or an object with one key that says which it is.
    fn one_of(&mut self, choices: &'s [Value], node: &Node, path: &FieldPath) {
        let words: Vec<_> = choices
            .iter()
            .filter_map(|choice| choice.get("const").or_else(|| choice.get("enum")?.get(0)))
            .filter_map(Value::as_str)
            .collect();
        if !words.is_empty() {
            return self.word(&words, node, path);
        }
        let variants: Vec<(&str, &Value)> = choices
            .iter()
            .filter_map(|choice| choice.get("properties")?.as_object()?.iter().next())
            .map(|(name, schema)| (name.as_str(), schema))
            .collect();
        let names: Vec<_> = variants.iter().map(|(name, _)| *name).collect();
        let all = format!("one of {}", quoted(&names));
        let Yaml::Map(entries) = &node.yaml else {
            let message = format!("this is {}, not {all}", node.describe());
            let help = node.text().filter(|text| names.contains(text));
            let help = help.map(|text| format!("write `{text}: {{}}`"));
            let problem = Problem::error("type", path.clone(), message);
            return self.problems.push(problem.maybe_help(help));
        };
        let [(key, value)] = entries.as_slice() else {
            let message = format!("exactly {all} must be here, and there are {}", entries.len());
            let help = "begin each with a `-` of its own";
            return self.problems.push(Problem::error("type", path.clone(), message).help(help));
        };
        let path = path.key(&key.name);
        match variants.iter().find(|(name, _)| *name == key.name) {
            // `- restart:` with nothing after it is a slip that everybody makes.
            Some(_) if value.yaml == Yaml::Null => {
                let message = format!("`{}` needs its parameters", key.name);
                let help = format!("write `{}: {{}}`", key.name);
                self.problems.push(Problem::error("type", path, message).at_key().help(help));
            }
            Some((_, schema)) => self.value(schema, value, &path),
            None => {
                let message = format!("there is no `{}`", key.name);
                let help = nearest(&key.name, names.iter().copied());
                let help = help.or_else(|| Some(format!("write {all}")));
                let problem = Problem::error("unknown-field", path, message).at_key();
                self.problems.push(problem.maybe_help(help));
            }
        }
    }

    fn word(&mut self, words: &[&str], node: &Node, path: &FieldPath) {
        let written = match &node.yaml {
            Yaml::Text(text) => text.clone(),
            // An unquoted `off` is a text here, but `true` is not.
            Yaml::Bool(value) => value.to_string(),
            Yaml::Number(number) => number.to_string(),
            Yaml::Null | Yaml::List(_) | Yaml::Map(_) => {
                let message = format!("this is {}, not one of {}", node.describe(), quoted(words));
                return self.error("type", path, message);
            }
        };
        if !words.contains(&written.as_str()) || !matches!(node.yaml, Yaml::Text(_)) {
            let message = format!("`{written}` is not one of {}", quoted(words));
            let help = nearest(&written, words.iter().copied());
            let problem = Problem::error("value", path.clone(), message);
            self.problems.push(problem.maybe_help(help));
        }
    }

    fn plain(&mut self, schema: &'s Value, node: &Node, path: &FieldPath) {
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        match &node.yaml {
            Yaml::Null if types.contains(&"null") => {}
            Yaml::Bool(_) if types.contains(&"boolean") => {}
            Yaml::Text(_) if types.contains(&"string") => {}
            Yaml::Number(number) if types.contains(&"integer") => {
                let whole = number.as_i64().or_else(|| {
                    let exact = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15)?;
                    Some(exact as i64)
                });
                match whole {
                    Some(_) if number.is_f64() => {
                        self.error("type", path, format!("write `{number}` without a fraction"));
                    }
                    Some(value) => self.range(schema, value, path),
                    None => self.error("type", path, format!("`{number}` is not a whole number")),
                }
            }
            Yaml::Number(_) if types.contains(&"number") => {}
            Yaml::List(items) if types.contains(&"array") => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.value(schema, item, &path.index(index));
                    }
                }
            }
            Yaml::Map(_) if types.contains(&"object") => self.object(schema, node, path),
            Yaml::Null
            | Yaml::Bool(_)
            | Yaml::Text(_)
            | Yaml::Number(_)
            | Yaml::List(_)
            | Yaml::Map(_) => self.wrong_type(&types, node, path),
        }
    }

    fn wrong_type(&mut self, types: &[&str], node: &Node, path: &FieldPath) {
        let wanted = match types.first() {
            Some(&"boolean") => "true or false",
            Some(&"string") => "a text",
            Some(&"integer") => "a whole number",
            Some(&"number") => "a number",
            Some(&"array") => "a list",
            Some(&"object") => "a mapping",
            _ => "something else",
        };
        let help = match (&node.yaml, types.first()) {
            (Yaml::Number(_) | Yaml::Bool(_), Some(&"string")) => Some("put it in quotes"),
            (Yaml::Text(_) | Yaml::Map(_), Some(&"array")) => Some("begin it with `-`"),
            (Yaml::Text(text), Some(&"boolean")) if matches!(text.as_str(), "yes" | "on") => {
                Some("write `true`")
            }
            (Yaml::Text(text), Some(&"boolean")) if matches!(text.as_str(), "no" | "off") => {
                Some("write `false`")
            }
            _ => None,
        };
        let message = format!("this is {}, not {wanted}", node.describe());
        let problem = Problem::error("type", path.clone(), message);
        self.problems.push(problem.maybe_help(help.map(str::to_owned)));
    }

    fn range(&mut self, schema: &Value, value: i64, path: &FieldPath) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
        let format = schema.get("format").and_then(Value::as_str);
        let (low, high) = match format {
            Some("uint32") => (0, i64::from(u32::MAX)),
            Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let (low, high) = (bound("minimum").unwrap_or(low), bound("maximum").unwrap_or(high));
        if !(low..=high).contains(&value) {
            let message = if value < low {
                format!("`{value}` is less than {low}")
            } else {
                format!("`{value}` is more than {high}")
            };
            self.error("range", path, message);
        }
    }

    fn object(&mut self, schema: &'s Value, node: &Node, path: &FieldPath) {
        let Yaml::Map(entries) = &node.yaml else { return };
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in entries {
            let path = path.key(&key.name);
            if seen.contains(&key.name.as_str()) {
                let message = format!("`{}` is given twice", key.name);
                self.problems.push(Problem::error("duplicate-key", path, message).at_key());
                continue;
            }
            seen.push(&key.name);
            match properties.and_then(|properties| properties.get(&key.name)) {
                Some(schema) => self.value(schema, value, &path),
                None => match schema.get("additionalProperties") {
                    Some(Value::Object(_)) => {
                        if let Some(schema) = schema.get("additionalProperties") {
                            self.value(schema, value, &path);
                        }
                    }
                    Some(Value::Bool(false)) => {
                        let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
                        let names: Vec<_> = names.collect();
                        let help = nearest(&key.name, names.iter().copied())
                            .or_else(|| Some(format!("the fields are {}", quoted(&names))));
                        let message = format!("there is no field `{}` here", key.name);
                        let problem = Problem::error("unknown-field", path, message).at_key();
                        self.problems.push(problem.maybe_help(help));
                    }
                    _ => {}
                },
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !seen.contains(name)) {
            let problem =
                Problem::error("missing-field", path.clone(), format!("`{name}` is missing"));
            self.problems.push(problem.at_key());
        }
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
