//! `orderly doctor`: looks at everything that the service depends on and says what to do about what
//! is not as it should be. Changes nothing.

mod cluster;
mod neighbours;
mod rights;
pub mod slack;
mod store;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::Format;
use super::page::{Page, print_json};
use super::table::Tone;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Flags};
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::problem::Severity;
use crate::policies::loader::PolicyStore;
use crate::service;

/// As wide as the longest subject.
const SUBJECT_WIDTH: usize = 22;
/// As wide as `warn` and `fail`.
const LEVEL_WIDTH: usize = 4;

/// Look at what everything depends on.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// How to print what is found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// As for `orderly serve`
    #[command(flatten)]
    pub flags: Flags,
}

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but somebody should know.
    Warn,
    /// It does not work.
    Fail,
}

/// What was looked at, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// How well it is.
    pub level: Level,
    /// What was seen.
    pub seen: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn ok(subject: &str, seen: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), level: Level::Ok, seen: seen.into(), advice: None }
    }

    fn warn(subject: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into()).filter(|advice| !advice.is_empty());
        Self { level: Level::Warn, advice, ..Self::ok(subject, seen) }
    }

    fn fail(subject: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(subject, seen, advice) }
    }
}

/// Looks.
///
/// # Errors
/// When the configuration cannot be read.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.flags)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let findings = super::block_on(async { Ok(examine(&config, &clock).await) })?;
    let fails = findings.iter().filter(|finding| finding.level == Level::Fail).count();
    let warns = findings.iter().filter(|finding| finding.level == Level::Warn).count();
    match args.format {
        Format::Json => print_json(&findings)?,
        Format::Text => {
            let mut page = Page::for_stdout();
            for finding in &findings {
                show(&mut page, finding);
            }
            page.title(&format!("\n{fails} failed, {warns} to know about"));
            page.print()?;
        }
    }
    Ok(if fails > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(page: &mut Page, finding: &Finding) {
    let (tone, level) = match finding.level {
        Level::Ok => (Tone::Good, "ok"),
        Level::Warn => (Tone::Attention, "warn"),
        Level::Fail => (Tone::Bad, "fail"),
    };
    let gap = " ".repeat(SUBJECT_WIDTH.saturating_sub(finding.subject.chars().count()));
    let indent = " ".repeat(SUBJECT_WIDTH + 2);
    let seen = finding.seen.replace('\n', &format!("\n{indent}"));
    let mut text = format!("{}{gap}  {seen}", finding.subject);
    if let Some(advice) = &finding.advice {
        text.push_str(&format!("\n{indent}→ {advice}"));
    }
    page.marked(tone, level, LEVEL_WIDTH, &text);
}

/// Everything, in the order in which one would repair it.
pub async fn examine(config: &Config, clock: &SharedClock) -> Vec<Finding> {
    let mut findings: Vec<_> = match config.warnings().as_slice() {
        [] => vec![Finding::ok("configuration", "nothing to say against it")],
        warnings => warnings.iter().map(|it| Finding::warn("configuration", &it.0, "")).collect(),
    };
    let store = service::policies_once(config, clock).await;
    findings.extend(policies(&store));
    let policies = store.current();
    findings.extend(store::examine(&config.journal.path).await);
    findings.extend(cluster::examine(config, clock, &policies).await);
    findings.extend(neighbours::examine(config, clock, &policies).await);
    findings.extend(slack::examine(config).await);
    findings
}

fn policies(store: &PolicyStore) -> Vec<Finding> {
    const SUBJECT: &str = "policies";
    let status = store.status();
    let mut findings = Vec::new();
    for found in &status.diagnostics {
        findings.push(match found.severity {
            Severity::Error => Finding::fail(SUBJECT, found.one_line(), ""),
            Severity::Warning => Finding::warn(SUBJECT, found.one_line(), ""),
        });
    }
    let loaded = store.current();
    if loaded.is_empty() {
        let advice = "name their directory with `--policies`";
        findings.push(Finding::fail(SUBJECT, "there is no policy that can be used", advice));
    } else {
        findings.push(Finding::ok(SUBJECT, told(&loaded)));
    }
    findings
}

fn told(policies: &PolicySet) -> String {
    let names: Vec<_> = policies.iter().map(|policy| policy.name.as_str()).collect();
    format!("{} can be used: {}", names.len(), names.join(", "))
}
