//! The command line: one file for each subcommand.

pub mod abort;
pub mod approve;
pub mod audit;
pub mod breaker;
pub mod check;
pub mod client;
pub mod completions;
mod decided;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod incident;
pub mod incidents;
pub mod init;
pub mod kill_switch;
pub mod page;
pub mod rbac;
pub mod refuse;
mod rights;
pub mod schema;
pub mod serve;
pub mod snooze;
pub mod story;
pub mod table;
pub mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// The plan is no longer the one that was approved.
pub const STALE: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, or something is wrong; 2 not used as it should be; 3 the plan has \
changed since it was looked at.";

/// Carries out your runbooks: verified, explainable remediation of Alertmanager alerts.
#[derive(Parser, Debug)]
#[command(name = "orderly", version, after_help = EXIT_CODES)]
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
    /// Create the journal.
    Init(init::InitArgs),
    /// Look at what everything depends on: cluster, rights, Prometheus, Alertmanager, journal, clocks.
    Doctor(Box<doctor::DoctorArgs>),
    /// Check policies.
    Check(check::CheckArgs),
    /// Explain what would be done about an alert, and why, without doing it.
    Explain(Box<explain::ExplainArgs>),
    /// List incidents, the newest first.
    Incidents(incidents::IncidentsArgs),
    /// Look at one incident.
    Incident(incident::IncidentArgs),
    /// Agree with the plan of an incident.
    Approve(approve::ApproveArgs),
    /// Say no to the plan of an incident.
    Refuse(refuse::RefuseArgs),
    /// Put the question of an incident off.
    Snooze(snooze::SnoozeArgs),
    /// Stop an incident.
    Abort(abort::AbortArgs),
    /// Stop every change everywhere, or let changes happen again.
    KillSwitch(kill_switch::KillSwitchArgs),
    /// Trust a policy again whose fixes did not help.
    Breaker(breaker::BreakerArgs),
    /// Read what was decided and done, or verify that nobody changed the record.
    Audit(audit::AuditArgs),
    /// Print the rights that policies need.
    Rbac(rbac::RbacArgs),
    /// Print the JSON Schema of a policy.
    Schema(schema::SchemaArgs),
    /// Run the tests of policies.
    Test(test::TestArgs),
    /// Print what a shell needs to complete commands.
    Completions(completions::CompletionsArgs),
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs the command. That nobody reads on (`| head`) is not a failure.
///
/// # Errors
/// What went wrong, for a person.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let ended = match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Init(args) => init::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Incidents(args) => incidents::run(args),
        Command::Incident(args) => incident::run(args),
        Command::Approve(args) => approve::run(args),
        Command::Refuse(args) => refuse::run(args),
        Command::Snooze(args) => snooze::run(args),
        Command::Abort(args) => abort::run(args),
        Command::KillSwitch(args) => kill_switch::run(args),
        Command::Breaker(args) => breaker::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Rbac(args) => rbac::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Test(args) => test::run(args),
        Command::Completions(args) => completions::run(args),
    };
    match ended {
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        ended => ended,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let cause = cause.downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Waits for what a command does over the network or with a journal.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime()?.block_on(work)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reading_on_is_not_a_failure_and_other_errors_are() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::from(closed).context("cannot print")));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!is_closed_pipe(&full.into()));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
