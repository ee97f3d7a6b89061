//! The way in: Alertmanager's webhooks, people's API calls, the operator's questions. Authenticates
//! and parses, hands over, and answers only for what the other side has promised; decides nothing.

pub mod admin;
pub mod api;
pub mod auth;
pub mod body;
pub mod intake;
pub mod payload;
pub mod problem;
pub mod routes;
pub mod server;
pub mod slack;
pub mod status;
pub mod tls;
pub mod webhook;
