//! Between Slack's two ways of delivering and whoever takes what is delivered.

use futures::future::BoxFuture;
use serde_json::Value;

use super::incoming::Incoming;

/// Who takes what Slack delivers.
pub trait Listener: Send + Sync + 'static {
    /// Takes a delivery; the answer is sent as the acknowledgement, which therefore means that the
    /// delivery will not be lost. Without an answer it is not acknowledged, and Slack tells the
    /// person that it did not work.
    fn hear(&self, incoming: Incoming) -> BoxFuture<'_, Option<Reply>>;
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing but that it came.
    Heard,
    /// The answer to a dialogue or a command.
    Answer(Value),
}
