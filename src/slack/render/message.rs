//! The message about an incident. It is the state: it is written anew at every change, and its
//! buttons are those that mean something now.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Shown;
use crate::domain::briefing::{Briefing, Offer, QuestionBrief, Standing};
use crate::domain::event::Outcome;
use crate::domain::explain::clock;
use crate::slack::blocks::{
    FIELD, SECTION, Style, TEXT, actions, button, confirmed, context, fields, header, link_button,
    menu, quoted, section,
};
use crate::slack::seal::Sealer;
use crate::slack::text::{code, escape, line};

/// Agree with the plan.
pub const APPROVE: &str = "approve";
/// Say no to it.
pub const REFUSE: &str = "refuse";
/// Put the question off.
pub const SNOOZE: &str = "snooze";
/// End a snooze.
pub const ASK_NOW: &str = "ask-now";
/// Stop it.
pub const ABORT: &str = "abort";
/// Show more.
pub const DETAILS: &str = "details";
/// A link; Slack tells of it, and nothing follows.
pub const LOOK: &str = "look";

/// Characters of a diff in the message; the whole one is in the thread.
const DIFF: usize = 1500;
/// Characters of one line of evidence.
const LINE: usize = 280;
/// Lines of evidence and of blast radius.
const LINES: usize = 8;
/// Alerts by name, in the message.
const ALERTS: usize = 3;
/// How long the buttons that are not about a question are good: longer than any incident is open.
const LONG: SignedDuration = SignedDuration::from_hours(30 * 24);
/// For how long a question can be put off from here.
const SNOOZES: [(&str, &str); 3] = [("15m", "15 minutes"), ("1h", "1 hour"), ("4h", "4 hours")];

/// What the buttons need.
#[derive(Clone, Copy, Debug)]
pub struct Buttons<'a> {
    /// What seals them; without it there are none, because nobody hears them.
    pub sealer: Option<&'a Sealer>,
    /// Now.
    pub now: Timestamp,
}

/// The message.
pub fn message(briefing: &Briefing, buttons: Buttons<'_>) -> Shown {
    let mark = mark(briefing.standing);
    let mut blocks = vec![header(&format!("{mark} {}", briefing.headline))];
    let status = status(briefing);
    blocks.push(section(&format!("*{}*", line(&status, SECTION - 2))));
    blocks.push(fields(&labelled(briefing)));
    if let Some(explanation) = &briefing.explanation {
        blocks.push(quoted(explanation));
    }
    if briefing.alerts.len() + briefing.more_alerts > 1 {
        blocks.push(context(&[alerts(briefing)]));
    }
    if let Some(cause) = &briefing.cause {
        let mut text = format!("*Cause*\n{}", line(cause, 2 * LINE));
        let shown = briefing.evidence.iter().take(LINES);
        shown.for_each(|it| text.push_str(&format!("\n• {}", line(it, LINE))));
        blocks.push(section(&text));
    }
    plan(briefing, &mut blocks);
    let small = small_print(briefing);
    if !small.is_empty() {
        blocks.push(section(&small));
    }
    if !briefing.links.is_empty() {
        let links = briefing.links.iter().take(5).map(|link| {
            // Checked when it was made: no character that ends a link.
            format!("<{}|{}>", link.url.replace('&', "&amp;"), escape(&link.title, 80))
        });
        blocks.push(context(&[links.collect::<Vec<_>>().join("  ·  ")]));
    }
    if let Some(sealer) = buttons.sealer {
        let elements = elements(briefing, sealer, buttons.now);
        blocks.push(actions("decide", elements));
    } else if let Some(link) = briefing.links.iter().find(|link| link.title == "Console") {
        blocks.push(actions("decide", vec![link_button(LOOK, "Decide in the console", &link.url)]));
    }
    let plan = briefing.plan.as_ref().map(|plan| format!(" · plan {}", plan.digest.short()));
    let plan = plan.unwrap_or_default();
    let id =
        format!("incident `{}`{plan} · policy `{}`", briefing.incident, line(&briefing.policy, 80));
    blocks.push(context(&[id]));
    let text = format!("{mark} {}: {status}", briefing.headline);
    Shown { text: line(&text, TEXT), blocks }
}

/// A mark that is seen before a word is read.
pub(super) fn mark(standing: Standing) -> &'static str {
    match standing {
        Standing::Looking => "🔎",
        Standing::Held => "⏸️",
        Standing::Snoozed => "💤",
        Standing::Waiting => "🟠",
        Standing::Executing => "🔧",
        Standing::Verifying => "👀",
        Standing::Escalating => "🚨",
        Standing::Ended(outcome) => match outcome {
            Outcome::Fixed => "✅",
            Outcome::Recovered => "🟢",
            Outcome::DryRun => "📝",
            Outcome::Refused | Outcome::Aborted => "✋",
            Outcome::Expired => "⌛",
            Outcome::Denied | Outcome::Undiagnosed | Outcome::Impossible | Outcome::HandedOver => {
                "⚪"
            }
            Outcome::NotFixed | Outcome::Failed => "🔴",
            Outcome::Joined => "↪️",
        },
    }
}

/// Who agreed is shown by Slack's own names below; the sentence counts them.
fn status(briefing: &Briefing) -> String {
    match &briefing.question {
        Some(question) if !question.given.is_empty() => {
            let (given, quorum) = (question.given.len(), question.quorum);
            format!("{given} of {quorum} approved; until {}", clock(question.expires))
        }
        Some(_) | None => briefing.status.clone(),
    }
}

fn labelled(briefing: &Briefing) -> Vec<String> {
    let field = |name: &str, value: &str| format!("*{name}*\n{}", line(value, FIELD / 4));
    let mut fields = Vec::new();
    if let Some(severity) = &briefing.severity {
        fields.push(field("Severity", severity));
    }
    fields.push(field("Firing since", &clock(briefing.since)));
    fields.push(field("Target", &briefing.target));
    let mode = crate::domain::gate::evidence::mode_name(briefing.mode);
    fields.push(field("Mode", mode));
    fields
}

fn alerts(briefing: &Briefing) -> String {
    let shown = briefing.alerts.iter().take(ALERTS);
    let names: Vec<_> = shown
        .map(|alert| {
            let ended = if alert.resolved.is_some() { " (ended)" } else { "" };
            format!("{}{ended} {}", line(&alert.name, 60), line(&alert.labels, 120))
        })
        .collect();
    let all = briefing.alerts.len() + briefing.more_alerts;
    let more = match all.saturating_sub(names.len()) {
        0 => String::new(),
        more => format!("\nand {more} more"),
    };
    format!("{all} alerts:\n{}{more}", names.join("\n"))
}

fn plan(briefing: &Briefing, blocks: &mut Vec<Value>) {
    let Some(plan) = &briefing.plan else { return };
    let title = match briefing.standing {
        Standing::Ended(Outcome::Fixed | Outcome::NotFixed | Outcome::Failed)
        | Standing::Executing
        | Standing::Verifying => "Change",
        Standing::Ended(_)
        | Standing::Looking
        | Standing::Held
        | Standing::Snoozed
        | Standing::Waiting
        | Standing::Escalating => "Plan",
    };
    let mut text = format!("*{title}*: {}", line(&plan.sentence, 2 * LINE));
    for step in plan.steps.iter().take(3) {
        text.push_str(&format!("\nbecause {}", line(&step.reason, LINE)));
    }
    blocks.push(section(&text));
    let diffs = plan.steps.iter().map(|step| step.diff.as_str()).filter(|diff| !diff.is_empty());
    let whole = diffs.collect::<Vec<_>>().join("\n");
    // What is done needs no diff any more; the thread has it.
    let wanted = matches!(
        briefing.standing,
        Standing::Waiting | Standing::Held | Standing::Snoozed | Standing::Ended(Outcome::DryRun)
    );
    if wanted && !whole.is_empty() {
        blocks.push(section(&code(&beginning(&whole), SECTION)));
    }
}

/// Whole lines of a diff that fit.
fn beginning(diff: &str) -> String {
    let mut shown = String::new();
    let lines = diff.lines().count();
    for (index, line) in diff.lines().enumerate() {
        if shown.chars().count() + line.chars().count() > DIFF {
            shown.push_str(&format!("… {} more lines, in the thread", lines - index));
            break;
        }
        shown.push_str(line);
        shown.push('\n');
    }
    shown
}

fn small_print(briefing: &Briefing) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, texts: &[String]| {
        if !texts.is_empty() {
            let texts: Vec<_> = texts.iter().take(LINES).map(|text| line(text, LINE)).collect();
            lines.push(format!("*{name}*: {}", texts.join("; ")));
        }
    };
    let over = matches!(briefing.standing, Standing::Ended(_));
    if !over {
        add("Blast radius", &briefing.blast_radius);
        add("Gates", &briefing.concerns);
    }
    if let Some(question) = &briefing.question {
        add("May decide", &deciders(question));
        if !question.given.is_empty() {
            let people: Vec<_> = question.given.iter().map(|name| person(name)).collect();
            lines.push(format!("*Approved by*: {}", people.join(", ")));
        }
    }
    if !over {
        lines.push(format!("*Next*: {}", line(&briefing.next, 2 * LINE)));
    }
    crate::slack::text::joined(&lines, SECTION)
}

fn deciders(question: &QuestionBrief) -> Vec<String> {
    if question.groups.is_empty() { Vec::new() } else { vec![question.groups.join(", ")] }
}

/// A person by Slack's own name for them, when they came from Slack: it shows who it is and cannot be
/// chosen freely.
pub(super) fn person(name: &str) -> String {
    let id = name.strip_prefix("slack:").filter(|id| {
        let known = id.starts_with('U') || id.starts_with('W');
        known && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    });
    id.map_or_else(|| line(name, 100), |id| format!("<@{id}>"))
}

fn elements(briefing: &Briefing, sealer: &Sealer, now: Timestamp) -> Vec<Value> {
    let long = now.saturating_add(LONG).unwrap_or(Timestamp::MAX);
    // To the day, so that the message does not change because time passes.
    let day = SignedDuration::from_hours(24).as_secs();
    let long = Timestamp::from_second(long.as_second() / day * day).unwrap_or(long);
    let asked = briefing.question.as_ref();
    let until = asked.map_or(long, |question| question.expires);
    let plan = briefing.plan.as_ref().map(|plan| &plan.digest);
    let seal = |action: &str, until| sealer.seal(action, &briefing.incident, plan, until);
    let mut elements = Vec::new();
    for offer in &briefing.offers {
        elements.push(match offer {
            Offer::Approve => {
                let sentence = briefing.plan.as_ref().map_or("", |plan| plan.sentence.as_str());
                confirmed(
                    button(APPROVE, "Approve", &seal(APPROVE, until), Style::Primary),
                    "Carry this out?",
                    &format!("{}: {sentence}", briefing.target),
                    "Approve",
                    "Not yet",
                )
            }
            Offer::Refuse => button(REFUSE, "Refuse", &seal(REFUSE, until), Style::Danger),
            Offer::Snooze => {
                let value = seal(SNOOZE, until);
                let option = |(length, name): &(&str, &str)| {
                    (format!("{value}:{length}"), format!("for {name}"))
                };
                let options: Vec<_> = SNOOZES.iter().map(option).collect();
                menu(SNOOZE, "Snooze", &options)
            }
            Offer::AskNow => button(ASK_NOW, "Ask now", &seal(ASK_NOW, long), Style::Primary),
            Offer::Abort => button(ABORT, "Abort", &seal(ABORT, long), Style::Danger),
        });
    }
    elements.push(button(DETAILS, "Details", &seal(DETAILS, long), Style::Usual));
    elements
}
