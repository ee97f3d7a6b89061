//! From the text of a file to policy documents, each with the place of every field.
//!
//! A file may hold several documents. What is wrong with one does not hide what is wrong with the
//! next; only a file that is no YAML at all has a single problem.

use std::sync::LazyLock;

use serde_json::Value;

use super::schema::policy_schema;
use crate::document::diagnostic::{Diagnostic, SourceFile};
use crate::document::places::Places;
use crate::document::structure;
use crate::document::yaml::{self, Node};
use crate::domain::policy::problem::{FieldPath, Part, Problem, Severity};
use crate::domain::policy::spec::PolicyDocument;

static SCHEMA: LazyLock<Value> = LazyLock::new(policy_schema);

/// One document of a file.
#[derive(Clone, Debug)]
pub struct ParsedPolicy {
    /// The policy, when its shape is right.
    pub document: Option<PolicyDocument>,
    /// Its name, as far as it is there; with its namespace, when it belongs to one.
    pub name: Option<String>,
    /// Where its fields stand.
    pub places: Places,
    /// What is wrong with its shape.
    pub problems: Vec<Problem>,
}

/// Reads every document of `file`.
///
/// # Errors
/// That the file is not YAML.
pub fn parse(file: &SourceFile) -> Result<Vec<ParsedPolicy>, Box<Diagnostic>> {
    let documents = yaml::parse(&file.text).map_err(|error| {
        let span = error.offset..error.offset + 1;
        Box::new(Diagnostic::at(file, span, Severity::Error, "yaml", error.message))
    })?;
    Ok(documents.iter().map(|node| read(file, node)).collect())
}

fn read(file: &SourceFile, node: &Node) -> ParsedPolicy {
    let places = Places::of(file, node);
    let mut problems = structure::problems(&SCHEMA, &[], node);
    let named = |field: &str| node.get("metadata")?.get(field)?.text();
    let name = named("name").map(|name| match named("namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    });
    let document = if problems.is_empty() {
        match serde_json::from_value(node.to_json()) {
            Ok(document) => Some(document),
            Err(error) => {
                problems.push(Problem::error("shape", FieldPath::default(), error.to_string()));
                None
            }
        }
    } else {
        None
    };
    ParsedPolicy { document, name, places, problems }
}

/// The name of the policy that a path is in has nothing to do with its place; used by callers that
/// want to point at a whole policy.
pub fn name_path() -> FieldPath {
    FieldPath(vec![Part::Key("metadata".to_owned()), Part::Key("name".to_owned())])
}
