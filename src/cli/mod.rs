//! The command line: one file for each subcommand.

pub mod check;
pub mod client;
pub mod schema;
pub mod table;
pub mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Carries out your runbooks: verified, explainable remediation of Alertmanager alerts.
#[derive(Parser, Debug)]
#[command(name = "orderly", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check policies.
    Check(check::CheckArgs),
    /// Print the JSON Schema of a policy.
    Schema(schema::SchemaArgs),
}

/// Runs the command.
///
/// # Errors
/// What went wrong, for a person.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Check(args) => check::run(args),
        Command::Schema(args) => schema::run(args),
    }
}
