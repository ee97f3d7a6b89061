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

/// Why a delivery was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeRefused {
    /// An alert that will not be taken, however often it comes.
    #[error("alert {index} takes {bytes} bytes; one alert may take at most {limit}")]
    TooLarge {
        /// Which alert of the delivery, from 0.
        index: usize,
        /// How large it is in the journal.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Too many wait already; Alertmanager comes again.
    #[error("the queue of deliveries is full")]
    Full {
        /// When to come again.
        retry_after: Duration,
    },
    /// The journal cannot be written; Alertmanager comes again.
    #[error("alerts cannot be recorded: {why}")]
    Unavailable {
        /// Why not.
        why: String,
    },
}
