//! Orderly carries out runbooks. Modules in reading order; the layer rule is in ARCHITECTURE.md.

pub mod alertmanager;
pub mod cli;
pub mod clock;
pub mod config;
pub mod correspondence;
pub mod document;
pub mod domain;
pub mod engine;
pub mod http;
pub mod journal;
pub mod kubernetes;
pub mod lifecycle;
pub mod metrics;
pub mod notify;
pub mod outbound;
pub mod policies;
pub mod prometheus;
pub mod sandbox;
pub mod secret;
pub mod service;
pub mod slack;
pub mod telemetry;
pub mod terminal;
