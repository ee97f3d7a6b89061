//! `orderly test`: runs the tests beside policies, in the manner of `promtool test rules`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use annotate_snippets::Renderer;
use clap::Args;
use serde::Serialize;

use super::Format;
use crate::document::Read;
use crate::document::diagnostic::{Diagnostic, SourceFile};
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::compiled::Names;
use crate::domain::policy::problem::{FieldPath, Problem, Severity};
use crate::policies::case::compare::failures;
use crate::policies::case::run::run as run_case;
use crate::policies::case::{CaseFile, read_cases};
use crate::policies::{lint, source};

/// Run the tests of policies: NAME.test.yaml beside them
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Directories (searched for .test.yaml) or single files.
    #[arg(default_value = "policies")]
    pub paths: Vec<PathBuf>,
    /// How to print what is found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Name every test, also those that pass.
    #[arg(long, short)]
    pub verbose: bool,
}

/// What came of one test.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tested {
    file: String,
    name: String,
    passed: bool,
    diagnostics: Vec<Diagnostic>,
}

/// Runs them.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let renderer = if out.is_terminal() { Renderer::styled() } else { Renderer::plain() };
    let passed = write(args, &renderer, &mut out)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs them and writes what came of it; false when one failed, or there was none.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(args: &TestArgs, renderer: &Renderer, out: &mut impl Write) -> anyhow::Result<bool> {
    let found = source::read(&args.paths);
    let tests = found.tests.iter().chain(found.files.iter().filter(|file| is_named(args, file)));
    let mut results = Vec::new();
    let mut problems = found.problems;
    for file in tests {
        match read_cases(file) {
            Ok(cases) => match load(&cases) {
                Ok(policies) => results.extend(run_file(&cases, &policies)),
                Err(found) => problems.extend(found),
            },
            Err(found) => problems.extend(found),
        }
    }
    match args.format {
        Format::Text => text(args, &results, &problems, renderer, out)?,
        Format::Json => {
            let answer = serde_json::json!({"tests": results, "problems": problems});
            writeln!(out, "{answer:#}")?;
        }
    }
    let passed = problems.is_empty() && results.iter().all(|tested| tested.passed);
    Ok(passed && !results.is_empty())
}

/// A file that is named on the command line is a file of tests, whatever it is called.
fn is_named(args: &TestArgs, file: &SourceFile) -> bool {
    args.paths.iter().any(|path| **path == *file.path)
}

fn text(
    args: &TestArgs,
    results: &[Tested],
    problems: &[Diagnostic],
    renderer: &Renderer,
    out: &mut impl Write,
) -> std::io::Result<()> {
    for problem in problems {
        writeln!(out, "{}\n", problem.render(renderer))?;
    }
    let mut files: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for tested in results {
        let counts = files.entry(&tested.file).or_default();
        counts.0 += 1;
        counts.1 += usize::from(tested.passed);
        if args.verbose {
            let word = if tested.passed { "ok  " } else { "FAIL" };
            writeln!(out, "{word} {}: {}", tested.file, tested.name)?;
        }
        for diagnostic in &tested.diagnostics {
            writeln!(out, "{}\n", diagnostic.render(renderer))?;
        }
    }
    for (file, (all, passed)) in files {
        writeln!(out, "{file}: {passed} of {all} passed")?;
    }
    if results.is_empty() && problems.is_empty() {
        writeln!(out, "there are no tests: write NAME.test.yaml beside a policy")?;
    }
    Ok(())
}

fn run_file(cases: &Read<CaseFile>, policies: &PolicySet) -> Vec<Tested> {
    let all = cases.value.tests.iter().enumerate().map(|(index, case)| {
        let diagnostics = match run_case(policies, case) {
            Ok(decided) => failures(cases, index, case, &decided),
            Err(mut problem) => {
                let mut path = FieldPath::of("tests").index(index);
                path.0.append(&mut problem.path.0);
                problem.path = path;
                vec![cases.places.diagnostic(&problem, None)]
            }
        };
        Tested {
            file: cases.places.file.path.display().to_string(),
            name: case.name.clone(),
            passed: diagnostics.is_empty(),
            diagnostics,
        }
    });
    all.collect()
}

/// The policies that a file of tests names.
fn load(cases: &Read<CaseFile>) -> Result<PolicySet, Vec<Diagnostic>> {
    let directory = cases.places.file.path.parent().unwrap_or(Path::new("."));
    let paths: Vec<_> = cases.value.policies.iter().map(|name| directory.join(name)).collect();
    let path = FieldPath::of("policies");
    let at = |index: usize, message: String| {
        let problem = Problem::error("test", path.index(index), message);
        cases.places.diagnostic(&problem, None)
    };
    let mut problems = Vec::new();
    for (index, path) in paths.iter().enumerate().filter(|(_, path)| !path.exists()) {
        problems.push(at(index, format!("`{}` does not exist", path.display())));
    }
    let found = source::read(&paths);
    if problems.is_empty() {
        problems.extend(found.problems);
    }
    let report = lint::check(&found.files, &Names::default());
    let errors = report.diagnostics.into_iter().filter(|it| it.severity == Severity::Error);
    problems.extend(errors);
    if problems.is_empty() {
        let policies = report.policies.iter().map(|loaded| Arc::clone(&loaded.policy));
        Ok(PolicySet::new(policies))
    } else {
        Err(problems)
    }
}
