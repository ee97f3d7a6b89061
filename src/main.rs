//! Parses the command line, runs it, and turns the error chain into an exit code.

fn main() {}
