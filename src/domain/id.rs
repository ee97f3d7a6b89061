//! Names of things: fingerprints, episodes, incidents, objects, digests.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Alertmanager's fingerprint: FNV-1a 64 over the sorted labels. Equal in every episode and on
/// every replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Computes the fingerprint of `labels` as prometheus/common does.
    pub fn of<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut sorted: Vec<_> = labels.into_iter().collect();
        sorted.sort_unstable();
        let mut hash = OFFSET;
        for (name, value) in sorted {
            for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
            }
        }
        Self(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let value = hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        value.map(Self).ok_or_else(|| ParseIdError::new("fingerprint", text, "16 hex digits"))
    }
}

/// One continuous firing of one alert: what a remediation is started for, at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Episode {
    /// Which alert.
    pub fingerprint: Fingerprint,
    /// When this firing began, as Alertmanager says.
    pub starts_at: Timestamp,
}

/// Names an incident. Derived from the episode that opened it, so that handling the same episode
/// twice can only ever find the same incident.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IncidentId(String);

/// Crockford's base 32, lower case: no letter that is mistaken for another over the telephone.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 60 bits: among a million incidents the chance of a clash is below one in a million, and a clash
/// is refused by the journal, not merged.
const ID_LENGTH: usize = 12;

impl IncidentId {
    /// The incident that `episode` opens.
    pub fn of(episode: Episode) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"orderly-incident-v1");
        hash.update(episode.fingerprint.0.to_be_bytes());
        hash.update(episode.starts_at.as_nanosecond().to_be_bytes());
        let bytes = hash.finalize();
        let id = bytes
            .iter()
            .take(ID_LENGTH)
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        Self(id.collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IncidentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == ID_LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError::new(
                "incident id",
                text,
                "12 characters as `orderly incidents` shows",
            ))
        }
    }
}

impl TryFrom<String> for IncidentId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IncidentId> for String {
    fn from(id: IncidentId) -> Self {
        id.0
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 over something that must not change unnoticed: a plan, a policy version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes `value` as JSON with sorted keys, under `domain` so that digests of different things
    /// never meet.
    pub fn of<T: Serialize>(domain: &str, value: &T) -> Self {
        // `serde_json::Value` keeps its maps sorted; going through it makes the text canonical.
        let canonical = serde_json::to_value(value).map(|value| value.to_string());
        let text = canonical.unwrap_or_else(|error| format!("unserialisable: {error}"));
        let mut hash = Sha256::new();
        hash.update(domain.as_bytes());
        hash.update([0]);
        hash.update(text.as_bytes());
        Self(hash.finalize().into())
    }

    /// The first 12 hex digits: what people are shown and may type.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(ParseIdError::new("digest", text, "64 hex digits")),
        }
    }
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(Fingerprint, Digest);

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: expected {expected}")]
pub struct ParseIdError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl ParseIdError {
    fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_agree_with_prometheus_common() {
        assert_eq!(Fingerprint::of([]).to_string(), "cbf29ce484222325");
        let garland = [("name", "garland, briggs"), ("fear", "love is not enough")];
        assert_eq!(Fingerprint::of(garland).to_string(), "507a62d79ee76c9a");
        let pod = [("alertname", "KubePodCrashLooping"), ("namespace", "prod")];
        assert_eq!(Fingerprint::of(pod).to_string(), "94ccc772702cdf8b");
    }

    #[test]
    fn the_same_episode_names_the_same_incident_and_another_start_names_another() {
        let fingerprint = Fingerprint(7);
        let starts_at = Timestamp::UNIX_EPOCH;
        let first = IncidentId::of(Episode { fingerprint, starts_at });
        assert_eq!(first, IncidentId::of(Episode { fingerprint, starts_at }));
        let later = starts_at + jiff::SignedDuration::from_secs(1);
        assert_ne!(first, IncidentId::of(Episode { fingerprint, starts_at: later }));
        assert_eq!(first.as_str().parse::<IncidentId>(), Ok(first.clone()));
    }

    #[test]
    fn ids_from_outside_are_checked() {
        assert!("../../kube-syst".parse::<IncidentId>().is_err());
        assert!("abc".parse::<Fingerprint>().is_err());
        assert!("zz".parse::<Digest>().is_err());
    }
}
