//! Dialogues: why somebody says no, and everything that is known.

use serde_json::Value;

use super::message::mark;
use crate::domain::briefing::Briefing;
use crate::domain::explain::clock;
use crate::domain::incident::Incident;
use crate::slack::blocks::{BLOCKS, SECTION, context, reason_modal, section, showing_modal};
use crate::slack::text::{joined, line, pages};

/// Characters of one line.
const LINE: usize = 280;

/// Asks why. `dialogue` is what is submitted, `value` what the button carried.
pub fn reason(dialogue: &str, value: &str, briefing: &Briefing) -> Value {
    let plan = briefing.plan.as_ref().map_or("no plan yet", |plan| plan.sentence.as_str());
    let (title, submit, intro) = if dialogue == super::REFUSE {
        ("Refuse the plan", "Refuse", format!("{}: {plan}. It ends the incident.", briefing.target))
    } else {
        let stops = "No further step starts; what is under way is looked after first.";
        ("Abort", "Abort", format!("{}. {stops}", briefing.headline))
    };
    reason_modal(dialogue, title, submit, &intro, value)
}

/// Everything that is known, as far as a dialogue takes it.
pub fn details(incident: &Incident, briefing: &Briefing) -> Value {
    let mut blocks = vec![section(&format!(
        "{} *{}*\n{}",
        mark(briefing.standing),
        line(&briefing.headline, LINE),
        line(&briefing.status, 2 * LINE)
    ))];
    let mut add = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let mut all = vec![format!("*{title}*")];
            all.extend(lines);
            blocks.push(section(&joined(&all, SECTION)));
        }
    };
    let alerts = briefing.alerts.iter().map(|alert| {
        let (name, labels) = (line(&alert.name, 60), line(&alert.labels, LINE));
        format!("{name} since {} {labels}", clock(alert.since))
    });
    add("Alerts", alerts.collect());
    let considered = incident.finding.iter().flat_map(|finding| &finding.considered);
    let considered = considered.map(|it| {
        let when = it.when.as_deref().map_or_else(|| "always".to_owned(), |it| line(it, LINE));
        format!("• {}: {} (`{when}`)", line(&it.cause, 80), line(&it.verdict, LINE))
    });
    add("Causes", considered.collect());
    add("Facts", briefing.evidence.iter().map(|it| format!("• {}", line(it, LINE))).collect());
    let verdicts = incident.gates.iter().flat_map(|gated| &gated.verdicts);
    let verdicts = verdicts.map(|verdict| {
        let stand = match verdict.stand {
            crate::domain::gate::Stand::Allow => "passes",
            crate::domain::gate::Stand::Ask => "asks",
            crate::domain::gate::Stand::Hold { .. } => "holds",
            crate::domain::gate::Stand::Deny => "denies",
        };
        let evidence = line(&verdict.evidence.to_string(), LINE);
        format!("• {stand} `{}`: {evidence}", verdict.gate.name())
    });
    add("Gates", verdicts.collect());
    let diffs = briefing.plan.iter().flat_map(|plan| &plan.steps);
    let diff: Vec<_> = diffs.map(|step| step.diff.as_str()).filter(|it| !it.is_empty()).collect();
    let (parts, cut) = pages(&diff.join("\n"), SECTION, 5);
    blocks.extend(parts.iter().map(|part| section(part)));
    if cut {
        let id = &incident.id;
        blocks.push(context(&[format!("the rest of the diff: `orderly incident show {id}`")]));
    }
    blocks.truncate(BLOCKS);
    showing_modal("Incident", blocks)
}
