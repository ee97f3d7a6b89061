//! The writer: one task that links, checks and stores what all others append.
//!
//! It takes what waits, decides batch by batch in the order of arrival (compare-and-swap against
//! the streams' versions), stores the whole group at once and answers everyone. After a failure it
//! believes nothing: it reads the head again before it goes on, and tells each caller what is known
//! of its batch: stored, not stored, or unknown. It is the same for every store.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Receipt};
use super::entry::Head;
use super::error::{AppendError, Failure};
use super::recent::Recent;
use super::status::{Commit, Observer, Status};
use super::store::Store;
use crate::clock::SharedClock;

mod group;
mod versions;

use group::Group;
use versions::Versions;

/// Batches taken from the queue at once.
const GROUP_BATCHES: usize = 512;
/// Entries after which a group is closed: keeps a commit to some tens of milliseconds.
const GROUP_ENTRIES: usize = 2048;
/// How often a failed store is tried when nobody appends: readiness returns within this time.
const PROBE_EVERY: SignedDuration = SignedDuration::from_secs(5);

pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Result<Receipt, AppendError>>,
    pub(super) room: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Request").field("entries", &self.batch.drafts.len()).finish()
    }
}

/// Asks the clock only when polled: a branch that is switched off must not leave sleepers behind.
async fn due(clock: &SharedClock, at: Timestamp) {
    clock.sleep_until(at).await;
}

/// What the writer knows of the head.
#[derive(Debug, Clone)]
enum Belief {
    Known(Head),
    /// One of these two, or someone else has written.
    OneOf(Head, Head),
    /// Someone else has written: nothing will be appended any more.
    Lost,
}

/// What is known of a group after a failure.
enum Settled {
    Stored,
    NotStored(Failure),
    Unknown,
}

pub(super) struct Writer {
    store: Box<dyn Store>,
    genesis: Head,
    head: Belief,
    versions: Versions,
    queue: mpsc::Receiver<Request>,
    waiting: VecDeque<Request>,
    probe_at: Timestamp,
    reports: Reports,
    clock: SharedClock,
}

/// Where the writer tells what it did.
pub(super) struct Reports {
    pub(super) head: watch::Sender<u64>,
    pub(super) status: watch::Sender<Status>,
    pub(super) recent: Arc<Recent>,
    pub(super) observer: Arc<dyn Observer>,
}

impl Writer {
    /// A writer that goes on after `head`; `genesis` is what the head is when nothing is stored.
    pub(super) fn new(
        store: Box<dyn Store>,
        (genesis, head): (Head, Head),
        queue: mpsc::Receiver<Request>,
        reports: Reports,
        clock: SharedClock,
    ) -> Self {
        Self {
            store,
            genesis,
            head: Belief::Known(head),
            versions: Versions::default(),
            queue,
            waiting: VecDeque::new(),
            probe_at: Timestamp::MAX,
            reports,
            clock,
        }
    }

    /// Works until nobody can append any more; gives the store back.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Box<dyn Store> {
        let mut received = Vec::with_capacity(GROUP_BATCHES);
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !closing => {
                    self.queue.close();
                    closing = true;
                }
                count = self.queue.recv_many(&mut received, GROUP_BATCHES) => {
                    if count == 0 {
                        return self.store;
                    }
                    self.waiting.extend(received.drain(..));
                    while !self.waiting.is_empty() {
                        self.commit_some().await;
                    }
                }
                () = due(&self.clock, self.probe_at), if self.probe_at < Timestamp::MAX => {
                    self.probe().await;
                }
            }
        }
    }

    /// Takes a group from what waits, stores it and answers.
    async fn commit_some(&mut self) {
        let group = self.next_group();
        let head = match self.known_head().await {
            Ok(head) => head,
            Err(failure) => {
                self.fail(&failure);
                return group.answer_all(&AppendError::Unavailable { reason: failure });
            }
        };
        let known = match self.versions.load(&mut *self.store, &group.requests).await {
            Ok(known) => known,
            Err(failure) => {
                self.fail(&failure);
                return group.answer_all(&AppendError::Unavailable { reason: failure });
            }
        };
        let mut judged = group.judge(head, known);
        if judged.entries.is_empty() {
            return judged.answer();
        }
        let (entries, batches) = (judged.entries.len(), judged.accepted);
        let begun = self.clock.now();
        let recent = judged.entries.clone();
        let outcome = self.store.insert(std::mem::take(&mut judged.entries)).await;
        let took = self.clock.now().duration_since(begun);
        let settled = match outcome {
            Ok(()) => {
                self.head = Belief::Known(judged.head);
                Settled::Stored
            }
            Err(failure) => self.settle(failure, head, judged.head).await,
        };
        match settled {
            Settled::Stored => {
                // A clock that was set back must not make a negative latency.
                let took = took.try_into().unwrap_or_default();
                self.reports.observer.committed(Commit { entries, batches, took });
                self.versions.keep(std::mem::take(&mut judged.known));
                self.reports.recent.keep(recent);
                self.reports.head.send_replace(judged.head.seq);
                if !matches!(self.head, Belief::Lost) {
                    self.recover();
                }
                judged.answer();
            }
            Settled::NotStored(reason) => {
                judged.answer_all(&AppendError::Unavailable { reason });
            }
            Settled::Unknown => judged.answer_all(&AppendError::Unknown),
        }
        self.store.upkeep().await;
    }

    fn next_group(&mut self) -> Group {
        let mut group = Group::default();
        let mut entries = 0;
        while let Some(request) = self.waiting.pop_front() {
            entries += request.batch.drafts.len();
            group.requests.push(request);
            let next = self.waiting.front().map_or(0, |next| next.batch.drafts.len());
            if entries + next > GROUP_ENTRIES {
                break;
            }
        }
        group
    }

    /// The head, read again if the last commit left it in doubt.
    async fn known_head(&mut self) -> Result<Head, Failure> {
        match self.head.clone() {
            Belief::Known(head) => Ok(head),
            Belief::Lost => Err(Failure::OtherWriter),
            Belief::OneOf(before, after) => {
                let found = self.store.head().await?.unwrap_or(self.genesis);
                if found != before && found != after {
                    self.head = Belief::Lost;
                    return Err(Failure::OtherWriter);
                }
                self.head = Belief::Known(found);
                self.reports
                    .head
                    .send_if_modified(|seq| std::mem::replace(seq, found.seq) != found.seq);
                Ok(found)
            }
        }
    }

    /// Finds out what became of a group whose commit failed.
    async fn settle(&mut self, failure: Failure, before: Head, after: Head) -> Settled {
        self.fail(&failure);
        self.versions.forget();
        self.head = Belief::OneOf(before, after);
        match self.known_head().await {
            Ok(found) if found == after => Settled::Stored,
            Ok(_) => match failure {
                // A failed sync can leave a whole commit in the log that only a restart finds.
                // What is written next takes its place; until then its fate is open.
                Failure::Io(_) => match self.store.probe().await {
                    Ok(()) => Settled::NotStored(failure),
                    Err(_) => {
                        self.head = Belief::OneOf(before, after);
                        Settled::Unknown
                    }
                },
                other => Settled::NotStored(other),
            },
            Err(Failure::OtherWriter) => {
                self.fail(&Failure::OtherWriter);
                match self.store.contains(after.seq, after.hash).await {
                    Ok(true) => Settled::Stored,
                    Ok(false) => Settled::NotStored(Failure::OtherWriter),
                    Err(_) => Settled::Unknown,
                }
            }
            Err(_) => Settled::Unknown,
        }
    }

    async fn probe(&mut self) {
        let outcome = match self.known_head().await {
            Ok(_) => self.store.probe().await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => self.recover(),
            Err(failure) => self.fail(&failure),
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.reports.observer.failed(failure);
        let now = self.clock.now();
        self.probe_at = match failure {
            Failure::OtherWriter => Timestamp::MAX,
            _ => now.saturating_add(PROBE_EVERY).unwrap_or(Timestamp::MAX),
        };
        self.reports.status.send_modify(|status| {
            let since = match status {
                Status::Healthy => now,
                Status::Failed { since, .. } => *since,
            };
            *status = Status::Failed { reason: failure.clone(), since };
        });
    }

    fn recover(&mut self) {
        if self.probe_at < Timestamp::MAX {
            self.probe_at = Timestamp::MAX;
            self.reports.status.send_replace(Status::Healthy);
        }
    }
}
