//! What a button carries: which incident, which plan and until when, sealed with a key of this
//! journal. A value that was made up, moved to another button, message or cluster, or that is too
//! old, opens nothing. It is no secret who may press: that is asked of the person.

use std::fmt;

use hmac::Mac as _;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::signature::keyed;
use crate::domain::id::{Digest, IncidentId};

/// Bytes of the seal: nobody guesses 128 bits.
const SEAL: usize = 16;
/// Hex digits of the plan's digest that a button carries.
const DIGITS: usize = 32;

/// The key.
#[derive(Clone)]
pub struct Sealer {
    key: [u8; 32],
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// What a button is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Which incident.
    pub incident: IncidentId,
    /// The beginning of the digest of the plan that was shown, if one was.
    pub digest: Option<String>,
}

/// Why a button opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not sealed by this service.
    #[error("this button does not belong to this Orderly, or to a version of it that is gone")]
    Foreign,
    /// Too old.
    #[error("this button has expired: look at the message again")]
    Expired,
}

impl Sealer {
    /// The key of this journal and this secret: another cluster's buttons open nothing here, and
    /// those of before a restart still do.
    pub fn new(journal: &str, secret: &SecretString) -> Self {
        let mut hash = Sha256::new();
        for part in ["orderly-slack-seal-v1", journal, secret.expose_secret()] {
            // Lengths keep two parts from being taken for another two.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self { key: hash.finalize().into() }
    }

    /// The value of the button `action` about `incident` and this plan, good until `expires`.
    pub fn seal(
        &self,
        action: &str,
        incident: &IncidentId,
        plan: Option<&Digest>,
        expires: Timestamp,
    ) -> String {
        let plan = plan.map(ToString::to_string);
        let plan = plan.as_deref().and_then(|it| it.get(..DIGITS)).unwrap_or("-");
        let open = format!("{incident}.{plan}.{}", expires.as_second());
        let seal = self.over(action, &open).finalize().into_bytes();
        format!("{open}.{}", hex::encode(&seal[..SEAL]))
    }

    /// What the button `action` with this value is about.
    ///
    /// # Errors
    /// Why it opens nothing.
    pub fn open(&self, action: &str, value: &str, now: Timestamp) -> Result<Sealed, Broken> {
        let (open, seal) = value.rsplit_once('.').ok_or(Broken::Foreign)?;
        let seal = hex::decode(seal).ok().filter(|it| it.len() == SEAL).ok_or(Broken::Foreign)?;
        // In constant time.
        self.over(action, open).verify_truncated_left(&seal).map_err(|_| Broken::Foreign)?;
        let mut parts = open.split('.');
        let (incident, plan, expires) = (parts.next(), parts.next(), parts.next());
        let incident = incident.and_then(|it| it.parse().ok()).ok_or(Broken::Foreign)?;
        let expires = expires.and_then(|it| it.parse().ok()).ok_or(Broken::Foreign)?;
        let expires = Timestamp::from_second(expires).map_err(|_| Broken::Foreign)?;
        if now > expires {
            return Err(Broken::Expired);
        }
        let digest = plan.filter(|plan| *plan != "-").map(str::to_owned);
        Ok(Sealed { incident, digest })
    }

    fn over(&self, action: &str, open: &str) -> hmac::Hmac<Sha256> {
        let mut mac = keyed(&self.key);
        mac.update(action.as_bytes());
        mac.update(b"\0");
        mac.update(open.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_button_is_good_for_one_action_one_plan_one_journal_and_its_time() {
        let sealer = Sealer::new("journal-a", &"secret".into());
        let incident: IncidentId = "0123456789ab".parse().expect("an id");
        let plan = Digest::of("test", &"plan");
        let now = Timestamp::UNIX_EPOCH;
        let expires = now + SignedDuration::from_mins(30);
        let value = sealer.seal("approve", &incident, Some(&plan), expires);
        let opened = sealer.open("approve", &value, now).expect("it opens");
        assert_eq!(opened.incident, incident);
        assert!(plan.to_string().starts_with(&opened.digest.expect("a digest")));

        assert_eq!(sealer.open("refuse", &value, now), Err(Broken::Foreign));
        let later = expires + SignedDuration::from_secs(1);
        assert_eq!(sealer.open("approve", &value, later), Err(Broken::Expired));
        for (journal, secret) in [("journal-b", "secret"), ("journal-a", "other")] {
            let other = Sealer::new(journal, &secret.into());
            assert_eq!(other.open("approve", &value, now), Err(Broken::Foreign));
        }
        let moved = value.replacen("0123456789ab", "0123456789ac", 1);
        assert_eq!(sealer.open("approve", &moved, now), Err(Broken::Foreign));
        let (open, _) = value.rsplit_once('.').expect("a seal");
        for made_up in [open.to_owned(), format!("{open}."), format!("{open}.00"), String::new()] {
            assert_eq!(sealer.open("approve", &made_up, now), Err(Broken::Foreign), "{made_up}");
        }
        let without = sealer.seal("abort", &incident, None, expires);
        assert_eq!(sealer.open("abort", &without, now).expect("it opens").digest, None);
    }
}
