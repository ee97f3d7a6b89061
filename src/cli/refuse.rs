//! `orderly refuse`: says no to a plan, with a reason.

use std::process::ExitCode;

use clap::Args;

use super::client::{Client, ServerFlags};
use super::decided::print_decided;
use super::{Format, incidents};
use crate::http::api::{Reason, RefuseRequest};

/// Say no to the plan of an incident.
#[derive(Args, Debug)]
pub struct RefuseArgs {
    /// The incident's id, or the beginning of it
    pub id: String,
    /// Why; the journal keeps it
    #[arg(long)]
    pub reason: Reason,
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
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
    print_decided(args.format, "refused", &decided)?;
    Ok(ExitCode::SUCCESS)
}
