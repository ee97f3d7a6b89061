//! A message as an event of PagerDuty's Events API v2: one incident there for one here, by one
//! deduplication key, which is acknowledged when a person takes it in hand and resolved at its end.

use serde_json::{Value, json};

use super::message::Message;
use crate::domain::conversation::Stage;

/// Where events go.
pub const ADDRESS: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters of a summary.
const SUMMARY: usize = 1024;
/// Characters of one detail: the whole event may have 512 KB.
const DETAIL: usize = 4000;

/// The body. An acknowledgement or an end without a beginning is dropped by PagerDuty in silence.
pub fn body(message: &Message, routing_key: &str) -> Value {
    let briefing = &message.briefing;
    let action = match message.stage {
        Stage::Called => "trigger",
        Stage::InHand => "acknowledge",
        Stage::Over => "resolve",
    };
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": format!("orderly-{}", briefing.incident),
    });
    if message.stage == Stage::Called {
        let details: serde_json::Map<_, _> = message
            .facts()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(cut(&value, DETAIL))))
            .chain([("What to do".to_owned(), Value::String(cut(&message.text, DETAIL)))])
            .collect();
        event["payload"] = json!({
            "summary": cut(&format!("{}: {}", briefing.headline, message.text), SUMMARY),
            "source": briefing.target,
            "severity": severity(briefing.severity.as_deref()),
            "timestamp": briefing.since,
            "component": briefing.target,
            "group": briefing.namespace,
            "class": briefing.alerts.first().map(|alert| alert.name.clone()),
            "custom_details": details,
        });
        let links = briefing.links.iter().map(|it| json!({"href": it.url, "text": it.title}));
        event["links"] = links.collect();
        event["client"] = json!("Orderly");
        if let Some(page) = briefing.links.iter().find(|link| link.title == "Console") {
            event["client_url"] = json!(page.url);
        }
    }
    event
}

/// PagerDuty knows four; what calls people and says nothing else is critical.
fn severity(label: Option<&str>) -> &'static str {
    match label.map(str::to_ascii_lowercase).as_deref() {
        Some("info" | "informational" | "notice") => "info",
        Some("warning" | "warn" | "minor") => "warning",
        Some("error" | "major" | "high") => "error",
        Some(_) | None => "critical",
    }
}

fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}
