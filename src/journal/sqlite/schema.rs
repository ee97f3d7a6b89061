//! The file's format: what marks it as a journal, its tables, its identity.

use std::path::Path;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row as _};

use super::super::chain::stored_time;
use super::super::entry::{Identity, JournalId};
use super::super::error::{Failure, OpenError};
use super::failure::failure;
use super::{Options, connect, opening_error};

/// The version of this format; in the file's header as `user_version`.
const FORMAT: i64 = 1;
/// "Ordj" in the file's header: `file` and SQLite tell it from other databases.
const APPLICATION_ID: i64 = 0x4f72_646a;

/// `STRICT` keeps each column to its type. The triggers keep honest tools honest; against others
/// there is the chain. `probe` is written to see whether writing works, and is empty otherwise.
const TABLES: &str = "
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY NOT NULL,
    stream TEXT NOT NULL,
    kind TEXT NOT NULL,
    time INTEGER NOT NULL,
    body BLOB NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX entries_by_stream ON entries (stream);
CREATE INDEX entries_by_time ON entries (time);
CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE meta (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    format INTEGER NOT NULL,
    id BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE probe (filler BLOB NOT NULL) STRICT;
";

/// Makes an empty file a journal, in one transaction.
pub(super) async fn initialise(
    path: &Path,
    identity: &Identity,
    options: &Options,
) -> Result<(), Failure> {
    let fail = |error| failure(&error);
    let mut connection = connect::writer(path, options).await.map_err(fail)?;
    let outcome = fill(&mut connection, identity).await.map_err(fail);
    let closed = connection.close().await.map_err(fail);
    outcome.and(closed)
}

async fn fill(connection: &mut SqliteConnection, identity: &Identity) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO meta (only, format, id, created_at) VALUES (1, ?, ?, ?)")
        .bind(FORMAT)
        .bind(identity.id.as_bytes().to_vec())
        .bind(stored_time(identity.created_at))
        .execute(&mut *transaction)
        .await?;
    let header =
        format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(header)).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// Whether this is a journal that this program reads, and which.
pub(super) async fn identity(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<Identity, OpenError> {
    let fail = |error: sqlx::Error| opening_error(path, &error);
    let foreign = |detail: &str| OpenError::NotAJournal {
        path: path.to_path_buf(),
        detail: detail.to_owned(),
    };
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    if application != APPLICATION_ID {
        return Err(foreign("its header is that of another database"));
    }
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    if found != FORMAT {
        let path = path.to_path_buf();
        return Err(OpenError::Format { path, found, supported: FORMAT });
    }
    let row = sqlx::query("SELECT format, id, created_at FROM meta WHERE only = 1")
        .fetch_optional(&mut *connection)
        .await
        .map_err(fail)?
        .ok_or_else(|| foreign("it has no identity"))?;
    let id: Vec<u8> = row.try_get(1).map_err(fail)?;
    let created_at: i64 = row.try_get(2).map_err(fail)?;
    let id = <[u8; 16]>::try_from(&id[..]).map_err(|_| foreign("its id is not one"))?;
    let created_at = Timestamp::from_microsecond(created_at)
        .map_err(|_| foreign("its time of creation is not one"))?;
    Ok(Identity { id: JournalId::from_bytes(id), created_at })
}
