//! `orderly breaker reset`: a person trusts a policy again whose fixes did not help.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Format;
use super::client::{Client, ServerFlags};
use super::page::{print, print_json};
use crate::http::api::{Reason, ResetRequest};

/// Trust a policy again whose fixes did not help.
#[derive(Args, Debug)]
pub struct BreakerArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BreakerCommand,
}

/// What can be done with it.
#[derive(Subcommand, Debug)]
pub enum BreakerCommand {
    /// Forget the fixes of a policy that did not help: it may act by itself again.
    Reset(ResetArgs),
}

/// Reset it.
#[derive(Args, Debug)]
pub struct ResetArgs {
    /// The policy's name
    pub policy: String,
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

/// Does it.
///
/// # Errors
/// When the service refuses or does not answer.
pub fn run(args: &BreakerArgs) -> anyhow::Result<ExitCode> {
    let BreakerCommand::Reset(args) = &args.command;
    let client = Client::new(&args.server)?;
    let request = ResetRequest { reason: args.reason.clone() };
    super::block_on(async { Ok(client.reset_breaker(&args.policy, &request).await?) })?;
    match args.format {
        Format::Text => print(&format!("policy `{}` is trusted again\n", args.policy))?,
        Format::Json => print_json(&json!({"policy": args.policy, "trusted": true}))?,
    }
    Ok(ExitCode::SUCCESS)
}
