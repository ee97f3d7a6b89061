//! The integration tests: one binary, a file for each behaviour.

mod admin;
mod api;
mod auth;
mod config;
mod house;
mod journal;
mod notify;
mod site;
mod webhook;
