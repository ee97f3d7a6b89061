//! Every message in each of its states, as a person sees it; the limits are checked by the Slack of
//! the integration tests.

use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::domain::briefing::Briefing;
use crate::domain::event::{Event, Outcome};
use crate::domain::incident::Incident;
use crate::domain::resolution::{Criterion, CriterionState, Progress};
use crate::domain::testing::*;
use crate::slack::seal::Sealer;

/// Blocks as text: one line a field, so that a change can be read.
fn seen(shown: &Shown) -> String {
    let mut text = format!("notification: {}\n", shown.text);
    for block in &shown.blocks {
        see(block, &mut text);
    }
    text
}

fn see(block: &Value, out: &mut String) {
    let text = |value: &Value| {
        let mark = if value["type"] == "plain_text" { "" } else { "~" };
        format!("{mark}{}", value["text"].as_str().unwrap_or("?")).replace('\n', "\n    ")
    };
    let kind = block["type"].as_str().unwrap_or("?");
    if !block["text"].is_null() {
        let _ = writeln!(out, "{kind}\n    {}", text(&block["text"]));
    }
    for part in ["fields", "elements"] {
        for element in block[part].as_array().into_iter().flatten() {
            match element["type"].as_str() {
                Some("button") => {
                    let style = element["style"].as_str().unwrap_or("usual");
                    let _ = writeln!(
                        out,
                        "button [{}] {style}",
                        element["text"]["text"].as_str().unwrap_or("?")
                    );
                    if !element["confirm"].is_null() {
                        let _ = writeln!(out, "    asks: {}", text(&element["confirm"]["text"]));
                    }
                }
                Some("static_select") => {
                    let options = element["options"].as_array().into_iter().flatten();
                    let options: Vec<_> = options.map(|it| text(&it["text"])).collect();
                    let _ = writeln!(out, "menu [{}]", options.join(", "));
                }
                _ => {
                    let _ = writeln!(out, "{kind}: {}", text(element));
                }
            }
        }
    }
}

fn shown(incident: &Incident) -> String {
    let sealer = Sealer::new("journal", &"secret".into());
    let buttons = Buttons { sealer: Some(&sealer), now: NOW };
    seen(&message(&Briefing::of(incident), buttons))
}

#[test]
fn each_state_of_the_message() {
    let asked = asked_incident(2);
    let digest = asked.question.as_ref().expect("a question").digest;
    let mut incident = asked.clone();
    let mut all = vec![("waiting", shown(&incident))];
    let mut after = |name: &'static str, incident: &mut Incident, events: Vec<Event>| {
        events.iter().for_each(|event| incident.apply(later(60), event));
        all.push((name, shown(incident)));
    };
    let yes = |name: &str| Event::ApprovalGiven { digest, by: person(name), reason: None };
    after("half", &mut incident, vec![yes("slack:U0ALICE")]);
    let mut asleep = asked.clone();
    let until = later(900);
    after("snoozed", &mut asleep, vec![Event::Snoozed { by: person("bob"), until, reason: None }]);
    let mut stale = asked.clone();
    let again = asked.proposal.clone().expect("a plan");
    let proposed =
        Event::PlanProposed { plan: Box::new(again.plan), digest, previews: again.previews };
    let gated = asked.gates.clone().expect("gates");
    let verdicts = gated.verdicts.clone();
    let stale_events = vec![
        Event::PlanStale { why: "the target changed".to_owned() },
        Event::FactsCollected { facts: Box::new(asked.facts.clone().expect("facts")) },
        Event::CauseFound { finding: asked.finding.clone().expect("a finding") },
        proposed,
        Event::GateDecided { digest, ruling: gated.ruling, verdicts: gated.verdicts },
        Event::ApprovalRequested { digest, expires: later(3600), quorum: 2 },
    ];
    after("stale", &mut stale, stale_events);
    let mut held = asked.clone();
    let hold = crate::domain::gate::Ruling::Hold { until: later(120) };
    after("held", &mut held, vec![Event::GateDecided { digest, ruling: hold, verdicts }]);
    let mut running = asked.clone();
    after("executing", &mut running, vec![Event::StepStarted { digest, step: 0, attempt: 1 }]);
    let done = Event::StepFinished {
        step: 0,
        evidence: "stored".to_owned(),
        diff: String::new(),
        left: None,
    };
    let state = |criterion, since, evidence: &str| CriterionState {
        criterion,
        since,
        hold: "1m".parse().expect("a time"),
        evidence: evidence.to_owned(),
    };
    let criteria = vec![
        state(Criterion::Rollout, Some(NOW), "the rollout is complete"),
        state(Criterion::Alert, None, "1 alert fires"),
    ];
    let progress = Progress { looked: Some(NOW), criteria, restarts: Vec::new() };
    after("verifying", &mut running, vec![done, Event::ProgressNoted { progress }]);
    let over = |outcome| Event::IncidentClosed { outcome, reason: "`it` is <so>".to_owned() };
    after("fixed", &mut running.clone(), vec![over(Outcome::Fixed)]);
    after("failed", &mut running, vec![over(Outcome::Failed)]);
    let mut given_up = asked.clone();
    let reason = "nobody answered in time".to_owned();
    let given = vec![Event::GivenUp { outcome: Outcome::Expired, reason }];
    after("escalated", &mut given_up, given);
    after("expired", &mut given_up, vec![over(Outcome::Expired)]);
    for (name, outcome) in [("recovered", Outcome::Recovered), ("dry-run", Outcome::DryRun)] {
        after(name, &mut asked.clone(), vec![over(outcome)]);
    }
    let all: Vec<_> = all.iter().map(|(name, text)| format!("## {name}\n{text}")).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_thread_tells_evidence_diff_and_what_happens() {
    let incident = asked_incident(1);
    let briefing = Briefing::of(&incident);
    let opening: Vec<_> = opening(&briefing).iter().map(seen).collect();
    let digest = briefing.plan.expect("a plan").digest;
    let events = [
        Event::ApprovalGiven { digest, by: person("alice"), reason: Some("<!here> go".to_owned()) },
        Event::StepStarted { digest, step: 0, attempt: 1 },
        Event::ProgressNoted { progress: Progress::default() },
    ];
    let events: Vec<_> = events.iter().map(|event| Told { at: NOW, event }).collect();
    let told: Vec<_> = told(&events).iter().map(seen).collect();
    insta::assert_snapshot!([opening, told].concat().join("\n"));
}

#[test]
fn dialogues() {
    let incident = asked_incident(1);
    let briefing = Briefing::of(&incident);
    let views = [
        reason(REFUSE, "sealed", &briefing),
        reason(ABORT, "sealed", &briefing),
        details(&incident, &briefing),
    ];
    let views = views.map(|view| serde_json::to_string_pretty(&view).expect("JSON"));
    insta::assert_snapshot!(views.join("\n\n"));
}

#[test]
fn a_storm_and_its_end() {
    let blowing = Storm {
        since: NOW,
        over: false,
        incidents: 512,
        own: 0,
        standings: vec![("held".to_owned(), 500), ("waiting-for-approval".to_owned(), 12)],
        policies: (0..12).map(|n| (format!("policy-{n}"), 40 - n)).collect(),
        waiting: vec![("0123456789ab".to_owned(), "AgentDown on <!channel>".to_owned())],
        brake: "512 incidents opened in 5m; the storm brake sets at 20".to_owned(),
        console: Some("https://orderly.example.com/?a=1&b=2".to_owned()),
    };
    let over = Storm { over: true, own: 3, console: None, waiting: Vec::new(), ..blowing.clone() };
    insta::assert_snapshot!([storm(&blowing), storm(&over)].map(|it| seen(&it)).join("\n"));
}
