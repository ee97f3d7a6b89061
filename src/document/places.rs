//! Where everything in a document stands, so that a problem can be shown where it is.

use std::collections::HashMap;
use std::ops::Range;

use super::diagnostic::{Diagnostic, SourceFile};
use super::yaml::{Node, Yaml, offset_in_raw};
use crate::domain::policy::problem::{FieldPath, Problem};

/// Where the fields of one document stand in its file.
#[derive(Clone, Debug)]
pub struct Places {
    /// The file.
    pub file: SourceFile,
    fields: HashMap<FieldPath, Field>,
    document: Range<usize>,
}

#[derive(Clone, Debug)]
struct Field {
    key: Option<Range<usize>>,
    value: Range<usize>,
    /// The text, when it is one: parts of it can be pointed at.
    text: Option<String>,
    /// Keys that were given again, in order.
    again: Vec<Range<usize>>,
}

impl Places {
    /// The places of everything in one document.
    pub fn of(file: &SourceFile, node: &Node) -> Self {
        let (fields, document) = (HashMap::new(), node.span.clone());
        let mut places = Self { file: file.clone(), fields, document };
        places.add(node, &FieldPath::default(), None);
        places
    }

    fn add(&mut self, node: &Node, path: &FieldPath, key: Option<Range<usize>>) {
        if let Some(known) = self.fields.get_mut(path) {
            known.again.extend(key);
            return;
        }
        let text = node.text().map(str::to_owned);
        let value = first_line(node);
        self.fields.insert(path.clone(), Field { key, value, text, again: Vec::new() });
        match &node.yaml {
            Yaml::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(item, &path.index(index), None);
                }
            }
            Yaml::Map(entries) => {
                for (key, value) in entries {
                    self.add(value, &path.key(&key.name), Some(key.span.clone()));
                }
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::Text(_) => {}
        }
    }

    /// The bytes of a field's value; of the nearest thing around it when it is not there.
    pub fn value(&self, path: &FieldPath) -> Range<usize> {
        match (self.fields.get(path), path.parent()) {
            (Some(field), _) if !field.value.is_empty() => field.value.clone(),
            (Some(Field { key: Some(key), .. }), _) => key.clone(),
            (_, Some(parent)) => self.value(&parent),
            (_, None) => self.document.clone(),
        }
    }

    /// The bytes of a field's name.
    pub fn key(&self, path: &FieldPath) -> Range<usize> {
        match self.fields.get(path) {
            Some(Field { key: Some(key), .. }) => key.clone(),
            _ => self.value(path),
        }
    }

    /// The deepest key on the way to `path` that was written; nothing when not even the first was.
    pub fn nearest(&self, path: &FieldPath) -> Option<(&SourceFile, Range<usize>)> {
        let parent = path.parent()?;
        match self.fields.get(path) {
            Some(Field { key: Some(place), .. } | Field { key: None, value: place, .. }) => {
                Some((&self.file, place.clone()))
            }
            None => self.nearest(&parent),
        }
    }

    /// The bytes that a problem is about.
    pub fn span(&self, problem: &Problem) -> Range<usize> {
        let field = self.fields.get(&problem.path);
        if problem.code == "duplicate-key"
            && let Some(again) = field.and_then(|field| field.again.first())
        {
            return again.clone();
        }
        if problem.at_key {
            return self.key(&problem.path);
        }
        if let (Some((offset, length)), Some(Field { value, text: Some(text), .. })) =
            (problem.within, field)
        {
            let raw = &self.file.text[value.clone()];
            let start = value.start + offset_in_raw(raw, text, offset);
            let part = text.get(offset..offset + length).unwrap_or("");
            // A part that is written in another way (escapes, several lines) is shown by its
            // beginning.
            let same = self.file.text[start..].starts_with(part);
            let end = if same { start + length } else { start + 1 };
            return start..end.min(value.end).max(start);
        }
        self.value(&problem.path)
    }

    /// The problem with its place.
    pub fn diagnostic(&self, problem: &Problem, policy: Option<&str>) -> Diagnostic {
        let span = self.span(problem);
        let mut diagnostic = Diagnostic::at(
            &self.file,
            span,
            problem.severity,
            problem.code,
            problem.message.clone(),
        );
        if problem.code == "duplicate-key"
            && let Some(Field { key: Some(key), .. }) = self.fields.get(&problem.path)
        {
            diagnostic = diagnostic.related(&self.file, key.clone(), "given here first");
        }
        diagnostic.help.clone_from(&problem.help);
        diagnostic.policy = policy.map(str::to_owned);
        diagnostic.field = problem.path.to_string();
        let text = self.fields.get(&problem.path).and_then(|field| field.text.as_deref());
        let before = problem.within.and_then(|(offset, _)| text?.get(..offset));
        diagnostic.character = before.map(|before| before.chars().count() + 1);
        diagnostic
    }
}

/// A mapping in a list has neither a name nor a text to underline: its first key stands for it. One
/// with a name is shown by that.
fn first_line(node: &Node) -> Range<usize> {
    match &node.yaml {
        Yaml::Map(entries) if node.span.len() <= 1 => {
            entries.first().map_or(node.span.clone(), |(key, _)| key.span.clone())
        }
        _ => node.span.clone(),
    }
}
