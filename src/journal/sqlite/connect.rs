//! The connections: one that writes, one that checkpoints, a few that read.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Error};

use super::Options;
use super::write::CACHED_STATEMENTS;

/// Connections that read: a console and a worker or two; each has a thread.
const READERS: u32 = 3;
/// How long a reader waits for a free connection before it is told so.
const READER_PATIENCE: Duration = Duration::from_secs(10);
/// Rows handed over at once from a connection's thread.
const READ_AHEAD_ROWS: usize = 64;
/// KiB of pages the writer keeps: the right edges of three B-trees and what lookups touch.
const WRITER_CACHE_KIB: u32 = 4096;
/// KiB of pages each other connection keeps.
const READER_CACHE_KIB: u32 = 1024;
/// The log is cut back to this size when it starts over.
const WAL_BYTES: u64 = 64 * 1024 * 1024;

/// Who else has the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Perhaps a writer.
    WithWriter,
    /// Nobody, and there is no log.
    Alone,
}

fn base(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(false)
        .disable_statement_logging()
}

fn cache(kib: u32) -> String {
    format!("-{kib}")
}

pub(super) fn writing(path: &Path, options: &Options) -> SqliteConnectOptions {
    let connect = base(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.lock_patience)
        .statement_cache_capacity(CACHED_STATEMENTS)
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", WAL_BYTES.to_string())
        .pragma("cache_size", cache(WRITER_CACHE_KIB))
        .thread_name(|_| "journal-writer".to_owned());
    match options.max_pages {
        Some(pages) => connect.pragma("max_page_count", pages.to_string()),
        None => connect,
    }
}

pub(super) async fn writer(path: &Path, options: &Options) -> Result<SqliteConnection, Error> {
    SqliteConnection::connect_with(&writing(path, options)).await
}

pub(super) async fn checkpointer(
    path: &Path,
    options: &Options,
) -> Result<SqliteConnection, Error> {
    let connect = base(path)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.lock_patience)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", cache(READER_CACHE_KIB))
        .thread_name(|_| "journal-checkpoint".to_owned());
    SqliteConnection::connect_with(&connect).await
}

fn reading(path: &Path, sharing: Sharing) -> SqliteConnectOptions {
    base(path)
        .read_only(true)
        .immutable(match sharing {
            Sharing::WithWriter => false,
            Sharing::Alone => true,
        })
        .row_buffer_size(READ_AHEAD_ROWS)
        .pragma("cache_size", cache(READER_CACHE_KIB))
        .thread_name(|number| format!("journal-reader-{number}"))
}

pub(super) async fn reader(path: &Path, sharing: Sharing) -> Result<SqliteConnection, Error> {
    SqliteConnection::connect_with(&reading(path, sharing)).await
}

pub(super) fn readers(path: &Path, sharing: Sharing) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(0)
        .acquire_timeout(READER_PATIENCE)
        .test_before_acquire(false)
        .connect_lazy_with(reading(path, sharing))
}
