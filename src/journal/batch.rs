//! What is appended at once, and what is expected of the streams it goes to.
//!
//! A batch is stored whole or not at all. Its limits keep the queue and a transaction bounded.

use std::collections::BTreeMap;

use super::entry::{Draft, StreamId};
use super::error::AppendError;

/// The largest body of an entry: a plan with its diff is some tens of KiB; beyond this something
/// that does not belong into an audit log is being put there.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The most entries in a batch: a webhook with a group of thousands of alerts, some entries each.
pub const MAX_BATCH_ENTRIES: usize = 20_000;
/// The most bytes in a batch: half of the queue, so that one batch never blocks it for good.
pub const MAX_BATCH_BYTES: usize = super::QUEUE_BYTES / 2;

/// What must hold of a stream when the batch is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// It has exactly this many entries; 0: it does not exist.
    StreamVersion(u64),
}

/// Entries that are stored together or not at all. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub(super) versions: BTreeMap<StreamId, u64>,
    pub(super) drafts: Vec<Draft>,
}

impl Batch {
    /// A batch of one entry.
    pub fn of(draft: Draft) -> Self {
        Self { versions: BTreeMap::new(), drafts: vec![draft] }
    }

    /// A batch of these entries; none if there are none.
    pub fn from_drafts(drafts: Vec<Draft>) -> Option<Self> {
        (!drafts.is_empty()).then(|| Self { versions: BTreeMap::new(), drafts })
    }

    /// These entries in their order, in as few batches as the limits allow. For entries that need not
    /// be stored together; one that is too large by itself stays so, and its append says it.
    pub fn packed(drafts: Vec<Draft>) -> Vec<Self> {
        let mut batches = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for draft in drafts {
            let more = draft_bytes(&draft);
            let full = bytes + more > MAX_BATCH_BYTES || batch.len() == MAX_BATCH_ENTRIES;
            if full {
                batches.extend(Self::from_drafts(std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += more;
            batch.push(draft);
        }
        batches.extend(Self::from_drafts(batch));
        batches
    }

    /// With one more entry at the end.
    #[must_use]
    pub fn and(mut self, draft: Draft) -> Self {
        self.drafts.push(draft);
        self
    }

    /// Appended only if this holds of the stream (a later call for the same stream replaces it).
    /// The stream may be one to which the batch appends nothing: a condition on what was read.
    #[must_use]
    pub fn expecting(mut self, stream: StreamId, expect: Expect) -> Self {
        match expect {
            Expect::Any => self.versions.remove(&stream),
            Expect::StreamVersion(version) => self.versions.insert(stream, version),
        };
        self
    }

    /// The entries.
    pub fn drafts(&self) -> &[Draft] {
        &self.drafts
    }

    /// How many bytes it occupies, about.
    pub(super) fn bytes(&self) -> usize {
        let drafts: usize = self.drafts.iter().map(draft_bytes).sum();
        let versions: usize = self.versions.keys().map(|stream| stream.as_str().len()).sum();
        drafts.saturating_add(versions)
    }

    /// Whether a journal would take it.
    pub fn fits(&self) -> bool {
        self.check().is_ok()
    }

    /// Checks the limits; gives the size in bytes.
    pub(super) fn check(&self) -> Result<usize, AppendError> {
        let within = |what, size, limit| match size <= limit {
            true => Ok(size),
            false => Err(AppendError::TooLarge { what, size, limit }),
        };
        within("the number of entries", self.drafts.len(), MAX_BATCH_ENTRIES)?;
        within("the number of expectations", self.versions.len(), MAX_BATCH_ENTRIES)?;
        for draft in &self.drafts {
            within("the body of an entry", draft.body.len(), MAX_BODY_BYTES)?;
        }
        within("the size in bytes", self.bytes(), MAX_BATCH_BYTES)
    }
}

/// What an entry costs beside its body, stream and kind: hashes, numbers, the store's own.
const ENTRY_OVERHEAD_BYTES: usize = 128;

fn draft_bytes(draft: &Draft) -> usize {
    draft.body.len()
        + draft.stream.as_str().len()
        + draft.kind.as_str().len()
        + ENTRY_OVERHEAD_BYTES
}

/// Proof that a batch is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The sequence number of its first entry.
    pub first_seq: u64,
    /// The sequence number of its last entry; there are no others between.
    pub last_seq: u64,
    /// The versions after the append of the streams on which the batch had an expectation.
    pub versions: BTreeMap<StreamId, u64>,
}

impl Receipt {
    /// The stream's version after the append, if the batch had an expectation on it.
    pub fn stream_version(&self, stream: &StreamId) -> Option<u64> {
        self.versions.get(stream).copied()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::entry::Kind;
    use super::*;

    fn draft(bytes: usize) -> Draft {
        Draft {
            stream: StreamId::new("s").expect("a valid name"),
            kind: Kind::from_static("k"),
            time: Timestamp::UNIX_EPOCH,
            body: vec![0; bytes],
        }
    }

    #[test]
    fn every_limit_is_kept() {
        let size = |batch: Batch| match batch.check() {
            Err(AppendError::TooLarge { what, .. }) => what,
            other => panic!("expected a refusal, got {other:?}"),
        };
        assert!(Batch::of(draft(MAX_BODY_BYTES)).check().is_ok());
        assert_eq!(size(Batch::of(draft(MAX_BODY_BYTES + 1))), "the body of an entry");
        let many = Batch::from_drafts(vec![draft(0); MAX_BATCH_ENTRIES + 1]);
        assert_eq!(size(many.expect("not empty")), "the number of entries");
        let heavy =
            Batch::from_drafts(vec![draft(MAX_BODY_BYTES); 1 + MAX_BATCH_BYTES / MAX_BODY_BYTES]);
        assert_eq!(size(heavy.expect("not empty")), "the size in bytes");
        assert_eq!(Batch::from_drafts(Vec::new()), None);
    }
}
