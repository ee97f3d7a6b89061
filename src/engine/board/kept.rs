//! A board in bytes, to be kept beside the journal, and back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Board, Open, Record, Summary};
use crate::domain::alert::Alert;
use crate::domain::facts::Target;
use crate::domain::gate::ledger::Ledger;
use crate::domain::id::{Digest, Episode, IncidentId};

/// Names this form of a board and the way in which it is folded: to be counted up with every change of
/// either, so that an older one is folded anew. The version of the program is part of it besides.
const FORM: u32 = 1;

/// The name under which a board that looks out for this dead man's switch is kept.
pub fn fold(watchdog: Option<&str>) -> String {
    format!("board {FORM} of {} for {}", env!("CARGO_PKG_VERSION"), watchdog.unwrap_or("none"))
}

/// Maps whose keys are no texts, as lists.
#[derive(Serialize)]
struct Kept<'a> {
    open: Vec<&'a Open>,
    ended: &'a std::collections::VecDeque<Summary>,
    episodes: Vec<(&'a Episode, &'a IncidentId)>,
    orphans: Vec<&'a Alert>,
    healthy: Vec<(&'a Target, &'a std::collections::VecDeque<(Digest, Timestamp)>)>,
    ledger: &'a Ledger,
    correlated: u64,
    seen: u64,
    records: &'a BTreeMap<String, Record>,
}

/// The same on the way back.
#[derive(Deserialize)]
struct Read {
    open: Vec<Open>,
    ended: std::collections::VecDeque<Summary>,
    episodes: Vec<(Episode, IncidentId)>,
    orphans: Vec<Alert>,
    healthy: Vec<(Target, std::collections::VecDeque<(Digest, Timestamp)>)>,
    ledger: Ledger,
    correlated: u64,
    seen: u64,
    records: BTreeMap<String, Record>,
}

impl Board {
    /// The board in bytes; the same board gives the same bytes.
    ///
    /// # Errors
    /// When something in it has no form as JSON.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let named = |episode| Some((episode, self.episodes.get(episode)?));
        serde_json::to_vec(&Kept {
            open: self.open.values().collect(),
            ended: &self.ended,
            episodes: self.order.iter().filter_map(named).collect(),
            orphans: self.orphans.values().collect(),
            healthy: self.healthy.iter().collect(),
            ledger: &self.ledger,
            correlated: self.correlated,
            seen: self.seen,
            records: &self.records,
        })
    }

    /// The board that these bytes were made of.
    ///
    /// # Errors
    /// When they are no board.
    pub fn from_bytes(bytes: &[u8]) -> serde_json::Result<Self> {
        let read: Read = serde_json::from_slice(bytes)?;
        Ok(Self {
            open: read.open.into_iter().map(|open| (open.summary.id.clone(), open)).collect(),
            ended: read.ended,
            order: read.episodes.iter().map(|(episode, _)| *episode).collect(),
            episodes: read.episodes.into_iter().collect(),
            orphans: read.orphans.into_iter().map(|alert| (alert.episode(), alert)).collect(),
            healthy: read.healthy.into_iter().collect(),
            ledger: read.ledger,
            correlated: read.correlated,
            seen: read.seen,
            records: read.records,
        })
    }
}
