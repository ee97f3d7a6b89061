//! Templates over an alert's labels and annotations: `{{ labels.agent_id }}-deployment`.
//!
//! The language is the smallest that does the work: a placeholder names one label or annotation and
//! may pass it through filters. There are no blocks, no arithmetic and no functions, so rendering
//! cannot run away; and what a label says is only ever text, never a template.
//!
//! In PromQL, a placeholder may only stand inside a quoted string, where its value is escaped so
//! that it cannot end the string; after `=~` and `!~` it is quoted as a regular expression too.

use std::collections::BTreeSet;
use std::fmt;

use super::name::{KubernetesName, label_value};
use super::promql::{Promql, Quoting, escape};
use crate::domain::alert::{Alert, Labels};

/// Longest template: longer than any Kubernetes name, long enough for a query with ten lines.
pub const MAX_SOURCE: usize = 4 * 1024;
/// Longest rendered text; a label may be long, a query is not.
const MAX_RENDERED: usize = 16 * 1024;
/// A text with placeholders, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value { place: Place, name: String, filters: Vec<Filter>, quoting: Quoting },
}

/// Where a placeholder's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The alert's labels.
    Labels,
    /// The alert's annotations.
    Annotations,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Labels => "label",
            Self::Annotations => "annotation",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Lower,
    Default(String),
    TrimPrefix(String),
    TrimSuffix(String),
}

/// Why a template cannot be used or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template itself is wrong.
    #[error("{message}")]
    Syntax {
        /// What is wrong and what to write.
        message: String,
        /// The byte in the template where it is.
        offset: usize,
        /// How many bytes are wrong.
        length: usize,
    },
    /// The alert does not carry what the template needs.
    #[error("the alert has no {place} `{name}`, which `{template}` needs")]
    Missing {
        /// Label or annotation.
        place: Place,
        /// Its name.
        name: String,
        /// The template.
        template: String,
    },
    /// The result is no name of a Kubernetes object.
    #[error("`{template}` gives `{rendered}`, which is not a Kubernetes name: {reason}")]
    NotAName {
        /// The template.
        template: String,
        /// What came out, shortened.
        rendered: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The result is no value of a label.
    #[error(
        "`{template}` gives `{rendered}`, which is not the value of a Kubernetes label: {reason}"
    )]
    NotALabelValue {
        /// The template.
        template: String,
        /// What came out, shortened.
        rendered: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The result is too long.
    #[error("`{template}` gives more than {MAX_RENDERED} bytes")]
    TooLong {
        /// The template.
        template: String,
    },
}

impl Template {
    /// Checks a template whose result is a name or a label's value.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Self::parse_with(source, |_, _| Ok(Quoting::Nothing))
    }

    /// Checks a template for PromQL: placeholders only inside quotes.
    pub fn parse_promql(source: &str) -> Result<Self, TemplateError> {
        let mut state = Promql::default();
        Self::parse_with(source, |text, offset| {
            state.read(text);
            state.quoting().ok_or_else(|| {
                let message = "in PromQL a placeholder must stand inside \"double\" or 'single' \
                               quotes"
                    .to_owned();
                TemplateError::Syntax { message, offset, length: 2 }
            })
        })
    }

    fn parse_with(
        source: &str,
        mut quoting: impl FnMut(&str, usize) -> Result<Quoting, TemplateError>,
    ) -> Result<Self, TemplateError> {
        let syntax = |message: &str, offset: usize, length: usize| TemplateError::Syntax {
            message: message.to_owned(),
            offset,
            length,
        };
        if source.len() > MAX_SOURCE {
            let message = format!("the template is longer than {MAX_SOURCE} bytes");
            return Err(TemplateError::Syntax { message, offset: 0, length: source.len() });
        }
        for marker in ["{%", "{#"] {
            if let Some(at) = source.find(marker) {
                return Err(syntax("only `{{ labels.NAME }}` placeholders are understood", at, 2));
            }
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(found) = source[at..].find("{{") {
            let (text, open) = (&source[at..at + found], at + found);
            let quoting = quoting(text, open)?;
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            let inner = open + 2;
            let mut words = Words { source, at: inner };
            pieces.push(words.placeholder(open, quoting)?);
            at = words.at;
        }
        let _after = quoting(&source[at..], at);
        if at < source.len() {
            pieces.push(Piece::Text(source[at..].to_owned()));
        }
        Ok(Self { source: source.to_owned(), pieces })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// True when there is no placeholder in it.
    pub fn is_constant(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// The labels that an alert must have for this to be rendered.
    pub fn required_labels(&self) -> BTreeSet<&str> {
        let required = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value { place: Place::Labels, name, filters, .. }
                if !filters.iter().any(|filter| matches!(filter, Filter::Default(_))) =>
            {
                Some(name.as_str())
            }
            Piece::Value { .. } | Piece::Text(_) => None,
        });
        required.collect()
    }

    /// The text for `alert`.
    pub fn render(&self, alert: &Alert) -> Result<String, TemplateError> {
        self.render_with(&alert.labels, &alert.annotations)
    }

    /// The text for these labels and annotations.
    pub fn render_with(
        &self,
        labels: &Labels,
        annotations: &Labels,
    ) -> Result<String, TemplateError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Value { place, name, filters, quoting } => {
                    let all = match place {
                        Place::Labels => labels,
                        Place::Annotations => annotations,
                    };
                    // An empty label is a missing one, as everywhere in Prometheus.
                    let given = all.get(name).map(String::as_str).filter(|value| !value.is_empty());
                    let value = filtered(given, filters).ok_or_else(|| TemplateError::Missing {
                        place: *place,
                        name: name.clone(),
                        template: self.source.clone(),
                    })?;
                    if value.len() > MAX_RENDERED {
                        return Err(TemplateError::TooLong { template: self.source.clone() });
                    }
                    escape(&value, *quoting, &mut text);
                }
            }
            if text.len() > MAX_RENDERED {
                return Err(TemplateError::TooLong { template: self.source.clone() });
            }
        }
        Ok(text)
    }

    /// The name of an object.
    pub fn render_name(&self, alert: &Alert) -> Result<KubernetesName, TemplateError> {
        let rendered = self.render(alert)?;
        KubernetesName::object(&rendered).map_err(|reason| self.not_a_name(&rendered, reason))
    }

    /// The name of a namespace.
    pub fn render_namespace(&self, alert: &Alert) -> Result<KubernetesName, TemplateError> {
        let rendered = self.render(alert)?;
        KubernetesName::namespace(&rendered).map_err(|reason| self.not_a_name(&rendered, reason))
    }

    /// The value of a label, for a selector.
    pub fn render_label_value(&self, alert: &Alert) -> Result<String, TemplateError> {
        let rendered = self.render(alert)?;
        label_value(&rendered).map_err(|reason| TemplateError::NotALabelValue {
            template: self.source.clone(),
            rendered: shortened(&rendered),
            reason,
        })?;
        Ok(rendered)
    }

    fn not_a_name(&self, rendered: &str, reason: &'static str) -> TemplateError {
        let template = self.source.clone();
        TemplateError::NotAName { template, rendered: shortened(rendered), reason }
    }
}

/// Renders the PromQL template `source` for `alert`; values cannot leave their quotes.
pub fn render_promql(source: &str, alert: &Alert) -> Result<String, TemplateError> {
    Template::parse_promql(source)?.render(alert)
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn filtered(given: Option<&str>, filters: &[Filter]) -> Option<String> {
    let mut value = given.map(str::to_owned);
    for filter in filters {
        value = match (filter, value) {
            (Filter::Default(text), None) => Some(text.clone()),
            (Filter::Default(_), some) => some,
            (Filter::Lower, some) => some.map(|text| text.to_lowercase()),
            (Filter::TrimPrefix(prefix), some) => some
                .map(|text| text.strip_prefix(prefix.as_str()).map(str::to_owned).unwrap_or(text)),
            (Filter::TrimSuffix(suffix), some) => some
                .map(|text| text.strip_suffix(suffix.as_str()).map(str::to_owned).unwrap_or(text)),
        };
    }
    value
}

/// Reads one placeholder.
struct Words<'s> {
    source: &'s str,
    at: usize,
}

impl Words<'_> {
    fn placeholder(&mut self, open: usize, quoting: Quoting) -> Result<Piece, TemplateError> {
        let start = self.skip_space();
        let place = match self.identifier() {
            "labels" => Place::Labels,
            "annotations" => Place::Annotations,
            _ => {
                let message = "write `{{ labels.NAME }}` or `{{ annotations.NAME }}`";
                return Err(self.error(message, start));
            }
        };
        let name = if self.skip_if('.') {
            let at = self.at;
            let name = self.identifier().to_owned();
            if name.is_empty() {
                return Err(self.error("a name is missing after the `.`", at));
            }
            name
        } else if self.skip_if('[') {
            let name = self.text()?;
            if !self.skip_if(']') {
                return Err(self.error("the closing `]` is missing", self.at));
            }
            name
        } else {
            let message = "say which one: `labels.NAME` or `labels[\"any name\"]`";
            return Err(self.error(message, start));
        };
        let mut filters = Vec::new();
        loop {
            self.skip_space();
            if self.source[self.at..].starts_with("}}") {
                self.at += 2;
                return Ok(Piece::Value { place, name, filters, quoting });
            }
            if self.at == self.source.len() {
                return Err(self.error("the closing `}}` is missing", open));
            }
            if !self.skip_if('|') {
                return Err(self.error("only `|` and a filter, or `}}`, may follow here", self.at));
            }
            filters.push(self.filter()?);
        }
    }

    fn filter(&mut self) -> Result<Filter, TemplateError> {
        let start = self.skip_space();
        match self.identifier() {
            "lower" => Ok(Filter::Lower),
            "default" => Ok(Filter::Default(self.argument()?)),
            "trimPrefix" => Ok(Filter::TrimPrefix(self.argument()?)),
            "trimSuffix" => Ok(Filter::TrimSuffix(self.argument()?)),
            _ => {
                let message = "the filters are `lower`, `default(\"…\")`, `trimPrefix(\"…\")` and \
                               `trimSuffix(\"…\")`";
                Err(self.error(message, start))
            }
        }
    }

    fn argument(&mut self) -> Result<String, TemplateError> {
        if !self.skip_if('(') {
            return Err(self.error("a text in parentheses is missing", self.at));
        }
        let text = self.text()?;
        if !self.skip_if(')') {
            return Err(self.error("the closing `)` is missing", self.at));
        }
        Ok(text)
    }

    /// A quoted text; there are no escapes, because no name needs one.
    fn text(&mut self) -> Result<String, TemplateError> {
        let start = self.skip_space();
        let quote = self.source[start..].chars().next().filter(|c| matches!(c, '"' | '\''));
        let Some(quote) = quote else {
            return Err(self.error("a quoted text is missing", start));
        };
        let Some(length) = self.source[start + 1..].find(quote) else {
            return Err(self.error("the closing quote is missing", start));
        };
        self.at = start + length + 2;
        let text = self.source[start + 1..start + 1 + length].to_owned();
        self.skip_space();
        Ok(text)
    }

    fn identifier(&mut self) -> &str {
        let rest = &self.source[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_space(&mut self) -> usize {
        let rest = &self.source[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    fn skip_if(&mut self, wanted: char) -> bool {
        let found = self.source[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn error(&self, message: &str, offset: usize) -> TemplateError {
        let end = self.at.max(offset + 1).min(self.source.len());
        let length = end.saturating_sub(offset);
        TemplateError::Syntax { message: message.to_owned(), offset, length }
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
