//! `orderly incidents`: what stands, in one line each. Also finds an incident by the beginning of
//! its id.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::client::{Client, ServerFlags};
use super::page::{print, print_json};
use super::table::{Column, Table, Tone};
use crate::domain::event::Outcome;
use crate::domain::id::IncidentId;
use crate::http::api::{IncidentFilter, IncidentSummary, StateFilter};
use crate::terminal;

/// Among how many of the newest incidents the beginning of an id is looked up: what the service
/// lists at most.
const LOOKED_UP: usize = 1_000;
/// Ids that a question back names.
const NAMED: usize = 5;

/// List incidents, the newest first.
#[derive(Args, Debug)]
pub struct IncidentsArgs {
    /// Only those that are open, wait for people, or are closed
    #[arg(long, value_enum)]
    pub state: Option<StateFilter>,
    /// Only those that this policy answers
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Only those whose target contains this
    #[arg(long, value_name = "TEXT")]
    pub target: Option<String>,
    /// How many at most [default: 100]
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<usize>,
    /// How to print them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
    /// Which service
    #[command(flatten)]
    pub server: ServerFlags,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Prints them.
///
/// # Errors
/// When the service does not answer or refuses.
pub fn run(args: &IncidentsArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.server)?;
    let filter = IncidentFilter {
        state: args.state,
        policy: args.policy.clone(),
        target: args.target.clone(),
        limit: args.limit,
    };
    let list = super::block_on(async { Ok(client.incidents(&filter).await?) })?;
    match args.format {
        ListFormat::Json => print_json(&list)?,
        ListFormat::Table if list.incidents.is_empty() => print("no incidents\n")?,
        ListFormat::Table => {
            let colour = terminal::colour(&std::io::stdout());
            let mut text = table(&list.incidents).render(terminal::width(), colour);
            if list.more {
                text.push_str("there are more: use --limit, or narrow the list\n");
            }
            print(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(incidents: &[IncidentSummary]) -> Table {
    let mut table = Table::new([
        ("ID", Column::Whole),
        ("OPENED (UTC)", Column::Whole),
        ("STATE", Column::Whole),
        ("ALERT", Column::Shrinks),
        ("TARGET", Column::Shrinks),
        ("POLICY", Column::Shrinks),
        ("STANDING", Column::Shrinks),
    ]);
    for incident in incidents {
        let (state, tone) = match incident.outcome {
            Some(outcome) => (outcome.name().to_owned(), outcome_tone(outcome)),
            None if incident.waiting.is_some() => (incident.state.clone(), Tone::Attention),
            None => (incident.state.clone(), Tone::Usual),
        };
        table.row([
            (incident.id.to_string(), Tone::Usual),
            (incident.opened.strftime("%m-%d %H:%M:%S").to_string(), Tone::Faint),
            (state, tone),
            (incident.alert.clone(), Tone::Usual),
            (incident.target.clone(), Tone::Usual),
            (incident.policy.clone(), Tone::Usual),
            (incident.standing.clone(), Tone::Usual),
        ]);
    }
    table
}

/// How good an ending is.
pub const fn outcome_tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Fixed | Outcome::Recovered => Tone::Good,
        Outcome::DryRun | Outcome::Joined => Tone::Usual,
        Outcome::Refused
        | Outcome::Expired
        | Outcome::Denied
        | Outcome::Undiagnosed
        | Outcome::Impossible
        | Outcome::HandedOver
        | Outcome::Aborted => Tone::Attention,
        Outcome::NotFixed | Outcome::Failed => Tone::Bad,
    }
}

/// The incident whose id is or begins with `text`.
///
/// # Errors
/// When there is none, when there are several, or when the service does not answer.
pub async fn find(client: &Client, text: &str) -> anyhow::Result<IncidentId> {
    let text = text.trim().to_ascii_lowercase();
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let filter = IncidentFilter { limit: Some(LOOKED_UP), ..IncidentFilter::default() };
    let list = client.incidents(&filter).await?;
    let ids = list.incidents.into_iter().map(|incident| incident.id);
    let found: Vec<_> = ids.filter(|id| id.as_str().starts_with(&text)).collect();
    let shown: String = text.chars().take(40).collect();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] if list.more => bail!(
            "no incident begins with `{shown}` among the newest {LOOKED_UP}: give the whole id"
        ),
        [] => bail!("no incident begins with `{shown}`: `orderly incidents` lists them"),
        several => {
            let names: Vec<_> = several.iter().take(NAMED).map(ToString::to_string).collect();
            let names = names.join(", ");
            bail!("{} incidents begin with `{shown}`: {names}: give more of the id", several.len())
        }
    }
}
