//! YAML with the place of every key and every value.
//!
//! Duplicate keys are kept and reported by the caller with both places; `yes` and `no` are texts,
//! as in YAML 1.2, so that a name never becomes a truth value unseen.

use std::fmt;
use std::ops::Range;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, MessageFormatter as _, Spanned};

/// Largest file: what a ConfigMap can hold.
pub const MAX_FILE: usize = 1024 * 1024;

/// Something in a file and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub yaml: Yaml,
    /// The bytes of the file.
    pub span: Range<usize>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order in which it is written; keys may repeat.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// The bytes of the file.
    pub span: Range<usize>,
}

/// Why a file is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// What is wrong.
    pub message: String,
    /// The byte where it was noticed.
    pub offset: usize,
}

impl Node {
    /// The value of a key; of the last one when it is there twice.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.yaml {
            Yaml::Map(entries) => {
                entries.iter().rev().find(|(key, _)| key.name == name).map(|(_, node)| node)
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::Text(_) | Yaml::List(_) => None,
        }
    }

    /// The text, when it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.yaml {
            Yaml::Text(text) => Some(text),
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::List(_) | Yaml::Map(_) => None,
        }
    }

    /// As JSON, without the places.
    pub fn to_json(&self) -> Value {
        match &self.yaml {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Number(value) => Value::Number(value.clone()),
            Yaml::Text(value) => Value::String(value.clone()),
            Yaml::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Yaml::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.name.clone(), node.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// What it is, for people.
    pub const fn describe(&self) -> &'static str {
        match &self.yaml {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "true or false",
            Yaml::Number(_) => "a number",
            Yaml::Text(_) => "a text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }
}

/// Reads all documents of a file; empty ones are left out.
///
/// # Errors
/// What is wrong with the file as YAML, and where.
pub fn parse(source: &str) -> Result<Vec<Node>, YamlError> {
    if source.len() > MAX_FILE {
        let message = format!("the file is larger than {MAX_FILE} bytes");
        return Err(YamlError { message, offset: 0 });
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    let documents: Vec<Spanned<Raw>> = serde_saphyr::from_multiple_with_options(source, options)
        .map_err(|error| syntax(source, &error))?;
    Ok(documents.into_iter().map(node).collect())
}

fn syntax(source: &str, error: &serde_saphyr::Error) -> YamlError {
    let offset = error.location().map_or(0, |location| {
        let offset = location.span().byte_offset().and_then(|offset| usize::try_from(offset).ok());
        offset.unwrap_or_else(|| by_line(source, location.line(), location.column()))
    });
    let text = serde_saphyr::UserMessageFormatter.format_message(error.without_snippet());
    YamlError { message: format!("not YAML: {text}"), offset: offset.min(source.len()) }
}

/// The byte at a line and a column, both from 1.
pub fn by_line(source: &str, line: u64, column: u64) -> usize {
    let before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = source.split_inclusive('\n').take(before).map(str::len).sum();
    let column = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    let rest = source.get(start..).unwrap_or("");
    start + rest.chars().take(column).map(char::len_utf8).sum::<usize>()
}

fn span(location: Location) -> Range<usize> {
    let start = location.span().byte_offset().and_then(|start| usize::try_from(start).ok());
    let start = start.unwrap_or(0);
    let length = location.span().byte_len().and_then(|length| usize::try_from(length).ok());
    start..start + length.unwrap_or(0)
}

fn node(raw: Spanned<Raw>) -> Node {
    let span = span(raw.referenced);
    let yaml = match raw.value {
        Raw::Null => Yaml::Null,
        Raw::Bool(value) => Yaml::Bool(value),
        Raw::Number(value) => Yaml::Number(value),
        Raw::Text(value) => Yaml::Text(value),
        Raw::List(items) => Yaml::List(items.into_iter().map(node).collect()),
        Raw::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                (Key { span: self::span(key.referenced), name: key.value }, node(value))
            });
            Yaml::Map(entries.collect())
        }
    };
    Node { yaml, span }
}

/// As the library hands it over.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        // What is not finite is no number of any field: it stays the text that it is.
        Ok(Number::from_f64(value).map_or_else(|| Raw::Text(value.to_string()), Raw::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

/// Where in the file a part of a text stands: `value[offset..]` of the text whose written form is
/// `raw`. Quotes, escapes, folding and the indentation of blocks are stepped over.
pub fn offset_in_raw(raw: &str, value: &str, offset: usize) -> usize {
    let quote = raw.chars().next().filter(|c| matches!(c, '"' | '\''));
    let mut rest = raw;
    if raw.starts_with(['|', '>']) {
        rest = raw.split_once('\n').map_or("", |(_, rest)| rest);
    } else if quote.is_some() {
        rest = &raw[1..];
    }
    let wanted = value.get(..offset).unwrap_or(value);
    let mut characters = wanted.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_whitespace() {
            // Folding joins lines and drops indentation: any run of spaces stands for any other.
            while characters.next_if(|next| next.is_whitespace()).is_some() {}
            let written = rest.trim_start();
            rest = match (written.len() < rest.len(), quote) {
                (true, _) => written,
                (false, Some('"')) => written.strip_prefix("\\n").unwrap_or(written).trim_start(),
                (false, _) => written,
            };
            continue;
        }
        rest = rest.trim_start_matches(['\n', '\r']);
        if quote.is_none() || !rest.starts_with(character) {
            rest = if rest.starts_with(character) { rest } else { rest.trim_start() };
        }
        let skipped = match quote {
            Some('"') if rest.starts_with('\\') => 1,
            Some('\'') if rest.starts_with("''") => 1,
            _ => 0,
        };
        rest = rest.get(skipped..).unwrap_or("");
        match rest.strip_prefix(character) {
            Some(after) => rest = after,
            None => return 0,
        }
    }
    // The part itself begins after the indentation of its line.
    let begins_with_space = value.get(offset..).is_some_and(|rest| rest.starts_with(' '));
    if !begins_with_space {
        rest = rest.trim_start();
    }
    raw.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(source: &str) -> Node {
        parse(source).expect("YAML").remove(0)
    }

    #[test]
    fn every_key_and_value_has_its_place() {
        let source = "a: é\nb:\n  - {c: 1.5, d: yes}\n  - \"x\"\na: ~\n";
        let Yaml::Map(entries) = only(source).yaml else { panic!("a mapping") };
        let keys: Vec<_> = entries.iter().map(|(key, _)| &source[key.span.clone()]).collect();
        assert_eq!(keys, ["a", "b", "a"]);
        assert_eq!(&source[entries[0].1.span.clone()], "é");
        let list = &entries[1].1;
        assert_eq!(list.to_json().to_string(), r#"[{"c":1.5,"d":"yes"},"x"]"#);
        let Yaml::List(items) = &list.yaml else { panic!("a list") };
        assert_eq!(&source[items[1].span.clone()], "\"x\"");
        let d = items[0].get("d").expect("d");
        assert_eq!(&source[d.span.clone()], "yes");
    }

    #[test]
    fn several_documents_and_none() {
        assert_eq!(parse("a: 1\n---\n---\nb: 2\n").expect("YAML").len(), 2);
        assert!(parse("# nothing\n").expect("YAML").is_empty());
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        for (source, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a:\n\t- b\n", 2),
            ("a: \"b\n", 2),
            ("a: *b\n", 1),
            ("a: b: c\n", 1),
        ] {
            let error = parse(source).expect_err(source);
            let found = source[..error.offset].matches('\n').count() + 1;
            assert!(found <= line, "{source}: {error:?}");
            assert!(error.message.starts_with("not YAML: "), "{error}");
            assert!(!error.message.contains(" line "), "{error}");
        }
        assert!(parse(&"a".repeat(MAX_FILE + 1)).is_err());
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let items = vec![format!("*a{before}"); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(parse(&bomb).is_err());
    }

    #[test]
    fn a_part_of_a_text_is_found_however_it_is_written() {
        let cases = [
            ("pods.exists(p, q)", "q)"),
            ("'pods.exists(p, q)'", "q)"),
            ("'a == ''b'' && q)'", "q)"),
            ("\"a == \\\"b\\\" && q)\"", "q)"),
            ("|\n    a &&\n      q)\n", "q)"),
            (">-\n    a &&\n    q)\n", "q)"),
            ("a &&\n    q)", "q)"),
            ("\"a &&\n    q)\"", "q)"),
        ];
        for (raw, part) in cases {
            let value = only(&format!("k: {raw}\n"));
            let value = value.get("k").and_then(Node::text).expect("a text").to_owned();
            let offset = value.find(part).expect("the part");
            let found = offset_in_raw(raw, &value, offset);
            assert!(raw[found..].starts_with(part), "{raw}: {found}");
        }
    }
}
