//! What was made of the journal, kept beside it so that a start need not read everything again.
//!
//! It is derived and may be deleted at any time: whatever does not fit the journal to the last bit
//! (another journal, another history, another program, a torn file) is not used, and everything is
//! read. `orderly audit verify` looks only at the journal.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Journal;

/// The largest file that is read: twenty times what 200,000 remembered episodes take.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// A place beside a journal for one thing that was made of it.
#[derive(Clone, Debug)]
pub struct Keepsake {
    path: PathBuf,
}

/// What it was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    /// By what: a program that folds in another way has another name for it.
    fold: String,
    /// Of which journal.
    journal: String,
    /// Up to which entry.
    seq: u64,
    /// That entry's hash, which stands for everything before it.
    hash: String,
    /// Of the bytes.
    sha256: String,
}

impl Keepsake {
    /// Beside the journal at this path: `orderly.db.board`.
    pub fn beside(journal: &Path) -> Self {
        let mut path = journal.as_os_str().to_owned();
        path.push(".board");
        Self { path: PathBuf::from(path) }
    }

    fn read(&self) -> Option<(Label, Vec<u8>)> {
        if fs::metadata(&self.path).ok()?.len() > MAX_BYTES {
            return None;
        }
        let bytes = fs::read(&self.path).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let label: Label = serde_json::from_slice(&bytes[..end]).ok()?;
        let body = bytes[end + 1..].to_vec();
        (label.sha256 == digest(&body)).then_some((label, body))
    }

    fn write(&self, label: &Label, body: &[u8]) -> io::Result<()> {
        let mut fresh = self.path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let mut file = File::create(&fresh)?;
        serde_json::to_writer(&mut file, label)?;
        file.write_all(b"\n")?;
        file.write_all(body)?;
        drop(file);
        // Not synced: a file that a power cut tore is not used.
        fs::rename(&fresh, &self.path)
    }
}

fn digest(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

impl Journal {
    /// What `fold` made of this journal and up to which entry, when that was kept and still fits.
    pub async fn recall(&self, fold: &str) -> Option<(u64, Vec<u8>)> {
        let keepsake = self.keepsake.clone()?;
        let (label, body) =
            tokio::task::spawn_blocking(move || keepsake.read()).await.ok().flatten()?;
        if label.fold != fold || label.journal != self.identity.id.to_string() {
            return None;
        }
        let entry = self.reader.read(label.seq, 1).await.ok()?.into_iter().next()?;
        let fits = entry.seq == label.seq && entry.hash.to_string() == label.hash;
        fits.then_some((label.seq, body))
    }

    /// Whether anything is kept beside this journal.
    pub fn keeps(&self) -> bool {
        self.keepsake.is_some()
    }

    /// Keeps what `fold` made of everything up to the entry `seq`. A failure is noted and costs a
    /// slower start, no more.
    pub async fn keep(&self, fold: &str, seq: u64, body: Vec<u8>) {
        let Some(keepsake) = self.keepsake.clone() else { return };
        let entry = self.read(seq, 1).await.ok().and_then(|page| page.into_iter().next());
        let Some(entry) = entry.filter(|entry| entry.seq == seq) else { return };
        let label = Label {
            fold: fold.to_owned(),
            journal: self.identity.id.to_string(),
            seq,
            hash: entry.hash.to_string(),
            sha256: digest(&body),
        };
        let path = keepsake.path.display().to_string();
        let writing = tokio::task::spawn_blocking(move || keepsake.write(&label, &body));
        match writing.await {
            Ok(Ok(())) => tracing::debug!(path, seq, "kept"),
            Ok(Err(error)) => tracing::warn!(path, %error, "not kept: the next start is slower"),
            Err(error) => tracing::warn!(path, %error, "not kept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::{Batch, Draft, JournalId, Kind, StreamId, sqlite};
    use super::*;

    fn label(body: &[u8]) -> Label {
        let text = str::to_owned;
        let (fold, journal, hash) = (text("f"), text("j"), text("h"));
        Label { fold, journal, seq: 7, hash, sha256: digest(body) }
    }

    #[test]
    fn what_was_kept_is_read_back_and_what_was_torn_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let keepsake = Keepsake::beside(&directory.path().join("orderly.db"));
        assert!(keepsake.read().is_none());
        let body = b"a\nboard".to_vec();
        keepsake.write(&label(&body), &body).expect("written");
        assert_eq!(keepsake.read(), Some((label(&body), body.clone())));
        let path = directory.path().join("orderly.db.board");
        let whole = fs::read(&path).expect("a file");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("torn");
            assert!(keepsake.read().is_none(), "{length}");
        }
    }

    async fn journal(path: &Path, beside: &Path, id: u8) -> (Journal, super::super::JournalTask) {
        let clock: crate::clock::SharedClock = std::sync::Arc::new(crate::clock::SystemClock);
        let id = JournalId::from_bytes([id; 16]);
        let opened = sqlite::create(path, id, clock.now(), &sqlite::Options::default()).await;
        opened.expect("made").with_keepsake(Keepsake::beside(beside)).start(clock)
    }

    async fn append(journal: &Journal, body: &str) -> u64 {
        let stream = StreamId::new("control").expect("a name");
        let kind = Kind::new("Test").expect("a name");
        let draft =
            Draft { stream, kind, time: Timestamp::UNIX_EPOCH, body: body.as_bytes().into() };
        let batch = Batch::from_drafts(vec![draft]).expect("not empty");
        journal.append(batch).await.expect("stored").last_seq
    }

    #[tokio::test]
    async fn it_is_used_only_for_the_journal_and_the_fold_that_it_was_made_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("one.db");
        let (one, task) = journal(&path, &path, 1).await;
        assert_eq!(one.recall("board").await, None);
        let seq = append(&one, "first").await;
        append(&one, "second").await;
        one.keep("board", seq, b"kept".to_vec()).await;
        assert_eq!(one.recall("board").await, Some((seq, b"kept".to_vec())));
        assert_eq!(one.recall("another").await, None);
        // Nothing is kept of what is not there.
        one.keep("board", 99, b"more".to_vec()).await;
        assert_eq!(one.recall("board").await, Some((seq, b"kept".to_vec())));

        // Another journal; and one with this id and another history.
        for (name, id, first) in [("two.db", 2, "first"), ("three.db", 1, "other")] {
            let (other, task) = journal(&directory.path().join(name), &path, id).await;
            append(&other, first).await;
            assert_eq!(other.recall("board").await, None, "{name}");
            task.close().await;
        }
        task.close().await;
    }
}
