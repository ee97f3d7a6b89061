//! Watches: a stream of JSON lines, from the log of changes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Shared;
use super::error::{ApiError, FieldError};
use super::events::to_shown;
use super::request::Request;
use super::resources::ResourceType;
use super::selectors::{FieldSelector, LabelSelector};
use super::store::{Change, ChangeKind, Store};

/// Which objects are wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) kind: &'static ResourceType,
    pub(super) namespace: String,
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

impl Wanted {
    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// The wanted objects, as they are stored.
    pub(super) fn select<'a>(&'a self, store: &'a Store) -> impl Iterator<Item = &'a Arc<Value>> {
        let namespace = (!self.namespace.is_empty()).then_some(self.namespace.as_str());
        store.list(self.kind, namespace).filter(|object| self.matches(object))
    }

    /// A change as this watch sees it: what leaves the selection looks deleted.
    fn seen(&self, change: &Change) -> Option<Value> {
        if change.resource != self.kind.stored_as() {
            return None;
        }
        let in_namespace =
            self.namespace.is_empty() || super::object::namespace(&change.object) == self.namespace;
        if !in_namespace {
            return None;
        }
        let matched = change.before.as_ref().is_some_and(|before| self.matches(before));
        let matches = self.matches(&change.object);
        let event = match (change.kind, matched, matches) {
            (ChangeKind::Deleted, true, _) | (ChangeKind::Modified, true, false) => "DELETED",
            (ChangeKind::Added, _, true) | (ChangeKind::Modified, false, true) => "ADDED",
            (ChangeKind::Modified, true, true) => "MODIFIED",
            (ChangeKind::Added | ChangeKind::Modified | ChangeKind::Deleted, _, _) => return None,
        };
        Some(json!({"type": event, "object": to_shown(self.kind, &change.object)}))
    }
}

/// The longest watch when the client names no time: the API server's own choice is 30 to 60 min.
const LONGEST: i64 = 1800;

/// From where a watch begins, and what it is told besides changes.
#[derive(Debug, Clone)]
pub(super) struct Opening<'a> {
    /// The version after which changes are wanted; 0 or nothing: whatever there is.
    pub(super) version: &'a str,
    /// A streamed list: what there is comes first, then a bookmark that says that it was all.
    pub(super) initial: bool,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<i64>,
}

impl<'a> Opening<'a> {
    /// As the request asks for it, in the rules of the real server.
    pub(super) fn of(request: &'a Request) -> Result<Self, ApiError> {
        const MATCH: &str = "resourceVersionMatch";
        let streamed = request.parameter("sendInitialEvents");
        let matching = request.parameter(MATCH);
        let mut faults = Vec::new();
        if streamed.is_empty() && !matching.is_empty() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
                       provided";
            faults.push(FieldError::forbidden(MATCH, why));
        } else if !streamed.is_empty() && matching != NOT_OLDER {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            faults.push(FieldError::forbidden(MATCH, why));
            if !matching.is_empty() {
                faults.push(FieldError::unsupported(MATCH, &json!(matching), &[NOT_OLDER]));
            }
        }
        if !faults.is_empty() {
            return Err(ApiError::list_options(&faults));
        }
        Ok(Self {
            version: request.parameter("resourceVersion"),
            initial: streamed == "true",
            bookmarks: request.parameter("allowWatchBookmarks") == "true",
            timeout: request.parameter("timeoutSeconds").parse().ok(),
        })
    }
}

const NOT_OLDER: &str = "NotOlderThan";

struct Watching {
    shared: Arc<Shared>,
    wanted: Wanted,
    version: u64,
    pending: VecDeque<Value>,
    until: futures::future::BoxFuture<'static, ()>,
    bookmarks: bool,
    finished: bool,
}

/// Starts a watch; at version 0 or without one it begins with what there is.
pub(super) fn start(
    shared: &Arc<Shared>,
    wanted: Wanted,
    opening: &Opening<'_>,
) -> Result<Body, ApiError> {
    let mut pending = VecDeque::new();
    let now: Timestamp = shared.clock.now();
    let version = {
        let cluster = shared.cluster();
        match opening.version.parse::<u64>() {
            Ok(version) if version > 0 && !opening.initial => {
                if let Err(oldest) = cluster.store.changes_after(version) {
                    return Err(ApiError::expired(version, oldest));
                }
                version
            }
            _ => {
                pending.extend(wanted.select(&cluster.store).map(
                    |object| json!({"type": "ADDED", "object": to_shown(wanted.kind, object)}),
                ));
                cluster.store.version()
            }
        }
    };
    if opening.initial && opening.bookmarks {
        let mut end = bookmark(wanted.kind, version);
        end["object"]["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        pending.push_back(end);
    }
    let seconds = opening.timeout.filter(|seconds| *seconds > 0).unwrap_or(LONGEST).min(LONGEST);
    let end = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    let watching = Watching {
        shared: Arc::clone(shared),
        wanted,
        version,
        pending,
        until: shared.clock.sleep_until(end),
        bookmarks: opening.bookmarks,
        finished: false,
    };
    let lines = futures::stream::unfold(watching, next_line);
    Ok(Body::from_stream(lines.map(Ok::<Bytes, Infallible>)))
}

async fn next_line(mut watching: Watching) -> Option<(Bytes, Watching)> {
    loop {
        if let Some(event) = watching.pending.pop_front() {
            return Some((Bytes::from(format!("{event}\n")), watching));
        }
        if watching.finished {
            return None;
        }
        let mut news = watching.shared.news.subscribe();
        watching.catch_up();
        if !watching.pending.is_empty() {
            continue;
        }
        tokio::select! {
            // The sender lives as long as the shared state that this watch holds.
            _more = news.changed() => {}
            () = &mut watching.until => watching.end(),
            () = watching.shared.stop.cancelled() => return None,
        }
    }
}

impl Watching {
    fn catch_up(&mut self) {
        let shared = Arc::clone(&self.shared);
        let cluster = shared.cluster();
        match cluster.store.changes_after(self.version) {
            Ok(changes) => {
                self.pending.extend(changes.filter_map(|change| self.wanted.seen(change)))
            }
            Err(oldest) => {
                let error = ApiError::expired(self.version, oldest);
                self.pending.push_back(json!({"type": "ERROR", "object": error.to_status()}));
                self.finished = true;
            }
        }
        self.version = cluster.store.version();
    }

    fn end(&mut self) {
        self.finished = true;
        if self.bookmarks {
            self.pending.push_back(bookmark(self.wanted.kind, self.version));
        }
    }
}

fn bookmark(kind: &ResourceType, version: u64) -> Value {
    json!({"type": "BOOKMARK", "object": {
        "kind": kind.kind, "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": version.to_string()},
    }})
}
