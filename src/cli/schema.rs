//! `orderly schema`: what editors and people need to write policies.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use crate::domain::diagnosis::documentation::documentation;
use crate::policies::crd::definitions_text;
use crate::policies::schema::policy_schema_text;

/// Print the JSON Schema of a policy, for editors
#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Print the words of `when` instead, as Markdown (docs/FACTS.md).
    #[arg(long)]
    pub facts: bool,
    /// Print the custom resource definitions instead, for `kubectl apply -f -` (deploy/crds).
    #[arg(long, conflicts_with = "facts")]
    pub crd: bool,
}

/// Prints it.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let text = match (args.facts, args.crd) {
        (true, _) => documentation(),
        (_, true) => definitions_text()?,
        (false, false) => policy_schema_text(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
