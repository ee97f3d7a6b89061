//! One process writes a journal: an exclusive lock on a file beside it.
//!
//! The operating system releases the lock when the process ends, however it ends. The file stays:
//! removing it would let two processes lock two files of the same name. It guards against a second
//! `orderly`; any other program that writes the file is noticed by the chain.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::error::OpenError;

/// Held as long as the journal is open for writing.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock for the journal at this path.
    pub fn take(journal: &Path) -> Result<Self, OpenError> {
        let path = beside(journal, ".lock");
        let failed = |source| OpenError::File { action: "lock", path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: journal.to_path_buf() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// The path of a file that belongs to the journal: its name with a suffix.
pub(super) fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(journal.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_has_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        let first = Lock::take(&path).expect("the first lock");
        assert!(matches!(Lock::take(&path), Err(OpenError::InUse { .. })));
        drop(first);
        Lock::take(&path).expect("the lock is free again");
    }
}
