//! What the journal tells about itself: its health, and its work for metrics.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::error::Failure;

/// Whether appends work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The last attempt worked.
    Healthy,
    /// The last attempt failed; another one is made with every append and every few seconds.
    Failed {
        /// Why.
        reason: Failure,
        /// Since when appends fail.
        since: Timestamp,
    },
}

/// One group commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// How many entries it stored.
    pub entries: usize,
    /// How many batches they came in.
    pub batches: usize,
    /// How long the store took, sync included.
    pub took: Duration,
}

/// Hears of the journal's work. Called on the writer's path: count, do not wait.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A group is durable.
    fn committed(&self, commit: Commit) {
        let _ = commit;
    }

    /// The store failed.
    fn failed(&self, failure: &Failure) {
        let _ = failure;
    }

    /// A batch was refused because the queue was full.
    fn shed(&self) {}
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
