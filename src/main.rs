//! Parses the command line, runs it, and turns the error chain into an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use orderly::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody may be listening; the exit code still tells.
            let _told = writeln!(std::io::stderr().lock(), "orderly: {error:#}");
            ExitCode::FAILURE
        }
    }
}
