//! `/orderly` in Slack: the same as the command line, under the same authorisation as a click.

use std::sync::Arc;

use serde_json::json;

use super::Shared;
use super::clicks::receive;
use crate::domain::conversation::Wish;
use crate::domain::id::IncidentId;
use crate::http::api::{IncidentFilter, Reason, SnoozeLength, StateFilter};
use crate::slack::incoming::Incoming;
use crate::slack::listener::Reply;
use crate::slack::render::Shown;
use crate::slack::text::joined;

const HELP: &str = "\
/orderly status – the kill switch, and how many incidents are open
/orderly incidents – what is open
/orderly approve ID PLAN – PLAN is what the message shows, at least 12 digits
/orderly refuse ID WHY…
/orderly snooze ID 1h
/orderly abort ID WHY…
/orderly kill-switch on|off WHY…";
/// Incidents that one answer lists.
const LISTED: usize = 15;
/// Characters of an answer: what one screen of a phone takes three times.
const ANSWER: usize = 3000;

/// An answer that only the person who asked sees.
pub(super) fn words(text: &str) -> Reply {
    let mut answer = Shown::words(text).arguments();
    answer["response_type"] = json!("ephemeral");
    Reply::Answer(answer)
}

/// What was typed, understood or not.
enum Command {
    Help,
    Status,
    Incidents,
    Wish(Wish),
    Wrong(String),
}

/// Answers a command; nothing when what it asks for could not be made durable.
pub(super) async fn hear(shared: &Arc<Shared>, incoming: &Incoming, text: &str) -> Option<Reply> {
    let command = parse(text);
    // What stands is told to whoever belongs to a group, and to nobody else of the workspace.
    let now = shared.means.clock.now();
    let known = shared.means.members.groups(&shared.means.api, &incoming.by, now).await;
    let (_, role) = shared.person(&incoming.by.user, &known.groups);
    if role.is_none() {
        let user = &incoming.by.user;
        let text = format!("Your user id `{user}` is in none of the groups that use Orderly here.");
        shared.means.metrics.slack_click("denied");
        return Some(words(&text));
    }
    Some(match command {
        Command::Help => words(HELP),
        Command::Wrong(why) => words(&format!("{why}\n\n{HELP}")),
        Command::Status => words(&status(shared).await),
        Command::Incidents => words(&incidents(shared).await),
        Command::Wish(wish) => {
            let verb = wish.verb();
            if !receive(shared, incoming, wish).await {
                return None;
            }
            words(&format!("Heard: to {verb}. The message shows what came of it."))
        }
    })
}

fn parse(text: &str) -> Command {
    let mut words = text.split_whitespace();
    let verb = words.next().unwrap_or("help");
    match verb {
        "help" => Command::Help,
        "status" => Command::Status,
        "incidents" => Command::Incidents,
        "kill-switch" => {
            let on = match words.next() {
                Some("on") => true,
                Some("off") => false,
                _ => return Command::Wrong("say `on` or `off`".to_owned()),
            };
            wish(reason(words).map(|reason| Wish::KillSwitch { on, reason }))
        }
        "approve" | "refuse" | "snooze" | "abort" => {
            let Some(Ok(incident)) = words.next().map(str::parse::<IncidentId>) else {
                return Command::Wrong("an incident's id has 12 characters".to_owned());
            };
            match verb {
                "approve" => match words.next() {
                    Some(digest) => {
                        let digest = digest.to_owned();
                        Command::Wish(Wish::Approve { incident, digest })
                    }
                    None => {
                        Command::Wrong("say which plan: its digits stand in the message".into())
                    }
                },
                "snooze" => {
                    let length = words.next().unwrap_or("1h").parse::<SnoozeLength>();
                    let length = length.map_err(|error| error.to_string());
                    wish(length.map(|length| Wish::Snooze { incident, length: length.get() }))
                }
                "refuse" => wish(reason(words).map(|reason| Wish::Refuse { incident, reason })),
                _ => wish(reason(words).map(|reason| Wish::Abort { incident, reason })),
            }
        }
        other => {
            let other: String = other.chars().take(40).collect();
            Command::Wrong(format!("there is no command `{other}`"))
        }
    }
}

fn wish(parsed: Result<Wish, String>) -> Command {
    parsed.map_or_else(Command::Wrong, Command::Wish)
}

fn reason<'a>(words: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let text = words.collect::<Vec<_>>().join(" ");
    match text.parse::<Reason>() {
        Ok(reason) => Ok(reason.into()),
        Err(_) => Err("say why; the journal keeps it".to_owned()),
    }
}

async fn status(shared: &Shared) -> String {
    let switch = match shared.means.desk.kill_switch().await {
        Ok(switch) if switch.on => {
            let by = switch.by.unwrap_or_default();
            format!("the kill switch is on ({by}: {})", switch.reason.unwrap_or_default())
        }
        Ok(_) => "the kill switch is off".to_owned(),
        Err(error) => error.to_string(),
    };
    let asking = crate::domain::incident::Phase::Asking.name();
    let (open, waiting) = shared.means.engine.board(|board| {
        let waiting = board.open().filter(|it| it.phase == asking).count();
        (board.open_count(), waiting)
    });
    format!("{switch}; {open} open incidents, {waiting} wait for a person")
}

async fn incidents(shared: &Shared) -> String {
    let filter = IncidentFilter {
        state: Some(StateFilter::Open),
        limit: Some(LISTED),
        ..IncidentFilter::default()
    };
    match shared.means.desk.list(filter).await {
        Ok(list) if list.incidents.is_empty() => "No incident is open.".to_owned(),
        Ok(list) => {
            let mut lines: Vec<_> = list
                .incidents
                .iter()
                .map(|it| format!("{}  {}  {} on {}", it.id, it.state, it.alert, it.target))
                .collect();
            if list.more {
                lines.push("and more: `orderly incidents`".to_owned());
            }
            joined(&lines, ANSWER)
        }
        Err(error) => error.to_string(),
    }
}
