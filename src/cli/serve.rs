//! `orderly serve`: runs the service.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::clock::SystemClock;
use crate::config::{Config, Flags};
use crate::service::{JournalMode, Service};
use crate::telemetry::Telemetry;

/// Run the service: receive alerts, remediate, keep the journal.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// What overrides the configuration file.
    #[command(flatten)]
    pub flags: Flags,
    /// Create the journal if there is none. Without it a missing journal is an error, because a
    /// wrong path would start a second history.
    #[arg(long)]
    pub init: bool,
}

/// Runs the command.
///
/// # Errors
/// What cannot be started, or which task ended.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.flags)?;
    super::runtime()?.block_on(async {
        let telemetry = Telemetry::install(&config.log, config.otlp.as_ref())?;
        for warning in config.warnings() {
            tracing::warn!("{}", warning.0);
        }
        let mode = if args.init { JournalMode::CreateIfMissing } else { JournalMode::Open };
        let service = Service::start(&config, Arc::new(SystemClock), mode).await?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            webhooks = %service.address,
            operator = %service.admin,
            policies = service.policies.status().policies.len(),
            "ready"
        );
        let ended = service.run().await;
        telemetry.shutdown().await;
        ended?;
        Ok(ExitCode::SUCCESS)
    })
}
