//! One group commit: which batches are accepted, and what each caller is told.
//!
//! Pure but for sending the answers. Answers wait for the commit, refusals too: a batch may be
//! refused because of one before it in the same group, which is not stored yet.

use std::collections::BTreeMap;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::batch::{Batch, Receipt};
use super::super::chain;
use super::super::entry::{Entry, Head};
use super::super::error::AppendError;
use super::Request;
use super::versions::Known;

/// An answer that waits for the commit. The batch occupies the queue's bytes until then.
#[derive(Debug)]
struct Answer {
    reply: oneshot::Sender<Result<Receipt, AppendError>>,
    outcome: Result<Receipt, AppendError>,
    _room: OwnedSemaphorePermit,
}

/// Batches that are stored together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) requests: Vec<Request>,
}

/// The same after the decision.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) entries: Vec<Entry>,
    pub(super) accepted: usize,
    /// The head when the entries are stored.
    pub(super) head: Head,
    pub(super) known: Known,
    answers: Vec<Answer>,
}

impl Group {
    /// Accepts or refuses each batch, in order; links the entries of those accepted.
    pub(super) fn judge(self, head: Head, known: Known) -> Judged {
        let answers = Vec::with_capacity(self.requests.len());
        let mut judged = Judged { entries: Vec::new(), accepted: 0, head, known, answers };
        for Request { batch, reply, room } in self.requests {
            let outcome = judged.take(batch);
            judged.answers.push(Answer { reply, outcome, _room: room });
        }
        judged
    }

    pub(super) fn answer_all(self, error: &AppendError) {
        for request in self.requests {
            // Whoever asked may have gone.
            let _gone = request.reply.send(Err(error.clone()));
        }
    }
}

impl Judged {
    fn take(&mut self, batch: Batch) -> Result<Receipt, AppendError> {
        for (stream, expected) in &batch.versions {
            let found = self.known.get(stream);
            if found != *expected {
                let (stream, expected) = (stream.clone(), *expected);
                return Err(AppendError::Conflict { stream, expected, found });
            }
        }
        self.accepted += 1;
        let first_seq = self.head.seq + 1;
        for draft in batch.drafts {
            self.known.count(&draft.stream);
            self.entries.push(chain::link(&mut self.head, draft));
        }
        let versions: BTreeMap<_, _> = batch
            .versions
            .into_keys()
            .map(|stream| {
                let version = self.known.get(&stream);
                (stream, version)
            })
            .collect();
        Ok(Receipt { first_seq, last_seq: self.head.seq, versions })
    }

    pub(super) fn answer(self) {
        for answer in self.answers {
            // Whoever asked may have gone.
            let _gone = answer.reply.send(answer.outcome);
        }
    }

    pub(super) fn answer_all(self, error: &AppendError) {
        for answer in self.answers {
            // Whoever asked may have gone.
            let _gone = answer.reply.send(Err(error.clone()));
        }
    }
}
