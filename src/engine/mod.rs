//! The engine: carries instructions from the domain to the ports and results back to the journal.
//!
//! It chooses nothing. Three kinds of task: the follower (keeps the board, correlates), the
//! scheduler (wakes incidents), and one worker for each incident that has something to do. All of
//! them can be killed at any instant; what they knew is in the journal.

mod activity;
pub mod board;
mod collect;
mod correlate;
mod drive;
mod follow;
mod intake;
mod measure;
mod people;
mod perform;
mod rehearse;
mod scheduler;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::alertmanager::Alertmanager;
use crate::clock::SharedClock;
use crate::domain::claim::Claims;
use crate::domain::event::Stream;
use crate::domain::gate::rails::GuardRails;
use crate::domain::id::IncidentId;
use crate::domain::incident::{FoldError, Incident};
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::compiled::CompiledPolicy;
use crate::domain::resolution::Progress;
use crate::journal::codec::{self, DecodeError, Recorded};
use crate::journal::{AppendError, Journal, ReadError};
use crate::kubernetes::reader::Reader;
use crate::kubernetes::writer::Writer;
use crate::metrics::Metrics;
use crate::notify::Receivers;
use crate::prometheus::Prometheus;

pub use board::{Board, Summary};
pub use people::{Decided, DecisionError};
pub use rehearse::{Rehearsal, rehearse_over};

/// What the engine acts through.
#[derive(Debug)]
pub struct Ports {
    /// Reads the cluster.
    pub reader: Reader,
    /// Changes the cluster.
    pub writer: Writer,
    /// Answers queries, when configured.
    pub prometheus: Option<Prometheus>,
    /// Knows whether an alert fires, when configured.
    pub alertmanager: Option<Alertmanager>,
    /// Whom to tell.
    pub receivers: Receivers,
}

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal cannot be read.
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
    /// The journal holds something that this program does not understand.
    #[error("the journal cannot be understood")]
    Decode(#[from] DecodeError),
    /// A stream does not make an incident.
    #[error("an incident cannot be rebuilt")]
    Fold(#[from] FoldError),
    /// The journal does not take an append.
    #[error("the journal does not take an append")]
    Append(#[from] AppendError),
    /// Something that must not happen.
    #[error("{0}")]
    Stopped(String),
}

/// The engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What the engine's tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) journal: Journal,
    pub(crate) clock: SharedClock,
    pub(crate) ports: Ports,
    pub(crate) rails: GuardRails,
    pub(crate) metrics: Arc<Metrics>,
    policies: watch::Receiver<Arc<PolicySet>>,
    board: Mutex<Board>,
    seen: watch::Sender<u64>,
    activity: watch::Sender<activity::Activity>,
    wakes: Wakes,
    /// Counts the appends whose outcome is not known: the follower looks into the journal although
    /// nobody said that it grew.
    doubts: watch::Sender<u64>,
    claims: Claims,
    /// Held from the gates' answer until the step that it lets pass is counted: two incidents must
    /// not both take the last place of a budget.
    gatehouse: Arc<tokio::sync::Mutex<()>>,
    /// How resolutions stand that are being watched; what is lost at a restart starts again.
    watched: Mutex<HashMap<IncidentId, Progress>>,
    measures: Mutex<measure::Measures>,
    compiled: Mutex<HashMap<crate::domain::id::Digest, Arc<CompiledPolicy>>>,
}

/// The engine's long-lived tasks, each to be run by the caller; when one ends, the process must.
pub type Tasks = Vec<(&'static str, futures::future::BoxFuture<'static, Result<(), EngineError>>)>;

impl Engine {
    /// Folds the journal and gives the engine with its tasks.
    ///
    /// # Errors
    /// When the journal cannot be read or understood.
    pub async fn start(
        journal: Journal,
        clock: SharedClock,
        ports: Ports,
        rails: GuardRails,
        policies: watch::Receiver<Arc<PolicySet>>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<(Self, Tasks), EngineError> {
        let shared = Arc::new(Shared {
            journal,
            clock,
            ports,
            rails,
            metrics,
            policies,
            board: Mutex::new(Board::default()),
            seen: watch::Sender::new(0),
            activity: watch::Sender::default(),
            wakes: Wakes::default(),
            doubts: watch::Sender::new(0),
            claims: Claims::default(),
            gatehouse: Arc::default(),
            watched: Mutex::default(),
            measures: Mutex::default(),
            compiled: Mutex::default(),
        });
        let kept = follow::load(&shared).await?;
        // Workers wait for the follower to note what they appended: it goes on until the last of them
        // rests, or what it counts would be missing when another asks the gates.
        let rested = CancellationToken::new();
        let follower = {
            let (shared, rested) = (shared.clone(), rested.clone());
            async move { follow::run(&shared, kept, rested).await }
        };
        let scheduler = {
            let shared = shared.clone();
            async move {
                let ended = scheduler::run(shared, stop).await;
                rested.cancel();
                ended
            }
        };
        let tasks: Tasks =
            vec![("follower", Box::pin(follower)), ("scheduler", Box::pin(scheduler))];
        Ok((Self { shared }, tasks))
    }

    /// Looks at the board.
    pub fn board<T>(&self, look: impl FnOnce(&Board) -> T) -> T {
        look(&self.shared.board())
    }

    /// One incident, from the journal.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn incident(&self, id: &IncidentId) -> Result<Incident, EngineError> {
        self.shared.load(id).await
    }

    /// The journal that it keeps.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Whom to tell.
    pub fn receivers(&self) -> &Receivers {
        &self.shared.ports.receivers
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<PolicySet> {
        self.shared.policies()
    }

    /// Completes when everything up to `seq` is on the board.
    pub async fn caught_up(&self, seq: u64) {
        self.shared.caught_up(seq).await;
    }
}

impl Shared {
    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn policies(&self) -> Arc<PolicySet> {
        self.policies.borrow().clone()
    }

    pub(crate) fn watchdog(&self) -> Option<&str> {
        let watchdog = self.rails.monitoring.as_ref()?.watchdog.as_ref()?;
        Some(watchdog.alertname.as_str())
    }

    /// Asks for the incident to be looked at.
    pub(crate) fn wake(&self, id: &IncidentId) {
        self.wakes.asked().ids.insert(id.clone());
        self.wakes.notify.notify_one();
    }

    /// An append may have been stored without anybody hearing of it.
    pub(crate) fn look_again(&self) {
        self.doubts.send_modify(|doubts| *doubts += 1);
    }

    fn seen(&self, seq: u64) {
        self.seen.send_if_modified(|seen| {
            let later = seq > *seen;
            *seen = seq.max(*seen);
            later
        });
    }

    pub(crate) async fn caught_up(&self, seq: u64) {
        let mut seen = self.seen.subscribe();
        // The sender lives as long as `self`.
        let _seen = seen.wait_for(|seen| *seen >= seq).await;
    }

    pub(crate) fn after(&self, by: SignedDuration) -> Timestamp {
        self.clock.now().saturating_add(by).unwrap_or(Timestamp::MAX)
    }

    pub(crate) async fn load(&self, id: &IncidentId) -> Result<Incident, EngineError> {
        let stream = codec::stream_id(&Stream::Incident(id.clone()));
        let entries = self.journal.read_stream(&stream).await?;
        let mut recorded = Vec::with_capacity(entries.len());
        for entry in &entries {
            recorded.push(codec::decode(entry)?);
        }
        Ok(Incident::fold(id, recorded.iter().map(|it| (it.at, &it.event)))?)
    }

    /// The policy with which an incident was opened, ready to be asked.
    pub(crate) fn compiled(&self, incident: &Incident) -> Result<Arc<CompiledPolicy>, String> {
        let digest = incident.policy.digest;
        let mut cache = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = cache.get(&digest) {
            return Ok(policy.clone());
        }
        let policy =
            CompiledPolicy::of_snapshot(&incident.policy).map_err(|problem| problem.message)?;
        let policy = Arc::new(policy);
        // Policies change rarely; a bound keeps a year of versions from piling up.
        if cache.len() >= MAX_COMPILED {
            cache.clear();
        }
        cache.insert(digest, policy.clone());
        Ok(policy)
    }

    pub(crate) fn progress(&self, id: &IncidentId) -> Option<Progress> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn set_progress(&self, id: &IncidentId, progress: Option<Progress>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Some(progress) => watched.insert(id.clone(), progress),
            None => watched.remove(id),
        };
    }

    fn measure(&self, recorded: &Recorded) {
        let mut measures = self.measures.lock().unwrap_or_else(PoisonError::into_inner);
        measures.note(&self.metrics, recorded);
    }
}

/// Who is to be looked at: ids without a payload, each once, so that the queue is no longer than
/// there are incidents.
#[derive(Debug, Default)]
struct Wakes {
    asked: Mutex<Asked>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Asked {
    ids: BTreeSet<IncidentId>,
    /// Some were taken out, and are not yet on the scheduler's list.
    on_the_way: bool,
}

impl Wakes {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that were taken out are on the scheduler's list.
    fn arrived(&self) {
        self.asked().on_the_way = false;
    }

    fn taken_up(&self) -> bool {
        let asked = self.asked();
        asked.ids.is_empty() && !asked.on_the_way
    }

    async fn next(&self) -> BTreeSet<IncidentId> {
        loop {
            let woken = self.notify.notified();
            {
                let mut asked = self.asked();
                if !asked.ids.is_empty() {
                    asked.on_the_way = true;
                    return std::mem::take(&mut asked.ids);
                }
            }
            woken.await;
        }
    }
}

/// Compiled versions of policies that are kept.
const MAX_COMPILED: usize = 1_000;
