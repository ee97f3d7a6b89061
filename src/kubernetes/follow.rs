//! Follows all objects of one kind: a list, then a watch, for as long as it is wanted.
//!
//! The protocol (pages, bookmarks, versions that are gone, back-off) is the client library's; here
//! it becomes one value that is either everything that is there or why that is not known. What was
//! seen once stays until something newer is: an API server that is away takes nothing down.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connection::ReadConnection;
use super::failure::chain;

/// Most objects of one kind that are held: each is looked at for every alert.
const MAX_OBJECTS: usize = 10_000;
/// Events that are taken in at once: a kubectl apply of a directory brings hundreds.
const AT_ONCE: usize = 1_000;

/// Which objects.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// `orderly.dev`.
    pub group: &'static str,
    /// `v1alpha1`.
    pub version: &'static str,
    /// `RemediationPolicy`.
    pub kind: &'static str,
    /// `remediationpolicies`.
    pub plural: &'static str,
}

/// Everything that is there, or why that was never known so far.
pub type Known = Result<Vec<Value>, String>;

type Objects = BTreeMap<(String, String), Value>;

/// Tells `known` whenever something changed, until `stop`.
pub async fn follow(
    connection: &ReadConnection,
    what: Followed,
    known: watch::Sender<Option<Known>>,
    stop: CancellationToken,
) {
    let kind = GroupVersionKind::gvk(what.group, what.version, what.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, what.plural);
    let api: Api<DynamicObject> = Api::all_with(connection.client(), &resource);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = events.ready_chunks(AT_ONCE).boxed();
    let mut objects = Objects::new();
    let mut listing = Objects::new();
    loop {
        let chunk = tokio::select! {
            () = stop.cancelled() => return,
            chunk = events.next() => chunk,
        };
        // The watch goes on for ever; it begins anew by itself.
        let Some(chunk) = chunk else { return };
        let mut changed = false;
        let mut failed = None;
        for event in chunk {
            match event {
                Ok(watcher::Event::Init) => listing.clear(),
                Ok(watcher::Event::InitApply(object)) => put(&mut listing, &object),
                Ok(watcher::Event::InitDone) => {
                    objects = std::mem::take(&mut listing);
                    changed = true;
                }
                Ok(watcher::Event::Apply(object)) => {
                    put(&mut objects, &object);
                    changed = true;
                }
                Ok(watcher::Event::Delete(object)) => {
                    objects.remove(&key(&object));
                    changed = true;
                }
                Err(error) => failed = Some(why(&error, what)),
            }
        }
        if changed {
            known.send_replace(Some(all(&objects)));
        } else if let Some(why) = failed {
            tell(&known, why, what);
        }
    }
}

/// A failure is news only where nothing was seen yet.
fn tell(known: &watch::Sender<Option<Known>>, why: String, what: Followed) {
    tracing::debug!(resource = what.plural, %why, "watch interrupted");
    known.send_if_modified(|known| match known {
        Some(Ok(_)) => false,
        Some(Err(before)) if *before == why => false,
        None | Some(Err(_)) => {
            *known = Some(Err(why));
            true
        }
    });
}

fn all(objects: &Objects) -> Known {
    if objects.len() > MAX_OBJECTS {
        return Err(format!("there are more than {MAX_OBJECTS}"));
    }
    Ok(objects.values().cloned().collect())
}

fn key(object: &DynamicObject) -> (String, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&object.metadata.namespace), text(&object.metadata.name))
}

fn put(objects: &mut Objects, object: &DynamicObject) {
    // Made from JSON a moment ago.
    if let Ok(value) = serde_json::to_value(object) {
        objects.insert(key(object), value);
    }
}

fn why(error: &watcher::Error, what: Followed) -> String {
    let answer = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(answer))
        | watcher::Error::WatchStartFailed(kube::Error::Api(answer))
        | watcher::Error::WatchFailed(kube::Error::Api(answer)) => answer,
        other => return chain(other),
    };
    match answer.code {
        404 => format!(
            "the API server knows no {}.{}: install the definitions with `orderly schema --crd | \
             kubectl apply -f -`",
            what.plural, what.group
        ),
        code => format!("{code} {}: {}", answer.reason, answer.message),
    }
}
