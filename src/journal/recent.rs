//! The newest entries, kept in memory: whoever follows the journal closely is spared the way to the
//! disk and back.
//!
//! Only what is durable gets here, and only as a copy of what was stored; whoever is further behind
//! reads the store. Nothing is lost when it is empty.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::Entry;

/// Bytes of bodies that are kept: a page.
const BYTES: usize = 1024 * 1024;
/// Entries that are kept: a page of small ones.
const ENTRIES: usize = super::PAGE_ENTRIES;

/// The newest entries, without gaps.
#[derive(Debug, Default)]
pub(super) struct Recent {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Recent {
    /// Keeps entries that have just become durable.
    pub(super) fn keep(&self, entries: Vec<Entry>) {
        let mut kept = self.kept();
        for entry in entries {
            // After a gap nothing before it can be served any more.
            if kept.entries.back().is_some_and(|last| last.seq + 1 != entry.seq) {
                *kept = Kept::default();
            }
            kept.bytes += entry.body.len();
            kept.entries.push_back(entry);
        }
        while kept.bytes > BYTES || kept.entries.len() > ENTRIES {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.body.len();
        }
    }

    /// The entries from `from_seq` on, at most `limit`; `None` when they are not kept.
    pub(super) fn read(&self, from_seq: u64, limit: usize) -> Option<Vec<Entry>> {
        let kept = self.kept();
        let first = kept.entries.front()?.seq;
        let skip = usize::try_from(from_seq.checked_sub(first)?).ok()?;
        let found: Vec<_> = kept.entries.iter().skip(skip).take(limit).cloned().collect();
        (!found.is_empty()).then_some(found)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::entry::{Hash, Kind, StreamId};
    use super::*;

    fn entries(numbers: std::ops::Range<u64>, bytes: usize) -> Vec<Entry> {
        let entry = |seq| Entry {
            seq,
            stream: StreamId::new("s").expect("a valid name"),
            kind: Kind::from_static("k"),
            time: Timestamp::UNIX_EPOCH,
            body: vec![0; bytes],
            previous: Hash::from_bytes([0; 32]),
            hash: Hash::from_bytes([1; 32]),
        };
        numbers.map(entry).collect()
    }

    fn numbers(recent: &Recent, from: u64, limit: usize) -> Option<Vec<u64>> {
        let found = recent.read(from, limit)?;
        Some(found.iter().map(|entry| entry.seq).collect())
    }

    #[test]
    fn what_is_kept_has_no_gaps_and_what_is_not_kept_is_not_invented() {
        let recent = Recent::default();
        assert_eq!(numbers(&recent, 1, 10), None);
        recent.keep(entries(5..8, 1));
        assert_eq!(numbers(&recent, 4, 10), None, "older than what is kept");
        assert_eq!(numbers(&recent, 6, 10), Some(vec![6, 7]));
        assert_eq!(numbers(&recent, 5, 2), Some(vec![5, 6]));
        assert_eq!(numbers(&recent, 8, 10), None, "not there yet: the store says so");
        recent.keep(entries(20..22, 1));
        assert_eq!(numbers(&recent, 6, 10), None, "before a gap");
        assert_eq!(numbers(&recent, 20, 10), Some(vec![20, 21]));
    }

    #[test]
    fn it_stays_bounded() {
        let recent = Recent::default();
        recent.keep(entries(1..10, BYTES / 4));
        assert_eq!(numbers(&recent, 6, 100), Some(vec![6, 7, 8, 9]));
        recent.keep(entries(10..20_000, 1));
        assert_eq!(recent.read(20_000 - ENTRIES as u64, 9_999).map(|all| all.len()), Some(ENTRIES));
        assert_eq!(recent.read(19_999 - ENTRIES as u64, 9_999), None);
    }
}
