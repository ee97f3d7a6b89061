//! Hands messages to receivers by name. Whether and when to tell somebody is decided in `domain`.

pub mod message;
pub mod webhook;

use std::collections::BTreeMap;

use message::{Message, Severity};
use webhook::Webhook;

/// Where messages can go.
#[derive(Debug)]
pub enum Receiver {
    /// An HTTP POST.
    Webhook(Webhook),
    /// The service's own log.
    Log,
}

/// All receivers of the configuration.
#[derive(Debug, Default)]
pub struct Receivers {
    by_name: BTreeMap<String, Receiver>,
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// Nobody has that name.
    #[error("no receiver is called `{name}`: the configuration has {known}")]
    NoReceiver {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// It will not be accepted, however often it is sent.
    #[error("receiver `{name}` refused the message: {why}")]
    Refused {
        /// Which receiver.
        name: String,
        /// What it said.
        why: String,
    },
    /// It was sent as often as is sensible.
    #[error("receiver `{name}` was not reached in {tries} tries: {why}")]
    GaveUp {
        /// Which receiver.
        name: String,
        /// How often.
        tries: u32,
        /// What happened last.
        why: String,
    },
}

impl Receivers {
    /// The receivers of a configuration, by name.
    pub fn new(by_name: BTreeMap<String, Receiver>) -> Self {
        Self { by_name }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Delivers a message, with retries; returns when it is delivered or given up.
    pub async fn send(&self, name: &str, message: &Message) -> Result<(), NotifyError> {
        match self.by_name.get(name) {
            Some(Receiver::Webhook(webhook)) => webhook.send(name, message).await,
            Some(Receiver::Log) => {
                log(name, message);
                Ok(())
            }
            None => {
                let known: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(NotifyError::NoReceiver { name: name.to_owned(), known })
            }
        }
    }
}

fn log(receiver: &str, message: &Message) {
    let Message { incident, title, text, .. } = message;
    match message.severity {
        Severity::Info => tracing::info!(receiver, %incident, title, text, "message"),
        Severity::Warning => tracing::warn!(receiver, %incident, title, text, "message"),
        Severity::Critical => tracing::error!(receiver, %incident, title, text, "message"),
    }
}
