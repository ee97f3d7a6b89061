//! SQLite's result codes, put into the words of the journal.

use super::super::error::Failure;

// https://www.sqlite.org/rescode.html
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;
/// The primary result code is the low byte of an extended one.
const PRIMARY: u32 = 0xff;

/// Whether SQLite does not know the file as one of its own.
pub(super) fn is_no_database(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(NOTADB)
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & PRIMARY)
}

/// What the error means for whoever appends or reads.
pub(super) fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
            let text = || database.message().to_owned();
            match code & PRIMARY {
                FULL => Failure::DiskFull,
                READONLY => Failure::ReadOnly,
                BUSY | LOCKED => Failure::Locked,
                CORRUPT | NOTADB => Failure::Corrupted(text()),
                IOERR | CANTOPEN => Failure::Io(format!("{}, code {code}", text())),
                _ => Failure::Other(format!("{}, code {code}", text())),
            }
        }
        sqlx::Error::Io(error) => Failure::Io(error.to_string()),
        sqlx::Error::PoolClosed => Failure::Closed,
        sqlx::Error::PoolTimedOut => Failure::Other("all readers are busy".to_owned()),
        sqlx::Error::WorkerCrashed => Failure::Io("the connection's thread died".to_owned()),
        other => Failure::Other(other.to_string()),
    }
}
