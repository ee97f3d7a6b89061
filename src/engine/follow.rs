//! The follower: reads the journal in order, keeps the board, correlates what came in.
//!
//! The one path by which anything becomes known: after a start, after an append of one's own, after
//! somebody else's. Wake-ups carry no payload.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::domain::event::{Event, Stream};
use crate::journal::codec::{self, Recorded};
use crate::journal::{AppendError, Batch, Entry, Expect, Order, Search};

use super::board::{Board, kept};
use super::correlate::{Against, Correlation};
use super::{EngineError, Shared, measure};

/// How many alerts are correlated before the result is appended: keeps one batch well below the
/// journal's limit of entries.
const ALERTS_AT_ONCE: usize = 5_000;
/// How many bytes of entries are decoded at once: one or two thousand alerts.
const PART_BYTES: usize = 1024 * 1024;
/// How long to wait before an append is tried again that the journal did not take.
const AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// After so many entries the board is kept: what a start folds at most in half a second or so.
const KEEP_EVERY: u64 = 20_000;
/// And when the service ends, after so many: fewer are folded in no time.
const KEEP_AT_END: u64 = 1_000;

/// The kinds that make the board. Facts, previews and deliveries are read only when needed.
const BOARD_KINDS: &[&str] = &[
    "AlertsCorrelated",
    "KillSwitchSet",
    "BreakerReset",
    "IncidentOpened",
    "AlertAttached",
    "AlertResolved",
    "TargetsFound",
    "CauseFound",
    "PlanProposed",
    "PlanStale",
    "ApprovalRequested",
    "StepStarted",
    "ResolutionMet",
    "IncidentClosed",
];

/// Folds the journal as it is into a board; gives the entry up to which one had been kept.
///
/// # Errors
/// When it cannot be read.
pub async fn load(shared: &Shared) -> Result<u64, EngineError> {
    let head = shared.journal.head().await?.seq;
    let (mut board, mut past) = match recall(shared).await {
        Some((seq, board)) => (board, Some(seq)),
        None => (Board::new(shared.watchdog()), None),
    };
    let kept = past.unwrap_or(0);
    while past < Some(head) {
        let search = Search {
            kinds: codec::kinds(BOARD_KINDS),
            order: Order::OldestFirst,
            past,
            ..Search::default()
        };
        let page = shared.journal.search(search).await?;
        let Some(last) = page.last() else { break };
        past = Some(last.seq);
        for entry in page.iter().filter(|entry| entry.seq <= head) {
            board.note(&codec::decode(entry)?);
        }
    }
    let open: Vec<_> = board.open().map(|summary| summary.id.clone()).collect();
    for id in &open {
        let incident = shared.load(id).await?;
        board.set_phase(id, incident.phase.name());
        board.set_version(id, incident.version);
    }
    board.seen_through(head);
    *shared.board() = board;
    for id in open {
        shared.wake(&id);
    }
    Ok(kept)
}

/// The board that was kept, and up to which entry it goes.
async fn recall(shared: &Shared) -> Option<(u64, Board)> {
    let (seq, bytes) = shared.journal.recall(&kept::fold(shared.watchdog())).await?;
    match Board::from_bytes(&bytes) {
        Ok(board) if board.seen() == seq => Some((seq, board)),
        Ok(_) | Err(_) => None,
    }
}

/// Keeps the board for the next start.
async fn keep(shared: &Shared) {
    if !shared.journal.keeps() {
        return;
    }
    let (seq, bytes) = {
        let board = shared.board();
        (board.seen(), board.to_bytes())
    };
    match bytes {
        Ok(bytes) => shared.journal.keep(&kept::fold(shared.watchdog()), seq, bytes).await,
        Err(error) => tracing::warn!(%error, "the board cannot be kept"),
    }
}

/// Follows the journal until told to stop; the board is kept up to the entry `kept`.
///
/// # Errors
/// When the journal cannot be read.
pub async fn run(shared: &Shared, kept: u64, stop: CancellationToken) -> Result<(), EngineError> {
    let ended = follow(shared, kept, stop).await;
    // Nothing will be followed any more: nobody may wait for it.
    shared.seen(u64::MAX);
    shared.activity.send_modify(|activity| {
        activity.followed = u64::MAX;
        activity.doubted = u64::MAX;
    });
    ended
}

async fn follow(
    shared: &Shared,
    mut kept: u64,
    stop: CancellationToken,
) -> Result<(), EngineError> {
    let mut head = shared.journal.subscribe();
    let mut doubts = shared.doubts.subscribe();
    // Deliveries that were not correlated before the last stop come first.
    let mut next = shared.board().correlated() + 1;
    loop {
        let seen = shared.board().seen();
        if seen >= kept + KEEP_EVERY {
            keep(shared).await;
            kept = seen;
        }
        let doubted = *doubts.borrow_and_update();
        let page = shared.journal.read(next, 0).await?;
        if !page.is_empty() {
            for part in parts(page) {
                next = part.last().map_or(next, |last| last.seq + 1);
                take_in(shared, part, &stop).await?;
            }
            let orphans = shared.board().orphans();
            if !orphans.is_empty() {
                let through = shared.board().correlated();
                append(shared, &[(through, &orphans)], &stop).await?;
            }
            continue;
        }
        shared.activity.send_modify(|activity| {
            activity.followed = next - 1;
            activity.doubted = doubted;
        });
        tokio::select! {
            () = stop.cancelled() => {
                if seen >= kept + KEEP_AT_END {
                    keep(shared).await;
                }
                return Ok(());
            }
            changed = head.changed() => if changed.is_err() { return Ok(()) },
            // The sender lives as long as `shared`.
            _doubted = doubts.changed() => {}
        }
    }
}

/// Decodes some entries, notes what they say and correlates the alerts in them.
async fn take_in(
    shared: &Shared,
    part: Vec<Entry>,
    stop: &CancellationToken,
) -> Result<(), EngineError> {
    let noted = shared.board().seen();
    let correlated = shared.board().correlated();
    // What was noted while catching up is read again only for its alerts.
    let wanted =
        |entry: &&Entry| entry.seq > noted || (codec::is_delivery(entry) && entry.seq > correlated);
    let last = part.last().map_or(noted, |last| last.seq);
    let recorded: Vec<_> =
        part.iter().filter(wanted).map(codec::decode).collect::<Result<_, _>>()?;
    drop(part);
    note(shared, &recorded, noted);
    shared.seen(noted.max(last));
    shared.metrics.queue_depth("journal", shared.journal.queue_depth());
    correlate(shared, &recorded, stop).await
}

/// A page in parts of about [`PART_BYTES`]: alerts take many times the memory that their text takes.
fn parts(page: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for entry in page {
        bytes += entry.body.len();
        if bytes > PART_BYTES {
            parts.push(Vec::new());
            bytes = entry.body.len();
        }
        if let Some(part) = parts.last_mut() {
            part.push(entry);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn note(shared: &Shared, recorded: &[Recorded], noted: u64) {
    let mut touched = BTreeSet::new();
    {
        let mut board = shared.board();
        for event in recorded.iter().filter(|event| event.seq > noted) {
            board.note(event);
            shared.measure(event);
            if let Stream::Incident(id) = &event.stream {
                touched.insert(id.clone());
            }
        }
        if !touched.is_empty() {
            measure::states(&shared.metrics, &board);
        }
    }
    for id in touched {
        shared.wake(&id);
    }
}

async fn correlate(
    shared: &Shared,
    recorded: &[Recorded],
    stop: &CancellationToken,
) -> Result<(), EngineError> {
    let correlated = shared.board().correlated();
    let deliveries = recorded.iter().filter_map(|event| match &event.event {
        Event::AlertsReceived { alerts, .. } if event.seq > correlated => Some((event.seq, alerts)),
        _ => None,
    });
    let mut group = Vec::new();
    let mut size = 0;
    for (seq, alerts) in deliveries {
        size += alerts.len();
        group.push((seq, alerts));
        if size >= ALERTS_AT_ONCE {
            append(shared, &std::mem::take(&mut group), stop).await?;
            size = 0;
        }
    }
    if group.is_empty() { Ok(()) } else { append(shared, &group, stop).await }
}

type Deliveries<'a> = [(u64, &'a Vec<crate::domain::alert::Alert>)];

/// Correlates some deliveries and appends the result, again and again until the journal takes it.
async fn append(
    shared: &Shared,
    deliveries: &Deliveries<'_>,
    stop: &CancellationToken,
) -> Result<(), EngineError> {
    let mut opened_before = BTreeSet::new();
    loop {
        let mut correlation = Correlation::default();
        {
            let board = shared.board();
            let policies = shared.policies();
            let against = Against {
                board: &board,
                policies: &policies,
                ceiling: shared.rails.mode,
                watchdog: shared.watchdog(),
                opened_before: &opened_before,
            };
            for (_, alerts) in deliveries {
                for alert in *alerts {
                    correlation.alert(alert, against);
                }
            }
        }
        let Some((through, _)) = deliveries.last() else { return Ok(()) };
        correlation.finish(*through);
        let now = shared.clock.now();
        let drafts = correlation
            .events
            .iter()
            .map(|(stream, event)| codec::encode(stream, now, event))
            .collect();
        let Some(mut batch) = Batch::from_drafts(drafts) else { return Ok(()) };
        for id in &correlation.opened {
            let stream = codec::stream_id(&Stream::Incident(id.clone()));
            batch = batch.expecting(stream, Expect::StreamVersion(0));
        }
        match shared.journal.append_when_room(batch).await {
            Ok(receipt) => {
                // What was decided here must be seen before the next deliveries are compared.
                catch_up(shared, receipt.last_seq).await?;
                return Ok(());
            }
            Err(AppendError::Conflict { stream, .. }) => match Stream::parse(stream.as_str()) {
                Some(Stream::Incident(id)) => {
                    opened_before.insert(id);
                }
                Some(Stream::Intake | Stream::Control | Stream::Conversation) | None => {
                    return Err(EngineError::Stopped(format!("unexpected conflict on {stream}")));
                }
            },
            Err(AppendError::Unknown) => {
                // Reload: if it was stored, the cursor says so.
                catch_up(shared, shared.journal.head().await?.seq).await?;
                if shared.board().correlated() >= *through {
                    return Ok(());
                }
            }
            Err(error @ (AppendError::Unavailable { .. } | AppendError::Full)) => {
                tracing::warn!(%error, "alerts wait for the journal");
                let again = shared.clock.sleep_until(shared.after(AGAIN));
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = again => {}
                }
            }
            Err(error @ AppendError::TooLarge { .. }) => {
                return Err(EngineError::Stopped(error.to_string()));
            }
        }
    }
}

/// Notes everything up to `seq`.
async fn catch_up(shared: &Shared, seq: u64) -> Result<(), EngineError> {
    loop {
        let noted = shared.board().seen();
        if noted >= seq {
            return Ok(());
        }
        let page = shared.journal.read(noted + 1, 0).await?;
        let Some(last) = page.last().map(|entry| entry.seq) else { return Ok(()) };
        // Deliveries come to the board only through correlation, which reads them itself; but for
        // the dead man's switch, whose delivery is noted in its place.
        let wanted = |entry: &&Entry| shared.watchdog().is_some() || !codec::is_delivery(entry);
        let recorded: Vec<_> =
            page.iter().filter(wanted).map(codec::decode).collect::<Result<_, _>>()?;
        note(shared, &recorded, noted);
        shared.board().seen_through(last);
        shared.seen(last);
    }
}
