//! Keeps each incident's message as the incident is, and tells its story in the thread.
//!
//! Whatever changed is on a list, each incident once; the list is worked off at the pace that Slack
//! takes, so that ten changes within a second are one update. Messages come before stories, and those
//! that wait for a person before all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::pace::{Call, Pace};
use super::storm::Blowing;
use super::{Shared, storm};
use crate::config::ChannelSpec;
use crate::domain::briefing::{Briefing, Standing};
use crate::domain::conversation::Subject;
use crate::domain::event::{Event, Outcome, Stream};
use crate::domain::id::{Digest, IncidentId};
use crate::domain::incident::Incident;
use crate::engine::EngineError;
use crate::journal::codec;
use crate::slack::api::{Place, SlackError};
use crate::slack::render::{self, Buttons, Shown, Told};

/// An incident that is a moment old is looked at before it is told of: most plans are made by then,
/// and one message serves where there would be three.
const MOMENT: SignedDuration = SignedDuration::from_secs(2);
/// The first pause after Slack was not reached; doubled up to the longest.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// When something is tried again that Slack refuses: somebody has to repair it first.
const REPAIR: SignedDuration = SignedDuration::from_mins(5);
/// Slack's words for a message that is not there any more, or cannot be changed any more.
const GONE: [&str; 4] =
    ["message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"];
/// Slack's words for a message that it does not take as it is.
const MALFORMED: [&str; 4] = ["invalid_blocks", "invalid_blocks_format", "msg_too_long", "no_text"];

/// What is to be done, and when.
struct Work {
    /// Messages to be looked at: from when on.
    faces: BTreeMap<IncidentId, Timestamp>,
    /// Stories to be told on.
    stories: BTreeMap<IncidentId, Timestamp>,
    pace: Pace,
    storm: Blowing,
    next: u64,
    pause: SignedDuration,
}

/// What became of one piece of work.
enum Done {
    /// Nothing is left of it.
    All,
    /// Look again then.
    Later(Timestamp),
}

/// Runs until told to stop.
///
/// # Errors
/// When the journal cannot be read or written.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), EngineError> {
    let mut work = Work::begin(&shared).await?;
    let mut head = shared.means.engine.journal().subscribe();
    loop {
        head.borrow_and_update();
        work.follow(&shared).await?;
        let until = work.turn(&shared).await?;
        shared.means.metrics.slack_behind(work.faces.len() + work.stories.len());
        let now = shared.means.clock.now();
        if until.is_some_and(|until| until <= now) {
            if stop.is_cancelled() {
                return Ok(());
            }
            continue;
        }
        let sleep = shared.means.clock.sleep_until(until.unwrap_or(Timestamp::MAX));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = head.changed() => if changed.is_err() { return Ok(()) },
            () = sleep => {}
        }
    }
}

impl Work {
    async fn begin(shared: &Shared) -> Result<Self, EngineError> {
        let engine = &shared.means.engine;
        let now = shared.means.clock.now();
        let head = engine.journal().head().await?.seq;
        let (last, talks, storm) = {
            let book = shared.book();
            let talks: BTreeSet<_> = book.talks().cloned().collect();
            (book.last(), talks, book.storm().is_some())
        };
        let open: Vec<_> = engine.board(|board| board.open().map(|it| it.id.clone()).collect());
        let without = open.iter().filter(|id| !talks.contains(id)).cloned();
        let left = storm.then(|| without.collect());
        let faces = open.into_iter().chain(talks).map(|id| (id, now)).collect();
        Ok(Self {
            faces,
            stories: BTreeMap::new(),
            pace: Pace::default(),
            storm: Blowing::begin(left, now),
            // What happened since something was last said was not told. Who never said anything
            // begins now: nobody wants to read of last year.
            next: last.unwrap_or(head) + 1,
            pause: PAUSE,
        })
    }

    /// Puts what happened on the list. Only names are read; what it means is looked up when its turn
    /// comes.
    async fn follow(&mut self, shared: &Shared) -> Result<(), EngineError> {
        let now = shared.means.clock.now();
        loop {
            let page = shared.means.engine.journal().read(self.next, 0).await?;
            let Some(last) = page.last() else { return Ok(()) };
            self.next = last.seq + 1;
            // The board must know it too, or the storm is counted without it.
            shared.means.engine.caught_up(last.seq).await;
            for entry in &page {
                if let Some(Stream::Incident(id)) = Stream::parse(entry.stream.as_str()) {
                    self.faces.entry(id).or_insert(now);
                }
            }
        }
    }

    /// Does the next thing; gives when to come again.
    async fn turn(&mut self, shared: &Shared) -> Result<Option<Timestamp>, EngineError> {
        let now = shared.means.clock.now();
        if let Some(until) = storm::turn(shared, &mut self.storm, &mut self.pace, now).await? {
            self.keep_silent(until);
        }
        for id in self.storm.released() {
            self.faces.entry(id).or_insert(now);
        }
        if let Some(id) = self.first_face(shared, now) {
            let done = self.face(shared, &id, now).await?;
            later(&mut self.faces, id, done);
            return Ok(Some(now));
        }
        let due = self.stories.iter().find(|(_, at)| **at <= now).map(|(id, _)| id.clone());
        if let Some(id) = due {
            let done = self.story(shared, &id, now).await?;
            later(&mut self.stories, id, done);
            return Ok(Some(now));
        }
        let all = self.faces.values().chain(self.stories.values()).copied();
        Ok(all.chain(self.storm.next(now)).min())
    }

    /// Of the messages that are due, one that a person waits for, or any.
    fn first_face(&self, shared: &Shared, now: Timestamp) -> Option<IncidentId> {
        let due = self.faces.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id);
        let due: BTreeSet<_> = due.collect();
        let asking = crate::domain::incident::Phase::Asking.name();
        let asked = shared.means.engine.board(|board| {
            let asked = board.open().filter(|it| it.phase == asking).map(|it| &it.id);
            asked.filter(|id| due.contains(id)).min().cloned()
        });
        asked.or_else(|| due.first().map(|id| (*id).clone()))
    }

    /// Shows the incident as it is.
    async fn face(
        &mut self,
        shared: &Shared,
        id: &IncidentId,
        now: Timestamp,
    ) -> Result<Done, EngineError> {
        if shared.book().is_settled(id) {
            return Ok(Done::All);
        }
        let incident = shared.means.engine.incident(id).await?;
        let talk = shared.book().talk(id).cloned();
        if talk.is_none() {
            if joined(&incident) {
                return Ok(Done::All);
            }
            let young = incident.opened.saturating_add(MOMENT).unwrap_or(now);
            let standing = Briefing::of(&incident).standing;
            if standing == Standing::Looking && now < young {
                return Ok(Done::Later(young));
            }
            if self.storm.takes(shared, id, standing, now) {
                return Ok(Done::All);
            }
        }
        let briefing = shared.settings.places.brief(&incident);
        let buttons = Buttons { sealer: shared.means.sealer.as_ref(), now };
        let shown = render::message(&briefing, buttons);
        let digest = Digest::of("orderly-slack-message-v1", &shown.arguments());
        match talk {
            Some(talk) if talk.shown == Some(digest) => {}
            Some(talk) => {
                if let Err(until) = self.pace.take(&Call::Update, now) {
                    return Ok(Done::Later(until));
                }
                let changed = update(shared, &talk.place, &shown).await;
                match changed {
                    Ok(()) => shared.book().showing(id, Some(digest)),
                    Err(error) if error.code().is_some_and(|it| GONE.contains(&it)) => {
                        tracing::warn!(incident = %id, %error, "the message is gone; a new one is posted");
                        let channel = talk.place.channel.clone();
                        if let Err(until) =
                            self.post(shared, id, &channel, &shown, digest, now).await?
                        {
                            return Ok(Done::Later(until));
                        }
                    }
                    Err(error) => return Ok(Done::Later(self.put_off(&error, now))),
                }
            }
            None => {
                let Some(channel) = channel(&shared.settings.channels, &briefing) else {
                    return Ok(Done::All);
                };
                let channel = channel.to_owned();
                if let Err(until) = self.post(shared, id, &channel, &shown, digest, now).await? {
                    return Ok(Done::Later(until));
                }
            }
        }
        self.pause = PAUSE;
        self.stories.insert(id.clone(), now);
        Ok(Done::All)
    }

    /// A new message about an incident; or when to try again.
    async fn post(
        &mut self,
        shared: &Shared,
        id: &IncidentId,
        channel: &str,
        shown: &Shown,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Result<(), Timestamp>, EngineError> {
        if let Err(until) = self.pace.take(&Call::Say(channel.to_owned()), now) {
            return Ok(Err(until));
        }
        let place = match say(shared, channel, None, shown).await {
            Ok(place) => place,
            Err(error) => return Ok(Err(self.put_off(&error, now))),
        };
        let Place { channel, ts } = place;
        let about = Subject::Incident(id.clone());
        shared.record(vec![Event::MessagePosted { about, channel, ts }]).await?;
        shared.book().showing(id, Some(digest));
        Ok(Ok(()))
    }

    /// Tells what was not told yet.
    async fn story(
        &mut self,
        shared: &Shared,
        id: &IncidentId,
        now: Timestamp,
    ) -> Result<Done, EngineError> {
        let Some(talk) = shared.book().talk(id).cloned() else { return Ok(Done::All) };
        let stream = codec::stream_id(&Stream::Incident(id.clone()));
        let entries = shared.means.engine.journal().read_stream(&stream).await?;
        let recorded: Vec<_> = entries.iter().map(codec::decode).collect::<Result<_, _>>()?;
        let all: Vec<_> = recorded.iter().map(|it| Told { at: it.at, event: &it.event }).collect();
        let incident = Incident::fold(id, recorded.iter().map(|it| (it.at, &it.event)))?;
        let briefing = shared.settings.places.brief(&incident);
        let version = incident.version;
        // A plan is made in a moment; the evidence is told with it.
        if briefing.standing == Standing::Looking || version <= talk.told {
            return Ok(Done::All);
        }
        let new = &all[usize::try_from(talk.told).unwrap_or(0).min(all.len())..];
        let planned = |told: &Told<'_>| matches!(told.event, Event::PlanProposed { .. });
        let mut messages = Vec::new();
        if talk.told == 0 || new.iter().any(planned) {
            messages.extend(render::opening(&briefing));
        }
        messages.extend(render::told(new));
        let over = incident.closed();
        if over && talk.told > 0 {
            let mut timeline = render::told(&all);
            if let Some(first) = timeline.first_mut() {
                first.blocks.insert(0, crate::slack::blocks::section("*The whole timeline*"));
            }
            messages.extend(timeline);
        }
        for shown in &messages {
            let call = Call::Say(talk.place.channel.clone());
            while let Err(until) = self.pace.take(&call, shared.means.clock.now()) {
                // Short: the pace is a second. A pause that Slack asks for is waited for outside.
                if until.duration_since(shared.means.clock.now()) > LONGEST_PAUSE {
                    return Ok(Done::Later(until));
                }
                shared.means.clock.sleep_until(until).await;
            }
            let thread = Some(talk.place.ts.as_str());
            match say(shared, &talk.place.channel, thread, shown).await {
                Ok(_) => {}
                Err(error) if error.code().is_some_and(|it| GONE.contains(&it)) => {
                    return Ok(Done::All);
                }
                Err(error) => {
                    return Ok(Done::Later(self.put_off(&error, now)));
                }
            }
        }
        // What changed meanwhile is on the list again.
        let settled = over && !self.faces.contains_key(id);
        let about = Subject::Incident(id.clone());
        shared.record(vec![Event::StoryTold { about, version, settled }]).await?;
        Ok(Done::All)
    }

    /// When to try again what Slack did not do.
    fn put_off(&mut self, error: &SlackError, now: Timestamp) -> Timestamp {
        let wait = match error {
            SlackError::Limited { seconds } => {
                let wait = SignedDuration::from_secs(i64::try_from(*seconds).unwrap_or(30));
                let until = now.saturating_add(wait).unwrap_or(now);
                self.keep_silent(until);
                wait
            }
            error if error.passing() => {
                let wait = self.pause;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                // The others would not get through either.
                let until = now.saturating_add(wait).unwrap_or(now);
                self.keep_silent(until);
                wait
            }
            _ => REPAIR,
        };
        tracing::warn!(%error, again = wait.as_secs(), "Slack was not told");
        now.saturating_add(wait).unwrap_or(Timestamp::MAX)
    }

    fn keep_silent(&mut self, until: Timestamp) {
        self.pace.pause(until);
    }
}

fn later(list: &mut BTreeMap<IncidentId, Timestamp>, id: IncidentId, done: Done) {
    match done {
        Done::All => drop(list.remove(&id)),
        Done::Later(at) => drop(list.insert(id, at)),
    }
}

/// Whether another incident has its alerts in hand, with a message of its own.
fn joined(incident: &Incident) -> bool {
    use crate::domain::incident::Phase;
    matches!(&incident.phase, Phase::Closed { outcome: Outcome::Joined, .. })
}

/// The first channel that fits.
fn channel<'a>(channels: &'a [ChannelSpec], briefing: &Briefing) -> Option<&'a str> {
    let fits = |wanted: &BTreeSet<String>, is: Option<&String>| {
        wanted.is_empty() || is.is_some_and(|is| wanted.contains(is))
    };
    let found = channels.iter().find(|it| {
        fits(&it.policies, Some(&briefing.policy))
            && fits(&it.severities, briefing.severity.as_ref())
            && fits(&it.namespaces, briefing.namespace.as_ref())
    });
    found.map(|it| it.channel.as_str())
}

/// Posts a message; one that Slack does not take as it is goes in plain words, because a person waits.
pub(super) async fn say(
    shared: &Shared,
    channel: &str,
    thread: Option<&str>,
    shown: &Shown,
) -> Result<Place, SlackError> {
    let post = |mut body: Value| {
        body["channel"] = json!(channel);
        if let Some(thread) = thread {
            body["thread_ts"] = json!(thread);
        }
        body
    };
    let said = shared.means.api.say(&post(shown.arguments())).await;
    shared.means.metrics.slack_call("chat.postMessage", outcome(&said));
    match said {
        Err(error) if malformed(&error) => {
            tracing::error!(%error, "a message was not as Slack wants it; it goes in plain words");
            shared.means.api.say(&post(plain(shown).arguments())).await
        }
        said => said,
    }
}

/// Changes a message.
pub(super) async fn update(
    shared: &Shared,
    place: &Place,
    shown: &Shown,
) -> Result<(), SlackError> {
    let change = |shown: &Shown| {
        let mut body = shown.arguments();
        body["channel"] = json!(place.channel);
        body["ts"] = json!(place.ts);
        body
    };
    let changed = shared.means.api.post("chat.update", &change(shown)).await;
    shared.means.metrics.slack_call("chat.update", outcome(&changed));
    match changed {
        Err(error) if malformed(&error) => {
            tracing::error!(%error, "a message was not as Slack wants it; it goes in plain words");
            let mut body = change(&plain(shown));
            // Or the old ones stay.
            body["blocks"] = json!([]);
            shared.means.api.post("chat.update", &body).await.map(drop)
        }
        changed => changed.map(drop),
    }
}

fn plain(shown: &Shown) -> Shown {
    Shown { text: shown.text.clone(), blocks: Vec::new() }
}

fn malformed(error: &SlackError) -> bool {
    error.code().is_some_and(|code| MALFORMED.contains(&code))
}

pub(super) fn outcome<T>(called: &Result<T, SlackError>) -> &'static str {
    match called {
        Ok(_) => "ok",
        Err(SlackError::Limited { .. }) => "limited",
        Err(SlackError::Refused { .. }) => "refused",
        Err(SlackError::Unreachable(_)) => "unreachable",
    }
}
