//! Secrets: read from files, read again when the file changes, never shown.
//!
//! A secret that cannot be read is an error of its own, not "no secret": whoever checks against it
//! must refuse. Nothing here appears in `Debug`, in logs or in error texts, except paths.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A rotated secret is in force after this time at the latest; the kubelet itself takes about a
/// minute to swap a mounted one, so looking more often would gain nothing.
const READ_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// No token or password is longer; a path that points at something else is found by it.
const SECRET_BYTES: u64 = 64 * 1024;

/// Why a secret cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret file `{path}`: {reason}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The file holds nothing.
    #[error("the secret file `{0}` is empty: write the secret into it")]
    Empty(PathBuf),
    /// The file holds something else.
    #[error("the secret file `{0}` does not hold one line of text of at most 64 KiB")]
    NotOneLine(PathBuf),
}

/// A secret in a file.
pub struct SecretFile {
    path: PathBuf,
    last: Mutex<LastRead>,
}

struct LastRead {
    at: Timestamp,
    outcome: Result<Arc<SecretString>, SecretError>,
}

impl SecretFile {
    /// Reads the secret for the first time; an error now is an error in the configuration.
    pub fn open(path: impl Into<PathBuf>, now: Timestamp) -> Result<Self, SecretError> {
        let path = path.into();
        let secret = Arc::new(read(&path)?);
        Ok(Self { path, last: Mutex::new(LastRead { at: now, outcome: Ok(secret) }) })
    }

    /// The secret as it is in the file now, or was at most five seconds ago. Reads a small local
    /// file in place when it has to.
    pub fn current(&self, now: Timestamp) -> Result<Arc<SecretString>, SecretError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not make an old secret live longer.
        let age = now.duration_since(last.at);
        if age >= READ_AGAIN_AFTER || age.is_negative() {
            last.at = now;
            let was_readable = last.outcome.is_ok();
            last.outcome = read(&self.path).map(Arc::new);
            if let (true, Err(error)) = (was_readable, &last.outcome) {
                tracing::error!(%error, "a secret can no longer be read; nobody is let in with it");
            }
        }
        last.outcome.clone()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretFile").field(&self.path).finish()
    }
}

fn read(path: &Path) -> Result<SecretString, SecretError> {
    let unreadable = |error: std::io::Error| SecretError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let not_one_line = || SecretError::NotOneLine(path.to_owned());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > SECRET_BYTES {
        return Err(not_one_line());
    }
    let text = String::from_utf8(bytes).map_err(|_| not_one_line())?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(SecretError::Empty(path.to_owned()));
    }
    if secret.contains(['\n', '\r', '\0']) {
        return Err(not_one_line());
    }
    Ok(SecretString::from(secret))
}

/// What a secret is compared by: its SHA-256, so that the time a comparison takes says nothing about
/// the secret, not even its length.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Of a secret, or of what somebody claims to be one.
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Of a secret.
    pub fn of_secret(secret: &SecretString) -> Self {
        Self::of(secret.expose_secret().as_bytes())
    }

    /// From 64 hex digits, as `printf %s TOKEN | sha256sum` prints them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash([REDACTED])")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_rotated_secret_is_read_again_and_a_lost_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let secret = SecretFile::open(&path, at(0)).unwrap();
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(secret.current(at(4)).unwrap().expose_secret(), "first");
        assert_eq!(secret.current(at(5)).unwrap().expose_secret(), "second");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(secret.current(at(10)), Err(SecretError::Unreadable { .. })));
        std::fs::write(&path, "third").unwrap();
        assert_eq!(secret.current(at(15)).unwrap().expose_secret(), "third");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (content, problem) in [
            (b" \n".to_vec(), "empty"),
            (b"hunter2\nhunter3".to_vec(), "one line"),
            (vec![0xff, 0xfe], "one line"),
            (vec![b'x'; 64 * 1024 + 1], "one line"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = SecretFile::open(&path, at(0)).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("hunter"), "{error}");
        }
        std::fs::write(&path, "hunter2").unwrap();
        let shown = format!("{:?}", SecretFile::open(&path, at(0)).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!format!("{:?}", SecretHash::of(b"hunter2")).contains("f52fbd32"));
    }
}
