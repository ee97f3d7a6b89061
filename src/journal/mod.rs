//! The journal: one append-only, hash-chained sequence of entries, on disk before anyone hears of
//! it.
//!
//! It stores bytes. What they mean is layered on top, by a codec; nothing here knows the domain.
//! One writer appends (group commit: many batches, one sync), any number of readers read. Upholds
//! the invariants that append is compare-and-swap and that an append of unknown outcome is called
//! unknown, and that the hash covers the stored bytes.
//!
//! - [`entry`], [`batch`], [`error`]: what is stored, what is appended, what can go wrong.
//! - [`chain`], [`mod@verify`]: the hash chain, and the search for the first bad entry.
//! - [`opened`], [`writer`], [`reader`], [`store`]: the two sides, and what a store does for them.
//! - [`sqlite`], [`memory`], [`faults`]: the stores, and faults by script for either.
//! - [`keepsake`]: what was made of it, for the next start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

pub mod batch;
pub mod chain;
pub mod codec;
pub mod entry;
pub mod error;
pub mod faults;
pub mod keepsake;
pub mod lock;
pub mod memory;
pub mod opened;
pub mod reader;
mod recent;
pub mod sqlite;
pub mod status;
pub mod store;
pub mod verify;
pub mod writer;

pub use batch::{Batch, Expect, Receipt};
pub use entry::{Draft, Entry, Hash, Head, Identity, JournalId, Kind, StreamHead, StreamId};
pub use error::{AppendError, Failure, NameError, OpenError, ReadError};
pub use opened::{JournalTask, Opened, TaskEnd};
pub use reader::JournalReader;
pub use status::{Commit, Observer, Status, Unobserved};
pub use store::{Order, Search};
pub use verify::{Anchor, Anchored, BadEntry, Flaw, VerifyReport, verify};

use recent::Recent;
use writer::Request;

/// Batches that may wait: two full groups, so that the writer never idles while senders wake up.
pub const QUEUE_BATCHES: usize = 1024;
/// Bytes that may wait: bounds memory where a count of batches would not.
pub const QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// Entries in a page: about a megabyte of ordinary ones.
pub const PAGE_ENTRIES: usize = 1000;
/// Entries taken into memory at once while verifying: small beside everything else in the process.
const VERIFY_ENTRIES: usize = 128;
/// Entries of a stream that are read at once: an incident has hundreds, a runaway one thousands.
pub const STREAM_ENTRIES: usize = 10_000;
/// Entries checked at every start: enough to notice a torn or edited end, read in milliseconds.
pub const TAIL_ENTRIES: usize = 1000;
/// How long an append may take before its outcome counts as unknown: longer than any healthy disk
/// stalls, shorter than Alertmanager's patience with a webhook of many retries.
pub const APPEND_PATIENCE: Duration = Duration::from_secs(15);

/// A journal that can be appended to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    reader: JournalReader,
    identity: Identity,
    queue: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
    head: watch::Receiver<u64>,
    status: watch::Receiver<Status>,
    observer: Arc<dyn Observer>,
    recent: Arc<Recent>,
    keepsake: Option<keepsake::Keepsake>,
}

/// A place in the queue, held before the work is done that leads to the append.
#[derive(Debug)]
pub struct Slot {
    place: mpsc::OwnedPermit<Request>,
    room: Arc<Semaphore>,
    observer: Arc<dyn Observer>,
}

impl Journal {
    /// Appends the batch and returns when it is durable. Sheds load: [`AppendError::Full`] at once
    /// when the queue has no room.
    pub async fn append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        self.try_reserve()?.append(batch).await
    }

    /// Appends the batch and returns when it is durable; waits for room in the queue. For what
    /// must not be shed, such as the outcome of a step.
    pub async fn append_when_room(&self, batch: Batch) -> Result<Receipt, AppendError> {
        let bytes = batch.check()?;
        let closed = || AppendError::Unavailable { reason: Failure::Closed };
        let place = self.queue.clone().reserve_owned().await.map_err(|_| closed())?;
        let room = self.room.clone().acquire_many_owned(permits(bytes)).await;
        send(place, batch, room.map_err(|_| closed())?).await
    }

    /// Takes a place in the queue, or says that it is full: answer 503 and do no work in vain.
    pub fn try_reserve(&self) -> Result<Slot, AppendError> {
        match self.queue.clone().try_reserve_owned() {
            Ok(place) => {
                Ok(Slot { place, room: self.room.clone(), observer: self.observer.clone() })
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.observer.shed();
                Err(AppendError::Full)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(AppendError::Unavailable { reason: Failure::Closed })
            }
        }
    }

    /// As [`JournalReader::read`], from memory when the entries are new.
    pub async fn read(&self, from_seq: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        match self.recent.read(from_seq, store::page(limit)) {
            Some(entries) => Ok(entries),
            None => self.reader.read(from_seq, limit).await,
        }
    }

    /// Follows the number of the last durable entry. Wake-ups carry no payload: read on from where
    /// you were.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }

    /// Whether appends work, as far as is known.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Follows the status.
    pub fn subscribe_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Batches that wait in the queue, or have a place in it.
    pub fn queue_depth(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Which journal this is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The reading side.
    pub fn reader(&self) -> &JournalReader {
        &self.reader
    }
}

/// A journal that can be appended to can be read.
impl std::ops::Deref for Journal {
    type Target = JournalReader;

    fn deref(&self) -> &JournalReader {
        &self.reader
    }
}

impl Slot {
    /// Appends the batch in this place. [`AppendError::Full`] when the queue has the place but not
    /// the bytes.
    pub async fn append(self, batch: Batch) -> Result<Receipt, AppendError> {
        let bytes = batch.check()?;
        match self.room.try_acquire_many_owned(permits(bytes)) {
            Ok(room) => send(self.place, batch, room).await,
            Err(_) => {
                self.observer.shed();
                Err(AppendError::Full)
            }
        }
    }
}

/// A checked batch is far smaller than what a count of permits can hold.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

async fn send(
    place: mpsc::OwnedPermit<Request>,
    batch: Batch,
    room: OwnedSemaphorePermit,
) -> Result<Receipt, AppendError> {
    let (reply, answer) = oneshot::channel();
    place.send(Request { batch, reply, room });
    match tokio::time::timeout(APPEND_PATIENCE, answer).await {
        Ok(Ok(outcome)) => outcome,
        // The writer ended with the batch in hand, or has it still.
        Ok(Err(_)) | Err(_) => Err(AppendError::Unknown),
    }
}
