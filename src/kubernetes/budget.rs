//! The client-side budget of one identity: how many requests may be under way, how many may leave in
//! a second, and none at all while the API server asks for a pause.
//!
//! A storm of alerts is a storm of questions, at the moment when the API server can bear them least.
//! Waiting for the budget is not waiting for the API server: a request's time limit begins after it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::failure::{CallError, RETRY_AFTER_LIMIT, Rejection};
use crate::clock::SharedClock;

/// Requests under way at one time: leaves most of an API server's share to others while 20 incidents
/// are diagnosed at once.
const IN_FLIGHT: usize = 16;
/// Requests a second in the long run: what kube-scheduler allows itself for a whole cluster.
pub const REQUESTS_PER_SECOND: u32 = 50;
/// Requests that may leave at once after a quiet time, also kube-scheduler's: five incidents are
/// diagnosed without waiting.
pub const BURST: u32 = 100;
/// The longest pause that is kept: after it the server may be asked again how it is.
const LONGEST_PAUSE: u64 = 60;

/// What one identity may send.
#[derive(Debug)]
pub struct Budget {
    in_flight: Semaphore,
    pace: Mutex<Pace>,
    pause: Mutex<Option<(Timestamp, Timestamp)>>,
    clock: SharedClockOf,
}

/// A clock that says nothing of itself.
struct SharedClockOf(SharedClock);

impl std::fmt::Debug for SharedClockOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Budget {
    /// A full one.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            in_flight: Semaphore::new(IN_FLIGHT),
            pace: Mutex::default(),
            pause: Mutex::default(),
            clock: SharedClockOf(clock),
        })
    }

    /// Waits until a request may leave.
    ///
    /// # Errors
    /// While the API server asked for a pause that is too long to wait for: 429 with what is left of
    /// it, and nothing is sent.
    pub async fn enter(&self, path: &str) -> Result<SemaphorePermit<'_>, CallError> {
        let closed = |why: String| CallError::Connection { path: path.to_owned(), why };
        let permit = self.in_flight.acquire().await;
        // The semaphore is never closed.
        let permit = permit.map_err(|error| closed(error.to_string()))?;
        if let Some(left) = self.pause() {
            let seconds = left.as_secs().unsigned_abs() + 1;
            if seconds > RETRY_AFTER_LIMIT {
                let message =
                    format!("not sent: the API server asked for a pause of another {seconds}s");
                let rejection = Rejection {
                    code: 429,
                    reason: String::new(),
                    message,
                    retry_after: Some(seconds),
                };
                return Err(CallError::Rejected { path: path.to_owned(), rejection });
            }
            let until = self.clock.0.now().saturating_add(left);
            self.clock.0.sleep_until(until.unwrap_or(Timestamp::MAX)).await;
        }
        // Real time, also in tests: it only slows down, and nothing is decided by it.
        let turn = self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        tokio::time::sleep_until(turn).await;
        Ok(permit)
    }

    /// Takes notice of how the API server answered: a busy one that names a time is left alone.
    pub fn heed(&self, error: &CallError) {
        let CallError::Rejected { rejection, .. } = error else { return };
        let (429 | 503, Some(seconds)) = (rejection.code, rejection.retry_after) else { return };
        let seconds = i64::try_from(seconds.min(LONGEST_PAUSE)).unwrap_or(0);
        let now = self.clock.0.now();
        let until = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, until));
    }

    /// What is left of the pause. A clock that was set back knows of none.
    fn pause(&self) -> Option<SignedDuration> {
        let (from, until) = (*self.pause.lock().unwrap_or_else(PoisonError::into_inner))?;
        let now = self.clock.0.now();
        (from <= now && now < until).then(|| until.duration_since(now))
    }
}

/// A bucket of [`BURST`] that is refilled with [`REQUESTS_PER_SECOND`], kept as the time at which it
/// would be full again (the generic cell rate algorithm).
#[derive(Debug, Default)]
struct Pace {
    full_at: Option<Instant>,
}

impl Pace {
    /// When the next request may leave; whoever asks first leaves first.
    fn take(&mut self, now: Instant) -> Instant {
        let each = Duration::from_secs(1) / REQUESTS_PER_SECOND;
        let full_at = self.full_at.unwrap_or(now).max(now) + each;
        self.full_at = Some(full_at);
        full_at.checked_sub(each * BURST).map_or(now, |turn| turn.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    #[tokio::test]
    async fn a_burst_leaves_at_once_and_the_rest_at_its_pace() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let turns: Vec<_> = (0..BURST + REQUESTS_PER_SECOND).map(|_| pace.take(now)).collect();
        assert!(turns[..BURST as usize].iter().all(|turn| *turn == now));
        let last = turns.last().map(|turn| turn.duration_since(now));
        assert_eq!(last, Some(Duration::from_secs(1)));
        // After a quiet time the burst is there again, and not more than that.
        let later = now + Duration::from_secs(3_600);
        let turns: Vec<_> = (0..=BURST).map(|_| pace.take(later)).collect();
        assert!(turns[BURST as usize - 1] == later && turns[BURST as usize] > later);
    }

    #[tokio::test]
    async fn nothing_is_sent_while_the_server_asks_for_a_pause() {
        let start = "2026-11-22T03:00:00Z".parse().expect("a time");
        let clock = Arc::new(ManualClock::new(start));
        let budget = Budget::new(clock.clone());
        let busy = |retry_after| CallError::Rejected {
            path: "/x".to_owned(),
            rejection: Rejection {
                code: 429,
                reason: String::new(),
                message: String::new(),
                retry_after,
            },
        };
        budget.heed(&busy(None));
        assert!(budget.enter("/x").await.is_ok(), "no time was named");
        budget.heed(&busy(Some(30)));
        clock.advance(SignedDuration::from_secs(20));
        let refused = budget.enter("/x").await.expect_err("too early");
        assert!(refused.to_string().contains("asked for a pause of another 11s"), "{refused}");
        clock.advance(SignedDuration::from_secs(10));
        assert!(budget.enter("/x").await.is_ok(), "the pause is over");
        // Nobody is shut out for a day.
        budget.heed(&busy(Some(86_400)));
        clock.advance(SignedDuration::from_secs(60));
        assert!(budget.enter("/x").await.is_ok());
        assert_eq!(clock.now().duration_since(start), SignedDuration::from_secs(90));
    }
}
