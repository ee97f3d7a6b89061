//! What a store does for the journal: the writing side for the one writer, the reading side.
//!
//! A store decides nothing. Linking, compare-and-swap, group commit and what to believe after a
//! failure are the writer's (see [`super::writer`]) and the same for every store.

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::chain::Row;
use super::entry::{Entry, Hash, Head, Kind, StreamId};
use super::error::Failure;

/// The writing side. Only one exists for a journal.
pub trait Store: Send + 'static {
    /// Reads the last entry; `None` when there is none.
    fn head(&mut self) -> BoxFuture<'_, Result<Option<Head>, Failure>>;

    /// How many entries each of the streams has, in the order asked.
    fn versions(&mut self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<Vec<u64>, Failure>>;

    /// Stores the entries, all or none, and returns when they are durable.
    fn insert(&mut self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), Failure>>;

    /// Whether the entry with this number is there and has this hash.
    fn contains(&mut self, seq: u64, hash: Hash) -> BoxFuture<'_, Result<bool, Failure>>;

    /// Tries to write something that is no entry, to see whether writing works again.
    fn probe(&mut self) -> BoxFuture<'_, Result<(), Failure>>;

    /// Done between two commits when there is time, or none left to put it off.
    fn upkeep(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Ends in an orderly way.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The reading side; many at a time.
pub trait Reader: Send + Sync + 'static {
    /// The hash that the first entry has as its previous.
    fn genesis(&self) -> Hash;

    /// The last entry.
    fn head(&self) -> BoxFuture<'_, Result<Option<Row>, Failure>>;

    /// At most `limit` entries with a greater number, in order. Fewer when they are large, but
    /// none only when there are none.
    fn rows_after(&self, seq: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, Failure>>;

    /// At most `limit` entries of the stream with a greater number, in order.
    fn stream_after(
        &self,
        stream: StreamId,
        seq: i64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, Failure>>;

    /// The entries that the search asks for.
    fn search(&self, search: Search) -> BoxFuture<'_, Result<Vec<Row>, Failure>>;

    /// At most `limit` streams whose id sorts after this one: id, version, last number.
    fn streams_after(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StreamRow>, Failure>>;

    /// Damage that the store finds in its own structure, in words; empty when there is none.
    fn damage(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>>;
}

/// A stream's extent as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// The bytes of the stream id.
    pub stream: Vec<u8>,
    /// How many entries it has.
    pub version: i64,
    /// The number of the last.
    pub last_seq: i64,
}

/// In which order entries are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By ascending number.
    #[default]
    OldestFirst,
    /// By descending number.
    NewestFirst,
}

/// Which entries are wanted. The default wants all, a page at a time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of this stream.
    pub stream: Option<StreamId>,
    /// Of one of these kinds; empty: of any.
    pub kinds: Vec<Kind>,
    /// In which order.
    pub order: Order,
    /// Past this number in that order: the last one of the page before.
    pub past: Option<u64>,
    /// At most so many; 0 and more than [`super::PAGE_ENTRIES`]: that many.
    pub limit: usize,
}

impl Search {
    /// The limit that is in force.
    pub(super) fn page(&self) -> usize {
        page(self.limit)
    }
}

/// A limit as asked, brought within what a page may hold.
pub(super) fn page(limit: usize) -> usize {
    match limit {
        0 => super::PAGE_ENTRIES,
        some => some.min(super::PAGE_ENTRIES),
    }
}
