//! Tells what happens while it happens: one line an event, in colour on a terminal, plain elsewhere.

use std::io::Write;

use jiff::Timestamp;

use crate::domain::event::{Event, Outcome};
use crate::domain::explain;
use crate::domain::gate::Stand;
use crate::terminal::{colour, plain, width, wrap};

/// Where the text of an event begins, after its time.
const TEXT: usize = 11;
/// Where the evidence of a gate begins, after its answer and its name.
const EVIDENCE: usize = TEXT + 29;

/// Writes the story.
#[derive(Clone, Copy, Debug)]
pub struct Teller {
    colour: bool,
    width: Option<usize>,
    began: Timestamp,
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// As it is.
    Plain,
    /// A headline.
    Title,
    /// Less important.
    Faint,
    /// Good news.
    Good,
    /// Bad news.
    Bad,
    /// Somebody has to do something.
    Ask,
}

impl Teller {
    /// A teller whose clock starts now.
    pub fn new(began: Timestamp) -> Self {
        Self { colour: colour(&std::io::stdout()), width: width(), began }
    }

    /// Writes one line.
    pub fn say(&self, look: Look, text: &str) {
        self.hang(look, text, text.len() - text.trim_start().len());
    }

    /// Writes one line; where it is too long for the terminal, it goes on below column `hang`.
    fn hang(&self, look: Look, text: &str, hang: usize) {
        let text = plain(text);
        let lines: Vec<_> =
            wrap(&text, self.width, hang).lines().map(|line| self.paint(look, line)).collect();
        let mut out = std::io::stdout().lock();
        // A closed terminal is no reason to end the service behind it.
        let _closed = writeln!(out, "{}", lines.join("\n"));
        let _closed = out.flush();
    }

    /// Writes without ending the line.
    pub fn ask(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _closed = write!(out, "{}", self.paint(Look::Ask, text));
        let _closed = out.flush();
    }

    fn paint(&self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Plain => return text.to_owned(),
            Look::Title => "1",
            Look::Faint => "2",
            Look::Good => "32",
            Look::Bad => "31",
            Look::Ask => "1;33",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Tells one event of an incident.
    pub fn event(&self, at: Timestamp, event: &Event) {
        let seconds = at.duration_since(self.began).as_secs_f64().max(0.0);
        let line = format!("  {seconds:>6.1}s  {}", explain::line(event));
        let say = |look| self.hang(look, &line, TEXT);
        match event {
            Event::PlanProposed { plan, previews, .. } => {
                say(Look::Plain);
                for step in &plan.steps {
                    self.say(Look::Faint, &format!("           because {}", step.reason));
                }
                for preview in previews {
                    self.diff(&preview.diff);
                }
            }
            Event::GateDecided { verdicts, .. } => {
                say(Look::Plain);
                for verdict in verdicts {
                    let mark = match verdict.stand {
                        Stand::Allow => "passes",
                        Stand::Ask => "asks  ",
                        Stand::Hold { .. } => "holds ",
                        Stand::Deny => "denies",
                    };
                    let text = format!(
                        "           {mark}  {:<20} {}",
                        verdict.gate.name(),
                        verdict.evidence
                    );
                    self.hang(Look::Faint, &text, EVIDENCE);
                }
            }
            Event::StepFinished { .. } | Event::ResolutionMet { .. } => say(Look::Good),
            Event::ApprovalRequested { .. } => say(Look::Ask),
            Event::StepFailed { .. }
            | Event::ResolutionMissed { .. }
            | Event::PlanImpossible { .. }
            | Event::GivenUp { .. } => say(Look::Bad),
            Event::IncidentClosed { outcome, .. } => {
                let look = match outcome {
                    Outcome::Fixed | Outcome::Recovered | Outcome::DryRun => Look::Good,
                    _ => Look::Bad,
                };
                say(look);
            }
            _ => say(Look::Plain),
        }
    }

    /// Shows a unified diff.
    pub fn diff(&self, diff: &str) {
        for line in diff.lines() {
            let look = match line.as_bytes().first() {
                Some(b'+') => Look::Good,
                Some(b'-') => Look::Bad,
                _ => Look::Faint,
            };
            let line = plain(line);
            let mut out = std::io::stdout().lock();
            let _closed = writeln!(out, "           {}", self.paint(look, &line));
        }
    }
}
