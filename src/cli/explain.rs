//! `orderly explain`: the whole decision about an alert with all reasons, and nothing done. Against
//! the cluster, or over facts from a file.

mod alerts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::page::{Page, print_json};
use super::table::Tone;
use super::{Format, story};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Flags};
use crate::document::diagnostic::SourceFile;
use crate::domain::alert::Alert;
use crate::domain::facts::Facts;
use crate::engine::{Rehearsal, rehearse_over};
use crate::policies::case::facts::FactsCase;
use crate::policies::case::read_facts;
use crate::policies::loader::PolicyStore;
use crate::service;

/// Facts of one incident are far smaller; what is larger is another file.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Explain what would be done about an alert, and why, without doing it.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// A file with the alert, or `-`: a webhook of Alertmanager, one alert of it, or alerts as
    /// `/api/v2/alerts` lists them
    #[arg(long, value_name = "FILE")]
    pub alert: PathBuf,
    /// Decide over these facts instead of asking the cluster: written as in the tests of policies,
    /// or as --dump-facts writes them
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
    /// Write the facts that the decision rests on to this file
    #[arg(long, value_name = "FILE", conflicts_with = "facts")]
    pub dump_facts: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// As for `orderly serve`
    #[command(flatten)]
    pub flags: Flags,
}

/// Explains.
///
/// # Errors
/// When the alert, the facts or the configuration cannot be read.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.flags)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let alerts = alerts::read(&args.alert, clock.now())?;
    let rehearsals = match &args.facts {
        Some(path) => super::block_on(over_facts(path, &alerts, &config, &clock))?,
        None => super::block_on(in_cluster(&alerts, &config, &clock))?,
    };
    if let Some(path) = &args.dump_facts {
        dump(path, &rehearsals)?;
    }
    let decisions = alerts.iter().zip(&rehearsals);
    match args.format {
        Format::Json => {
            let decisions: Vec<_> = decisions.map(|(alert, it)| in_json(alert, it)).collect();
            print_json(&json!({"decisions": decisions}))?;
        }
        Format::Text => {
            let mut page = Page::for_stdout();
            for (alert, rehearsal) in decisions {
                decision(&mut page, alert, rehearsal);
            }
            page.print()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn in_cluster(
    alerts: &[Alert],
    config: &Config,
    clock: &SharedClock,
) -> anyhow::Result<Vec<Rehearsal>> {
    let rehearsing = service::rehearsing(config, clock).await?;
    warn(&rehearsing.policies);
    let mut rehearsals = Vec::new();
    for alert in alerts {
        rehearsals.push(rehearsing.engine.rehearse(alert).await);
    }
    Ok(rehearsals)
}

/// Facts from a file.
enum Given {
    /// As `--dump-facts` wrote them.
    Whole(Box<Facts>),
    /// As a person writes them.
    Terse(Box<FactsCase>),
}

async fn over_facts(
    path: &Path,
    alerts: &[Alert],
    config: &Config,
    clock: &SharedClock,
) -> anyhow::Result<Vec<Rehearsal>> {
    let (given, now) = (given(path)?, clock.now());
    let policies = service::policies_once(config, clock).await;
    warn(&policies);
    let policies = policies.current();
    let decide = |alert| {
        let facts = match &given {
            Given::Whole(facts) => (**facts).clone(),
            Given::Terse(facts) => {
                let policy = policies.winner(alert);
                let wanted = policy.and_then(|policy| policy.resolve_target(alert).ok());
                let queries = policy.map(|policy| policy.spec.queries.clone()).unwrap_or_default();
                facts.facts(now, wanted.as_ref(), &queries)
            }
        };
        rehearse_over(facts, alert, &policies, &config.rails)
    };
    Ok(alerts.iter().map(decide).collect())
}

fn given(path: &Path) -> anyhow::Result<Given> {
    let text = read(path)?;
    if let Ok(facts) = serde_json::from_str(&text) {
        return Ok(Given::Whole(Box::new(facts)));
    }
    let file = SourceFile::new(path, text);
    match read_facts(&file) {
        Ok(facts) => Ok(Given::Terse(Box::new(facts.value))),
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(|problem| problem.one_line()).collect();
            bail!("the facts cannot be used:\n{}", lines.join("\n"))
        }
    }
}

/// A text file of a bounded size.
fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read `{shown}`"))?.len();
    if size > FILE_BYTES {
        bail!("`{shown}` is larger than {} MiB", FILE_BYTES / 1024 / 1024);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))
}

/// A policy that cannot be used answers nothing; that must not look like no policy.
fn warn(policies: &PolicyStore) {
    use std::io::Write as _;
    for found in &policies.status().diagnostics {
        let _told = writeln!(std::io::stderr().lock(), "orderly: {}", found.one_line());
    }
}

fn dump(path: &Path, rehearsals: &[Rehearsal]) -> anyhow::Result<()> {
    let [Rehearsal { incident, stopped, .. }] = rehearsals else {
        bail!("`--dump-facts` wants one alert, and the file has {}", rehearsals.len());
    };
    let Some(facts) = incident.as_ref().and_then(|incident| incident.facts.as_ref()) else {
        let why = stopped.as_deref().unwrap_or("nothing was looked at");
        bail!("there are no facts to write: {why}");
    };
    let text = serde_json::to_string_pretty(facts)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

fn in_json(alert: &Alert, rehearsal: &Rehearsal) -> Value {
    let gates = rehearsal.gates.as_ref();
    json!({
        "alert": alert,
        "policy": rehearsal.incident.as_ref().map(|incident| &incident.policy.name),
        "others": rehearsal.others,
        "incident": rehearsal.incident,
        "gates": gates.map(|(ruling, verdicts)| json!({"ruling": ruling, "verdicts": verdicts})),
        "stopped": rehearsal.stopped,
    })
}

/// The decision about one alert.
fn decision(page: &mut Page, alert: &Alert, rehearsal: &Rehearsal) {
    if !page.text().is_empty() {
        page.heading("");
    }
    let Some(incident) = &rehearsal.incident else {
        page.title(&format!("{}: no policy answers", alert.name()));
        page.heading("alert");
        story::alert(page, alert, true);
        page.heading("policy");
        page.line("none matches the alert");
        for other in &rehearsal.others {
            page.detail(Tone::Faint, &format!("not {}: {}", other.policy, other.why));
        }
        return;
    };
    page.title(&format!("{} on {}", alert.name(), incident.target_name()));
    page.heading("alert");
    story::alert(page, alert, true);
    story::policy(page, incident);
    story::target_section(page, incident);
    if let Some(facts) = &incident.facts {
        story::facts(page, facts);
        story::cause(page, incident);
    }
    if let Some(proposal) = &incident.proposal {
        story::plan(page, proposal.digest, &proposal.plan, &proposal.previews);
    }
    if let Some((ruling, verdicts)) = &rehearsal.gates {
        story::gates(page, *ruling, verdicts);
    }
    page.heading("what would happen");
    if let Some(why) = &rehearsal.stopped {
        page.toned(Tone::Attention, why);
        page.line("nothing would be changed");
    }
    if let Some((ruling, _)) = &rehearsal.gates {
        page.line(story::ending(incident.policy.spec.mode, *ruling));
        page.toned(
            Tone::Faint,
            "the gates know no history here: no earlier change, no other incident, no kill switch",
        );
    }
    for escalation in &incident.policy.spec.escalate {
        page.line(&format!("unresolved after {}: `{}` is told", escalation.after, escalation.to));
    }
}
