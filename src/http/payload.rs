//! From the webhook's JSON (Alertmanager's version 4) to alerts.
//!
//! Lenient where Alertmanager changes between versions (unknown and newer keys), strict where an
//! error would become a wrong action: a label given twice, an alert without a start. One pass, no
//! intermediate tree; an error says which field it is in. The texts are data: whatever a label
//! holds, nothing here interprets it.

mod error;
mod limits;
mod read;
mod text;

pub use error::PayloadError;
pub use limits::{
    MAX_ALERTS, MAX_ANNOTATION_BYTES, MAX_ANNOTATIONS, MAX_LABEL_NAME_BYTES, MAX_LABEL_VALUE_BYTES,
    MAX_LABELS, MAX_URL_BYTES,
};

use sha2::{Digest as _, Sha256};

use crate::domain::alert::{Alert, Delivery};
use read::Raw;

/// What one webhook brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What came besides the alerts.
    pub delivery: Delivery,
    /// The alerts, in the order they came.
    pub alerts: Vec<Alert>,
    /// What was put right on the way.
    pub repairs: Repairs,
}

/// What was put right, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Fingerprints that did not fit their labels. An alert's identity is always computed from the
    /// labels: a field beside them must not be able to make two alerts one, or one alert two.
    pub fingerprints: u64,
    /// Annotations and URLs that were cut or dropped because of their length or number.
    pub texts: u64,
}

/// Parses a webhook's body.
pub fn parse(body: &[u8]) -> Result<Payload, PayloadError> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'[') => return Err(PayloadError::prometheus_list()),
        Some(_) | None => return Err(PayloadError::no_object(body.is_empty())),
    }
    let place = error::Place::default();
    let raw = Raw::read(body, &place).map_err(|error| PayloadError::new(&error, &place))?;
    match raw.version.as_deref() {
        // A template for the body may leave it out; another version would mean other fields.
        None | Some("4") => {}
        Some(other) => return Err(PayloadError::version(other)),
    }
    let delivery = Delivery {
        receiver: unquote_meta(&raw.receiver),
        group: hex::encode(Sha256::digest(raw.group_key.as_bytes())),
        truncated_alerts: raw.truncated_alerts,
        reason: raw.reason,
        external_url: raw.external_url,
    };
    let alerts = raw.alerts.ok_or_else(PayloadError::no_alerts)?;
    Ok(Payload { delivery, alerts, repairs: raw.repairs })
}

/// Undoes Go's `regexp.QuoteMeta`, which Alertmanager applies to the receiver's name.
fn unquote_meta(quoted: &str) -> String {
    let mut name = String::with_capacity(quoted.len());
    let mut characters = quoted.chars().peekable();
    while let Some(character) = characters.next() {
        let quotes = character == '\\'
            && characters.peek().is_some_and(|next| r"\.+*?()|[]{}^$".contains(*next));
        name.extend(if quotes { characters.next() } else { Some(character) });
    }
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
