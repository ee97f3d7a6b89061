//! Documents that people write: YAML with the place of everything in it, held against the schema of
//! its type, and what is wrong with it shown where it stands.
//!
//! Policies, their tests and the configuration are all read this way.

pub mod diagnostic;
pub mod places;
pub mod structure;
pub mod yaml;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::diagnostic::{Diagnostic, SourceFile};
use self::places::Places;
use self::structure::TextKind;
use crate::domain::policy::problem::{FieldPath, Problem, Severity};

/// A document as it was read.
#[derive(Debug)]
pub struct Read<T> {
    /// What it says.
    pub value: T,
    /// Where.
    pub places: Places,
}

/// Reads a file that holds one document; nothing when it is empty.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read<T: DeserializeOwned>(
    file: &SourceFile,
    schema: &Value,
    texts: &'static [TextKind],
) -> Result<Option<Read<T>>, Vec<Diagnostic>> {
    let at = |offset: usize, message: String| {
        vec![Diagnostic::at(file, offset..offset + 1, Severity::Error, "yaml", message)]
    };
    let mut documents =
        yaml::parse(&file.text).map_err(|error| at(error.offset, error.message))?.into_iter();
    let node = match (documents.next(), documents.next()) {
        (Some(node), None) => node,
        (None, _) => return Ok(None),
        (Some(_), Some(second)) => {
            return Err(at(second.span.start, "the file holds more than one document".to_owned()));
        }
    };
    let places = Places::of(file, &node);
    let problems = structure::problems(schema, texts, &node);
    if !problems.is_empty() {
        return Err(problems.iter().map(|problem| places.diagnostic(problem, None)).collect());
    }
    match serde_json::from_value(node.to_json()) {
        Ok(value) => Ok(Some(Read { value, places })),
        Err(error) => {
            let problem = Problem::error("shape", FieldPath::default(), error.to_string());
            Err(vec![places.diagnostic(&problem, None)])
        }
    }
}

/// The JSON Schema (draft 2020-12) of a type, for editors and for [`structure::problems`].
pub fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}
