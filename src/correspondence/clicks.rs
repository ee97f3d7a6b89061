//! What people click: durable before Slack is answered, carried out afterwards by the desk that the
//! API uses, and answered to that person alone when it did not do what they wanted.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::messages::outcome;
use super::{Correspondence, Shared, commands};
use crate::config::Role;
use crate::domain::conversation::{Click, Wish};
use crate::domain::event::{Event, Person};
use crate::domain::id::IncidentId;
use crate::engine::EngineError;
use crate::http::api::{
    AbortRequest, ApiError, ApproveRequest, Decided, KillSwitchRequest, Reason, RefuseRequest,
    SnoozeLength, SnoozeRequest,
};
use crate::slack::incoming::{Deed, Incoming, Member};
use crate::slack::listener::{Listener, Reply};
use crate::slack::members::Known;
use crate::slack::render::{self, Shown};
use crate::slack::seal::Sealed;

/// Clicks that wait to be carried out at most: more come from nobody who looks at what they press.
/// One more is not acknowledged, and Slack says so to whoever pressed.
const WAITING: usize = 500;
/// Clicks that are carried out at once: each may look at the cluster for ten seconds.
const AT_ONCE: usize = 8;

impl Listener for Correspondence {
    fn hear(&self, incoming: Incoming) -> BoxFuture<'_, Option<Reply>> {
        Box::pin(async move { hear(&self.shared, incoming).await })
    }
}

async fn hear(shared: &Arc<Shared>, incoming: Incoming) -> Option<Reply> {
    let about = |action: &str, value: &str| open(shared, action, value);
    let Incoming { by, channel, .. } = &incoming;
    match &incoming.what {
        Deed::Other { .. } => Some(Reply::Heard),
        Deed::Commanded { text } => {
            if !shared.means.members.ours(by) {
                return Some(commands::words(NOT_OURS));
            }
            commands::hear(shared, &incoming, text).await
        }
        Deed::Pressed { action, .. } if action == render::LOOK => Some(Reply::Heard),
        Deed::Pressed { action, value } => {
            let (sealed, rest) = value.split_once(':').unwrap_or((value, ""));
            let opened = match about(action, sealed) {
                Ok(opened) => opened,
                Err(why) => {
                    tell(shared, by, channel.clone(), why);
                    return Some(Reply::Heard);
                }
            };
            if !shared.means.members.ours(by) {
                denied(shared, by, channel.clone(), opened.incident, action);
                return Some(Reply::Heard);
            }
            let Sealed { incident, digest } = opened;
            let wish = match action.as_str() {
                render::DETAILS | render::REFUSE | render::ABORT => {
                    dialogue(shared, &incoming, action, sealed, incident);
                    return Some(Reply::Heard);
                }
                render::APPROVE => Wish::Approve { incident, digest: digest.unwrap_or_default() },
                render::SNOOZE => {
                    let length = rest.parse::<SnoozeLength>().ok()?.get();
                    Wish::Snooze { incident, length }
                }
                render::ASK_NOW => {
                    Wish::Snooze { incident, length: crate::domain::period::Period::ZERO }
                }
                _ => return Some(Reply::Heard),
            };
            receive(shared, &incoming, wish).await.then_some(Reply::Heard)
        }
        Deed::Submitted { dialogue, context, reason } => {
            let incident = match about(dialogue, context) {
                Ok(opened) => opened.incident,
                Err(why) => return Some(Reply::Answer(refused_reason(&why))),
            };
            if !shared.means.members.ours(by) {
                return Some(Reply::Answer(refused_reason(NOT_OURS)));
            }
            let reason = match reason.parse::<Reason>() {
                Ok(reason) => String::from(reason),
                Err(error) => return Some(Reply::Answer(refused_reason(&error.to_string()))),
            };
            let wish = match dialogue.as_str() {
                render::REFUSE => Wish::Refuse { incident, reason },
                render::ABORT => Wish::Abort { incident, reason },
                _ => return Some(Reply::Heard),
            };
            receive(shared, &incoming, wish).await.then_some(Reply::Heard)
        }
    }
}

/// What somebody of another workspace is told.
const NOT_OURS: &str = "You belong to another workspace than the one whose people may decide.";

/// The answer to a dialogue whose reason cannot be taken.
fn refused_reason(why: &str) -> Value {
    json!({"response_action": "errors", "errors": {"reason": why}})
}

fn open(shared: &Shared, action: &str, value: &str) -> Result<Sealed, String> {
    let sealer = shared.means.sealer.as_ref();
    let sealer = sealer.ok_or_else(|| "buttons are not configured".to_owned())?;
    let now = shared.means.clock.now();
    sealer.open(action, value, now).map_err(|error| error.to_string())
}

/// Makes it durable. False when it could not be: Slack is not told that it came.
pub(super) async fn receive(shared: &Shared, incoming: &Incoming, wish: Wish) -> bool {
    let key = incoming.key.clone();
    {
        let mut book = shared.book();
        if book.waiting().len() >= WAITING {
            tracing::warn!("more clicks than can be carried out; one is turned away");
            return false;
        }
        if !book.new_key(&key, shared.means.clock.now()) {
            return true;
        }
    }
    let Member { user, team } = incoming.by.clone();
    let click = Click { key: key.clone(), user, team, channel: incoming.channel.clone(), wish };
    match shared.record(vec![Event::ClickReceived { click: Box::new(click) }]).await {
        Ok(()) => {
            shared.clicked.notify_one();
            true
        }
        Err(error) => {
            // An append of unknown outcome may be there all the same: to decide twice is harmless.
            tracing::error!(%error, "a click could not be recorded");
            shared.book().forget_key(&key);
            false
        }
    }
}

/// Opens a dialogue; its time is short, so it is not waited for.
fn dialogue(
    shared: &Arc<Shared>,
    incoming: &Incoming,
    action: &str,
    value: &str,
    incident: IncidentId,
) {
    let Some(trigger) = incoming.trigger.clone() else { return };
    let (action, value) = (action.to_owned(), value.to_owned());
    let (by, channel) = (incoming.by.clone(), incoming.channel.clone());
    let sharing = shared.clone();
    beside(shared, async move {
        let shared = sharing;
        let Ok(incident) = shared.means.engine.incident(&incident).await else { return };
        let briefing = shared.settings.places.brief(&incident);
        let view = match action.as_str() {
            render::DETAILS => render::details(&incident, &briefing),
            _ => render::reason(&action, &value, &briefing),
        };
        let body = json!({"trigger_id": trigger, "view": view});
        let opened = shared.means.api.post("views.open", &body).await;
        shared.means.metrics.slack_call("views.open", outcome(&opened));
        if let Err(error) = opened {
            tracing::warn!(%error, "a dialogue could not be opened");
            whisper(&shared, &by, channel, "The dialogue could not be opened; press again.").await;
        }
    });
}

/// Does something that nobody waits for, if there is room for it.
fn beside(shared: &Arc<Shared>, work: impl Future<Output = ()> + Send + 'static) {
    match shared.room.clone().try_acquire_owned() {
        Ok(room) => drop(tokio::spawn(async move {
            work.await;
            drop(room);
        })),
        Err(_) => tracing::warn!("too much is asked of Slack at once; something small is left out"),
    }
}

fn tell(shared: &Arc<Shared>, by: &Member, channel: Option<String>, text: String) {
    let (by, sharing) = (by.clone(), shared.clone());
    beside(shared, async move { whisper(&sharing, &by, channel, &text).await });
}

/// Somebody of another workspace pressed: they are told, and the journal has it.
fn denied(
    shared: &Arc<Shared>,
    by: &Member,
    channel: Option<String>,
    incident: IncidentId,
    action: &str,
) {
    let (by, action, sharing) = (by.clone(), action.to_owned(), shared.clone());
    beside(shared, async move {
        let shared = sharing;
        let person =
            Person { name: format!("slack:{}", by.user), groups: Vec::new(), path: "slack".into() };
        let noted = shared.means.engine.denied(&incident, person, &action, NOT_OURS).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "a denied click could not be noted");
        }
        shared.means.metrics.slack_click("denied");
        whisper(&shared, &by, channel, NOT_OURS).await;
    });
}

/// Tells one person something that the others do not see.
async fn whisper(shared: &Shared, to: &Member, channel: Option<String>, text: &str) {
    let Some(channel) = channel else { return };
    let mut body = Shown::words(text).arguments();
    body["channel"] = json!(channel);
    body["user"] = json!(to.user);
    let told = shared.means.api.post("chat.postEphemeral", &body).await;
    shared.means.metrics.slack_call("chat.postEphemeral", outcome(&told));
    if let Err(error) = told {
        tracing::warn!(%error, user = to.user, "somebody could not be answered in Slack");
    }
}

/// Carries out what was asked for, until told to stop. What is left is carried out after the next
/// start.
///
/// # Errors
/// When the journal does not take that it was done.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), EngineError> {
    let mut hands: JoinSet<(String, Result<(), EngineError>)> = JoinSet::new();
    let mut in_hand: Vec<String> = Vec::new();
    loop {
        let next = {
            let book = shared.book();
            let mut waiting = book.waiting().filter(|click| !in_hand.contains(&click.key));
            waiting.next().filter(|_| hands.len() < AT_ONCE).cloned()
        };
        if let Some(click) = next {
            in_hand.push(click.key.clone());
            let shared = shared.clone();
            hands.spawn(async move {
                let done = carry_out(&shared, &click).await;
                (click.key, done)
            });
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = shared.clicked.notified() => {}
            Some(done) = hands.join_next() => {
                let (key, done) = done.map_err(|error| EngineError::Stopped(error.to_string()))?;
                in_hand.retain(|it| *it != key);
                done?;
            }
        }
    }
}

async fn carry_out(shared: &Shared, click: &Click) -> Result<(), EngineError> {
    let member = Member { user: click.user.clone(), team: click.team.clone() };
    let now = shared.means.clock.now();
    let known = shared.means.members.groups(&shared.means.api, &member, now).await;
    let (person, role) = shared.person(&click.user, &known.groups);
    let answer = match permitted(click, role, &known) {
        Ok(()) => decide(shared, click, person).await,
        Err(why) => {
            if let Some(incident) = click.wish.incident() {
                let noted = shared.means.engine.denied(incident, person, click.wish.verb(), &why);
                if let Err(error) = noted.await {
                    tracing::warn!(%error, "a denied click could not be noted");
                }
            }
            Err((why, "denied"))
        }
    };
    let (text, outcome) = match &answer {
        Ok((text, _)) => (text.clone(), "noted"),
        Err((text, outcome)) => (text.clone(), *outcome),
    };
    let key = click.key.clone();
    shared.record(vec![Event::ClickAnswered { key, answer: text.clone() }]).await?;
    shared.means.metrics.slack_click(outcome);
    // The message itself shows what was noted; a person alone is told what was not.
    let quiet = matches!(answer, Ok((_, Shows::Message)));
    if !quiet {
        let talk = click.wish.incident().and_then(|id| shared.book().talk(id).cloned());
        let channel = click.channel.clone().or(talk.map(|talk| talk.place.channel));
        whisper(shared, &member, channel, &text).await;
    }
    Ok(())
}

/// Who shows what came of a click.
enum Shows {
    /// The message about the incident.
    Message,
    /// Nothing but the answer.
    Answer,
}

fn permitted(click: &Click, role: Option<Role>, known: &Known) -> Result<(), String> {
    let needs = match click.wish {
        Wish::KillSwitch { .. } => Role::Admin,
        Wish::Approve { .. } | Wish::Refuse { .. } | Wish::Snooze { .. } | Wish::Abort { .. } => {
            Role::Approver
        }
    };
    let verb = click.wish.verb();
    match role {
        Some(role) if role >= needs => Ok(()),
        Some(role) => Err(format!(
            "You may not {verb}: that takes the role `{}`, and yours is `{}`",
            needs.as_str(),
            role.as_str()
        )),
        None if known.unasked.is_empty() => Err(format!(
            "You may not {verb}: your user id `{}` is in none of the groups that may decide",
            click.user
        )),
        None => {
            let groups = known.unasked.iter().map(|(id, why)| format!("{id}: {why}"));
            Err(format!(
                "Whether you may {verb} cannot be found out now ({}); decide with `orderly`, or try \
                 again",
                groups.collect::<Vec<_>>().join("; ")
            ))
        }
    }
}

async fn decide(
    shared: &Shared,
    click: &Click,
    by: Person,
) -> Result<(String, Shows), (String, &'static str)> {
    let desk = &shared.means.desk;
    let unfit = |error: crate::http::api::ParseInputError| (error.to_string(), "refused");
    let decided = match &click.wish {
        Wish::Approve { incident, digest } => {
            // A button without a plan approves none.
            let digest = Some(digest.parse().map_err(unfit)?);
            let request = ApproveRequest { digest, reason: None };
            desk.approve(by, incident.clone(), request).await
        }
        Wish::Refuse { incident, reason } => {
            let request = RefuseRequest { reason: reason.parse().map_err(unfit)? };
            desk.refuse(by, incident.clone(), request).await
        }
        Wish::Snooze { incident, length } => {
            let length = length.to_string().parse().map_err(unfit)?;
            let request = SnoozeRequest { length, reason: None };
            desk.snooze(by, incident.clone(), request).await
        }
        Wish::Abort { incident, reason } => {
            let request = AbortRequest { reason: reason.parse().map_err(unfit)? };
            desk.abort(by, incident.clone(), request).await
        }
        Wish::KillSwitch { on, reason } => {
            let reason = reason.parse().map_err(unfit)?;
            let set = desk.set_kill_switch(by, KillSwitchRequest { on: *on, reason }).await;
            let set = set.map_err(|error| (error.to_string(), "refused"))?;
            let stands = if set.on { "on: nothing is changed anywhere" } else { "off" };
            return Ok((format!("The kill switch is {stands}"), Shows::Answer));
        }
    };
    match decided {
        Ok(Decided { already: true, standing, .. }) => {
            Ok((format!("You had said so before: {standing}"), Shows::Answer))
        }
        Ok(Decided { standing, .. }) => Ok((standing, Shows::Message)),
        Err(ApiError::Stale { now }) => {
            let plan = now.map(|now| crate::domain::explain::summary(&now.plan));
            let plan = plan.map_or_else(String::new, |plan| format!(": {plan}"));
            let text = format!(
                "The target changed, so the plan was made again and your answer does not count for \
                 it. Look at the new one in the message and decide again{plan}"
            );
            Err((text, "stale"))
        }
        Err(error @ ApiError::MayNot(_)) => {
            Err((format!("You may not decide this: {error}"), "denied"))
        }
        Err(error) => Err((error.to_string(), "refused")),
    }
}
