//! The message about a storm: one for all of it, because nobody reads five hundred.

use super::Shown;
use crate::domain::explain::clock;
use crate::slack::blocks::{SECTION, TEXT, context, header, section};
use crate::slack::text::{joined, line};

/// Lines of one list.
const LINES: usize = 10;

/// What there is to say about a storm.
#[derive(Clone, Debug, PartialEq)]
pub struct Storm {
    /// Since when.
    pub since: jiff::Timestamp,
    /// Whether it still blows.
    pub over: bool,
    /// Incidents that it took in.
    pub incidents: usize,
    /// How many of them got one, now that it is over.
    pub own: usize,
    /// How many of them stand where, the most frequent first.
    pub standings: Vec<(String, usize)>,
    /// The policies that answer them, the most frequent first.
    pub policies: Vec<(String, usize)>,
    /// Those that wait for a person: id and what it is about.
    pub waiting: Vec<(String, String)>,
    /// Why nothing is done without a person.
    pub brake: String,
    /// Where to look.
    pub console: Option<String>,
}

/// The message.
pub fn storm(storm: &Storm) -> Shown {
    let title = if storm.over { "🌤️ The storm is over" } else { "🌩️ Storm" };
    let headline = format!("{title}: {} incidents since {}", storm.incidents, clock(storm.since));
    let mut blocks = vec![header(&headline)];
    let brake = if storm.over {
        let own = storm.own;
        format!(
            "What waits for a person has a message of its own ({own} so far); the rest is here."
        )
    } else {
        format!("{}. Nothing is changed without a person.", storm.brake)
    };
    blocks.push(section(&line(&brake, SECTION)));
    let counted = |name: &str, counts: &[(String, usize)]| {
        let mut lines = vec![format!("*{name}*")];
        let shown = counts.iter().take(LINES);
        lines.extend(shown.map(|(what, count)| format!("• {count} × {}", line(what, 120))));
        if counts.len() > LINES {
            lines.push(format!("and {} more kinds", counts.len() - LINES));
        }
        section(&joined(&lines, SECTION))
    };
    if !storm.standings.is_empty() {
        blocks.push(counted("Where they stand", &storm.standings));
    }
    if !storm.policies.is_empty() {
        blocks.push(counted("Policies", &storm.policies));
    }
    if !storm.waiting.is_empty() {
        let mut lines = vec!["*Waiting for a person*".to_owned()];
        let shown = storm.waiting.iter().take(LINES);
        lines.extend(shown.map(|(id, what)| format!("• `{id}` {}", line(what, 160))));
        if storm.waiting.len() > LINES {
            lines.push(format!("and {} more", storm.waiting.len() - LINES));
        }
        blocks.push(section(&joined(&lines, SECTION)));
    }
    let look = match &storm.console {
        Some(url) => format!("<{}|Console>  ·  `orderly incidents`", url.replace('&', "&amp;")),
        None => "`orderly incidents --state waiting` lists them".to_owned(),
    };
    blocks.push(context(&[look]));
    Shown { text: line(&headline, TEXT), blocks }
}
