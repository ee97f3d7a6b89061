//! Faults by script, put between the writer and any store: for tests and drills.
//!
//! Each commit takes the next fault, or the one that waits for an event of its kind; when there are
//! none left, everything works.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::entry::{Entry, Hash, Head, StreamId};
use super::error::Failure;
use super::store::Store;

/// What happens to a commit.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It works.
    None,
    /// Refused with this reason; nothing is stored, and that is certain.
    Refused(Failure),
    /// It fails halfway: nothing is stored, but the store could not say so.
    NotApplied,
    /// It is stored, and the acknowledgement is lost.
    Unacknowledged,
    /// As before, and nothing can be read for so many attempts.
    UnacknowledgedAndBlind(usize),
    /// The writer dies, and nothing is stored.
    CrashBefore,
    /// It is stored, and the writer dies.
    CrashAfter,
    /// It waits until [`Faults::release`], then works.
    Held,
}

/// The script, shared with the test that writes it.
#[derive(Debug, Clone)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
    gate: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Script {
    commits: VecDeque<Fault>,
    kinds: Vec<(&'static str, Fault)>,
    /// Attempts to read or probe that fail before one works.
    blind: usize,
    held: usize,
}

impl Script {
    fn strike(&mut self, entries: &[Entry]) -> Fault {
        let here = |kind: &str| entries.iter().any(|entry| entry.kind.as_str() == kind);
        match self.kinds.iter().position(|(kind, _)| here(kind)) {
            Some(place) => self.kinds.remove(place).1,
            None => self.commits.pop_front().unwrap_or(Fault::None),
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self { script: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }
}

impl Faults {
    /// The next commits go like this, one after another.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script().commits.extend(faults);
    }

    /// The next commit that holds an entry of this kind goes like this.
    pub fn at(&self, kind: &'static str, fault: Fault) {
        self.script().kinds.push((kind, fault));
    }

    /// How many faults have not struck yet.
    pub fn left(&self) -> usize {
        let script = self.script();
        script.commits.len() + script.kinds.len()
    }

    /// Lets one held commit go on.
    pub fn release(&self) {
        self.gate.add_permits(1);
    }

    /// How many commits have been held so far.
    pub fn held(&self) -> usize {
        self.script().held
    }

    /// Puts the faults before this store; for [`super::Opened::with_store`].
    pub fn before(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        Box::new(Faulty { store, faults: self.clone() })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self) -> Result<(), Failure> {
        let mut script = self.script();
        if script.blind == 0 {
            return Ok(());
        }
        script.blind -= 1;
        Err(lost())
    }
}

fn lost() -> Failure {
    Failure::Io("by script".to_owned())
}

struct Faulty {
    store: Box<dyn Store>,
    faults: Faults,
}

impl Store for Faulty {
    fn head(&mut self) -> BoxFuture<'_, Result<Option<Head>, Failure>> {
        Box::pin(async move {
            self.faults.see()?;
            self.store.head().await
        })
    }

    fn versions(&mut self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<Vec<u64>, Failure>> {
        self.store.versions(streams)
    }

    #[allow(clippy::panic, reason = "a crash by script: the writer's task dies as it would")]
    fn insert(&mut self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let fault = self.faults.script().strike(&entries);
            match fault {
                Fault::None => self.store.insert(entries).await,
                Fault::Refused(reason) => Err(reason),
                Fault::NotApplied => Err(lost()),
                Fault::Unacknowledged => {
                    self.store.insert(entries).await?;
                    Err(lost())
                }
                Fault::UnacknowledgedAndBlind(attempts) => {
                    self.store.insert(entries).await?;
                    self.faults.script().blind = attempts;
                    Err(lost())
                }
                Fault::CrashBefore => panic!("the writer dies before the commit, by script"),
                Fault::CrashAfter => {
                    self.store.insert(entries).await?;
                    panic!("the writer dies after the commit, by script")
                }
                Fault::Held => {
                    self.faults.script().held += 1;
                    // The gate is never closed.
                    if let Ok(permit) = self.faults.gate.acquire().await {
                        permit.forget();
                    }
                    self.store.insert(entries).await
                }
            }
        })
    }

    fn contains(&mut self, seq: u64, hash: Hash) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(async move {
            self.faults.see()?;
            self.store.contains(seq, hash).await
        })
    }

    fn probe(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.faults.see()?;
            self.store.probe().await
        })
    }

    fn upkeep(&mut self) -> BoxFuture<'_, ()> {
        self.store.upkeep()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.store.close()
    }
}
