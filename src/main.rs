//! Parses the command line, runs it, and turns the error chain into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use orderly::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("orderly: {error:#}");
            ExitCode::FAILURE
        }
    }
}
