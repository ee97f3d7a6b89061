//! Posts JSON until it is taken, refused or given up. The address may be a secret, so it appears in no
//! error and no log.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::NotifyError;
use crate::clock::SharedClock;
use crate::outbound::{self, Credentials, Endpoint, OutboundError, Service};

/// One try: a receiver that needs longer does its work before it answers.
const LIMIT: Duration = Duration::from_secs(10);
/// An answer's size; only its beginning is of use, in an error.
const BODY_LIMIT: usize = 64 * 1024;
/// Tries: with the pauses below they cover the restart of a receiver.
const TRIES: u32 = 5;
/// The first pause; doubled each time.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause, also when the receiver asks for a longer one: an escalation must not wait.
const PAUSE_LIMIT: SignedDuration = SignedDuration::from_secs(20);
/// Characters of a refusal that are kept.
const WHY: usize = 200;

/// Where to post.
#[derive(Clone, Debug)]
pub enum Address {
    /// Written in the configuration.
    Given(SecretString),
    /// In a file, read at every message.
    File(PathBuf),
}

/// Where to post, and how to try.
pub struct Delivery {
    address: Address,
    clock: SharedClock,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery")
    }
}

/// What came of one try.
enum Try {
    Delivered,
    Refused(String),
    Again { why: String, after: Option<u64> },
}

impl Delivery {
    /// Nothing is read or sent yet.
    pub fn new(address: Address, clock: SharedClock) -> Self {
        Self { address, clock }
    }

    /// Posts `body`, again while that can help. `name` is the receiver's, for errors; `id` is the same
    /// for the same message.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send(&self, name: &str, id: &str, body: &Value) -> Result<(), NotifyError> {
        let refused = |why: String| NotifyError::Refused { name: name.to_owned(), why };
        let endpoint = self.endpoint().await.map_err(|error| refused(error.to_string()))?;
        let mut pause = PAUSE;
        let mut last = String::new();
        for number in 1..=TRIES {
            let after = match attempt(&endpoint, id, body).await {
                Try::Delivered => return Ok(()),
                Try::Refused(why) => return Err(refused(why)),
                Try::Again { why, after } => {
                    last = why;
                    after
                }
            };
            if number < TRIES {
                let asked = after.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
                let wait = pause.max(SignedDuration::from_secs(asked)).min(PAUSE_LIMIT);
                let now = self.clock.now();
                self.clock.sleep_until(now.saturating_add(wait).unwrap_or(now)).await;
                pause = pause.saturating_mul(2);
            }
        }
        Err(NotifyError::GaveUp { name: name.to_owned(), tries: TRIES, why: last })
    }

    async fn endpoint(&self) -> Result<Endpoint, OutboundError> {
        let url = match &self.address {
            Address::Given(url) => url.expose_secret().to_owned(),
            Address::File(file) => outbound::secret(file).await?,
        };
        Endpoint::new(&Service { url, credentials: Credentials::None, ca_file: None })
    }
}

async fn attempt(endpoint: &Endpoint, id: &str, body: &Value) -> Try {
    let request = endpoint.post(endpoint.whole()).header("Idempotency-Key", id).json(body);
    match endpoint.send(request, LIMIT, BODY_LIMIT).await {
        Ok(answer) if answer.status.is_success() => Try::Delivered,
        Ok(answer) => {
            let start = String::from_utf8_lossy(&answer.body);
            let start: String = start.trim().chars().take(WHY).collect();
            let why = format!("HTTP {} {start}", answer.status.as_u16()).trim_end().to_owned();
            let passing = answer.status.is_server_error()
                || answer.status == StatusCode::TOO_MANY_REQUESTS
                || answer.status == StatusCode::REQUEST_TIMEOUT;
            if passing { Try::Again { why, after: answer.retry_after } } else { Try::Refused(why) }
        }
        Err(why) => Try::Again { why, after: None },
    }
}
