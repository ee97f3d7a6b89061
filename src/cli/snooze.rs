//! `orderly snooze`: puts a question off; nothing is done and nobody is called until then.

use std::process::ExitCode;

use clap::Args;

use super::client::{Client, ServerFlags};
use super::decided::print_decided;
use super::{Format, incidents};
use crate::http::api::{Reason, SnoozeLength, SnoozeRequest};

/// Put the question of an incident off.
#[derive(Args, Debug)]
pub struct SnoozeArgs {
    /// The incident's id, or the beginning of it
    pub id: String,
    /// For how long, at most `24h`; `0s` asks again at once
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    pub length: SnoozeLength,
    /// Why; the journal keeps it
    #[arg(long)]
    pub reason: Option<Reason>,
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Which service
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Puts it off.
///
/// # Errors
/// When the service refuses or does not answer.
pub fn run(args: &SnoozeArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.server)?;
    let decided = super::block_on(async {
        let id = incidents::find(&client, &args.id).await?;
        let request = SnoozeRequest { length: args.length, reason: args.reason.clone() };
        Ok(client.snooze(&id, &request).await?)
    })?;
    print_decided(args.format, "snoozed", &decided)?;
    Ok(ExitCode::SUCCESS)
}
