//! What was said so far: a fold over the stream `conversation`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::domain::conversation::{Click, Subject};
use crate::domain::event::Event;
use crate::domain::id::{Digest, IncidentId};
use crate::engine::EngineError;
use crate::journal::JournalReader;
use crate::slack::api::Place;

/// How long the key of a click is remembered: Slack delivers again within minutes, if at all.
const KEYS: SignedDuration = SignedDuration::from_hours(1);
/// Settled incidents that are remembered, so that what comes late does not begin a new message.
const SETTLED: usize = 10_000;
/// The kinds that make the book.
const KINDS: &[&str] = &["ClickReceived", "ClickAnswered", "MessagePosted", "StoryTold"];

/// A message about something, and how much of its story was told below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// Where it stands.
    pub place: Place,
    /// How many of the incident's events were told.
    pub told: u64,
    /// What it shows; unknown after a restart.
    pub shown: Option<Digest>,
}

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    talks: BTreeMap<IncidentId, Talk>,
    storm: Option<Talk>,
    settled: BTreeSet<IncidentId>,
    order: VecDeque<IncidentId>,
    waiting: VecDeque<Click>,
    keys: HashMap<String, Timestamp>,
    /// The last entry of the journal when something was last said; nothing ever, when absent.
    last: Option<u64>,
}

impl Book {
    /// Folds what the journal has.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(journal: &JournalReader, now: Timestamp) -> Result<Self, EngineError> {
        let mut book = Self::default();
        super::recall(journal, KINDS, now, |recorded| {
            book.note(recorded.at, &recorded.event);
            book.last = Some(recorded.seq);
        })
        .await?;
        Ok(book)
    }

    /// Takes note of one event.
    pub fn note(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::ClickReceived { click } => {
                self.keys.retain(|_, seen| at.duration_since(*seen) <= KEYS);
                self.keys.insert(click.key.clone(), at);
                self.waiting.push_back((**click).clone());
            }
            Event::ClickAnswered { key, .. } => self.waiting.retain(|click| click.key != *key),
            Event::MessagePosted { about, channel, ts } => {
                let place = Place { channel: channel.clone(), ts: ts.clone() };
                match about {
                    Subject::Incident(id) => {
                        // A message that was lost is posted again; its story goes on.
                        let told = self.talks.get(id).map_or(0, |talk| talk.told);
                        self.talks.insert(id.clone(), Talk { place, told, shown: None });
                    }
                    Subject::Storm => self.storm = Some(Talk { place, told: 0, shown: None }),
                }
            }
            Event::StoryTold { about: Subject::Incident(id), version, settled } => {
                if *settled {
                    self.talks.remove(id);
                    self.settle(id);
                } else if let Some(talk) = self.talks.get_mut(id) {
                    talk.told = talk.told.max(*version);
                }
            }
            Event::StoryTold { about: Subject::Storm, settled: true, .. } => self.storm = None,
            _ => {}
        }
    }

    fn settle(&mut self, id: &IncidentId) {
        if self.settled.insert(id.clone()) {
            self.order.push_back(id.clone());
            if self.order.len() > SETTLED
                && let Some(oldest) = self.order.pop_front()
            {
                self.settled.remove(&oldest);
            }
        }
    }

    /// Remembers a click's key; whether it is new.
    pub fn new_key(&mut self, key: &str, now: Timestamp) -> bool {
        self.keys.insert(key.to_owned(), now).is_none()
    }

    /// Forgets a click that could not be made durable: it may be delivered again.
    pub fn forget_key(&mut self, key: &str) {
        self.keys.remove(key);
    }

    /// The clicks that wait to be carried out, oldest first.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Click> {
        self.waiting.iter()
    }

    /// The message about an incident.
    pub fn talk(&self, id: &IncidentId) -> Option<&Talk> {
        self.talks.get(id)
    }

    /// The incidents that have one and whose end is not told.
    pub fn talks(&self) -> impl Iterator<Item = &IncidentId> {
        self.talks.keys()
    }

    /// Whether the end of its story is told.
    pub fn is_settled(&self, id: &IncidentId) -> bool {
        self.settled.contains(id)
    }

    /// Notes what the message shows now.
    pub fn showing(&mut self, id: &IncidentId, shown: Option<Digest>) {
        if let Some(talk) = self.talks.get_mut(id) {
            talk.shown = shown;
        }
    }

    /// The message about the storm, while there is one.
    pub fn storm(&self) -> Option<&Talk> {
        self.storm.as_ref()
    }

    /// Notes what the message about the storm shows now.
    pub fn storm_showing(&mut self, shown: Digest) {
        if let Some(talk) = &mut self.storm {
            talk.shown = Some(shown);
        }
    }

    /// Up to where the journal had been read when something was last said.
    pub fn last(&self) -> Option<u64> {
        self.last
    }
}
