//! Between events and entries: JSON with the stream and kind beside it.
//!
//! The encoding is versioned in the body (`v`). What is stored is never written again: an old body
//! is read by the decoder of its version, and the hash covers the bytes as they are (invariant 6).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Draft, Entry, Kind, StreamId};
use crate::domain::alert::{Alert, Delivery};
use crate::domain::event::{Event, Stream};

/// The version that is written.
const VERSION: u32 = 1;
/// The kind of [`Event::AlertsReceived`].
const DELIVERY: &str = "AlertsReceived";

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// What most entries are by far, and by far the largest: read straight into its fields, where any
/// event whatever has to be taken apart first to see which it is.
#[derive(Deserialize)]
struct ReceivedAlerts {
    v: u32,
    #[serde(rename = "event")]
    _event: ReceivedAlertsTag,
    delivery: Delivery,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
enum ReceivedAlertsTag {
    #[serde(rename = "alertsReceived")]
    AlertsReceived,
}

/// An entry that does not say what its kind says.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program.
    #[error(
        "entry {seq} is of version {version}, newer than this program knows ({VERSION}): upgrade it"
    )]
    Newer {
        /// Which entry.
        seq: u64,
        /// Its version.
        version: u32,
    },
    /// Not an event.
    #[error("entry {seq} (`{kind}`) cannot be read: {why}")]
    Unreadable {
        /// Which entry.
        seq: u64,
        /// Its kind.
        kind: String,
        /// What is wrong.
        why: String,
    },
}

/// An event as it was read back.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its place in the journal.
    pub seq: u64,
    /// Its stream.
    pub stream: Stream,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// The name of a stream in the journal.
pub fn stream_id(stream: &Stream) -> StreamId {
    // An incident id has 12 characters of a fixed alphabet, the other names are constants.
    StreamId::new(stream.name()).expect("stream names are short and printable")
}

/// The kind of an event in the journal.
pub fn kind(event: &Event) -> Kind {
    Kind::from_static(event.kind())
}

/// The kinds of these names.
pub fn kinds(names: &[&'static str]) -> Vec<Kind> {
    names.iter().map(|name| Kind::from_static(name)).collect()
}

/// One event, ready to be appended.
pub fn encode(stream: &Stream, time: Timestamp, event: &Event) -> Draft {
    let written = Written { v: VERSION, event };
    // Events hold text, numbers and maps with text keys, which JSON always takes.
    let body = serde_json::to_vec(&written).expect("an event is always JSON");
    Draft { stream: stream_id(stream), kind: kind(event), time, body }
}

/// A time as it will be read back: entries are stored to the microsecond.
pub fn stored_time(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Whether the entry is a delivery of alerts: only who correlates has to read it.
pub fn is_delivery(entry: &Entry) -> bool {
    entry.kind.as_str() == DELIVERY
}

/// A delivery of this version. Whatever else it is, and what is wrong with it, is found out the
/// long way.
fn delivery(entry: &Entry) -> Option<Event> {
    if !is_delivery(entry) {
        return None;
    }
    let read: ReceivedAlerts = serde_json::from_slice(&entry.body).ok()?;
    let ReceivedAlerts { v, delivery, alerts, .. } = read;
    (v <= VERSION).then_some(Event::AlertsReceived { delivery, alerts })
}

/// One entry, read back.
///
/// # Errors
/// When it was written by a newer program, or is no event of a known stream.
pub fn decode(entry: &Entry) -> Result<Recorded, DecodeError> {
    let unreadable = |why: String| DecodeError::Unreadable {
        seq: entry.seq,
        kind: entry.kind.as_str().to_owned(),
        why,
    };
    let name = entry.stream.as_str();
    let stream =
        Stream::parse(name).ok_or_else(|| unreadable(format!("its stream is `{name}`")))?;
    if let Some(event) = delivery(entry) {
        return Ok(Recorded { seq: entry.seq, stream, at: entry.time, event });
    }
    let version: Version =
        serde_json::from_slice(&entry.body).map_err(|error| unreadable(error.to_string()))?;
    if version.v > VERSION {
        return Err(DecodeError::Newer { seq: entry.seq, version: version.v });
    }
    let event: Event =
        serde_json::from_slice(&entry.body).map_err(|error| unreadable(error.to_string()))?;
    Ok(Recorded { seq: entry.seq, stream, at: entry.time, event })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::diagnosis::sample;
    use crate::journal::entry::Hash;

    fn entry(draft: Draft) -> Entry {
        let Draft { stream, kind, time, body } = draft;
        let (previous, hash) = (Hash::from_bytes([0; 32]), Hash::from_bytes([0; 32]));
        Entry { seq: 7, stream, kind, time, body, previous, hash }
    }

    fn received() -> Event {
        let delivery = Delivery {
            receiver: "orderly".to_owned(),
            group: "0".repeat(64),
            truncated_alerts: 3,
            reason: None,
            external_url: String::new(),
        };
        Event::AlertsReceived { delivery, alerts: vec![sample::alert()] }
    }

    /// With one field of the body changed.
    fn changed(field: &str, value: Value) -> Entry {
        let mut entry = entry(encode(&Stream::Intake, Timestamp::UNIX_EPOCH, &received()));
        let mut body: Value = serde_json::from_slice(&entry.body).unwrap();
        body[field] = value;
        entry.body = serde_json::to_vec(&body).unwrap();
        entry
    }

    #[test]
    fn a_delivery_is_read_the_short_way_and_says_what_was_written() {
        let entry = entry(encode(&Stream::Intake, Timestamp::UNIX_EPOCH, &received()));
        assert!(is_delivery(&entry));
        assert_eq!(delivery(&entry), Some(received()));
        assert_eq!(decode(&entry).unwrap().event, received());
    }

    #[test]
    fn a_delivery_that_is_not_one_is_refused_as_any_entry_is() {
        let newer = changed("v", json!(VERSION + 1));
        assert!(matches!(decode(&newer), Err(DecodeError::Newer { seq: 7, .. })));
        let broken = changed("alerts", json!("none"));
        assert!(matches!(decode(&broken), Err(DecodeError::Unreadable { seq: 7, .. })));
        assert_eq!(delivery(&changed("event", json!("alertsCorrelated"))), None);
    }
}
