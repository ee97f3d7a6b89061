//! What is wrong with a policy, and in which field. Where that field stands in a file is known to
//! the room that read the file.

use std::fmt;

use serde::Serialize;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A field or a name.
    Key(String),
    /// A position in a list, from 0.
    Index(usize),
}

/// The way to a field: `spec.causes[1].when`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(pub Vec<Part>);

impl FieldPath {
    /// The way to a field of this document: `FieldPath::of("spec.target")`.
    pub fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|key| Part::Key(key.to_owned())).collect())
    }

    /// The way to a field of the object at this path.
    pub fn key(&self, key: &str) -> Self {
        self.with(Part::Key(key.to_owned()))
    }

    /// The way to an element of the list at this path.
    pub fn index(&self, index: usize) -> Self {
        self.with(Part::Index(index))
    }

    /// The object or list that this is in.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    fn with(&self, part: Part) -> Self {
        let mut parts = self.0.clone();
        parts.push(part);
        Self(parts)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            match part {
                Part::Key(key) if position == 0 => f.write_str(key)?,
                Part::Key(key) => write!(f, ".{key}")?,
                Part::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is not used.
    Error,
    /// The policy is used; somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that stays: `unknown-field`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// In which field.
    pub path: FieldPath,
    /// The field's name is wrong and not its value.
    pub at_key: bool,
    /// Which bytes of the field's text, when it is only a part of it: where, and how many.
    pub within: Option<(usize, usize)>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// Something that keeps the policy from being used.
    pub fn error(code: &'static str, path: FieldPath, message: impl Into<String>) -> Self {
        let message = message.into();
        let severity = Severity::Error;
        Self { severity, code, message, path, at_key: false, within: None, help: None }
    }

    /// Something that somebody should look at.
    pub fn warning(code: &'static str, path: FieldPath, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, path, message) }
    }

    /// With a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a way out, when one is known.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// About these bytes of the field's text.
    #[must_use]
    pub fn within(mut self, offset: usize, length: usize) -> Self {
        self.within = Some((offset, length));
        self
    }

    /// About the field's name.
    #[must_use]
    pub fn at_key(mut self) -> Self {
        self.at_key = true;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}
