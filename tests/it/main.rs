//! The integration tests: one binary, a file for each behaviour.

mod auth;
mod config;
mod journal;
mod kubernetes;
mod monitoring;
mod notify;
mod remediation;
mod sandbox;
mod site;
mod webhook;
mod world;
