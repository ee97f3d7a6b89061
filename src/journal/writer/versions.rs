//! The versions of the streams that batches have expectations on.
//!
//! Looked up with the store's index, all of a group at once, and only for batches that ask. What
//! was looked up is kept for a while, because an incident's entries come one after another; how
//! much is kept does not grow with the history.

use std::collections::{HashMap, HashSet};

use super::super::entry::StreamId;
use super::super::error::Failure;
use super::super::store::Store;
use super::Request;

/// Streams in a generation of the cache; there are two: about 2 MB, and far more than the number
/// of incidents that are in hand at a time.
const GENERATION: usize = 8192;

/// Versions as they will be when the group is stored, of those streams that anyone asked for.
#[derive(Debug, Default)]
pub(super) struct Known {
    asked: HashMap<StreamId, u64>,
    /// Of streams not asked for: what is added to them, should the cache have them.
    added: HashMap<StreamId, u64>,
}

impl Known {
    pub(super) fn get(&self, stream: &StreamId) -> u64 {
        self.asked.get(stream).copied().unwrap_or(0)
    }

    /// One more entry for the stream.
    pub(super) fn count(&mut self, stream: &StreamId) {
        match self.asked.get_mut(stream) {
            Some(version) => *version += 1,
            None => *self.added.entry(stream.clone()).or_default() += 1,
        }
    }
}

/// A cache that forgets the half that was not used lately.
#[derive(Debug, Default)]
pub(super) struct Versions {
    young: HashMap<StreamId, u64>,
    old: HashMap<StreamId, u64>,
}

impl Versions {
    /// The versions of all streams that the requests have expectations on.
    pub(super) async fn load(
        &mut self,
        store: &mut dyn Store,
        requests: &[Request],
    ) -> Result<Known, Failure> {
        let mut known = Known::default();
        let mut unknown = HashSet::new();
        for stream in requests.iter().flat_map(|request| request.batch.versions.keys()) {
            if known.asked.contains_key(stream) {
                continue;
            }
            match self.get(stream) {
                Some(version) => {
                    known.asked.insert(stream.clone(), version);
                }
                None => {
                    unknown.insert(stream.clone());
                }
            }
        }
        if !unknown.is_empty() {
            let unknown: Vec<_> = unknown.into_iter().collect();
            let found = store.versions(unknown.clone()).await?;
            known.asked.extend(unknown.into_iter().zip(found));
        }
        Ok(known)
    }

    /// Keeps what is true now that the group is stored.
    pub(super) fn keep(&mut self, known: Known) {
        for (stream, version) in known.asked {
            self.put(stream, version);
        }
        for (stream, more) in known.added {
            for generation in [&mut self.young, &mut self.old] {
                if let Some(version) = generation.get_mut(&stream) {
                    *version += more;
                }
            }
        }
    }

    /// Forgets everything: nothing is certain after a failure.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn get(&mut self, stream: &StreamId) -> Option<u64> {
        self.young.get(stream).or_else(|| self.old.get(stream)).copied()
    }

    fn put(&mut self, stream: StreamId, version: u64) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&stream) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&stream);
        self.young.insert(stream, version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: usize) -> StreamId {
        StreamId::new(format!("s-{number}")).expect("a valid name")
    }

    #[test]
    fn it_stays_bounded_and_keeps_what_was_used_last() {
        let mut versions = Versions::default();
        for number in 0..GENERATION * 5 {
            versions.put(stream(number), number as u64);
        }
        assert!(versions.young.len() + versions.old.len() <= GENERATION * 2);
        let last = GENERATION * 5 - 1;
        assert_eq!(versions.get(&stream(last)), Some(last as u64));
        assert_eq!(versions.get(&stream(0)), None);
    }

    #[test]
    fn entries_appended_without_an_expectation_count_in_what_is_kept() {
        let mut versions = Versions::default();
        versions.put(stream(1), 4);
        let mut known = Known::default();
        known.count(&stream(1));
        known.count(&stream(2));
        versions.keep(known);
        assert_eq!(versions.get(&stream(1)), Some(5));
        assert_eq!(versions.get(&stream(2)), None);
    }
}
