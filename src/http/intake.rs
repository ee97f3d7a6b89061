//! What the webhook needs from the rest of the house: a place that takes alerts and says so only
//! when they are durable.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::domain::alert::{Alert, Delivery};

/// Takes deliveries.
pub trait Intake: Send + Sync + 'static {
    /// Completes with `Ok` only after every alert is on disk (promise 3). Dropping the future leaves
    /// the outcome unknown: the sender comes again, and the same episode starts nothing twice.
    fn accept(
        &self,
        delivery: Delivery,
        alerts: Vec<Alert>,
    ) -> BoxFuture<'_, Result<Accepted, IntakeRefused>>;
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many alerts are durable now. What they start is decided after the answer.
    pub alerts: usize,
}

/// Why a delivery was not taken. Both are answered 503, which Alertmanager retries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeRefused {
    /// Too many wait already.
    #[error("the queue of deliveries is full")]
    Full {
        /// When to come again.
        retry_after: Duration,
    },
    /// The journal cannot be written.
    #[error("alerts cannot be recorded: {why}")]
    Unavailable {
        /// Why not.
        why: String,
    },
}
