//! A store in memory, for tests and rehearsals: the same contract, and the same writer over it.
//!
//! Its clones are the same journal, so that a test can let the writer die and open it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

use super::chain::{self, Row, stored_time};
use super::entry::{Entry, Hash, Head, Identity, StreamId};
use super::error::Failure;
use super::opened::Opened;
use super::reader::JournalReader;
use super::store::{Order, Reader, Search, Store, StreamRow};

/// The journal's content.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    identity: Identity,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl MemoryStore {
    /// An empty journal.
    pub fn new(identity: Identity) -> Self {
        Self { identity, entries: Arc::default() }
    }

    /// Opens it, also when it has been opened before.
    pub fn open(&self) -> Opened {
        let genesis = Head { seq: 0, hash: chain::genesis(&self.identity) };
        let head = self.last().unwrap_or(genesis);
        let reader = JournalReader::new(Arc::new(self.clone()));
        Opened::new(self.identity, head, Box::new(self.clone()), reader, None)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Entries are whole or not there, whatever happened to who held the lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> Option<Head> {
        self.entries().last().map(|entry| Head { seq: entry.seq, hash: entry.hash })
    }

    fn select(&self, limit: usize, wanted: impl Fn(&Entry) -> bool) -> Vec<Row> {
        self.entries().iter().filter(|entry| wanted(entry)).take(limit).map(row).collect()
    }
}

fn row(entry: &Entry) -> Row {
    Row {
        seq: entry.seq.cast_signed(),
        stream: entry.stream.as_str().as_bytes().to_vec(),
        kind: entry.kind.as_str().as_bytes().to_vec(),
        time: stored_time(entry.time),
        body: entry.body.clone(),
        previous: entry.previous.as_bytes().to_vec(),
        hash: entry.hash.as_bytes().to_vec(),
    }
}

impl Store for MemoryStore {
    fn head(&mut self) -> BoxFuture<'_, Result<Option<Head>, Failure>> {
        Box::pin(async { Ok(self.last()) })
    }

    fn versions(&mut self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<Vec<u64>, Failure>> {
        Box::pin(async move {
            let entries = self.entries();
            let count =
                |stream: &StreamId| entries.iter().filter(|entry| entry.stream == *stream).count();
            Ok(streams.iter().map(|stream| count(stream) as u64).collect())
        })
    }

    fn insert(&mut self, new: Vec<Entry>) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let mut entries = self.entries();
            let next = entries.last().map_or(1, |entry| entry.seq + 1);
            match new.first() {
                Some(first) if first.seq != next => {
                    Err(Failure::Other(format!("entry {} is there already", first.seq)))
                }
                Some(_) | None => {
                    entries.extend(new);
                    Ok(())
                }
            }
        })
    }

    fn contains(&mut self, seq: u64, hash: Hash) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(async move {
            Ok(self.entries().iter().any(|entry| entry.seq == seq && entry.hash == hash))
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

impl Reader for MemoryStore {
    fn genesis(&self) -> Hash {
        chain::genesis(&self.identity)
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Row>, Failure>> {
        Box::pin(async { Ok(self.entries().last().map(row)) })
    }

    fn rows_after(&self, seq: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
        Box::pin(async move { Ok(self.select(limit, |entry| entry.seq.cast_signed() > seq)) })
    }

    fn stream_after(
        &self,
        stream: StreamId,
        seq: i64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            Ok(self.select(limit, |entry| entry.seq.cast_signed() > seq && entry.stream == stream))
        })
    }

    fn search(&self, search: Search) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            let past = |entry: &Entry| match (search.past, search.order) {
                (None, _) => true,
                (Some(seq), Order::OldestFirst) => entry.seq > seq,
                (Some(seq), Order::NewestFirst) => entry.seq < seq,
            };
            let at = |entry: &Entry| stored_time(entry.time);
            let wanted = |entry: &Entry| {
                search.since.is_none_or(|since| at(entry) >= stored_time(since))
                    && search.until.is_none_or(|until| at(entry) < stored_time(until))
                    && search.stream.as_ref().is_none_or(|stream| entry.stream == *stream)
                    && (search.kinds.is_empty() || search.kinds.contains(&entry.kind))
                    && past(entry)
            };
            Ok(match search.order {
                Order::OldestFirst => self.select(search.page(), wanted),
                Order::NewestFirst => {
                    let entries = self.entries();
                    let found = entries.iter().rev().filter(|entry| wanted(entry));
                    found.take(search.page()).map(row).collect()
                }
            })
        })
    }

    fn streams_after(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StreamRow>, Failure>> {
        Box::pin(async move {
            let mut streams: BTreeMap<StreamId, (i64, i64)> = BTreeMap::new();
            for entry in self.entries().iter() {
                let extent = streams.entry(entry.stream.clone()).or_default();
                *extent = (extent.0 + 1, entry.seq.cast_signed());
            }
            let wanted = streams.into_iter().filter(|(stream, _)| Some(stream) > after.as_ref());
            let extent = |(stream, (version, last_seq)): (StreamId, (i64, i64))| StreamRow {
                stream: stream.as_str().as_bytes().to_vec(),
                version,
                last_seq,
            };
            Ok(wanted.take(limit).map(extent).collect())
        })
    }

    fn damage(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
