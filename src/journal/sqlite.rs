//! The embedded store: one SQLite file, written ahead, synced at every commit.
//!
//! Opening never creates and creating never overwrites; both take the lock and check the end of
//! the chain before anyone may append. Who wants to read while the service runs opens read-only,
//! without the lock.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Connection;

use super::TAIL_ENTRIES;
use super::chain;
use super::entry::{Identity, JournalId};
use super::error::{Failure, OpenError};
use super::lock::{Lock, beside};
use super::opened::Opened;
use super::reader::JournalReader;
use super::verify::verify_tail;

mod checkpoint;
mod connect;
mod failure;
mod read;
mod schema;
mod write;

use failure::{failure, is_no_database};
use read::SqliteReader;
use write::SqliteStore;

/// How long a commit waits for a lock that another process holds: longer than a backup's snapshot
/// takes, shorter than the patience of whoever appends.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What can be set for a file.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most pages of 4 KiB the file may have; what is beyond fails as a full disk does.
    pub max_pages: Option<u32>,
    /// How long a commit waits for a lock that another process holds.
    pub lock_patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_pages: None, lock_patience: LOCK_PATIENCE }
    }
}

/// Creates a journal where there is none, and opens it.
pub async fn create(
    path: &Path,
    id: JournalId,
    now: Timestamp,
    options: &Options,
) -> Result<Opened, OpenError> {
    let lock = Lock::take(path)?;
    let leftover = beside(path, "-wal");
    if leftover.exists() && !path.exists() {
        return Err(OpenError::Leftover { path: leftover });
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        // Closed before SQLite opens it: closing it later would drop SQLite's own locks.
        Ok(file) => drop(file),
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(OpenError::Exists { path: path.to_path_buf() });
        }
        Err(source) => {
            return Err(OpenError::File { action: "create", path: path.to_path_buf(), source });
        }
    }
    // The time as it is stored, so that the identity is the same when it is read back.
    let created_at = Timestamp::from_microsecond(chain::stored_time(now)).unwrap_or(now);
    let identity = Identity { id, created_at };
    if let Err(failure) = schema::initialise(path, &identity, options).await {
        // Best effort: an empty file that stays is refused by name at the next start.
        let _left = std::fs::remove_file(path);
        return Err(store_error(path, failure));
    }
    sync_folder(path)?;
    open_locked(path, options, lock).await
}

/// Opens the journal for appending. Fails when there is none.
pub async fn open(path: &Path, options: &Options) -> Result<Opened, OpenError> {
    must_exist(path)?;
    let lock = Lock::take(path)?;
    open_locked(path, options, lock).await
}

/// Opens the journal for reading only, also while another process appends to it.
pub async fn open_read_only(path: &Path) -> Result<JournalReader, OpenError> {
    must_exist(path)?;
    let (_, store) = open_reader(path).await?;
    Ok(JournalReader::new(Arc::new(store)))
}

async fn open_locked(path: &Path, options: &Options, lock: Lock) -> Result<Opened, OpenError> {
    let (identity, store) = open_reader(path).await?;
    let reader = JournalReader::new(Arc::new(store));
    let log = Arc::new(checkpoint::Log::default());
    let fail = |error| store_error(path, failure(&error));
    // The writer connects first: a log left by a crash is recovered by who may write.
    let connection = connect::writer(path, options).await.map_err(fail)?;
    let head = verify_tail(&reader, TAIL_ENTRIES)
        .await
        .map_err(|failure| store_error(path, failure))?
        .map_err(|bad| OpenError::Broken { path: path.to_path_buf(), bad })?;
    let checkpointer = connect::checkpointer(path, options).await.map_err(fail)?;
    let store = SqliteStore::new(connection, log.clone(), lock);
    let background: super::opened::Background =
        Box::new(move |clock| Box::pin(checkpoint::run(checkpointer, log, clock)));
    Ok(Opened::new(identity, head, Box::new(store), reader, Some(background)))
}

async fn open_reader(path: &Path) -> Result<(Identity, SqliteReader), OpenError> {
    // Without a log the file is whole, and can be read where not even a reader may write: SQLite
    // would need a writable folder for its shared memory.
    let shared = connect::reader(path, connect::Sharing::WithWriter).await;
    let mut connection = match shared {
        Ok(connection) => connection,
        Err(error) => return Err(opening_error(path, &error)),
    };
    let mut sharing = connect::Sharing::WithWriter;
    let mut identity = schema::identity(&mut connection, path).await;
    let quiet = !beside(path, "-wal").exists();
    if quiet && matches!(identity, Err(OpenError::Store { .. })) {
        sharing = connect::Sharing::Alone;
        if let Ok(alone) = connect::reader(path, sharing).await {
            connection = alone;
            identity = schema::identity(&mut connection, path).await;
        }
    }
    let identity = identity?;
    // Closing is a courtesy; the pool opens its own.
    let _closed = connection.close().await;
    let pool = connect::readers(path, sharing);
    Ok((identity, SqliteReader::new(pool, chain::genesis(&identity))))
}

fn must_exist(path: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => match found.len() {
            0 => Err(OpenError::NotAJournal {
                path: path.to_path_buf(),
                detail: "it is empty: was its creation interrupted? then remove it".to_owned(),
            }),
            _ => Ok(()),
        },
        Ok(_) => Err(OpenError::NotAJournal {
            path: path.to_path_buf(),
            detail: "it is not a regular file".to_owned(),
        }),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(OpenError::Missing { path: path.to_path_buf() })
        }
        Err(source) => Err(OpenError::File { action: "open", path: path.to_path_buf(), source }),
    }
}

/// The file's name is durable only when its folder is.
fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => return Ok(()),
    };
    std::fs::File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| OpenError::File { action: "sync", path: folder, source })
}

fn store_error(path: &Path, source: Failure) -> OpenError {
    OpenError::Store { path: path.to_path_buf(), source }
}

/// What an error while looking into the file for the first time means.
fn opening_error(path: &Path, error: &sqlx::Error) -> OpenError {
    match is_no_database(error) {
        true => OpenError::NotAJournal {
            path: path.to_path_buf(),
            detail: "it is no SQLite database, or its header is damaged".to_owned(),
        },
        false => store_error(path, failure(error)),
    }
}
