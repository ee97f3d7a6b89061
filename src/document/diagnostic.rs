//! A problem with its place in a file, as people and programs read it.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::domain::policy::problem::Severity;

/// Longest line that is drawn; beyond it the text is a generated one and the place is enough.
const MAX_LINE: usize = 400;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, as it was found.
    pub path: Arc<Path>,
    /// Its text.
    pub text: Arc<str>,
    /// Whether somebody wrote these lines: what was made from an object has fields, but no lines that
    /// anyone could look up.
    pub written: bool,
}

impl SourceFile {
    /// A file that somebody wrote.
    pub fn new(path: impl Into<Arc<Path>>, text: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), text: text.into(), written: true }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that stays: `unknown-field`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The policy, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The field: `spec.causes[1].when`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Where in the field's text, in characters, from 1; absent when the whole field is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub character: Option<usize>,
    /// The file.
    pub file: String,
    /// From 1; absent when the whole file is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The bytes of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Range<usize>>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    #[serde(skip)]
    source: Option<Arc<str>>,
}

/// Another place that belongs to a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    /// What is there.
    pub label: String,
    /// The file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The bytes of the file.
    pub span: Range<usize>,
    #[serde(skip)]
    source: Arc<str>,
}

impl Diagnostic {
    /// A problem with these bytes of a file.
    pub fn at(
        file: &SourceFile,
        span: Range<usize>,
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let span = clamp(&file.text, span);
        let (line, column) = line_and_column(&file.text, span.start);
        let written = file.written;
        Self {
            severity,
            code,
            message: message.into(),
            help: None,
            policy: None,
            field: String::new(),
            character: None,
            file: file.path.display().to_string(),
            line: written.then_some(line),
            column: written.then_some(column),
            span: written.then_some(span),
            related: Vec::new(),
            source: written.then(|| Arc::clone(&file.text)),
        }
    }

    /// A problem with a file as a whole, such as one that cannot be read.
    pub fn of_file(path: &Path, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            help: None,
            policy: None,
            field: String::new(),
            character: None,
            file: path.display().to_string(),
            line: None,
            column: None,
            span: None,
            related: Vec::new(),
            source: None,
        }
    }

    /// With another place.
    #[must_use]
    pub fn related(mut self, file: &SourceFile, span: Range<usize>, label: &str) -> Self {
        let span = clamp(&file.text, span);
        let (line, column) = line_and_column(&file.text, span.start);
        let (label, source) = (label.to_owned(), Arc::clone(&file.text));
        let file = file.path.display().to_string();
        self.related.push(Related { label, file, line, column, span, source });
        self
    }

    /// With the offending text underlined, as the Rust compiler does.
    pub fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let mut group = match (&self.source, &self.span) {
            (Some(source), Some(span)) => {
                let primary = snippet(source, &self.file, span, AnnotationKind::Primary, "");
                let mut group = Group::with_title(title);
                let mut primary = Some(primary);
                for related in &self.related {
                    let span = &related.span;
                    let same = related.file == self.file;
                    match primary.take() {
                        Some(snippet) if same => {
                            let context = AnnotationKind::Context.span(span.clone());
                            primary = Some(snippet.annotation(context.label(&*related.label)));
                        }
                        other => {
                            primary = other;
                            let kind = AnnotationKind::Context;
                            let (source, file, label) =
                                (&related.source, &related.file, &related.label);
                            let other = snippet(source, file, span, kind, label);
                            group = group.elements(primary.take()).element(other);
                        }
                    }
                }
                group.elements(primary)
            }
            _ => Group::with_title(title)
                .element(annotate_snippets::Origin::path(self.file.as_str())),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// The field instead of the file: `spec.causes[0].when, character 12: message`.
    pub fn by_field(&self) -> String {
        let mut text = self.field.clone();
        if let Some(character) = self.character {
            let _infallible = write!(text, ", character {character}");
        }
        self.after(text)
    }

    /// In one line, for logs: `policies/a.yaml:3:5: message`.
    pub fn one_line(&self) -> String {
        let mut text = self.file.clone();
        match (self.line, self.column) {
            (Some(line), Some(column)) => {
                let _infallible = write!(text, ":{line}:{column}");
                self.after(text)
            }
            _ if self.field.is_empty() => self.after(text),
            _ => format!("{text}: {}", self.by_field()),
        }
    }

    /// The message behind the place.
    fn after(&self, place: String) -> String {
        let mut text = place;
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&self.message);
        if let Some(help) = &self.help {
            let _infallible = write!(text, "; {help}");
        }
        text
    }
}

fn snippet<'s>(
    source: &'s str,
    file: &'s str,
    span: &Range<usize>,
    kind: AnnotationKind,
    label: &'s str,
) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
    // A span over several lines would be drawn in full: its first line says enough.
    let first = source[span.clone()].find('\n').map_or(span.end, |at| span.start + at);
    let end = first.min(span.start + MAX_LINE);
    let end = (end..=span.end).find(|at| source.is_char_boundary(*at)).unwrap_or(span.end);
    let annotation = kind.span(span.start..end);
    let annotation = if label.is_empty() { annotation } else { annotation.label(label) };
    Snippet::source(source).path(file).annotation(annotation)
}

fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let boundary = |at: usize| {
        let at = at.min(text.len());
        (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    };
    let start = boundary(span.start);
    start..boundary(span.end).max(start)
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

/// How many errors and warnings there are: `2 errors, 1 warning`.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let words = |count: usize, word: &str| {
        let ending = if count == 1 { "" } else { "s" };
        format!("{count} {word}{ending}")
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    format!("{}, {}", words(errors, "error"), words(warnings, "warning"))
}
