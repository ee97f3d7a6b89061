//! From start to stop: the long-lived tasks by name, and the signals.
//!
//! If any task ends while nobody asked it to, the process ends with an error that names it
//! (invariant 10): half a service is worse than none, and whoever runs it starts it again. The first
//! signal drains, the second aborts.

use std::collections::HashMap;
use std::future::Future;

use futures::stream::{Stream, StreamExt as _};
use jiff::SignedDuration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;

/// What has not finished by then is cut off: longer than the listeners' own drain, shorter than
/// Kubernetes' default grace of thirty seconds.
pub const GRACE: SignedDuration = SignedDuration::from_secs(25);

/// What a task ends with.
pub type TaskResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Why the process ends other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// A task ended that never should.
    #[error("the task `{task}` ended by itself; the service cannot go on without it")]
    Ended {
        /// Which.
        task: &'static str,
    },
    /// A task failed.
    #[error("the task `{task}` failed")]
    Failed {
        /// Which.
        task: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A task panicked.
    #[error("the task `{task}` panicked: {text}")]
    Panicked {
        /// Which.
        task: &'static str,
        /// What it said.
        text: String,
    },
    /// Tasks did not finish in time after the first signal.
    #[error("cut off after {} s: {} did not finish; what was in hand is resumed at the next start",
        GRACE.as_secs(), tasks.join(", "))]
    CutOff {
        /// Which.
        tasks: Vec<&'static str>,
    },
    /// A second signal came.
    #[error("stopped at once by a second signal; what was in hand is resumed at the next start")]
    Aborted,
    /// The operating system does not tell of signals.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// A signal that asks the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// From Kubernetes, systemd, `kill`.
    Terminate,
    /// From a terminal.
    Interrupt,
}

/// The signals of this process.
pub fn signals() -> Result<impl Stream<Item = StopSignal> + Unpin, LifecycleError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(LifecycleError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(LifecycleError::Signals)?;
    Ok(futures::stream::poll_fn(move |context| {
        if terminate.poll_recv(context).is_ready() {
            return std::task::Poll::Ready(Some(StopSignal::Terminate));
        }
        interrupt.poll_recv(context).map(|_| Some(StopSignal::Interrupt))
    }))
}

/// The long-lived tasks.
pub struct Tasks {
    set: JoinSet<TaskResult>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
    clock: SharedClock,
}

impl Tasks {
    /// None yet.
    pub fn new(clock: SharedClock) -> Self {
        Self { set: JoinSet::new(), names: HashMap::new(), stop: CancellationToken::new(), clock }
    }

    /// Cancelled when the process is to stop; tasks finish what is in hand then.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task that lives as long as the process, until [`Tasks::stop`] is cancelled.
    pub fn spawn(
        &mut self,
        task: &'static str,
        future: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        let handle = self.set.spawn(future);
        self.names.insert(handle.id(), task);
    }

    /// Waits for the first signal and drains, or for the first task that ends by itself, and drains
    /// the others. `Ok` only when everything was asked to stop and did.
    pub async fn run(
        mut self,
        mut signals: impl Stream<Item = StopSignal> + Unpin,
    ) -> Result<(), LifecycleError> {
        let mut cause = None;
        tokio::select! {
            // A task that ends because it was asked to has not ended by itself.
            biased;
            signal = next(&mut signals) => tracing::info!(?signal, "stopping; finishing what is in hand"),
            () = self.stop.cancelled() => tracing::info!("stopping; finishing what is in hand"),
            Some(joined) = self.set.join_next_with_id() => {
                let error = self.unexpected(joined);
                tracing::error!(%error, "stopping, because a task ended");
                cause = Some(error);
            }
        }
        self.stop.cancel();
        let deadline = self.clock.now() + GRACE;
        let mut late = self.clock.sleep_until(deadline);
        let outcome = loop {
            tokio::select! {
                joined = self.set.join_next_with_id() => match joined {
                    None => break Ok(()),
                    Some(joined) => {
                        if let Err(error) = self.expected(joined) {
                            tracing::error!(%error, "a task failed while stopping");
                            cause.get_or_insert(error);
                        }
                    }
                },
                _signal = next(&mut signals) => break Err(LifecycleError::Aborted),
                () = &mut late => {
                    let mut tasks: Vec<_> = self.names.values().copied().collect();
                    tasks.sort_unstable();
                    break Err(LifecycleError::CutOff { tasks });
                }
            }
        };
        self.set.abort_all();
        // What ended first is why the process ends; that others were cut off follows from it.
        match cause {
            Some(error) => Err(error),
            None => outcome,
        }
    }

    fn unexpected(&mut self, joined: Result<(Id, TaskResult), JoinError>) -> LifecycleError {
        let task = self.forget(&joined);
        match joined {
            Ok((_, Ok(()))) => LifecycleError::Ended { task },
            Ok((_, Err(source))) => LifecycleError::Failed { task, source },
            Err(error) => LifecycleError::Panicked { task, text: panic_text(error) },
        }
    }

    fn expected(
        &mut self,
        joined: Result<(Id, TaskResult), JoinError>,
    ) -> Result<(), LifecycleError> {
        match joined {
            Ok((id, Ok(()))) => {
                self.names.remove(&id);
                Ok(())
            }
            failed @ (Ok((_, Err(_))) | Err(_)) => Err(self.unexpected(failed)),
        }
    }

    fn forget(&mut self, joined: &Result<(Id, TaskResult), JoinError>) -> &'static str {
        let id = match joined {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        self.names.remove(&id).unwrap_or("unnamed")
    }
}

/// The next signal; for ever nothing when there can be none any more.
async fn next(signals: &mut (impl Stream<Item = StopSignal> + Unpin)) -> StopSignal {
    match signals.next().await {
        Some(signal) => signal,
        None => std::future::pending().await,
    }
}

fn panic_text(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no text".to_owned()),
        Err(cancelled) => cancelled.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use futures::channel::mpsc;
    use jiff::Timestamp;

    use super::*;
    use crate::clock::ManualClock;

    fn tasks() -> (Tasks, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let mut tasks = Tasks::new(Arc::<ManualClock>::clone(&clock));
        let stop = tasks.stop();
        tasks.spawn("patient", async move {
            stop.cancelled().await;
            Ok(())
        });
        (tasks, clock)
    }

    fn quiet() -> impl Stream<Item = StopSignal> + Unpin {
        futures::stream::pending()
    }

    #[tokio::test]
    async fn the_first_signal_drains() {
        let (tasks, _clock) = tasks();
        let signals = futures::stream::iter([StopSignal::Terminate]);
        assert!(tasks.run(signals).await.is_ok());
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_ends_the_process_and_is_named() {
        let (mut ended, _clock) = tasks();
        ended.spawn("engine", async { Ok(()) });
        let error = ended.run(quiet()).await.unwrap_err();
        assert!(matches!(error, LifecycleError::Ended { task: "engine" }), "{error}");

        let (mut failed, _clock) = tasks();
        failed.spawn("listener", async { Err("the socket is gone".into()) });
        let error = failed.run(quiet()).await.unwrap_err();
        assert!(matches!(error, LifecycleError::Failed { task: "listener", .. }), "{error}");

        let (mut panicked, _clock) = tasks();
        panicked.spawn("watcher", async { panic!("no such file") });
        let error = panicked.run(quiet()).await.unwrap_err();
        assert_eq!(error.to_string(), "the task `watcher` panicked: no such file");
    }

    #[tokio::test]
    async fn a_second_signal_aborts_and_so_does_the_end_of_the_grace() {
        let stuck = |tasks: &mut Tasks| tasks.spawn("stuck", std::future::pending());
        let (mut twice, _clock) = tasks();
        stuck(&mut twice);
        let signals = futures::stream::iter([StopSignal::Interrupt, StopSignal::Interrupt]);
        // The stream ends afterwards, as a closed terminal would.
        assert!(matches!(twice.run(signals).await, Err(LifecycleError::Aborted)));

        let (mut late, clock) = tasks();
        stuck(&mut late);
        let (sender, signals) = mpsc::unbounded();
        sender.unbounded_send(StopSignal::Terminate).unwrap();
        let running = tokio::spawn(late.run(signals));
        while clock.next_deadline().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(GRACE);
        let error = running.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("stuck"), "{error}");
        drop(sender);
    }
}
