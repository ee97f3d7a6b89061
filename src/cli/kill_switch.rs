//! `orderly kill-switch`: stops every change everywhere, at once.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Format;
use super::client::{Client, ServerFlags};
use super::page::{print, print_json};
use crate::domain::explain;
use crate::http::api::{KillSwitch, KillSwitchRequest, Reason};

/// Stop every change everywhere, or let changes happen again.
#[derive(Args, Debug)]
pub struct KillSwitchArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KillSwitchCommand,
}

/// What can be done with it.
#[derive(Subcommand, Debug)]
pub enum KillSwitchCommand {
    /// Stop every change everywhere; incidents are still diagnosed and planned.
    On(TurnArgs),
    /// Let changes happen again.
    Off(TurnArgs),
    /// Say whether it is on, and who turned it.
    Status(StatusArgs),
}

/// Turn it.
#[derive(Args, Debug)]
pub struct TurnArgs {
    /// Why; the journal keeps it
    #[arg(long)]
    pub reason: Reason,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Which service
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Look at it.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// How to print it
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
pub fn run(args: &KillSwitchArgs) -> anyhow::Result<ExitCode> {
    let (switch, format) = match &args.command {
        KillSwitchCommand::On(args) => (turn(args, true)?, args.format),
        KillSwitchCommand::Off(args) => (turn(args, false)?, args.format),
        KillSwitchCommand::Status(args) => {
            let client = Client::new(&args.server)?;
            (super::block_on(async { Ok(client.kill_switch().await?) })?, args.format)
        }
    };
    match format {
        Format::Text => print(&told(&switch))?,
        Format::Json => print_json(&switch)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn turn(args: &TurnArgs, on: bool) -> anyhow::Result<KillSwitch> {
    let client = Client::new(&args.server)?;
    let request = KillSwitchRequest { on, reason: args.reason.clone() };
    super::block_on(async { Ok(client.set_kill_switch(&request).await?) })
}

fn told(switch: &KillSwitch) -> String {
    let mut text = if switch.on {
        "the kill switch is on: nothing is changed anywhere".to_owned()
    } else {
        "the kill switch is off".to_owned()
    };
    if let (Some(by), Some(at)) = (&switch.by, switch.at) {
        text.push_str(&format!("\nturned by {by} at {}", explain::clock(at)));
    }
    if let Some(reason) = &switch.reason {
        text.push_str(&format!(": {reason}"));
    }
    crate::terminal::plain(&text).into_owned() + "\n"
}
