//! The writing side over one connection.
//!
//! A group is one multi-row INSERT, which is a transaction of its own; a group of more than a
//! statement's rows is several between BEGIN and COMMIT. The connection is kept after a failure: as
//! long as it lives, a commit that was not synced stays invisible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row as _};

use super::super::chain::stored_time;
use super::super::entry::{Entry, Hash, Head, StreamId};
use super::super::error::Failure;
use super::super::lock::Lock;
use super::super::store::Store;
use super::checkpoint::{WAL_FRAMES, passive};
use super::failure::failure;

/// Rows of an INSERT. A prepared statement takes about 2 KB a row, and one of each size is kept.
const INSERT_ROWS: usize = 64;
/// Streams looked up by one statement; as above.
const LOOKUP_STREAMS: usize = 64;
/// Prepared statements kept: each size of both, and the few others.
pub(super) const CACHED_STATEMENTS: usize = INSERT_ROWS + LOOKUP_STREAMS + 16;
/// What a probe writes: more than the unused end of any page, so that it needs new ones.
const PROBE_BYTES: i64 = 64 * 1024;

pub(super) struct SqliteStore {
    // Before the lock: it is closed before the lock is released.
    connection: SqliteConnection,
    wal_frames: Arc<AtomicU64>,
    inserts: Vec<Arc<str>>,
    lookups: Vec<Arc<str>>,
    _lock: Lock,
}

impl SqliteStore {
    pub(super) fn new(
        connection: SqliteConnection,
        wal_frames: Arc<AtomicU64>,
        lock: Lock,
    ) -> Self {
        let inserts = (1..=INSERT_ROWS).map(insert_statement).collect();
        let lookups = (1..=LOOKUP_STREAMS).map(lookup_statement).collect();
        Self { connection, wal_frames, inserts, lookups, _lock: lock }
    }

    async fn insert_group(&mut self, entries: Vec<Entry>) -> Result<(), sqlx::Error> {
        if entries.len() <= INSERT_ROWS {
            return self.insert_rows(entries).await;
        }
        self.run("BEGIN IMMEDIATE").await?;
        let mut rest = entries.into_iter();
        loop {
            let rows: Vec<Entry> = rest.by_ref().take(INSERT_ROWS).collect();
            if rows.is_empty() {
                break;
            }
            self.insert_rows(rows).await?;
        }
        self.run("COMMIT").await
    }

    async fn insert_rows(&mut self, entries: Vec<Entry>) -> Result<(), sqlx::Error> {
        let Some(statement) = entries.len().checked_sub(1).and_then(|at| self.inserts.get(at))
        else {
            return Ok(());
        };
        let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
        for entry in entries {
            query = bind_entry(query, entry);
        }
        query.execute(&mut self.connection).await.map(|_| ())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(statement).execute(&mut self.connection).await.map(|_| ())
    }

    async fn abandon(&mut self) {
        // Fails when no transaction is open, which is what is wanted.
        let _none_open = self.run("ROLLBACK").await;
    }

    async fn write_probe(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO probe (filler) VALUES (zeroblob(?))")
            .bind(PROBE_BYTES)
            .execute(&mut self.connection)
            .await?;
        self.run("DELETE FROM probe").await
    }
}

fn insert_statement(rows: usize) -> Arc<str> {
    let values = vec!["(?,?,?,?,?,?,?)"; rows].join(",");
    format!("INSERT INTO entries (seq,stream,kind,time,body,previous,hash) VALUES {values}").into()
}

fn lookup_statement(streams: usize) -> Arc<str> {
    let one = "SELECT count(*) FROM entries WHERE stream = ?";
    vec![one; streams].join(" UNION ALL ").into()
}

type Binding<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_entry(query: Binding<'_>, entry: Entry) -> Binding<'_> {
    query
        .bind(entry.seq.cast_signed())
        .bind(entry.stream.shared())
        .bind(entry.kind.into_text())
        .bind(stored_time(entry.time))
        .bind(entry.body)
        .bind(entry.previous.as_bytes().to_vec())
        .bind(entry.hash.as_bytes().to_vec())
}

impl Store for SqliteStore {
    fn head(&mut self) -> BoxFuture<'_, Result<Option<Head>, Failure>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1")
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| failure(&error))?;
            row.map(|row| {
                let seq: i64 = row.try_get(0).map_err(|error| failure(&error))?;
                let hash: Vec<u8> = row.try_get(1).map_err(|error| failure(&error))?;
                let hash = <[u8; 32]>::try_from(&hash[..])
                    .map_err(|_| Failure::Corrupted("the last hash is not one".to_owned()))?;
                let seq = u64::try_from(seq)
                    .map_err(|_| Failure::Corrupted("the last number is negative".to_owned()))?;
                Ok(Head { seq, hash: Hash::from_bytes(hash) })
            })
            .transpose()
        })
    }

    fn versions(&mut self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<Vec<u64>, Failure>> {
        Box::pin(async move {
            let mut versions = Vec::with_capacity(streams.len());
            for some in streams.chunks(LOOKUP_STREAMS) {
                let Some(statement) = self.lookups.get(some.len() - 1) else { continue };
                let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement.clone()));
                for stream in some {
                    query = query.bind(stream.shared());
                }
                let found =
                    query.fetch_all(&mut self.connection).await.map_err(|error| failure(&error))?;
                versions.extend(found.into_iter().map(i64::cast_unsigned));
            }
            Ok(versions)
        })
    }

    fn insert(&mut self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            match self.insert_group(entries).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.abandon().await;
                    Err(failure(&error))
                }
            }
        })
    }

    fn contains(&mut self, seq: u64, hash: Hash) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(async move {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM entries WHERE seq = ? AND hash = ?")
                .bind(seq.cast_signed())
                .bind(hash.as_bytes().to_vec())
                .fetch_one(&mut self.connection)
                .await
                .map(|count| count > 0)
                .map_err(|error| failure(&error))
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move { self.write_probe().await.map_err(|error| failure(&error)) })
    }

    fn upkeep(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.wal_frames.load(Ordering::Relaxed) > WAL_FRAMES {
                self.wal_frames.store(0, Ordering::Relaxed);
                // What fails here is tried again, and is reported by the next commit.
                let _later = passive(&mut self.connection).await;
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { mut connection, _lock: lock, .. } = *self;
            // A courtesy to copies of the file: everything is durable without it.
            let _kept =
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
            let _closed = connection.close().await;
            drop(lock);
        })
    }
}
