//! From YAML text to the configuration, with a place for everything that is wrong: the typed parse
//! gives the first misfit, and [`Places`] finds the line of a key for problems found later.

use std::fmt;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, MessageFormatter as _, Spanned};

use super::{Config, ConfigError, ConfigProblem};

/// A key farther away than this from every valid one is not a typing mistake.
const SIMILAR_ENOUGH: f64 = 0.7;

/// Parses the text of a configuration file; nothing in it means the defaults.
pub(super) fn parse(path: Option<&Path>, text: &str) -> Result<Config, ConfigError> {
    let parsed: Result<Option<Config>, Error> =
        serde_saphyr::from_str_with_options(text, options());
    parsed.map(Option::unwrap_or_default).map_err(|error| problem(path, &error).into())
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true, with_snippet: false }
}

fn problem(path: Option<&Path>, error: &Error) -> ConfigProblem {
    let error = error.without_snippet();
    let (message, help) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), suggestion(field, expected, "keys"))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown value `{variant}`"), suggestion(variant, expected, "values"))
        }
        Error::SerdeMissingField { field, .. } => (format!("the key `{field}` is missing"), None),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key `{key}` is given twice"), Some("keep one of the two".to_owned()))
        }
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            (format!("expected {expected}, found {unexpected}"), None)
        }
        Error::InvalidScalar { ty, .. } => {
            let what = match *ty {
                "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
                "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number, negative allowed",
                "f32" | "f64" => "a number",
                _other => "another kind of value",
            };
            (format!("expected {what}"), None)
        }
        Error::Unexpected { expected, .. } => {
            let what = match *expected {
                "mapping start" => "keys with values",
                "sequence start" => "a list",
                "string scalar" => "a text",
                other => other,
            };
            (format!("expected {what}"), None)
        }
        Error::InvalidBooleanStrict { .. } => ("expected `true` or `false`".to_owned(), None),
        other => (serde_saphyr::UserMessageFormatter.format_message(other).into_owned(), None),
    };
    let place = error.location().filter(|location| *location != Location::UNKNOWN);
    ConfigProblem {
        file: path.map(Path::to_owned),
        place: place.map(|location| (location.line(), location.column())),
        message,
        help,
    }
}

fn suggestion(written: &str, valid: &[&str], what: &str) -> Option<String> {
    let closest = valid
        .iter()
        .map(|name| (strsim::jaro_winkler(&written.to_lowercase(), &name.to_lowercase()), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match closest {
        Some((likeness, name)) if likeness >= SIMILAR_ENOUGH => {
            Some(format!("did you mean `{name}`?"))
        }
        Some(_) => Some(format!("valid {what} here are `{}`", valid.join("`, `"))),
        None => None,
    }
}

/// Where each key and each value stands.
#[derive(Debug, Default)]
pub(super) struct Places(Option<Spanned<Node>>);

#[derive(Debug)]
enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Places {
    /// Of a text that has been parsed before.
    pub(super) fn read(text: &str) -> Self {
        let root: Result<Option<Spanned<Node>>, _> =
            serde_saphyr::from_str_with_options(text, options());
        Self(root.ok().flatten())
    }

    /// The place of the deepest key on the way to `path` that was written; nothing when not even
    /// the first was.
    pub(super) fn nearest(&self, path: &[String]) -> Option<(u64, u64)> {
        let mut node = &self.0.as_ref()?.value;
        let mut place = None;
        for step in path {
            let found = match node {
                Node::Map(entries) => entries
                    .iter()
                    .find(|(key, _)| key.value == *step)
                    .map(|(key, value)| (key.referenced, &value.value)),
                Node::List(items) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (item.referenced, &item.value)),
                Node::Scalar => None,
            };
            let Some((at, next)) = found else { break };
            place = Some((at.line(), at.column()));
            node = next;
        }
        place
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
