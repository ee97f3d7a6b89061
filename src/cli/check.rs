//! `orderly check`: what is wrong or unwise with policies, with the offending text underlined.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use annotate_snippets::Renderer;
use clap::Args;
use serde_json::json;

use super::Format;
use crate::config::{Config, Flags};
use crate::document::diagnostic::{Diagnostic, summary};
use crate::domain::policy::compiled::Names;
use crate::domain::policy::problem::Severity;
use crate::policies::lint;
use crate::policies::source;
use crate::service::names;

/// Check policies and configuration, with the offending text underlined
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Directories (searched for .yaml and .yml) or single files.
    #[arg(default_value = "policies")]
    pub paths: Vec<PathBuf>,
    /// How to print what is found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Check this configuration too, and hold receivers and groups against it.
    #[arg(long, value_name = "FILE", env = "ORDERLY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Fail on warnings too.
    #[arg(long)]
    pub strict: bool,
}

/// Runs the check.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let renderer = if out.is_terminal() { Renderer::styled() } else { Renderer::plain() };
    let passed = write(args, &renderer, &mut out)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes what is found; false when it should fail a build.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(args: &CheckArgs, renderer: &Renderer, out: &mut impl Write) -> anyhow::Result<bool> {
    let (names, configuration) =
        args.config.as_deref().map_or_else(Default::default, |path| configured(path, &args.paths));
    let found = source::read(&args.paths);
    let mut report = lint::check(&found.files, &names);
    report.diagnostics.splice(0..0, configuration.into_iter().chain(found.problems));
    match args.format {
        Format::Text => {
            for diagnostic in &report.diagnostics {
                writeln!(out, "{}\n", diagnostic.render(renderer))?;
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
    Ok(!report.diagnostics.iter().any(|found| match found.severity {
        Severity::Error => true,
        Severity::Warning => args.strict,
    }))
}

/// The names that a configuration gives, and what is wrong with it. While it is wrong, names are
/// not held against it: each would be reported as unknown.
fn configured(path: &Path, policies: &[PathBuf]) -> (Names, Vec<Diagnostic>) {
    let config = Some(path.to_owned());
    let flags = Flags { config, policies: policies.to_vec(), ..Flags::default() };
    match Config::load(&flags) {
        Ok(config) => (names(&config), Vec::new()),
        Err(error) => {
            let named = |mut problem: Diagnostic| {
                if problem.file.is_empty() {
                    problem.file = path.display().to_string();
                }
                problem
            };
            (Names::default(), error.problems.into_iter().map(named).collect())
        }
    }
}
