//! A message as a card for a workflow of Microsoft Teams. A workflow hears no buttons, so the card
//! leads to the console.

use serde_json::{Value, json};

use super::message::Message;
use crate::domain::conversation::Stage;

/// Characters of one text: a card may have 28 KB.
const TEXT: usize = 1500;

/// The body.
pub fn body(message: &Message) -> Value {
    let briefing = &message.briefing;
    let (mark, colour) = match message.stage {
        Stage::Called => ("🚨", "attention"),
        Stage::InHand => ("🔧", "accent"),
        Stage::Over => ("☑️", "good"),
    };
    let mut body = vec![
        words(&format!("{mark} {}", briefing.headline), true, colour),
        words(&message.text, false, "default"),
    ];
    for (name, value) in message.facts() {
        body.push(json!({
            "type": "RichTextBlock",
            "inlines": [
                {"type": "TextRun", "text": format!("{name}: "), "weight": "bolder"},
                {"type": "TextRun", "text": cut(&value)},
            ],
        }));
    }
    let actions: Vec<_> = briefing
        .links
        .iter()
        .map(|link| json!({"type": "Action.OpenUrl", "title": link.title, "url": link.url}))
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": {"width": "Full"},
                "body": body,
                "actions": actions,
            },
        }],
    })
}

/// A paragraph. A run of text, and not a `TextBlock`: that would read somebody else's words as Markdown,
/// links included.
fn words(text: &str, title: bool, colour: &str) -> Value {
    let mut run = json!({"type": "TextRun", "text": cut(text), "color": colour});
    if title {
        run["weight"] = json!("bolder");
        run["size"] = json!("large");
    }
    json!({"type": "RichTextBlock", "inlines": [run]})
}

fn cut(text: &str) -> String {
    if text.chars().count() <= TEXT {
        return text.to_owned();
    }
    text.chars().take(TEXT - 1).chain(['…']).collect()
}
