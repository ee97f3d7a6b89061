//! Verification of a whole journal: names the first bad entry.
//!
//! Finds every changed, dropped, reordered and inserted entry between the first and the last. What
//! it cannot find without help: that the end was cut off, or that everything from some entry on
//! was computed anew. For that, keep an [`Anchor`] (a sequence number and its hash) outside of the
//! machine and give it here. Memory is bounded by a page of entries.

use std::fmt;

use super::VERIFY_ENTRIES;
use super::chain::Walk;
use super::entry::{Hash, Head};
use super::error::Failure;
use super::reader::JournalReader;

/// How an entry is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Its bytes are not those that its hash covers.
    Changed,
    /// It and its hash were replaced: the next entry covers another hash.
    Rewritten,
    /// It is not there; the next one that is has this number.
    Missing {
        /// The sequence number of the next entry.
        next: i64,
    },
    /// It was not there when the entries around it were written.
    Inserted,
    /// Another entry stands in its place.
    Displaced,
    /// It is the first, but of another journal, or the journal's identity was changed.
    Foreign,
    /// Its hash agrees, but no journal writes this.
    Malformed {
        /// The column.
        what: &'static str,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => out.write_str("was changed: its bytes do not have its hash"),
            Self::Rewritten => {
                out.write_str("was rewritten: the next entry follows a different one")
            }
            Self::Missing { next } => write!(out, "is missing: the next one is {next}"),
            Self::Inserted => out.write_str("was inserted: its neighbours do not know it"),
            Self::Displaced => out.write_str("is out of place: another one stood here"),
            Self::Foreign => {
                out.write_str("belongs to another journal, or the journal's identity was changed")
            }
            Self::Malformed { what } => write!(out, "has a {what} that no journal writes"),
        }
    }
}

/// The first entry that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// Its sequence number, as stored; for a missing one, the number it had.
    pub seq: i64,
    /// How it is bad.
    pub flaw: Flaw,
}

impl fmt::Display for BadEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "entry {} {}", self.seq, self.flaw)
    }
}

/// A place in the chain, noted outside of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The sequence number.
    pub seq: u64,
    /// The hash of that entry.
    pub hash: Hash,
}

impl From<Head> for Anchor {
    fn from(head: Head) -> Self {
        Self { seq: head.seq, hash: head.hash }
    }
}

/// What became of the anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchored {
    /// None was given: a cut-off end would not have been noticed.
    NotAsked,
    /// The entry is there, with that hash.
    Holds,
    /// The entry has another hash: history was computed anew before or at it.
    Differs {
        /// The hash it has.
        found: Hash,
    },
    /// The journal ends before it, or is bad before it.
    NotReached,
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// How many entries from the first on are sound.
    pub entries: u64,
    /// The last of them.
    pub head: Head,
    /// The first bad entry.
    pub first_bad: Option<BadEntry>,
    /// Whether the anchor is in the chain.
    pub anchored: Anchored,
    /// Damage that the store itself reports, such as an index that disagrees with its table.
    pub damage: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        let anchored = match self.anchored {
            Anchored::NotAsked | Anchored::Holds => true,
            Anchored::Differs { .. } | Anchored::NotReached => false,
        };
        self.first_bad.is_none() && anchored && self.damage.is_empty()
    }
}

/// Reads the whole journal and checks every link.
pub async fn verify(
    reader: &JournalReader,
    anchor: Option<Anchor>,
) -> Result<VerifyReport, Failure> {
    let start = Head { seq: 0, hash: reader.genesis() };
    let mut walk = Walk::after(start);
    let mut anchored = match anchor {
        None => Anchored::NotAsked,
        Some(_) => Anchored::NotReached,
    };
    let check = |head: Head, anchored: &mut Anchored| match anchor {
        Some(anchor) if anchor.seq == head.seq => {
            *anchored = match anchor.hash == head.hash {
                true => Anchored::Holds,
                false => Anchored::Differs { found: head.hash },
            };
        }
        Some(_) | None => {}
    };
    check(start, &mut anchored);
    // Below every number a journal gives, so that an entry with a negative one is seen too.
    let mut after = i64::MIN;
    let mut first_bad = None;
    'pages: loop {
        let page = reader.rows_after(after, VERIFY_ENTRIES).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for row in page {
            match walk.step(row) {
                Ok(entry) => check(Head { seq: entry.seq, hash: entry.hash }, &mut anchored),
                Err(bad) => {
                    first_bad = Some(bad);
                    break 'pages;
                }
            }
        }
    }
    // A rewritten entry was walked over before its successor gave it away.
    let head = walk.head();
    let damage = reader.damage().await?;
    Ok(VerifyReport { entries: head.seq, head, first_bad, anchored, damage })
}

/// Checks the last entries: what opening does, so that a start does not read the whole history.
///
/// # Errors
/// When the journal cannot be read.
pub async fn verify_tail(
    reader: &JournalReader,
    entries: usize,
) -> Result<Result<Head, BadEntry>, Failure> {
    let head = reader.head_row().await?.map_or(0, |row| row.seq);
    let before = head.saturating_sub_unsigned(entries as u64);
    let mut walk = Walk::after(Head { seq: 0, hash: reader.genesis() });
    let mut after = i64::MIN;
    if before > 0 {
        let Some(start) = reader.rows_after(before - 1, 1).await?.into_iter().next() else {
            return Ok(Err(BadEntry { seq: before, flaw: Flaw::Missing { next: head } }));
        };
        if start.seq != before {
            return Ok(Err(BadEntry { seq: before, flaw: Flaw::Missing { next: start.seq } }));
        }
        match start.into_entry() {
            Ok(entry) => walk = Walk::after(Head { seq: entry.seq, hash: entry.hash }),
            Err(bad) => return Ok(Err(bad)),
        }
        after = before;
    }
    loop {
        let page = reader.rows_after(after, VERIFY_ENTRIES).await?;
        let Some(last) = page.last() else { return Ok(Ok(walk.head())) };
        after = last.seq;
        for row in page {
            if let Err(bad) = walk.step(row) {
                return Ok(Err(bad));
            }
        }
    }
}
