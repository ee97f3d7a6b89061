//! Tells what happens while it happens: one line an event, in colour on a terminal, plain elsewhere.

use std::io::{IsTerminal, Write};

use jiff::Timestamp;

use crate::domain::event::{Event, Outcome};
use crate::domain::explain;
use crate::domain::gate::Stand;

/// Writes the story.
#[derive(Clone, Copy, Debug)]
pub struct Teller {
    colour: bool,
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
        let plain = std::env::var_os("NO_COLOR").is_some();
        Self { colour: std::io::stdout().is_terminal() && !plain, began }
    }

    /// Writes one line.
    pub fn say(&self, look: Look, text: &str) {
        let mut out = std::io::stdout().lock();
        // A closed terminal is no reason to end the service behind it.
        let _closed = writeln!(out, "{}", self.paint(look, text));
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
        match event {
            Event::PlanProposed { plan, previews, .. } => {
                self.say(Look::Plain, &line);
                for step in &plan.steps {
                    self.say(Look::Faint, &format!("           because {}", step.reason));
                }
                for preview in previews {
                    self.diff(&preview.diff);
                }
            }
            Event::GateDecided { verdicts, .. } => {
                self.say(Look::Plain, &line);
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
                    self.say(Look::Faint, &text);
                }
            }
            Event::StepFinished { .. } | Event::ResolutionMet { .. } => self.say(Look::Good, &line),
            Event::ApprovalRequested { .. } => self.say(Look::Ask, &line),
            Event::StepFailed { .. }
            | Event::ResolutionMissed { .. }
            | Event::PlanImpossible { .. }
            | Event::GivenUp { .. } => self.say(Look::Bad, &line),
            Event::IncidentClosed { outcome, .. } => {
                let look = match outcome {
                    Outcome::Fixed | Outcome::Recovered | Outcome::DryRun => Look::Good,
                    _ => Look::Bad,
                };
                self.say(look, &line);
            }
            _ => self.say(Look::Plain, &line),
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
            self.say(look, &format!("           {line}"));
        }
    }
}
