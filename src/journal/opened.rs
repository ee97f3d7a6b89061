//! From an opened journal to one that is at work: the task of the writer, how it is watched and how
//! it is closed.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::entry::{Head, Identity};
use super::keepsake::Keepsake;
use super::reader::JournalReader;
use super::recent::Recent;
use super::status::{Observer, Status, Unobserved};
use super::store::Store;
use super::writer::{Reports, Writer};
use super::{Journal, QUEUE_BATCHES, QUEUE_BYTES};
use crate::clock::SharedClock;

/// Work that a store has done beside the writer for as long as the journal is open.
pub type Background = Box<dyn FnOnce(SharedClock) -> BoxFuture<'static, ()> + Send>;

/// A journal that has been opened and checked; [`Opened::start`] sets its writer to work.
pub struct Opened {
    pub(super) identity: Identity,
    pub(super) head: Head,
    pub(super) store: Box<dyn Store>,
    pub(super) reader: JournalReader,
    pub(super) background: Option<Background>,
    observer: Arc<dyn Observer>,
    queue_batches: usize,
    keepsake: Option<Keepsake>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Opened")
            .field("identity", &self.identity)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Opened {
    pub(super) fn new(
        identity: Identity,
        head: Head,
        store: Box<dyn Store>,
        reader: JournalReader,
        background: Option<Background>,
    ) -> Self {
        let (observer, queue_batches) = (Arc::new(Unobserved), QUEUE_BATCHES);
        let keepsake = None;
        Self { identity, head, store, reader, background, observer, queue_batches, keepsake }
    }

    /// Reports its work to this observer.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Lets at least one and at most so many batches wait.
    #[must_use]
    pub fn with_queue(mut self, batches: usize) -> Self {
        self.queue_batches = batches.max(1);
        self
    }

    /// Keeps what is made of the journal beside it.
    #[must_use]
    pub fn with_keepsake(mut self, keepsake: Keepsake) -> Self {
        self.keepsake = Some(keepsake);
        self
    }

    /// Puts something between the writer and its store.
    #[must_use]
    pub fn with_store(mut self, wrap: impl FnOnce(Box<dyn Store>) -> Box<dyn Store>) -> Self {
        self.store = wrap(self.store);
        self
    }

    /// The last entry's number and hash.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Starts the writer on the current runtime.
    pub fn start(self, clock: SharedClock) -> (Journal, JournalTask) {
        let (sender, receiver) = mpsc::channel(self.queue_batches);
        let (head_out, head) = watch::channel(self.head.seq);
        let (status_out, status) = watch::channel(Status::Healthy);
        let stop = CancellationToken::new();
        let background = self.background.map(|start| start(clock.clone()));
        let genesis = Head { seq: 0, hash: self.reader.genesis() };
        let observer = self.observer.clone();
        let recent = Arc::new(Recent::default());
        let reports =
            Reports { head: head_out, status: status_out, recent: recent.clone(), observer };
        let writer = Writer::new(self.store, (genesis, self.head), receiver, reports, clock);
        let task = tokio::spawn(run(writer, background, stop.clone()));
        let journal = Journal {
            reader: self.reader,
            identity: self.identity,
            queue: sender,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            head,
            status,
            observer: self.observer,
            recent,
            keepsake: self.keepsake,
        };
        (journal, JournalTask { task, stop })
    }
}

/// How the writer's task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// It was closed, or nobody was left to append.
    Closed,
    /// It died; with it every append. The process should end.
    Died(String),
}

/// The writer's task. Watch it: without it nothing is appended.
#[derive(Debug)]
pub struct JournalTask {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl JournalTask {
    /// Completes when the task has ended.
    pub async fn ended(&mut self) -> TaskEnd {
        match (&mut self.task).await {
            Ok(()) => TaskEnd::Closed,
            Err(error) => TaskEnd::Died(error.to_string()),
        }
    }

    /// Stores what waits, refuses what comes after, closes the store and releases its lock.
    pub async fn close(mut self) -> TaskEnd {
        self.stop.cancel();
        self.ended().await
    }
}

async fn run(writer: Writer, background: Option<BoxFuture<'static, ()>>, stop: CancellationToken) {
    let mut background = background.unwrap_or_else(|| Box::pin(std::future::pending()));
    let store = {
        let writer = writer.run(stop);
        tokio::pin!(writer);
        tokio::select! {
            store = &mut writer => store,
            () = &mut background => writer.await,
        }
    };
    drop(background);
    store.close().await;
}
