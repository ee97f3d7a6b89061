//! The command line: one file for each subcommand.

pub mod check;
pub mod client;
pub mod demo;
pub mod schema;
pub mod serve;
pub mod table;
pub mod terminal;
pub mod test;

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
    /// Watch three remediations in an embedded cluster.
    Demo(demo::DemoArgs),
    /// Run the service.
    Serve(Box<serve::ServeArgs>),
    /// Check policies.
    Check(check::CheckArgs),
    /// Print the JSON Schema of a policy.
    Schema(schema::SchemaArgs),
    /// Run the tests of policies.
    Test(test::TestArgs),
}

/// Runs the command.
///
/// # Errors
/// What went wrong, for a person.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Test(args) => test::run(args),
    }
}

/// The runtime of every command that talks to somebody.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    install_tls();
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// One provider of cryptography for all clients and listeners. A second call changes nothing.
fn install_tls() {
    let _already = rustls::crypto::ring::default_provider().install_default();
}
