//! `orderly init`: makes the journal. Nothing else does, so that a wrong path never starts a second
//! history.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::Format;
use super::page::{print, print_json};
use crate::clock::{SharedClock, SystemClock};
use crate::service::create_journal;

/// Create the journal.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The journal's file; there must be none yet
    #[arg(long, value_name = "FILE", env = "ORDERLY_JOURNAL", default_value = "orderly.db")]
    pub journal: PathBuf,
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Makes it.
///
/// # Errors
/// When there is one, or it cannot be made.
pub fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock);
    super::block_on(create_journal(&args.journal, &clock))?;
    let path = args.journal.display();
    if args.format == Format::Json {
        print_json(&json!({"journal": args.journal}))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("created the journal `{path}`; start with `orderly serve --journal {path}`\n"))?;
    Ok(ExitCode::SUCCESS)
}
