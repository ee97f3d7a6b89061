//! The conversation with people elsewhere. In Slack: keeps one message for each incident as the incident is,
//! tells its story in the thread, and carries out what people click.
//!
//! Follows the journal like everybody else and appends what was said to a stream of its own, so that a
//! restart goes on where it was. What is clicked is durable before Slack is answered, and carried out
//! by the same desk that the API uses. Slack may be away for as long as it likes: nothing waits for it.
//! Of whom an escalation called: tells them when a person has it in hand, and when it is over.

mod book;
mod clicks;
mod commands;
mod messages;
pub mod notices;
mod pace;
mod storm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::config::{ChannelSpec, Role};
use crate::domain::event::{Event, Person, Stream};
use crate::domain::gate::rails::StormSpec;
use crate::engine::{Engine, EngineError};
use crate::http::api::Incidents;
use crate::journal::codec::Recorded;
use crate::journal::{Batch, JournalReader, Order, Search, codec};
use crate::metrics::Metrics;
use crate::notify::places::Places;
use crate::slack::api::Api;
use crate::slack::members::Members;
use crate::slack::seal::Sealer;

use book::Book;

/// Small things that are sent to one person at once: a dialogue, an answer.
const AT_ONCE: usize = 16;

/// Somebody of the configuration who also uses Slack.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The name that the journal shows.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What they may do at all.
    pub role: Role,
}

/// What the conversation needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where messages go.
    pub channels: Vec<ChannelSpec>,
    /// What each group may do at all.
    pub roles: BTreeMap<String, Role>,
    /// People of the configuration by their Slack user id.
    pub people: BTreeMap<String, Linked>,
    /// When too much happens for a message each.
    pub storm: StormSpec,
    /// Where people reach what messages point at.
    pub places: Places,
}

/// What the conversation works with.
pub struct Means {
    /// The engine.
    pub engine: Engine,
    /// The desk that decisions are taken to.
    pub desk: Arc<dyn Incidents>,
    /// Slack.
    pub api: Api,
    /// Who is who.
    pub members: Members,
    /// Seals buttons; absent when nobody hears them.
    pub sealer: Option<Sealer>,
    /// The time.
    pub clock: SharedClock,
    /// The numbers.
    pub metrics: Arc<Metrics>,
}

/// The conversation. Cheap to clone.
#[derive(Clone)]
pub struct Correspondence {
    shared: Arc<Shared>,
}

struct Shared {
    means: Means,
    settings: Settings,
    book: Mutex<Book>,
    /// Somebody asked for something.
    clicked: Notify,
    /// Room for what is sent beside the messages.
    room: Arc<Semaphore>,
}

/// A long-lived task by its name.
pub type Task = (&'static str, BoxFuture<'static, Result<(), EngineError>>);

impl Correspondence {
    /// Reads what was said so far and gives the conversation with its tasks.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn start(
        means: Means,
        settings: Settings,
        stop: CancellationToken,
    ) -> Result<(Self, Vec<Task>), EngineError> {
        let book = Book::load(means.engine.journal(), means.clock.now()).await?;
        let shared = Arc::new(Shared {
            means,
            settings,
            book: Mutex::new(book),
            clicked: Notify::new(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        });
        let messages = messages::run(shared.clone(), stop.clone());
        let clicks = clicks::run(shared.clone(), stop);
        let tasks: Vec<Task> =
            vec![("slack messages", Box::pin(messages)), ("slack clicks", Box::pin(clicks))];
        Ok((Self { shared }, tasks))
    }
}

/// What was said before is looked at for so long: no incident is open for a month.
const MEMORY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Hands every entry of these kinds of the last month to `note`, oldest first.
async fn recall(
    journal: &JournalReader,
    kinds: &[&'static str],
    now: Timestamp,
    mut note: impl FnMut(Recorded),
) -> Result<(), EngineError> {
    let mut past = None;
    loop {
        let search = Search {
            kinds: codec::kinds(kinds),
            since: now.saturating_sub(MEMORY).ok(),
            order: Order::OldestFirst,
            past,
            ..Search::default()
        };
        let page = journal.search(search).await?;
        let Some(last) = page.last() else { return Ok(()) };
        past = Some(last.seq);
        for entry in &page {
            note(codec::decode(entry)?);
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes events of the conversation durable, and notes them.
    async fn record(&self, events: Vec<Event>) -> Result<(), EngineError> {
        let now = self.means.clock.now();
        let drafts =
            events.iter().map(|event| codec::encode(&Stream::Conversation, now, event)).collect();
        let Some(batch) = Batch::from_drafts(drafts) else { return Ok(()) };
        self.means.engine.journal().append_when_room(batch).await?;
        let mut book = self.book();
        events.iter().for_each(|event| book.note(now, event));
        Ok(())
    }

    /// Who somebody in Slack is to the journal, and what they may do at all; nobody when they are in
    /// no group.
    fn person(&self, user: &str, groups: &BTreeSet<String>) -> (Person, Option<Role>) {
        let linked = self.settings.people.get(user);
        let mut all: BTreeSet<String> = groups.clone();
        all.extend(linked.iter().flat_map(|person| person.groups.iter().cloned()));
        let roles = groups.iter().filter_map(|group| self.settings.roles.get(group).copied());
        let role = roles.chain(linked.map(|person| person.role)).max();
        let name = linked.map_or_else(|| format!("slack:{user}"), |person| person.name.clone());
        (Person { name, groups: all.into_iter().collect(), path: "slack".to_owned() }, role)
    }
}
