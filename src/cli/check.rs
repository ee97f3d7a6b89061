//! `orderly check`: what is wrong or unwise with policies, with the offending text underlined.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use annotate_snippets::Renderer;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::domain::policy::compiled::Names;
use crate::domain::policy::problem::Severity;
use crate::policies::diagnostic::summary;
use crate::policies::lint;
use crate::policies::source;

/// Check policies: places, near names, duplicate keys, overlaps, unreachable causes.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Directories (searched for .yaml and .yml) or single files.
    #[arg(default_value = "policies")]
    pub paths: Vec<PathBuf>,
    /// How to print what is found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Fail on warnings too.
    #[arg(long)]
    pub strict: bool,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: the line with the offending text underlined.
    Text,
    /// For programs: one object.
    Json,
}

/// Runs the check. `names` are the receivers and groups of the configuration, when one is given.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CheckArgs, names: &Names) -> anyhow::Result<ExitCode> {
    let found = source::read(&args.paths);
    let mut report = lint::check(&found.files, names);
    report.diagnostics.splice(0..0, found.problems);
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Text => {
            let renderer = if out.is_terminal() { Renderer::styled() } else { Renderer::plain() };
            for diagnostic in &report.diagnostics {
                writeln!(out, "{}\n", diagnostic.render(&renderer))?;
            }
            let policies = report.policies.len();
            let ending = if policies == 1 { "y" } else { "ies" };
            let files = found.files.len();
            let files = format!("{files} file{}", if files == 1 { "" } else { "s" });
            let counts = summary(&report.diagnostics);
            writeln!(out, "{policies} good polic{ending} in {files}: {counts}")?;
        }
        Format::Json => {
            let names: Vec<_> = report.policies.iter().map(|loaded| &loaded.policy.name).collect();
            let answer = json!({"policies": names, "diagnostics": report.diagnostics});
            writeln!(out, "{answer:#}")?;
        }
    }
    let fails = report.diagnostics.iter().any(|found| match found.severity {
        Severity::Error => true,
        Severity::Warning => args.strict,
    });
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
