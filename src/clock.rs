//! The only place that reads the time of day.
//!
//! Everything that decides takes `now` as an argument; everything that waits does so through a
//! [`Clock`], so that tests move time by hand. `clippy.toml` forbids the other ways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, UTC.
    fn now(&self) -> Timestamp;
    /// Completes when [`Clock::now`] has reached `deadline`, at once when it has already; and when as
    /// much time has passed as there was to wait, also if the clock was set back meanwhile.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()>;
}

/// How rooms hold a clock.
pub type SharedClock = Arc<dyn Clock>;

/// How soon a sleeper notices that the time of day was set: a deadline is at most so late.
const LOOK_UP: Duration = Duration::from_secs(5);

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one reader of the time of day")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(sleep(deadline, move || clock.now()))
    }
}

#[allow(clippy::disallowed_methods, reason = "the one sleeper")]
async fn sleep(deadline: Timestamp, now: impl Fn() -> Timestamp) {
    let until = || Duration::try_from(deadline.duration_since(now())).unwrap_or_default();
    let mut left = until();
    while !left.is_zero() {
        let nap = left.min(LOOK_UP);
        tokio::time::sleep(nap).await;
        left = (left - nap).min(until());
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<ManualState>,
}

#[derive(Debug)]
struct ManualState {
    now: Timestamp,
    next: u64,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        let state = ManualState { now, next: 0, sleepers: BTreeMap::new() };
        Self { state: Mutex::new(state) }
    }

    /// Moves the time forward and wakes those whose deadline has come, earliest first.
    pub fn advance(&self, by: SignedDuration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.now.saturating_add(by).unwrap_or(Timestamp::MAX);
        state.now = now;
        let later = state.sleepers.split_off(&(now, u64::MAX));
        for (_, sleeper) in std::mem::replace(&mut state.sleepers, later) {
            let _gone = sleeper.send(());
        }
    }

    /// When the earliest sleeper wants to wake, if anyone sleeps.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sleepers.retain(|_, sleeper| !sleeper.is_closed());
        state.sleepers.keys().next().map(|(deadline, _)| *deadline)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let (wake, woken) = oneshot::channel();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if deadline > state.now {
            state.next += 1;
            let key = (deadline, state.next);
            state.sleepers.insert(key, wake);
        } else {
            let _gone = wake.send(());
        }
        Box::pin(async move {
            let _dropped = woken.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    #[tokio::test]
    async fn a_sleeper_ends_in_time_whichever_way_the_clock_is_set() {
        #[allow(clippy::disallowed_methods, reason = "it is measured")]
        let began = std::time::Instant::now();
        // Set back by an hour right after it fell asleep.
        let asked = Mutex::new(0);
        let set_back = || {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            *asked += 1;
            if *asked == 1 { at(0) } else { at(-3_600) }
        };
        sleep(at(0) + SignedDuration::from_millis(50), set_back).await;
        // Set forward: the deadline is over.
        sleep(at(3_600), || at(3_601)).await;
        assert!(began.elapsed() < LOOK_UP, "it waited for a clock that was set");
    }
}
