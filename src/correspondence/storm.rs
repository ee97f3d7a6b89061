//! A storm is one message: while more incidents open than a person can read of, those that have no
//! message get none; one message counts them all, until the last of them has ended. When it is over,
//! those on which a person can decide get a message of their own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Shared;
use super::messages::{say, update};
use super::pace::{Call, Pace};
use crate::domain::briefing::Standing;
use crate::domain::conversation::Subject;
use crate::domain::event::Event;
use crate::domain::id::{Digest, IncidentId};
use crate::engine::EngineError;
use crate::slack::api::SlackError;
use crate::slack::render::{Storm, storm};

/// How often the message is written anew while it blows.
const EVERY: SignedDuration = SignedDuration::from_secs(10);
/// How long to wait after Slack did not take it.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// Whether it blows, and who is in it.
#[derive(Debug)]
pub struct Blowing {
    since: Option<Timestamp>,
    over: bool,
    /// All that it took in.
    incidents: BTreeSet<IncidentId>,
    /// Those of them that got a message of their own since.
    own: BTreeSet<IncidentId>,
    /// Those that are to be looked at again, now that it is over.
    released: BTreeSet<IncidentId>,
    next: Timestamp,
}

impl Blowing {
    /// After a start; `left` are the incidents without a message, when one about a storm stands.
    pub fn begin(left: Option<BTreeSet<IncidentId>>, now: Timestamp) -> Self {
        Self {
            since: left.as_ref().map(|_| now),
            over: false,
            incidents: left.unwrap_or_default(),
            own: BTreeSet::new(),
            released: BTreeSet::new(),
            next: now,
        }
    }

    /// Whether an incident without a message is part of it, and gets none: while it blows each, and
    /// afterwards those for which no person can do anything that its message does not say.
    pub fn takes(
        &mut self,
        shared: &Shared,
        id: &IncidentId,
        standing: Standing,
        now: Timestamp,
    ) -> bool {
        if blows(shared, now) {
            self.since.get_or_insert(now);
            self.over = false;
            self.incidents.insert(id.clone());
            return true;
        }
        if !self.incidents.contains(id) {
            return false;
        }
        let for_a_person = match standing {
            Standing::Waiting | Standing::Snoozed | Standing::Executing | Standing::Verifying => {
                true
            }
            Standing::Looking | Standing::Held | Standing::Escalating | Standing::Ended(_) => false,
        };
        if for_a_person {
            self.own.insert(id.clone());
        }
        !for_a_person
    }

    /// When to come again, while it lasts.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.since.map(|_| self.next.max(now))
    }

    /// Those that may get a message of their own now.
    pub fn released(&mut self) -> BTreeSet<IncidentId> {
        std::mem::take(&mut self.released)
    }

    /// Whether nothing of it is left that only its message tells of.
    fn told(&self, shared: &Shared) -> bool {
        let left = self.incidents.difference(&self.own);
        shared.means.engine.board(|board| left.into_iter().all(|id| board.version(id).is_none()))
    }
}

fn opened(shared: &Shared, now: Timestamp) -> usize {
    let since = now.saturating_sub(shared.settings.storm.within.get()).unwrap_or(now);
    shared.means.engine.board(|board| board.ledger().opened_since(since).count())
}

/// The same measure as the storm brake's.
fn blows(shared: &Shared, now: Timestamp) -> bool {
    opened(shared, now) >= shared.settings.storm.incidents as usize
}

/// Keeps the message; gives until when Slack wants to hear nothing, if it said so.
pub(super) async fn turn(
    shared: &Shared,
    blowing: &mut Blowing,
    pace: &mut Pace,
    now: Timestamp,
) -> Result<Option<Timestamp>, EngineError> {
    let Some(since) = blowing.since.filter(|_| blowing.next <= now) else { return Ok(None) };
    let over = !blows(shared, now);
    if over && !blowing.over {
        blowing.released.clone_from(&blowing.incidents);
    }
    blowing.over = over;
    let ended = over && blowing.told(shared);
    let shown = storm(&told(shared, blowing, since, over, now));
    let digest = Digest::of("orderly-slack-message-v1", &shown.arguments());
    let talk = shared.book().storm().cloned();
    let channel = shared.settings.channels.last().map(|it| it.channel.clone());
    let (call, Some(channel)) = (
        talk.as_ref().map(|_| Call::Update),
        talk.as_ref().map(|talk| talk.place.channel.clone()).or(channel),
    ) else {
        return Ok(None);
    };
    if talk.as_ref().is_some_and(|talk| talk.shown == Some(digest)) {
        if ended {
            end(shared, blowing).await?;
        }
        blowing.next = after(now, EVERY);
        return Ok(None);
    }
    if let Err(until) = pace.take(&call.unwrap_or(Call::Say(channel.clone())), now) {
        blowing.next = until;
        return Ok(None);
    }
    let written = match &talk {
        Some(talk) => update(shared, &talk.place, &shown).await.map(|()| None),
        None => say(shared, &channel, None, &shown).await.map(Some),
    };
    match written {
        Ok(place) => {
            let about = Subject::Storm;
            if let Some(place) = place {
                let (channel, ts) = (place.channel, place.ts);
                shared.record(vec![Event::MessagePosted { about, channel, ts }]).await?;
            }
            shared.book().storm_showing(digest);
            blowing.next = after(now, EVERY);
            if ended {
                end(shared, blowing).await?;
            }
            Ok(None)
        }
        Err(SlackError::Limited { seconds }) => {
            let wait = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(30));
            blowing.next = after(now, wait);
            Ok(Some(blowing.next))
        }
        Err(error) => {
            tracing::warn!(%error, "Slack was not told of the storm");
            blowing.next = after(now, AGAIN);
            Ok(None)
        }
    }
}

async fn end(shared: &Shared, blowing: &mut Blowing) -> Result<(), EngineError> {
    let about = Subject::Storm;
    shared.record(vec![Event::StoryTold { about, version: 0, settled: true }]).await?;
    blowing.since = None;
    blowing.over = false;
    blowing.incidents.clear();
    blowing.own.clear();
    Ok(())
}

fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn told(shared: &Shared, blowing: &Blowing, since: Timestamp, over: bool, now: Timestamp) -> Storm {
    let (mut standings, mut policies) = (BTreeMap::new(), BTreeMap::new());
    let mut waiting = Vec::new();
    let asking = crate::domain::incident::Phase::Asking.name();
    shared.means.engine.board(|board| {
        let all = board.open().chain(board.ended());
        for summary in all.filter(|it| blowing.incidents.contains(&it.id)) {
            let standing = summary.outcome.map_or(summary.phase.as_str(), |it| it.name());
            *standings.entry(standing.to_owned()).or_insert(0) += 1;
            *policies.entry(summary.policy.clone()).or_insert(0) += 1;
            if summary.phase == asking {
                let what = format!("{} on {}", summary.alertname, summary.target);
                waiting.push((summary.id.to_string(), what));
            }
        }
    });
    let limit = shared.settings.storm.incidents;
    let within = shared.settings.storm.within;
    let count = opened(shared, now);
    Storm {
        since,
        over,
        incidents: blowing.incidents.len(),
        own: blowing.own.len(),
        standings: most(standings),
        policies: most(policies),
        waiting,
        brake: format!("{count} incidents opened in {within}; the storm brake sets at {limit}"),
        console: shared.settings.places.console.clone(),
    }
}

fn most(counts: BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}
