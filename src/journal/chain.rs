//! The hash chain: what an entry's hash covers, and whether entries follow one another.
//!
//! Everything here works on stored bytes, never on something decoded and encoded again (invariant
//! 6). The frame of an entry is, in this order:
//!
//! ```text
//! "orderly-journal-v1"    18 bytes, separates this use of SHA-256 from every other
//! seq                     u64, big-endian
//! previous                32 bytes: the hash of the entry before
//! stream                  u64 big-endian length, then the bytes
//! kind                    u64 big-endian length, then the bytes
//! time                    i64 big-endian: microseconds since 1970 UTC, as stored
//! body                    u64 big-endian length, then the bytes
//! ```
//!
//! The first entry's `previous` is the hash of the journal's identity: `"orderly-journal-v1
//! genesis"`, the 16 bytes of the id, the time of creation as above. So entries cannot be moved to
//! another journal.
//!
//! The chain has no key: whoever can write the file can also compute a new chain from some entry
//! on to the end, and can cut the end off. Only an anchor kept elsewhere (a sequence number and
//! its hash, see [`mod@super::verify`]) finds that.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::entry::{Draft, Entry, Hash, Head, Identity, Kind, StreamId};
use super::verify::{BadEntry, Flaw};

const ENTRY_DOMAIN: &[u8] = b"orderly-journal-v1";
const GENESIS_DOMAIN: &[u8] = b"orderly-journal-v1 genesis";

/// An entry exactly as a store keeps it; nothing is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The sequence number.
    pub seq: i64,
    /// The bytes of the stream id.
    pub stream: Vec<u8>,
    /// The bytes of the kind.
    pub kind: Vec<u8>,
    /// Microseconds since 1970 UTC.
    pub time: i64,
    /// The body.
    pub body: Vec<u8>,
    /// The hash of the entry before.
    pub previous: Vec<u8>,
    /// The hash of this entry.
    pub hash: Vec<u8>,
}

impl Row {
    /// What the entry's hash ought to be.
    pub fn computed_hash(&self) -> Hash {
        // A negative number is no entry's, but its bytes still have a hash; it will not agree.
        let seq = self.seq.cast_unsigned();
        frame(seq, &self.previous, &self.stream, &self.kind, self.time, &self.body)
    }

    /// The entry, if its hash covers its bytes.
    pub fn into_entry(self) -> Result<Entry, BadEntry> {
        let bad = |flaw| BadEntry { seq: self.seq, flaw };
        let computed = self.computed_hash();
        if computed.as_bytes().as_slice() != self.hash {
            return Err(bad(Flaw::Changed));
        }
        let malformed = |what| bad(Flaw::Malformed { what });
        let seq = u64::try_from(self.seq).map_err(|_| malformed("sequence number"))?;
        let previous =
            <[u8; 32]>::try_from(&self.previous[..]).map_err(|_| malformed("previous hash"))?;
        let stream = text(&self.stream).and_then(|text| StreamId::new(text).ok());
        let kind = text(&self.kind).and_then(|text| Kind::new(text).ok());
        Ok(Entry {
            seq,
            stream: stream.ok_or_else(|| malformed("stream"))?,
            kind: kind.ok_or_else(|| malformed("kind"))?,
            time: Timestamp::from_microsecond(self.time).map_err(|_| malformed("time"))?,
            previous: Hash::from_bytes(previous),
            hash: computed,
            body: self.body,
        })
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// The hash that the first entry has as its previous.
pub fn genesis(identity: &Identity) -> Hash {
    let digest = Sha256::new()
        .chain_update(GENESIS_DOMAIN)
        .chain_update(identity.id.as_bytes())
        .chain_update(stored_time(identity.created_at).to_be_bytes())
        .finalize();
    Hash::from_bytes(digest.into())
}

/// A time as it is stored and hashed.
pub fn stored_time(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// Links a draft to the head; gives the entry and moves the head onto it.
pub fn link(head: &mut Head, draft: Draft) -> Entry {
    let micros = stored_time(draft.time);
    let seq = head.seq + 1;
    let (stream, kind) = (draft.stream.as_str().as_bytes(), draft.kind.as_str().as_bytes());
    let hash = frame(seq, head.hash.as_bytes(), stream, kind, micros, &draft.body);
    let previous = std::mem::replace(head, Head { seq, hash }).hash;
    Entry {
        seq,
        stream: draft.stream,
        kind: draft.kind,
        // Cutting off what is not stored cannot leave the range; the draft's own time is in it.
        time: Timestamp::from_microsecond(micros).unwrap_or(draft.time),
        body: draft.body,
        previous,
        hash,
    }
}

fn frame(seq: u64, previous: &[u8], stream: &[u8], kind: &[u8], time: i64, body: &[u8]) -> Hash {
    // `usize` is never wider than 64 bits here, so the lengths are exact.
    let length = |part: &[u8]| (part.len() as u64).to_be_bytes();
    let digest = Sha256::new()
        .chain_update(ENTRY_DOMAIN)
        .chain_update(seq.to_be_bytes())
        .chain_update(previous)
        .chain_update(length(stream))
        .chain_update(stream)
        .chain_update(length(kind))
        .chain_update(kind)
        .chain_update(time.to_be_bytes())
        .chain_update(length(body))
        .chain_update(body)
        .finalize();
    Hash::from_bytes(digest.into())
}

/// Walks along a chain and stops at the first entry that does not belong there.
///
/// Bounded: it keeps the two last hashes, nothing else.
#[derive(Debug, Clone)]
pub struct Walk {
    last: Head,
    before_last: Option<Hash>,
}

impl Walk {
    /// Starts after `head`, which is taken as sound.
    pub fn after(head: Head) -> Self {
        Self { last: head, before_last: None }
    }

    /// The last sound entry.
    pub fn head(&self) -> Head {
        self.last
    }

    /// Takes the next entry in the order of sequence numbers.
    pub fn step(&mut self, row: Row) -> Result<Entry, BadEntry> {
        let expected = i64::try_from(self.last.seq).map_or(i64::MAX, |last| last.saturating_add(1));
        if row.seq < expected {
            return Err(BadEntry { seq: row.seq, flaw: Flaw::Inserted });
        }
        if row.seq > expected {
            return Err(BadEntry { seq: expected, flaw: Flaw::Missing { next: row.seq } });
        }
        let sound = row.computed_hash().as_bytes().as_slice() == row.hash;
        let linked = self.last.hash.as_bytes().as_slice() == row.previous;
        let skips_last =
            self.before_last.is_some_and(|hash| hash.as_bytes().as_slice() == row.previous);
        let copied = self.last.hash.as_bytes().as_slice() == row.hash;
        let last = expected - 1;
        match (linked, sound) {
            (true, true) => {}
            (true, false) => return Err(BadEntry { seq: expected, flaw: Flaw::Changed }),
            // The entry is what it was, and it covers another predecessor than the one there is.
            (false, true) if last > 0 => return Err(BadEntry { seq: last, flaw: Flaw::Rewritten }),
            (false, true) => return Err(BadEntry { seq: expected, flaw: Flaw::Foreign }),
            (false, false) if copied => {
                return Err(BadEntry { seq: expected, flaw: Flaw::Inserted });
            }
            // It follows the one before the last, and had that one's successor's number.
            (false, false) if skips_last && last > 0 => {
                return Err(BadEntry { seq: last, flaw: Flaw::Inserted });
            }
            (false, false) => return Err(BadEntry { seq: expected, flaw: Flaw::Displaced }),
        }
        let entry = row.into_entry()?;
        self.before_last = Some(self.last.hash);
        self.last = Head { seq: entry.seq, hash: entry.hash };
        Ok(entry)
    }
}
