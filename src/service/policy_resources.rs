//! Policies that are custom resources: followed into the store, and told what came of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::policy_status::{patch, status_of};
use crate::clock::SharedClock;
use crate::config::{Config, PolicyResources};
use crate::domain::policy::spec::API_VERSION;
use crate::engine::Engine;
use crate::kubernetes::connection::{ReadConnection, WriteConnection};
use crate::kubernetes::follow::{Followed, Known, follow};
use crate::kubernetes::path;
use crate::lifecycle::Tasks;
use crate::policies::loader::{Judged, PolicyStore};
use crate::policies::resource::{Listed, PolicyResource, ResourceKind};

/// How long a start waits for the first list: an alert that comes before it would find no policy.
const FIRST_LIST: Duration = Duration::from_secs(10);
/// How long changes must have settled: a directory is applied object by object.
const SETTLE: SignedDuration = SignedDuration::from_millis(200);
/// How often counts are brought up to date: they are for people who look now and then.
const COUNT: SignedDuration = SignedDuration::from_secs(10);

/// The kinds that the configuration asks for.
pub fn kinds(config: &Config) -> Vec<ResourceKind> {
    let asked = config.policy_resources.unwrap_or_default();
    ResourceKind::ALL
        .into_iter()
        .filter(|kind| match kind {
            ResourceKind::Namespaced => {
                matches!(asked, PolicyResources::Namespaced | PolicyResources::All)
            }
            ResourceKind::Cluster => {
                matches!(asked, PolicyResources::Cluster | PolicyResources::All)
            }
        })
        .collect()
}

/// Follows every kind of [`kinds`] for as long as the tasks run; returns when each was seen once, or
/// is known to be out of reach.
pub async fn keep(
    tasks: &mut Tasks,
    kinds: &[ResourceKind],
    read: &ReadConnection,
    store: &Arc<PolicyStore>,
    clock: &SharedClock,
) {
    let mut first = Vec::new();
    for kind in kinds {
        let (told, mut known) = watch::channel(None);
        let (connection, followed, stop) = (read.clone(), followed(*kind), tasks.stop());
        tasks.spawn("policy resources", async move {
            follow(&connection, followed, told, stop).await;
            Ok(())
        });
        let (seen, mut first_seen) = watch::channel(false);
        first.push(async move { first_seen.wait_for(|seen| *seen).await.is_ok() });
        let (store, clock, kind, stop) = (store.clone(), clock.clone(), *kind, tasks.stop());
        tasks.spawn("policies of the cluster", async move {
            while take(&mut known, kind, &store, &clock, &stop).await {
                seen.send_replace(true);
            }
            Ok(())
        });
    }
    let all = tokio::time::timeout(FIRST_LIST, futures::future::join_all(first)).await;
    if all.is_err() {
        // Said where people look for policies, until the first list comes.
        let why = format!("no answer within {} s", FIRST_LIST.as_secs());
        for kind in kinds.iter().filter(|kind| !store.knows(**kind)) {
            set(store, *kind, Err(why.clone()), clock).await;
        }
    }
}

/// Waits for the next news and takes it; false when there will be none.
async fn take(
    known: &mut watch::Receiver<Option<Known>>,
    kind: ResourceKind,
    store: &Arc<PolicyStore>,
    clock: &SharedClock,
    stop: &CancellationToken,
) -> bool {
    if known.changed().await.is_err() {
        return false;
    }
    let settled = clock.now().saturating_add(SETTLE).unwrap_or_else(|_| clock.now());
    tokio::select! {
        () = stop.cancelled() => return false,
        () = clock.sleep_until(settled) => {}
    }
    let Some(news) = known.borrow_and_update().clone() else { return true };
    let listed = news.map(|objects| read_all(kind, &objects));
    set(store, kind, listed, clock).await;
    true
}

/// Lists each kind once, for commands that look and end.
pub async fn list_once(
    kinds: &[ResourceKind],
    read: &ReadConnection,
    store: &Arc<PolicyStore>,
    clock: &SharedClock,
) {
    for kind in kinds {
        let listed = read.list(&path::cluster(API_VERSION, kind.plural(), None), &[]).await;
        let listed = listed.map(|objects| read_all(*kind, &objects));
        set(store, *kind, listed.map_err(|error| error.to_string()), clock).await;
    }
}

async fn set(store: &Arc<PolicyStore>, kind: ResourceKind, listed: Listed, clock: &SharedClock) {
    let (store, now) = (store.clone(), clock.now());
    let taking = tokio::task::spawn_blocking(move || store.set_resources(kind, listed, now));
    if let Err(error) = taking.await {
        tracing::error!(%error, "policies could not be checked");
    }
}

fn read_all(kind: ResourceKind, objects: &[serde_json::Value]) -> Vec<PolicyResource> {
    objects.iter().filter_map(|object| PolicyResource::read(kind, object)).collect()
}

fn followed(kind: ResourceKind) -> Followed {
    let (group, version) = API_VERSION.split_once('/').unwrap_or((API_VERSION, ""));
    Followed { group, version, kind: kind.kind(), plural: kind.plural() }
}

/// Writes what came of each object into its status, and what its policy did, until `stop`. The only
/// writes outside of a plan: to Orderly's own kinds, below `/status`.
pub async fn tell(
    store: Arc<PolicyStore>,
    engine: Engine,
    write: WriteConnection,
    clock: SharedClock,
    stop: CancellationToken,
) {
    let mut looked = store.subscribe_status();
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    loop {
        looked.borrow_and_update();
        for judged in store.judged() {
            let path = status_path(&judged.resource);
            match write_status(&judged, &path, &engine, &write, &clock).await {
                Ok(()) => {
                    failures.remove(&path);
                }
                Err(why) if failures.get(&path) == Some(&why) => {}
                Err(why) => {
                    tracing::warn!(policy = judged.name, "status not written: {why}");
                    failures.insert(path, why);
                }
            }
        }
        let again = clock.now().saturating_add(COUNT).unwrap_or_else(|_| clock.now());
        tokio::select! {
            () = stop.cancelled() => return,
            changed = looked.changed() => if changed.is_err() { return },
            () = clock.sleep_until(again) => {}
        }
    }
}

async fn write_status(
    judged: &Judged,
    path: &str,
    engine: &Engine,
    write: &WriteConnection,
    clock: &SharedClock,
) -> Result<(), String> {
    let record = engine.board(|board| board.record(&judged.name));
    let wanted = status_of(judged, &record, clock.now());
    let Some(patch) = patch(&judged.resource.status, wanted) else { return Ok(()) };
    match write.send(Method::PATCH, path, "application/merge-patch+json", &patch).await {
        Ok(_) => Ok(()),
        // It was deleted in the meantime.
        Err(error) if error.code() == Some(404) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn status_path(resource: &PolicyResource) -> String {
    let (plural, name) = (resource.kind.plural(), &resource.name);
    let object = match &resource.namespace {
        Some(namespace) => path::object(API_VERSION, namespace, plural, name),
        None => path::cluster(API_VERSION, plural, Some(name)),
    };
    format!("{object}/status{}", path::query(&[("fieldManager", "orderly")]))
}
