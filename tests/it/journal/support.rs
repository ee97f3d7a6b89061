//! Journals to test, over each store, and the drafts to put into them.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use orderly::clock::ManualClock;
use orderly::journal::faults::Faults;
use orderly::journal::memory::MemoryStore;
use orderly::journal::{
    Batch, Draft, Identity, Journal, JournalId, JournalTask, Kind, Opened, Status, StreamId, sqlite,
};

/// The instant at which tests begin.
pub fn start() -> Timestamp {
    "2026-03-01T03:00:00.123456789Z".parse().expect("a time")
}

pub const ID: JournalId = JournalId::from_bytes([7; 16]);

pub fn stream(name: &str) -> StreamId {
    StreamId::new(name).expect("a stream id")
}

pub fn draft(name: &str, body: impl AsRef<[u8]>) -> Draft {
    let body = body.as_ref().to_vec();
    Draft { stream: stream(name), kind: Kind::from_static("noted"), time: start(), body }
}

pub fn one(name: &str, body: impl AsRef<[u8]>) -> Batch {
    Batch::of(draft(name, body))
}

/// Where the journal under test lives; survives its writer.
pub enum Place {
    Memory(MemoryStore),
    Sqlite { folder: tempfile::TempDir },
}

impl Place {
    pub fn memory() -> Self {
        Self::Memory(MemoryStore::new(Identity { id: ID, created_at: start() }))
    }

    pub fn sqlite() -> Self {
        Self::Sqlite { folder: tempfile::tempdir().expect("a folder") }
    }

    /// One of each kind.
    pub fn all() -> [Self; 2] {
        [Self::memory(), Self::sqlite()]
    }

    pub fn path(&self) -> PathBuf {
        match self {
            Self::Memory(_) => panic!("a journal in memory has no path"),
            Self::Sqlite { folder } => folder.path().join("journal.db"),
        }
    }

    pub async fn opened(&self) -> Opened {
        let options = sqlite::Options::default();
        match self {
            Self::Memory(store) => store.open(),
            Self::Sqlite { .. } if self.path().exists() => {
                sqlite::open(&self.path(), &options).await.expect("the journal opens")
            }
            Self::Sqlite { .. } => sqlite::create(&self.path(), ID, start(), &options)
                .await
                .expect("the journal is created"),
        }
    }

    pub async fn open(&self) -> Running {
        Running::start(self.opened().await)
    }
}

/// A journal with its writer at work, with faults on demand, on a clock moved by hand.
pub struct Running {
    pub journal: Journal,
    pub task: JournalTask,
    pub clock: Arc<ManualClock>,
    pub faults: Faults,
}

impl Running {
    pub fn start(opened: Opened) -> Self {
        let clock = Arc::new(ManualClock::new(start()));
        let faults = Faults::default();
        let (journal, task) = opened.with_store(|store| faults.before(store)).start(clock.clone());
        Self { journal, task, clock, faults }
    }

    pub async fn append(&self, name: &str, body: &str) -> u64 {
        self.journal.append(one(name, body)).await.expect("the append works").last_seq
    }

    pub async fn bodies(&self) -> Vec<String> {
        let entries = self.journal.read(1, 0).await.expect("reading works");
        entries.into_iter().map(|entry| String::from_utf8(entry.body).expect("a text")).collect()
    }

    /// Waits until the status is one of these.
    pub async fn until(&self, wanted: impl FnMut(&Status) -> bool) {
        self.journal.subscribe_status().wait_for(wanted).await.expect("the writer lives");
    }
}
