//! The reading side over a few read-only connections.
//!
//! Texts are read as bytes, as they are stored: whether they are texts is found out by whoever
//! checks the hash.

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row as _};

use super::super::chain::{Row, stored_time};
use super::super::entry::{Hash, StreamId};
use super::super::error::Failure;
use super::super::store::{Order, Reader, Search, StreamRow};
use super::failure::failure;

/// Findings of SQLite's own check that are reported: the first says enough.
const FINDINGS: &str = "PRAGMA integrity_check(10)";

const ROWS_AFTER: &str = "SELECT seq, CAST(stream AS BLOB), CAST(kind AS BLOB), time, body, \
    previous, hash FROM entries WHERE seq > ? ORDER BY seq LIMIT ?";
const STREAM_AFTER: &str = "SELECT seq, CAST(stream AS BLOB), CAST(kind AS BLOB), time, body, \
    previous, hash FROM entries WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?";
const LAST: &str = "SELECT seq, CAST(stream AS BLOB), CAST(kind AS BLOB), time, body, \
    previous, hash FROM entries ORDER BY seq DESC LIMIT 1";
const SEARCH: &str = "SELECT seq, CAST(stream AS BLOB), CAST(kind AS BLOB), time, body, \
    previous, hash FROM entries WHERE true";

/// Bounds a search in time by numbers, which rise with time but for small disorder: without it, a
/// window with few entries is looked for in all of them.
const IN_WINDOW: &str = " FROM entries INDEXED BY entries_by_time WHERE time >= ";

pub(super) struct SqliteReader {
    pool: SqlitePool,
    genesis: Hash,
}

impl SqliteReader {
    pub(super) fn new(pool: SqlitePool, genesis: Hash) -> Self {
        Self { pool, genesis }
    }
}

fn decode(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        seq: row.try_get(0)?,
        stream: row.try_get(1)?,
        kind: row.try_get(2)?,
        time: row.try_get(3)?,
        body: row.try_get(4)?,
        previous: row.try_get(5)?,
        hash: row.try_get(6)?,
    })
}

/// Bodies after which a page is full: the largest deliveries are a thousand times the usual ones,
/// and a page of those would be a gigabyte.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// One by one: a row as SQLite hands it over takes several times the room.
async fn decode_all(
    mut rows: BoxStream<'_, Result<SqliteRow, sqlx::Error>>,
    most: usize,
) -> Result<Vec<Row>, Failure> {
    let mut decoded = Vec::new();
    let mut bytes = 0_usize;
    while let Some(row) = rows.next().await {
        let row = row.and_then(|row| decode(&row)).map_err(|error| failure(&error))?;
        bytes = bytes.saturating_add(row.body.len());
        decoded.push(row);
        if bytes >= most {
            break;
        }
    }
    Ok(decoded)
}

/// A page has at most some thousand entries.
fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Reader for SqliteReader {
    fn genesis(&self) -> Hash {
        self.genesis
    }

    fn head(&self) -> BoxFuture<'_, Result<Option<Row>, Failure>> {
        Box::pin(async move {
            let row = sqlx::query(LAST).fetch_optional(&self.pool).await;
            row.and_then(|row| row.as_ref().map(decode).transpose())
                .map_err(|error| failure(&error))
        })
    }

    fn rows_after(&self, seq: i64, limit: usize) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            let query = sqlx::query(ROWS_AFTER).bind(seq).bind(bound(limit));
            decode_all(query.fetch(&self.pool), PAGE_BYTES).await
        })
    }

    fn stream_after(
        &self,
        stream: StreamId,
        seq: i64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            let query =
                sqlx::query(STREAM_AFTER).bind(stream.shared()).bind(seq).bind(bound(limit));
            decode_all(query.fetch(&self.pool), usize::MAX).await
        })
    }

    fn search(&self, search: Search) -> BoxFuture<'_, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            let mut query = QueryBuilder::new(SEARCH);
            // What is finer than stored was cut off there, so it is cut off here.
            let since = search.since.map(stored_time);
            let until = search.until.map(stored_time);
            let from = since.unwrap_or(i64::MIN);
            let to = until.unwrap_or(i64::MAX);
            if since.is_some() {
                query.push(" AND time >= ").push_bind(from);
                query.push(" AND seq >= (SELECT min(seq)").push(IN_WINDOW).push_bind(from);
                query.push(" AND time < ").push_bind(to).push(")");
            }
            if until.is_some() {
                query.push(" AND time < ").push_bind(to);
                query.push(" AND seq <= (SELECT max(seq)").push(IN_WINDOW).push_bind(from);
                query.push(" AND time < ").push_bind(to).push(")");
            }
            if let Some(stream) = &search.stream {
                query.push(" AND stream = ").push_bind(stream.shared());
            }
            if !search.kinds.is_empty() {
                query.push(" AND kind IN (");
                let mut kinds = query.separated(", ");
                for kind in &search.kinds {
                    kinds.push_bind(kind.as_str().to_owned());
                }
                query.push(")");
            }
            let (past, order) = match search.order {
                Order::OldestFirst => (" AND seq > ", " ORDER BY seq LIMIT "),
                Order::NewestFirst => (" AND seq < ", " ORDER BY seq DESC LIMIT "),
            };
            if let Some(seq) = search.past {
                query.push(past).push_bind(i64::try_from(seq).unwrap_or(i64::MAX));
            }
            query.push(order).push_bind(bound(search.page()));
            decode_all(query.build().fetch(&self.pool), usize::MAX).await
        })
    }

    fn streams_after(
        &self,
        after: Option<StreamId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StreamRow>, Failure>> {
        Box::pin(async move {
            let after = after.map_or_else(|| "".into(), |stream| stream.shared());
            let rows = sqlx::query(
                "SELECT CAST(stream AS BLOB), count(*), max(seq) FROM entries WHERE stream > ? \
                 GROUP BY stream ORDER BY stream LIMIT ?",
            )
            .bind(after)
            .bind(bound(limit))
            .fetch_all(&self.pool)
            .await;
            let decode = |row: &SqliteRow| {
                Ok(StreamRow {
                    stream: row.try_get(0)?,
                    version: row.try_get(1)?,
                    last_seq: row.try_get(2)?,
                })
            };
            rows.and_then(|rows| rows.iter().map(decode).collect()).map_err(|error| failure(&error))
        })
    }

    fn damage(&self) -> BoxFuture<'_, Result<Vec<String>, Failure>> {
        Box::pin(async move {
            let found: Vec<String> = sqlx::query_scalar(FINDINGS)
                .fetch_all(&self.pool)
                .await
                .map_err(|error| failure(&error))?;
            Ok(found.into_iter().filter(|finding| finding != "ok").collect())
        })
    }
}
