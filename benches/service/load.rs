//! The generator: connections that are kept, on one thread of this process.
//!
//! Closed: each connection sends as soon as it is answered, which finds the maximum rate. Open:
//! each sends at its times whether or not the server keeps up, which finds the latency at a rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::http::Connection;
use super::payload::Webhook;

/// When requests are sent.
#[derive(Clone, Copy)]
pub enum Pace {
    /// As soon as the one before is answered.
    Closed,
    /// So many a second over all connections.
    Open(f64),
}

/// What to send.
#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    pub alerts: usize,
    pub pace: Pace,
    /// No new request after this time.
    pub within: Duration,
    /// Nor after so many requests.
    pub at_most: u64,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Answered 202.
    pub accepted: u64,
    /// Answered otherwise.
    pub refused: u64,
    pub took: Duration,
    /// Microseconds until the 202, ascending.
    pub latencies: Vec<u32>,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }
}

/// Pours until time or count is over.
pub fn pour(address: &str, load: Load) -> anyhow::Result<Outcome> {
    let address = address.to_owned();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(&address, load))
    });
    match thread.join() {
        Ok(outcome) => outcome,
        Err(_) => anyhow::bail!("the generator panicked"),
    }
}

async fn run(address: &str, load: Load) -> anyhow::Result<Outcome> {
    let sent = Arc::new(AtomicU64::new(0));
    let mut lanes = Vec::new();
    for _ in 0..load.connections {
        lanes.push((Connection::open(address).await?, Webhook::of(load.alerts)));
    }
    let begun = Instant::now();
    let tasks: Vec<_> = lanes
        .into_iter()
        .enumerate()
        .map(|(place, (connection, webhook))| {
            let lane = Lane { place, load, begun, sent: sent.clone() };
            tokio::spawn(lane.run(connection, webhook))
        })
        .collect();
    let mut all = Outcome::default();
    for task in tasks {
        let one = task.await??;
        all.accepted += one.accepted;
        all.refused += one.refused;
        all.latencies.extend(one.latencies);
    }
    all.took = begun.elapsed();
    all.latencies.sort_unstable();
    Ok(all)
}

struct Lane {
    place: usize,
    load: Load,
    begun: Instant,
    sent: Arc<AtomicU64>,
}

impl Lane {
    async fn run(
        self,
        mut connection: Connection,
        mut webhook: Webhook,
    ) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut turn = 0_u32;
        loop {
            let Some(due) = self.next(&mut turn).await else { return Ok(outcome) };
            match connection.exchange(webhook.renewed()).await? {
                202 => {
                    outcome.accepted += 1;
                    outcome.latencies.push(due.elapsed().as_micros() as u32);
                }
                _ => outcome.refused += 1,
            }
        }
    }

    /// From when the next request's latency counts, once it is time to send it.
    async fn next(&self, turn: &mut u32) -> Option<Instant> {
        if self.sent.fetch_add(1, Ordering::Relaxed) >= self.load.at_most {
            return None;
        }
        let from = match self.load.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(per_second) => {
                let between = self.load.connections as f64 / per_second;
                let offset = self.place as f64 / per_second;
                let due = self.begun + Duration::from_secs_f64(offset + between * f64::from(*turn));
                *turn += 1;
                // A connection that is late for its turn waited for the server, and that counts;
                // a timer that is late is this program's own and does not.
                match due.checked_duration_since(Instant::now()) {
                    Some(_) => {
                        tokio::time::sleep_until(due.into()).await;
                        Instant::now()
                    }
                    None => due,
                }
            }
        };
        (self.begun.elapsed() < self.load.within).then_some(from)
    }
}
