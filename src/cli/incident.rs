//! `orderly incident show`: everything about one incident, for whoever is called to it at night.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::client::{Client, ServerFlags};
use super::page::{Page, print_json};
use super::{Format, incidents, story};

/// Look at one incident.
#[derive(Args, Debug)]
pub struct IncidentArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IncidentCommand,
}

/// What can be done with one incident.
#[derive(Subcommand, Debug)]
pub enum IncidentCommand {
    /// Show the alert, the cause, the plan, the gates, what happened, and what to do next.
    Show(ShowArgs),
}

/// Show one incident.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Its id, or the beginning of it
    pub id: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Which service
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Shows it.
///
/// # Errors
/// When there is none, or the service does not answer.
pub fn run(args: &IncidentArgs) -> anyhow::Result<ExitCode> {
    let IncidentCommand::Show(args) = &args.command;
    let client = Client::new(&args.server)?;
    let detail = super::block_on(async {
        let id = incidents::find(&client, &args.id).await?;
        Ok(client.incident(&id).await?)
    })?;
    match args.format {
        Format::Json => print_json(&detail)?,
        Format::Text => {
            let mut page = Page::for_stdout();
            story::whole(&mut page, &detail);
            page.print()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
