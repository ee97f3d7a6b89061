//! Slack: its Web API, its two ways of delivering clicks, and how an incident looks there.
//!
//! Knows Slack's formats and limits and nothing of who decides what. Written over the HTTP client and
//! a WebSocket library rather than over a Slack library: the one that is kept well acknowledges a
//! click without saying which delivery it was, cannot answer a modal over Socket Mode, refuses the
//! payloads of organisation-wide installs, and logs the address of a connection, which is a secret.

pub mod api;
pub mod blocks;
pub mod incoming;
pub mod listener;
pub mod members;
pub mod render;
pub mod seal;
pub mod signature;
pub mod socket;
pub mod text;
