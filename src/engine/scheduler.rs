//! The scheduler: which incident is looked at when. Holds only times; why is decided anew each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::id::IncidentId;

use super::drive::{self, Rest};
use super::{EngineError, Shared};

/// Incidents that are worked on at one time: each holds a few connections to the API server at
/// most, and a storm must not hammer it.
const AT_ONCE: usize = 16;
/// How soon an incident is looked at again whose work ended in an error.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// A clock that is behind itself by more than this was set back; less costs nobody anything.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// Runs until told to stop; then waits for the workers to reach a point at which they can rest.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), EngineError> {
    let mut due: BTreeMap<IncidentId, Timestamp> = BTreeMap::new();
    let mut running: BTreeSet<IncidentId> = BTreeSet::new();
    let mut rested: BTreeMap<IncidentId, u64> = BTreeMap::new();
    let mut workers: JoinSet<(IncidentId, Result<Rest, EngineError>)> = JoinSet::new();
    let mut latest = shared.clock.now();
    loop {
        let now = shared.clock.now();
        if latest.duration_since(now) > SET_BACK {
            // By the clock as it is now, nobody would be asked for as long as it was set back.
            tracing::warn!(from = %latest, to = %now, "the clock was set back: everything is asked again");
            due.values_mut().for_each(|at| *at = (*at).min(now));
        }
        latest = now;
        let ready: Vec<_> =
            due.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in ready {
            if workers.len() >= AT_ONCE {
                break;
            }
            due.remove(&id);
            running.insert(id.clone());
            let (shared, stop) = (shared.clone(), stop.clone());
            workers.spawn(async move {
                let rest = drive::drive(&shared, &id, &stop).await;
                (id, rest)
            });
        }
        let room = workers.len() < AT_ONCE;
        let next = due.values().min().copied().filter(|_| room);
        let sleep = next.map(|at| shared.clock.sleep_until(at));
        shared.wakes.arrived();
        shared.activity.send_modify(|activity| {
            activity.working = !workers.is_empty();
            activity.due = next;
        });
        tokio::select! {
            () = stop.cancelled() => break,
            ids = shared.wakes.next() => for id in ids {
                // A worker's own events wake its incident too; they are no reason to cut a pause
                // short. A worker that runs is asked when it rests.
                if !running.contains(&id) && moved(&shared, &rested, &id) {
                    due.insert(id, now);
                }
            },
            Some(ended) = workers.join_next() => {
                let (id, rest) = ended.map_err(|error| {
                    EngineError::Stopped(format!("a worker ended badly: {error}"))
                })?;
                running.remove(&id);
                let until = match rest {
                    Ok(Rest::Until(at, version)) => {
                        rested.insert(id.clone(), version);
                        at
                    }
                    Ok(Rest::Over) => {
                        due.remove(&id);
                        rested.remove(&id);
                        continue;
                    }
                    Err(error) => {
                        tracing::error!(incident = %id, error = %chain(&error), "work stopped; it is taken up again");
                        rested.remove(&id);
                        due.insert(id, shared.after(AGAIN));
                        continue;
                    }
                };
                if moved(&shared, &rested, &id) {
                    due.insert(id, shared.clock.now());
                } else if let Some(at) = until {
                    due.insert(id, at);
                }
            }
            () = async { match sleep { Some(sleep) => sleep.await, None => std::future::pending().await } } => {}
        }
    }
    while workers.join_next().await.is_some() {}
    Ok(())
}

/// Whether anybody else appended to the incident since its worker rested.
fn moved(shared: &Shared, rested: &BTreeMap<IncidentId, u64>, id: &IncidentId) -> bool {
    rested.get(id).is_none_or(|version| shared.board().version(id) != Some(*version))
}

fn chain(error: &EngineError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
