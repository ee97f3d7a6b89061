//! The thread: evidence and the whole diff first, then what happens as it happens, and the timeline
//! at the end.

use jiff::Timestamp;

use super::Shown;
use crate::domain::briefing::Briefing;
use crate::domain::event::Event;
use crate::domain::explain;
use crate::domain::gate::Ruling;
use crate::slack::blocks::{SECTION, TEXT, context, section};
use crate::slack::text::{joined, line, pages};

/// Characters of one line of the story.
const LINE: usize = 500;
/// Messages that a diff may take: forty screens are read elsewhere.
const PAGES: usize = 8;

/// One event of the story.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: &'a Event,
}

/// The evidence and the diff of the plan that stands: one message each.
pub fn opening(briefing: &Briefing) -> Vec<Shown> {
    let mut shown = Vec::new();
    if !briefing.evidence.is_empty() {
        let mut lines = vec!["*Evidence*".to_owned()];
        lines.extend(briefing.evidence.iter().map(|it| format!("• {}", line(it, LINE))));
        shown.push(of(&joined(&lines, SECTION)));
    }
    let diffs = briefing.plan.iter().flat_map(|plan| &plan.steps);
    let diffs: Vec<_> = diffs.map(|step| step.diff.as_str()).filter(|it| !it.is_empty()).collect();
    let (parts, cut) = pages(&diffs.join("\n"), SECTION, PAGES);
    for (index, part) in parts.iter().enumerate() {
        let mut page = of(part);
        page.text = format!("diff, part {} of {}", index + 1, parts.len());
        if cut && index + 1 == parts.len() {
            let rest = format!("the rest: `orderly incident show {}`", briefing.incident);
            page.blocks.push(context(&[rest]));
        }
        shown.push(page);
    }
    shown
}

/// What happened, in as few messages as it takes.
pub fn told(events: &[Told<'_>]) -> Vec<Shown> {
    let lines = events.iter().filter(|told| worth_telling(told.event)).map(|told| {
        let time = told.at.strftime("%H:%M:%S");
        format!("`{time}` {}", line(&explain::line(told.event), LINE))
    });
    let mut messages = Vec::new();
    let mut text = String::new();
    for line in lines {
        if !text.is_empty() && text.chars().count() + line.chars().count() + 1 > SECTION {
            messages.push(of(&std::mem::take(&mut text)));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&line);
    }
    if !text.is_empty() {
        messages.push(of(&text));
    }
    messages
}

/// Whether a person in the thread wants to read of it: not of every look.
fn worth_telling(event: &Event) -> bool {
    match event {
        Event::FactsCollected { .. } | Event::ProgressNoted { .. } => false,
        // That gates hold it shows in the message; that they let it pass is followed by the act.
        Event::GateDecided { ruling, .. } => !matches!(ruling, Ruling::Hold { .. } | Ruling::Act),
        _ => true,
    }
}

/// One message of this text, which is in Slack's markup already.
fn of(text: &str) -> Shown {
    let first = text.lines().find(|line| !line.starts_with("```")).unwrap_or("");
    Shown { text: first.chars().take(TEXT).collect(), blocks: vec![section(text)] }
}
