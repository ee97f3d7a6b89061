//! Reading a journal, page by page. What comes out has been checked against its own hash.
//!
//! That is not the chain: an entry's place among the others is checked by [`mod@super::verify`]. It is
//! enough that no decision is ever built on bytes that were changed after they were written.

use std::sync::Arc;

use super::chain::Row;
use super::entry::{Entry, Hash, Head, StreamHead, StreamId};
use super::error::{Failure, ReadError};
use super::store::{Reader, Search, StreamRow, page};
use super::verify::{BadEntry, Flaw};
use super::{PAGE_ENTRIES, STREAM_ENTRIES};

/// The reading side of a journal. Cheap to clone.
#[derive(Clone)]
pub struct JournalReader {
    store: Arc<dyn Reader>,
}

impl std::fmt::Debug for JournalReader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JournalReader").finish_non_exhaustive()
    }
}

impl JournalReader {
    /// Reads from this store.
    pub fn new(store: Arc<dyn Reader>) -> Self {
        Self { store }
    }

    /// At most `limit` entries from number `from_seq` on; 0 and more than [`PAGE_ENTRIES`]: a page.
    /// Fewer when they are large, but none only when there are none.
    pub async fn read(&self, from_seq: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let rows = self.store.rows_after(before(from_seq), page(limit)).await?;
        entries(rows)
    }

    /// All entries of the stream, in order; none when there is no such stream. Refuses streams of
    /// more than [`STREAM_ENTRIES`] entries.
    pub async fn read_stream(&self, stream: &StreamId) -> Result<Vec<Entry>, ReadError> {
        let mut all = Vec::new();
        let mut from = 1;
        loop {
            let page = self.read_stream_from(stream, from, PAGE_ENTRIES).await?;
            let full = page.len() == PAGE_ENTRIES;
            from = page.last().map_or(from, |last| last.seq + 1);
            all.extend(page);
            if all.len() > STREAM_ENTRIES {
                let (stream, limit) = (stream.clone(), STREAM_ENTRIES);
                return Err(ReadError::TooMany { stream, limit });
            }
            if !full {
                return Ok(all);
            }
        }
    }

    /// At most `limit` entries of the stream with number `from_seq` or greater.
    pub async fn read_stream_from(
        &self,
        stream: &StreamId,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let rows = self.store.stream_after(stream.clone(), before(from_seq), page(limit)).await?;
        entries(rows)
    }

    /// At most `limit` streams in the order of their ids, those after `after`.
    pub async fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamHead>, ReadError> {
        let rows = self.store.streams_after(after.cloned(), page(limit)).await?;
        rows.into_iter().map(stream_head).collect()
    }

    /// The entries that the search asks for, one page of them.
    pub async fn search(&self, search: Search) -> Result<Vec<Entry>, ReadError> {
        entries(self.store.search(search).await?)
    }

    /// The last entry's number and hash.
    pub async fn head(&self) -> Result<Head, ReadError> {
        Ok(match self.store.head().await? {
            None => Head { seq: 0, hash: self.genesis() },
            Some(row) => {
                let entry = row.into_entry().map_err(ReadError::Bad)?;
                Head { seq: entry.seq, hash: entry.hash }
            }
        })
    }

    pub(super) fn genesis(&self) -> Hash {
        self.store.genesis()
    }

    pub(super) async fn head_row(&self) -> Result<Option<Row>, Failure> {
        self.store.head().await
    }

    pub(super) async fn rows_after(&self, seq: i64, limit: usize) -> Result<Vec<Row>, Failure> {
        self.store.rows_after(seq, limit).await
    }

    pub(super) async fn damage(&self) -> Result<Vec<String>, Failure> {
        self.store.damage().await
    }
}

/// The greatest number that is not wanted.
fn before(from_seq: u64) -> i64 {
    i64::try_from(from_seq).map_or(i64::MAX, |from| from.saturating_sub(1))
}

fn entries(rows: Vec<Row>) -> Result<Vec<Entry>, ReadError> {
    rows.into_iter().map(|row| row.into_entry().map_err(ReadError::Bad)).collect()
}

fn stream_head(row: StreamRow) -> Result<StreamHead, ReadError> {
    let malformed =
        || ReadError::Bad(BadEntry { seq: row.last_seq, flaw: Flaw::Malformed { what: "stream" } });
    let text = String::from_utf8(row.stream.clone()).map_err(|_| malformed())?;
    Ok(StreamHead {
        stream: StreamId::new(text).map_err(|_| malformed())?,
        version: u64::try_from(row.version).map_err(|_| malformed())?,
        last_seq: u64::try_from(row.last_seq).map_err(|_| malformed())?,
    })
}
