//! Moves what is in the write-ahead log into the file, beside the writer.
//!
//! A checkpoint on the writer's path would show in the latency of an append. This one runs on a
//! connection of its own and waits for nobody (PASSIVE). The log starts over when everything in it
//! has been moved, which a busy writer can prevent for long; past a size, the writer itself moves
//! the rest between two commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::SignedDuration;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Notify;

use crate::clock::SharedClock;

/// How soon after a commit: a checkpoint's fsync holds up the writer's for as long as there is much to
/// move, so it is done before there is. Nothing happens while nothing is written.
const AFTER: SignedDuration = SignedDuration::from_millis(50);
/// Frames of 4 KiB in the log past which the writer helps: 32 MiB, recovered in well under a
/// second after a crash.
pub(super) const WAL_FRAMES: u64 = 8192;

/// The write-ahead log, between the writer and the checkpoints.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Frames in it, as of the last checkpoint.
    pub(super) frames: AtomicU64,
    /// Something was committed.
    pub(super) grown: Notify,
}

/// Never ends by itself.
pub(super) async fn run(mut connection: SqliteConnection, log: Arc<Log>, clock: SharedClock) {
    loop {
        log.grown.notified().await;
        clock.sleep_until(clock.now().saturating_add(AFTER).unwrap_or(jiff::Timestamp::MAX)).await;
        // A failure concerns the writer first, which reports it; the next round tries again.
        if let Ok(frames) = passive(&mut connection).await {
            log.frames.store(frames, Ordering::Relaxed);
        }
    }
}

/// Moves what can be moved without waiting; gives the number of frames in the log.
pub(super) async fn passive(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    let frames: i64 = row.try_get(1)?;
    Ok(u64::try_from(frames).unwrap_or(0))
}
