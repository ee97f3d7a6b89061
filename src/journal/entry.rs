//! What the journal holds: streams, kinds, drafts and entries.
//!
//! Bytes only: what a body means is the codec's business. The limits here are those that every
//! store must keep.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::error::NameError;

/// The longest stream id, in bytes: a kind prefix and a Kubernetes name (253) fit with room.
pub const MAX_STREAM_BYTES: usize = 320;
/// The longest kind, in bytes: kinds are type names, not texts.
pub const MAX_KIND_BYTES: usize = 64;

/// Names a sequence of entries that belong together, such as those of one incident.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Takes any text of 1 to [`MAX_STREAM_BYTES`] bytes without control characters.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        check_name("stream id", &text, MAX_STREAM_BYTES)?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "StreamId({})", self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What an entry says; the codec reads the body accordingly.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// Takes any text of 1 to [`MAX_KIND_BYTES`] bytes without control characters.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, NameError> {
        let text = text.into();
        check_name("kind", &text, MAX_KIND_BYTES)?;
        Ok(Self(text))
    }

    pub(super) fn into_text(self) -> Cow<'static, str> {
        self.0
    }

    /// A kind known when compiling; anything [`Kind::new`] refuses does not compile in a `const`.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(!text.is_empty() && text.len() <= MAX_KIND_BYTES, "kind is empty or too long");
        Self(Cow::Borrowed(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Kind({})", self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn check_name(what: &'static str, text: &str, limit: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > limit {
        return Err(NameError::TooLong { what, bytes: text.len(), limit });
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter { what });
    }
    Ok(())
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// From the digest's bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 hexadecimal digits, as [`struct@Hash`] is displayed.
    pub fn from_hex(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NameError::NotAHash)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hash({self})")
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

/// Tells one journal from every other; part of what the first entry's hash covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId([u8; 16]);

impl JournalId {
    /// From 16 bytes that the caller drew at random.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JournalId({self})")
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

/// Which journal this is; fixed when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: JournalId,
    /// When it was created, to the microsecond.
    pub created_at: Timestamp,
}

/// One entry to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// What it says.
    pub kind: Kind,
    /// When it happened; stored to the microsecond, what is finer is cut off.
    pub time: Timestamp,
    /// The codec's bytes.
    pub body: Vec<u8>,
}

/// One entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the journal, from 1, without gaps.
    pub seq: u64,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// What it says.
    pub kind: Kind,
    /// When it happened, to the microsecond.
    pub time: Timestamp,
    /// The codec's bytes.
    pub body: Vec<u8>,
    /// The hash of the entry before; for the first, the hash of the journal's identity.
    pub previous: Hash,
    /// The hash of this entry: see [`super::chain`].
    pub hash: Hash,
}

/// The last entry of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its sequence number; 0 when the journal is empty.
    pub seq: u64,
    /// Its hash; of the journal's identity when the journal is empty.
    pub hash: Hash,
}

/// A stream's extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHead {
    /// The stream.
    pub stream: StreamId,
    /// How many entries it has: its version.
    pub version: u64,
    /// The sequence number of its last entry.
    pub last_seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_told_apart_or_stored_are_refused() {
        assert!(matches!(StreamId::new(""), Err(NameError::Empty { .. })));
        assert!(matches!(StreamId::new("a\nb"), Err(NameError::ControlCharacter { .. })));
        assert!(StreamId::new("s".repeat(MAX_STREAM_BYTES)).is_ok());
        assert!(matches!(
            StreamId::new("s".repeat(MAX_STREAM_BYTES + 1)),
            Err(NameError::TooLong { limit: MAX_STREAM_BYTES, .. })
        ));
        assert!(matches!(
            Kind::new("k".repeat(MAX_KIND_BYTES + 1)),
            Err(NameError::TooLong { limit: MAX_KIND_BYTES, .. })
        ));
    }

    #[test]
    fn a_hash_reads_back_what_it_prints() {
        let hash = Hash::from_bytes([0xa5; 32]);
        assert_eq!(Hash::from_hex(&hash.to_string()).ok(), Some(hash));
        assert!(Hash::from_hex("a5").is_err());
    }
}
