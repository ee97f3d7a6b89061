//! `orderly schema`: what editors and people need to write policies.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use crate::domain::diagnosis::documentation::documentation;
use crate::policies::schema::policy_schema_text;

/// Print the JSON Schema of a policy, for editors
#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Print the words of `when` instead, as Markdown (docs/FACTS.md).
    #[arg(long)]
    pub facts: bool,
}

/// Prints it.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let text = if args.facts { documentation() } else { policy_schema_text() };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
