//! How an incident looks in Slack. Pure: a briefing goes in, what Slack shows comes out.

mod message;
mod modal;
mod storm;
mod story;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::blocks::TEXT;
use super::text::escape;

pub use message::{ABORT, APPROVE, ASK_NOW, Buttons, DETAILS, LOOK, REFUSE, SNOOZE, message};
pub use modal::{details, reason};
pub use storm::{Storm, storm};
pub use story::{Told, opening, told};

/// What Slack shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// What a notification says, and what a client shows that knows no blocks.
    pub text: String,
    /// The message.
    pub blocks: Vec<Value>,
}

impl Shown {
    /// Only words; foreign ones among them are escaped here.
    pub fn words(text: &str) -> Self {
        Self { text: escape(text, TEXT), blocks: Vec::new() }
    }

    /// The arguments for `chat.postMessage` and `chat.update`. No link is unfurled: a preview of
    /// somebody's address says nothing about the incident, and fetching it tells the address's owner.
    pub fn arguments(&self) -> Value {
        let mut arguments = json!({
            "text": self.text, "unfurl_links": false, "unfurl_media": false, "link_names": false,
        });
        if !self.blocks.is_empty() {
            arguments["blocks"] = json!(self.blocks);
        }
        arguments
    }
}
