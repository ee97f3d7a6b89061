//! Whether the engine has anything left to do before the clock moves or something comes in.
//!
//! For whoever moves the clock: tests and drills. Nothing in the engine itself asks.

use jiff::Timestamp;

use super::{Engine, EngineError};

/// What the follower and the scheduler are at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    /// Everything up to this entry is followed and correlated.
    pub(super) followed: u64,
    /// So many appends whose outcome was not known have been looked after.
    pub(super) doubted: u64,
    /// Incidents are being worked on.
    pub(super) working: bool,
    /// When the next one is due.
    pub(super) due: Option<Timestamp>,
}

impl Engine {
    /// Completes when everything in the journal is followed, no incident is being worked on and
    /// none is due: nothing happens any more until the clock moves or something comes in.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn at_rest(&self) -> Result<(), EngineError> {
        let shared = &self.shared;
        let mut activity = shared.activity.subscribe();
        // What the follower was told of: an append whose acknowledgement was lost is not yet known.
        let mut heads = shared.journal.subscribe();
        loop {
            let head = *heads.borrow_and_update();
            // In this order: whoever was woken by what is followed is either still to be taken up,
            // or was taken up before the second look.
            let Activity { followed, doubted, .. } = *activity.borrow_and_update();
            let in_doubt = doubted < *shared.doubts.borrow();
            let taken_up = shared.wakes.taken_up();
            let Activity { working, due, .. } = *shared.activity.borrow();
            let due = due.is_some_and(|due| due <= shared.clock.now());
            let still = taken_up && !working && !due && !in_doubt;
            if still && followed >= head && *heads.borrow() == head {
                return Ok(());
            }
            tokio::select! {
                // The sender lives as long as `self`.
                _changed = activity.changed() => {}
                // What grew between the two looks may have been followed before the second. A writer
                // that is gone appends nothing more.
                Ok(()) = heads.changed() => {}
            }
        }
    }
}
