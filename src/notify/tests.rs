//! Each receiver's rendering of the same message, in each of its stages.

use serde_json::Value;

use super::*;
use crate::domain::testing::{NOW, asked_incident};

fn receivers() -> Receivers {
    let places = Places {
        console: Some("https://orderly.example.com".to_owned()),
        alertmanager: Some("https://alertmanager.example.com".to_owned()),
    };
    Receivers::new(BTreeMap::new(), places)
}

fn message(stage: Stage) -> Message {
    let text = "look at the pods: [not a link](https://evil.example) <b>&".to_owned();
    receivers().about(&asked_incident(1), stage, text, NOW)
}

fn pretty(bodies: impl IntoIterator<Item = Value>) -> String {
    let bodies = bodies.into_iter().map(|it| serde_json::to_string_pretty(&it).expect("JSON"));
    bodies.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn a_webhooks_body() {
    insta::assert_snapshot!(pretty([webhook::body(&message(Stage::Called))]));
}

#[test]
fn pagerdutys_events_share_one_key() {
    let stages = [Stage::Called, Stage::InHand, Stage::Over];
    let bodies = stages.map(|stage| pagerduty::body(&message(stage), &"R".repeat(32)));
    assert!(bodies.iter().all(|body| body["dedup_key"] == bodies[0]["dedup_key"]));
    insta::assert_snapshot!(pretty(bodies));
}

#[test]
fn pagerdutys_limits_hold_whatever_the_text() {
    let mut long = message(Stage::Called);
    long.text = "x".repeat(100_000);
    long.briefing.evidence = vec!["y".repeat(100_000); 20];
    let body = pagerduty::body(&long, "key");
    let summary = body["payload"]["summary"].as_str().expect("text");
    assert!(summary.chars().count() <= 1024 && summary.ends_with('…'));
    assert!(body["dedup_key"].as_str().expect("text").len() <= 255);
    assert!(body.to_string().len() < 512 * 1024);
    assert!(teams::body(&long).to_string().len() < 28 * 1024);
    for (label, severity) in
        [("warning", "warning"), ("INFO", "info"), ("page", "critical"), ("high", "error")]
    {
        long.briefing.severity = Some(label.to_owned());
        assert_eq!(pagerduty::body(&long, "key")["payload"]["severity"], severity);
    }
}

#[test]
fn a_card_for_teams_knows_no_markdown_and_leads_to_the_console() {
    let card = teams::body(&message(Stage::Called));
    let text = card.to_string();
    assert!(!text.contains("\"type\":\"TextBlock\""), "{text}");
    let actions = card["attachments"][0]["content"]["actions"].as_array().expect("actions");
    assert!(actions.iter().any(|action| action["title"] == "Console"));
    insta::assert_snapshot!(pretty([card, teams::body(&message(Stage::Over))]));
}
