//! The writing side over one connection.
//!
//! A group is one multi-row INSERT, which is a transaction of its own; a group of more than a
//! statement's rows is several between BEGIN and COMMIT. Statements are prepared in a few sizes;
//! what a group does not fill stays NULL, and such rows are left out. The connection is kept after a failure: as
//! long as it lives, a commit that was not synced stays invisible.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row as _};

use super::super::chain::stored_time;
use super::super::entry::{Entry, Hash, Head, StreamId};
use super::super::error::Failure;
use super::super::lock::Lock;
use super::super::store::Store;
use super::checkpoint::{Log, WAL_FRAMES, passive};
use super::failure::failure;

/// The sizes in which statements are prepared. The largest takes what usually waits at once; each
/// takes at most twice the rows it needs, at a fraction of a microsecond for a row left out.
const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const LARGEST: usize = SIZES[SIZES.len() - 1];
/// Prepared statements kept: each size of both, and the few others.
pub(super) const CACHED_STATEMENTS: usize = 2 * SIZES.len() + 16;
/// A statement that was kept keeps what was bound to it: not more than this.
const KEPT_BYTES: usize = 256 * 1024;
/// What a probe writes: more than the unused end of any page, so that it needs new ones.
const PROBE_BYTES: i64 = 64 * 1024;

pub(super) struct SqliteStore {
    // Before the lock: it is closed before the lock is released.
    connection: SqliteConnection,
    log: Arc<Log>,
    inserts: [Arc<str>; SIZES.len()],
    lookups: [Arc<str>; SIZES.len()],
    _lock: Lock,
}

impl SqliteStore {
    pub(super) fn new(connection: SqliteConnection, log: Arc<Log>, lock: Lock) -> Self {
        let (inserts, lookups) = (SIZES.map(insert_statement), SIZES.map(lookup_statement));
        Self { connection, log, inserts, lookups, _lock: lock }
    }

    async fn insert_group(&mut self, entries: Vec<Entry>) -> Result<(), sqlx::Error> {
        if entries.len() <= LARGEST {
            return self.insert_rows(entries).await;
        }
        self.run("BEGIN IMMEDIATE").await?;
        let mut rest = entries.into_iter();
        loop {
            let rows: Vec<Entry> = rest.by_ref().take(LARGEST).collect();
            if rows.is_empty() {
                break;
            }
            self.insert_rows(rows).await?;
        }
        self.run("COMMIT").await
    }

    async fn insert_rows(&mut self, entries: Vec<Entry>) -> Result<(), sqlx::Error> {
        let Some(statement) = of_size(&self.inserts, entries.len()) else { return Ok(()) };
        let bytes: usize = entries.iter().map(|entry| entry.body.len()).sum();
        let mut query =
            sqlx::query(AssertSqlSafe(statement.clone())).persistent(bytes <= KEPT_BYTES);
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

/// The smallest statement that takes so many; `None` for none and for more than the largest takes.
fn of_size(statements: &[Arc<str>; SIZES.len()], count: usize) -> Option<&Arc<str>> {
    let sizes = SIZES.iter().zip(statements);
    sizes.filter(|_| count > 0).find(|(size, _)| **size >= count).map(|(_, statement)| statement)
}

fn insert_statement(rows: usize) -> Arc<str> {
    let values = vec!["(?,?,?,?,?,?,?)"; rows].join(",");
    format!(
        "INSERT INTO entries (seq,stream,kind,time,body,previous,hash) \
         SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"
    )
    .into()
}

/// Gives the place of each stream in the list, because SQL promises no order.
fn lookup_statement(streams: usize) -> Arc<str> {
    let places: Vec<_> = (0..streams).map(|place| format!("({place},?)")).collect();
    let values = places.join(",");
    format!(
        "SELECT column1, (SELECT count(*) FROM entries WHERE stream = column2) \
         FROM (VALUES {values}) WHERE column2 IS NOT NULL"
    )
    .into()
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
            let mut versions = vec![0; streams.len()];
            for (some, found) in streams.chunks(LARGEST).zip(versions.chunks_mut(LARGEST)) {
                let Some(statement) = of_size(&self.lookups, some.len()) else { continue };
                let mut query = sqlx::query_as::<_, (i64, i64)>(AssertSqlSafe(statement.clone()));
                for stream in some {
                    query = query.bind(stream.shared());
                }
                let rows =
                    query.fetch_all(&mut self.connection).await.map_err(|error| failure(&error))?;
                for (place, count) in rows {
                    let place = usize::try_from(place).ok().and_then(|place| found.get_mut(place));
                    if let Some(version) = place {
                        *version = count.cast_unsigned();
                    }
                }
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
            self.log.grown.notify_one();
            if self.log.frames.load(Ordering::Relaxed) > WAL_FRAMES {
                self.log.frames.store(0, Ordering::Relaxed);
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
