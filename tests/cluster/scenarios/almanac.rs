//! Which scenario time it was when something really happened.
//!
//! A scenario's clock stands still while the cluster works and moves when it rests, minutes at a
//! time. The cluster stamps what happens with the real time, mostly to the second. So a real second
//! in which the cluster did anything must belong to one scenario time, and it does: after work, the
//! clock moves only when that second is over ([`Almanac::second_over`]).

use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// From which real second on it was which scenario time, the oldest first.
#[derive(Debug)]
pub struct Almanac(Mutex<Vec<(i64, Timestamp)>>);

impl Almanac {
    /// An almanac that begins at this scenario time, now.
    pub fn new(begins: Timestamp) -> Self {
        Self(Mutex::new(vec![(Timestamp::now().as_second(), begins)]))
    }

    /// From now on it is this scenario time.
    pub fn turn(&self, told: Timestamp) {
        let second = Timestamp::now().as_second();
        let mut pages = self.0.lock().unwrap();
        match pages.last_mut() {
            Some((since, last)) if *since == second || *last == told => *last = told,
            _ => pages.push((second, told)),
        }
    }

    /// The scenario time of a real one. What is older than the almanac keeps its distance from its
    /// beginning.
    pub fn told(&self, real: Timestamp) -> Timestamp {
        let pages = self.0.lock().unwrap();
        let since = pages.partition_point(|(second, _)| *second <= real.as_second());
        match since.checked_sub(1) {
            Some(page) => pages[page].1,
            None => pages[0].1 - SignedDuration::from_secs(pages[0].0 - real.as_second()),
        }
    }

    /// A real second of a scenario time: what was told as it, is told as it again.
    pub fn real(&self, told: Timestamp) -> Timestamp {
        let pages = self.0.lock().unwrap();
        let since = pages.partition_point(|(_, time)| *time <= told);
        let second = match since.checked_sub(1) {
            Some(page) => pages[page].0,
            None => pages[0].0 - pages[0].1.duration_since(told).as_secs(),
        };
        Timestamp::from_second(second).unwrap()
    }

    /// Completes when the real second that it is now has passed.
    pub async fn second_over(&self) {
        let begun = Timestamp::now();
        while Timestamp::now().as_second() == begun.as_second() {
            let left = 1_000_000_000 - Timestamp::now().subsec_nanosecond();
            tokio::time::sleep(Duration::from_nanos(left.unsigned_abs().into())).await;
        }
    }
}

#[test]
fn what_happens_while_the_clock_stands_happens_at_one_time() {
    let time = |text: &str| -> Timestamp { text.parse().unwrap() };
    let almanac = Almanac(Mutex::new(vec![
        (1000, time("2026-11-22T03:00:00Z")),
        (1007, time("2026-11-22T03:10:00Z")),
    ]));
    let told = |second| almanac.told(Timestamp::from_second(second).unwrap()).to_string();
    assert_eq!(told(990), "2026-11-22T02:59:50Z");
    assert_eq!([told(1000), told(1006)], ["2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"]);
    assert_eq!([told(1007), told(9999)], ["2026-11-22T03:10:00Z", "2026-11-22T03:10:00Z"]);
    for second in [990, 1000, 1007] {
        let real = Timestamp::from_second(second).unwrap();
        assert_eq!(almanac.real(almanac.told(real)), real);
    }
}
