//! Hands messages to receivers by name. Whether and when to tell somebody is decided in `domain`.

pub mod delivery;
pub mod message;
pub mod pagerduty;
pub mod places;
pub mod teams;
#[cfg(test)]
mod tests;
pub mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::domain::conversation::Stage;
use crate::domain::incident::Incident;
use crate::outbound;
use delivery::Delivery;
use message::Message;
use places::Places;

/// Where messages can go.
#[derive(Debug)]
pub enum Receiver {
    /// JSON to an address.
    Webhook(Delivery),
    /// PagerDuty.
    PagerDuty {
        /// Where its events go.
        to: Delivery,
        /// A file with the integration's key, read at every message.
        routing_key: PathBuf,
    },
    /// A workflow of Microsoft Teams.
    Teams(Delivery),
    /// The service's own log.
    Log,
}

impl Receiver {
    /// Whether it wants to hear of this stage, once it was called.
    pub fn hears(&self, stage: Stage) -> bool {
        match (self, stage) {
            (_, Stage::Called) | (Self::Webhook(_) | Self::PagerDuty { .. }, _) => true,
            // Each message is a card of its own there: the beginning and the end suffice.
            (Self::Teams(_) | Self::Log, Stage::Over) => true,
            (Self::Teams(_) | Self::Log, Stage::InHand) => false,
        }
    }
}

/// All receivers of the configuration.
#[derive(Debug, Default)]
pub struct Receivers {
    by_name: BTreeMap<String, Receiver>,
    places: Places,
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
    /// The receivers of a configuration, by name, and where people find what messages point at.
    pub fn new(by_name: BTreeMap<String, Receiver>, places: Places) -> Self {
        Self { by_name, places }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Whether the receiver of this name wants to hear of this stage.
    pub fn hears(&self, name: &str, stage: Stage) -> bool {
        self.by_name.get(name).is_some_and(|receiver| receiver.hears(stage))
    }

    /// The message about an incident as it stands.
    pub fn about(
        &self,
        incident: &Incident,
        stage: Stage,
        text: String,
        at: jiff::Timestamp,
    ) -> Message {
        Message { stage, text, briefing: self.places.brief(incident), at }
    }

    /// Delivers a message, with retries; returns when it is delivered or given up.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn send(&self, name: &str, message: &Message) -> Result<(), NotifyError> {
        let id = message.id().to_string();
        match self.by_name.get(name) {
            Some(Receiver::Webhook(to)) => to.send(name, &id, &webhook::body(message)).await,
            Some(Receiver::Teams(to)) => to.send(name, &id, &teams::body(message)).await,
            Some(Receiver::PagerDuty { to, routing_key }) => {
                let key = outbound::secret(routing_key).await;
                let refused = |why: String| NotifyError::Refused { name: name.to_owned(), why };
                let key = key.map_err(|error| refused(error.to_string()))?;
                to.send(name, &id, &pagerduty::body(message, &key)).await
            }
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
    let incident = &message.briefing.incident;
    let (title, text) = (&message.briefing.headline, &message.text);
    match message.stage {
        Stage::Called => tracing::error!(receiver, %incident, title, text, "message"),
        Stage::InHand | Stage::Over => {
            tracing::info!(receiver, %incident, title, text, "message");
        }
    }
}
