//! The integration tests: one binary, a file for each behaviour.

mod journal;
mod kubernetes;
mod notify;
mod sandbox;
