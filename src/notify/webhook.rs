//! A message as JSON, for a receiver of one's own.

use serde_json::{Value, json};

use super::message::Message;

/// The body. `id` is the same for the same message, as in the header `Idempotency-Key`.
pub fn body(message: &Message) -> Value {
    let facts = message.facts();
    let facts: Vec<_> =
        facts.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "version": 2,
        "id": message.id().to_string(),
        "message": {
            "stage": message.stage,
            "incident": message.briefing.incident,
            "title": message.briefing.headline,
            "text": message.text,
            "facts": facts,
            "links": message.briefing.links,
            "at": message.at,
            "briefing": message.briefing,
        },
    })
}
