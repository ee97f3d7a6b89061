//! The integration tests: one binary, a file for each behaviour.

mod auth;
mod config;
mod journal;
mod notify;
mod site;
mod webhook;
