//! Takes calls back: whoever was called about an incident hears when a person has it in hand, and when
//! it is over, as far as the receiver wants to hear of it.
//!
//! Follows the journal; what was told is in it, so that a restart tells what is left and nothing twice.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::domain::conversation::Stage;
use crate::domain::event::{Event, Stream};
use crate::domain::explain;
use crate::domain::id::IncidentId;
use crate::domain::incident::{Incident, Phase};
use crate::engine::{Engine, EngineError};
use crate::journal::{Batch, codec};

/// When what could not be delivered is tried again.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// How often: after that whoever was called finds it in the journal.
const TRIES: u32 = 5;
/// The kinds that say who was called and who was told.
const KINDS: &[&str] = &["Escalated", "ReceiverTold"];

/// A receiver that was called about an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Called {
    /// The last stage that it knows of.
    knows: Stage,
    /// How often the next one could not be delivered.
    tries: u32,
    /// When to try again.
    again: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Calls {
    by: BTreeMap<(IncidentId, String), Called>,
    next: u64,
}

impl Calls {
    async fn load(engine: &Engine, now: Timestamp) -> Result<Self, EngineError> {
        let mut calls = Self { next: engine.journal().head().await?.seq + 1, ..Self::default() };
        super::recall(engine.journal(), KINDS, now, |recorded| {
            calls.note(engine, &recorded.stream, &recorded.event);
        })
        .await?;
        Ok(calls)
    }

    fn note(&mut self, engine: &Engine, stream: &Stream, event: &Event) {
        match (stream, event) {
            // Who wants to hear of no end is not kept.
            (Stream::Incident(id), Event::Escalated { to, undelivered: None, .. })
                if engine.receivers().hears(to, Stage::Over) =>
            {
                let called = Called { knows: Stage::Called, tries: 0, again: None };
                self.by.entry((id.clone(), to.clone())).or_insert(called);
            }
            (_, Event::ReceiverTold { incident, to, stage, .. }) => {
                let key = (incident.clone(), to.clone());
                if *stage == Stage::Over {
                    self.by.remove(&key);
                } else if let Some(called) = self.by.get_mut(&key) {
                    called.knows = called.knows.max(*stage);
                }
            }
            _ => {}
        }
    }

    async fn follow(&mut self, engine: &Engine) -> Result<(), EngineError> {
        loop {
            let page = engine.journal().read(self.next, 0).await?;
            let Some(last) = page.last() else { return Ok(()) };
            self.next = last.seq + 1;
            for entry in page.iter().filter(|entry| KINDS.contains(&entry.kind.as_str())) {
                let recorded = codec::decode(entry)?;
                self.note(engine, &recorded.stream, &recorded.event);
            }
        }
    }
}

/// What somebody who was called should know.
fn stands(incident: &Incident) -> Stage {
    let person = incident.abort.is_some()
        || incident.snooze.is_some()
        || incident.question.as_ref().is_some_and(|question| !question.given.is_empty());
    match incident.phase {
        Phase::Closed { .. } => Stage::Over,
        _ if person => Stage::InHand,
        _ => Stage::Called,
    }
}

/// Runs until told to stop.
///
/// # Errors
/// When the journal cannot be read or written.
pub async fn run(
    engine: Engine,
    clock: SharedClock,
    stop: CancellationToken,
) -> Result<(), EngineError> {
    let mut calls = Calls::load(&engine, clock.now()).await?;
    let mut head = engine.journal().subscribe();
    loop {
        head.borrow_and_update();
        calls.follow(&engine).await?;
        tell(&mut calls, &engine, &clock).await?;
        let again = calls.by.values().filter_map(|called| called.again).min();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = head.changed() => if changed.is_err() { return Ok(()) },
            () = clock.sleep_until(again.unwrap_or(Timestamp::MAX)) => {}
        }
    }
}

async fn tell(calls: &mut Calls, engine: &Engine, clock: &SharedClock) -> Result<(), EngineError> {
    let due: Vec<_> = calls.by.iter().map(|(key, called)| (key.clone(), called.clone())).collect();
    for ((id, to), called) in due {
        let now = clock.now();
        if called.again.is_some_and(|again| again > now) {
            continue;
        }
        let incident = engine.incident(&id).await?;
        let stage = stands(&incident);
        if stage <= called.knows || !engine.receivers().hears(&to, stage) {
            continue;
        }
        let text = explain::standing(&incident);
        let message = engine.receivers().about(&incident, stage, text, now);
        let undelivered = engine.receivers().send(&to, &message).await.err();
        let tries = called.tries + 1;
        if let Some(error) = &undelivered
            && tries < TRIES
        {
            tracing::warn!(%error, incident = %id, receiver = to, "a call could not be taken back");
            let again = now.saturating_add(AGAIN).ok();
            calls.by.insert((id, to), Called { tries, again, ..called });
            continue;
        }
        let undelivered = undelivered.map(|error| error.to_string());
        let event = Event::ReceiverTold { incident: id, to, stage, undelivered };
        let draft = codec::encode(&Stream::Conversation, now, &event);
        engine.journal().append_when_room(Batch::of(draft)).await?;
        calls.note(engine, &Stream::Conversation, &event);
    }
    Ok(())
}
