//! `orderly refuse`: says no to a plan, with a reason.

use std::process::ExitCode;

use clap::Args;

use super::client::{Client, ServerFlags};
use super::incidents;
use super::page::print;
use crate::http::api::{Reason, RefuseRequest};

/// Say no to the plan of an incident.
#[derive(Args, Debug)]
pub struct RefuseArgs {
    /// The incident's id, or the beginning of it
    pub id: String,
    /// Why; the journal keeps it
    #[arg(long)]
    pub reason: Reason,
    /// Which service
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Says no.
///
/// # Errors
/// When the service refuses or does not answer.
pub fn run(args: &RefuseArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.server)?;
    let decided = super::block_on(async {
        let id = incidents::find(&client, &args.id).await?;
        let request = RefuseRequest { reason: args.reason.clone() };
        Ok(client.refuse(&id, &request).await?)
    })?;
    let how = if decided.already { " already" } else { "" };
    print(&format!("refused incident {}{how}: {}\n", decided.id, decided.standing))?;
    Ok(ExitCode::SUCCESS)
}
