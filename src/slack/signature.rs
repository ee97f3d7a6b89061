//! Did Slack send this? The v0 signature over the raw body, a window of five minutes, and every
//! signature counts once. It proves Slack, not the person.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The header with the signature.
pub const SIGNATURE: &str = "x-slack-signature";
/// The header with the time at which it was signed, in seconds.
pub const TIMESTAMP: &str = "x-slack-request-timestamp";
/// How far the two clocks may be apart; also how long a signature is remembered.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// Signatures that are remembered: thirty clicks a second over the whole window. With more, the
/// oldest is forgotten; its click is known by its own key in the journal.
const REMEMBERED: usize = 10_000;

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// A header is missing or malformed.
    #[error("it is not signed")]
    Unsigned,
    /// Too old, or from the future.
    #[error("it was signed more than five minutes from now; are the clocks right?")]
    Late,
    /// Another secret, or another body.
    #[error("the signature is wrong")]
    Wrong,
    /// It came before.
    #[error("the same request came before")]
    Replayed,
}

/// Checks the signature of `body`.
///
/// # Errors
/// Why it is not believed.
pub fn verify(
    secret: &SecretString,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Forged> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
        return Err(Forged::Unsigned);
    };
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = timestamp.parse().ok().filter(|_| digits).ok_or(Forged::Unsigned)?;
    let at = Timestamp::from_second(seconds).map_err(|_| Forged::Unsigned)?;
    let given = signature.strip_prefix("v0=").ok_or(Forged::Unsigned)?;
    let given = hex::decode(given).map_err(|_| Forged::Unsigned)?;
    let mut mac = keyed(secret.expose_secret().as_bytes());
    for part in [b"v0:".as_slice(), timestamp.as_bytes(), b":", body] {
        mac.update(part);
    }
    // In constant time.
    mac.verify_slice(&given).map_err(|_| Forged::Wrong)?;
    if now.duration_since(at).abs() > WINDOW { Err(Forged::Late) } else { Ok(()) }
}

/// HMAC-SHA256 takes a key of any length.
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

/// The signatures of the last five minutes.
#[derive(Debug, Default)]
pub struct Replays {
    seen: Mutex<BTreeMap<String, Timestamp>>,
}

impl Replays {
    /// Notes a signature that was found right.
    ///
    /// # Errors
    /// When it was noted before.
    pub fn note(&self, signature: &str, now: Timestamp) -> Result<(), Forged> {
        // Hex digits say the same in either case.
        let signature = signature.to_ascii_lowercase();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice the window: a timestamp may lie as far ahead as behind.
        seen.retain(|_, at| now.duration_since(*at).abs() <= WINDOW * 2);
        if seen.contains_key(&signature) {
            return Err(Forged::Replayed);
        }
        if seen.len() >= REMEMBERED
            && let Some(oldest) = seen.iter().min_by_key(|(_, at)| **at).map(|(it, _)| it.clone())
        {
            seen.remove(&oldest);
        }
        seen.insert(signature, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slack's own example, from "Verifying requests from Slack".
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const AT: &str = "1531420618";
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNED: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn check(
        at: Option<&str>,
        signature: Option<&str>,
        body: &str,
        late: i64,
    ) -> Result<(), Forged> {
        let now = Timestamp::from_second(1_531_420_618 + late).expect("a time");
        verify(&SECRET.into(), at, signature, body.as_bytes(), now)
    }

    #[test]
    fn slacks_own_example_is_believed_and_nothing_else() {
        assert_eq!(check(Some(AT), Some(SIGNED), BODY, 0), Ok(()));
        assert_eq!(check(Some(AT), Some(SIGNED), BODY, 300), Ok(()));
        assert_eq!(check(Some(AT), Some(SIGNED), BODY, -300), Ok(()));
        assert_eq!(check(Some(AT), Some(SIGNED), BODY, 301), Err(Forged::Late));
        assert_eq!(check(Some(AT), Some(SIGNED), BODY, -301), Err(Forged::Late));
        let other = BODY.replace("roadrunner", "coyote");
        assert_eq!(check(Some(AT), Some(SIGNED), &other, 0), Err(Forged::Wrong));
        assert_eq!(check(Some("1531420619"), Some(SIGNED), BODY, 0), Err(Forged::Wrong));
        let cut = &SIGNED[..SIGNED.len() - 2];
        assert_eq!(check(Some(AT), Some(cut), BODY, 0), Err(Forged::Wrong));
        for (at, signature) in [
            (None, Some(SIGNED)),
            (Some(AT), None),
            (Some(AT), Some("v0=zz")),
            (Some(AT), Some("v1=00")),
            (Some("-1531420618"), Some(SIGNED)),
            (Some("99999999999999999999"), Some(SIGNED)),
        ] {
            assert_eq!(
                check(at, signature, BODY, 0),
                Err(Forged::Unsigned),
                "{at:?} {signature:?}"
            );
        }
    }

    #[test]
    fn a_signature_counts_once_whatever_its_case() {
        let replays = Replays::default();
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(replays.note("v0=ab", at), Ok(()));
        assert_eq!(replays.note("v0=ab", at + WINDOW), Err(Forged::Replayed));
        assert_eq!(replays.note("v0=AB", at), Err(Forged::Replayed));
        assert_eq!(replays.note("v0=cd", at), Ok(()));
        for number in 0..REMEMBERED + 5 {
            assert_eq!(replays.note(&format!("v0={number}"), at + WINDOW), Ok(()));
        }
        assert!(replays.seen.lock().expect("not poisoned").len() <= REMEMBERED);
    }
}
