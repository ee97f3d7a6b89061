//! The integration tests: one binary, a file for each behaviour.

mod admin;
mod api;
mod auth;
mod chart;
mod cli;
mod config;
mod faults;
mod house;
mod journal;
mod kubernetes;
mod monitoring;
mod notices;
mod notify;
mod policies;
mod remediation;
mod sandbox;
mod scenarios;
mod serve;
mod serving;
mod site;
mod slack;
mod traces;
mod webhook;
mod world;
