//! Block Kit, as far as it is used: each part within the limits that Slack documents, so that no
//! message is refused for a label that is too long.

use serde_json::{Value, json};

use super::text::plain;

/// Characters of a section.
pub const SECTION: usize = 3000;
/// Characters of a header.
pub const HEADER: usize = 150;
/// Characters of each of a section's fields, and how many fields there are at most.
pub const FIELD: usize = 2000;
/// See [`FIELD`].
pub const FIELDS: usize = 10;
/// Elements of a context.
pub const CONTEXT: usize = 10;
/// Characters of a message's text: from here on `chat.update` refuses it.
pub const TEXT: usize = 4000;
/// Blocks of a message.
pub const BLOCKS: usize = 50;
/// Characters of a button's text.
pub const BUTTON: usize = 75;
/// Characters of a confirmation's title and of its two buttons.
const CONFIRM_TITLE: usize = 100;
const CONFIRM_BUTTON: usize = 30;
/// Characters of a confirmation's text.
const CONFIRM_TEXT: usize = 300;
/// Characters of a modal's title and of its buttons.
const MODAL_TITLE: usize = 24;
/// Characters that a person may type into a modal: what a reason in the journal takes.
const INPUT: usize = 1000;

/// Text that Slack shows as it is.
fn plain_text(text: &str, limit: usize) -> Value {
    json!({"type": "plain_text", "text": plain(text, limit), "emoji": false})
}

/// Text in Slack's markup. `verbatim`: Slack looks for no addresses and channels in it by itself.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// A title.
pub fn header(text: &str) -> Value {
    json!({"type": "header", "text": plain_text(text, HEADER)})
}

/// A paragraph in Slack's markup, already escaped and cut to [`SECTION`].
pub fn section(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

/// A paragraph of somebody else's words, in which no markup counts.
pub fn quoted(text: &str) -> Value {
    json!({"type": "section", "text": plain_text(text, SECTION)})
}

/// Short texts side by side, in Slack's markup.
pub fn fields(texts: &[String]) -> Value {
    let fields: Vec<_> = texts.iter().take(FIELDS).map(|text| mrkdwn(text)).collect();
    json!({"type": "section", "fields": fields})
}

/// Small print, in Slack's markup.
pub fn context(texts: &[String]) -> Value {
    let elements: Vec<_> = texts.iter().take(CONTEXT).map(|text| mrkdwn(text)).collect();
    json!({"type": "context", "elements": elements})
}

/// A row of buttons and menus.
pub fn actions(id: &str, elements: Vec<Value>) -> Value {
    json!({"type": "actions", "block_id": id, "elements": elements})
}

/// How a button looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Like any other.
    Usual,
    /// The one to press.
    Primary,
    /// The one to think about.
    Danger,
}

/// A button.
pub fn button(action: &str, text: &str, value: &str, style: Style) -> Value {
    let mut button = json!({
        "type": "button", "action_id": action, "text": plain_text(text, BUTTON), "value": value,
    });
    match style {
        Style::Usual => {}
        Style::Primary => button["style"] = json!("primary"),
        Style::Danger => button["style"] = json!("danger"),
    }
    button
}

/// A button that leads to an address.
pub fn link_button(action: &str, text: &str, url: &str) -> Value {
    json!({"type": "button", "action_id": action, "text": plain_text(text, BUTTON), "url": url})
}

/// The question that Slack asks before it sends a click. It is a courtesy, no proof of anything.
pub fn confirmed(mut button: Value, title: &str, text: &str, yes: &str, no: &str) -> Value {
    button["confirm"] = json!({
        "title": plain_text(title, CONFIRM_TITLE),
        "text": plain_text(text, CONFIRM_TEXT),
        "confirm": plain_text(yes, CONFIRM_BUTTON),
        "deny": plain_text(no, CONFIRM_BUTTON),
    });
    button
}

/// A menu of values with their names.
pub fn menu(action: &str, title: &str, options: &[(String, String)]) -> Value {
    let option = |(value, name): &(String, String)| json!({"text": plain_text(name, BUTTON), "value": value});
    let options: Vec<_> = options.iter().map(option).collect();
    json!({
        "type": "static_select", "action_id": action,
        "placeholder": plain_text(title, BUTTON), "options": options,
    })
}

/// A dialogue that asks for a reason.
pub fn reason_modal(
    callback: &str,
    title: &str,
    submit: &str,
    intro: &str,
    context: &str,
) -> Value {
    json!({
        "type": "modal",
        "callback_id": callback,
        "private_metadata": context,
        "title": plain_text(title, MODAL_TITLE),
        "submit": plain_text(submit, MODAL_TITLE),
        "close": plain_text("Back", MODAL_TITLE),
        "blocks": [
            quoted(intro),
            {
                "type": "input", "block_id": "reason",
                "label": plain_text("Why? The journal keeps it.", FIELD),
                "element": {
                    "type": "plain_text_input", "action_id": "reason", "multiline": true,
                    "max_length": INPUT, "min_length": 1,
                },
            },
        ],
    })
}

/// A dialogue that only shows.
pub fn showing_modal(title: &str, blocks: Vec<Value>) -> Value {
    json!({
        "type": "modal", "title": plain_text(title, MODAL_TITLE),
        "close": plain_text("Close", MODAL_TITLE), "blocks": blocks,
    })
}
