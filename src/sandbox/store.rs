//! The objects of the cluster, in memory, with a version counter and a log of changes.
//!
//! It assigns what storage assigns (uid, resourceVersion, creationTimestamp) and remembers changes
//! for watches. It validates nothing and refuses nothing: that is done before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::object;
use super::resources::{EVENTS, ResourceType};

/// How many changes a watch can catch up with; more than a test ever makes between two looks.
const CHANGES_KEPT: usize = 4096;
/// How many events are kept at most.
const EVENTS_KEPT: usize = 2000;
/// After how long events are forgotten (the API server's `--event-ttl`).
const EVENT_LIFE: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    resource: (&'static str, &'static str),
    namespace: String,
    name: String,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One change, as watches see it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) kind: ChangeKind,
    pub(super) resource: (&'static str, &'static str),
    pub(super) object: Arc<Value>,
    pub(super) before: Option<Arc<Value>>,
}

/// The objects of the cluster.
#[derive(Debug, Clone)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    forgotten: u64,
    changes: VecDeque<Change>,
    events: VecDeque<Key>,
    names: u64,
    seed: u64,
}

impl Store {
    pub(super) fn new(seed: u64) -> Self {
        // Real clusters never answer with tiny versions; a client that treats them as counters
        // starting at one should not get away with it.
        let version = 1000;
        Self {
            objects: BTreeMap::new(),
            version,
            forgotten: version,
            changes: VecDeque::new(),
            events: VecDeque::new(),
            names: 0,
            seed,
        }
    }

    /// The newest resource version.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// A word that has not been used before, for names and uids.
    pub(super) fn fresh(&mut self) -> String {
        self.names += 1;
        format!("{}/{}", self.seed, self.names)
    }

    pub(super) fn get(
        &self,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
    ) -> Option<&Arc<Value>> {
        self.objects.get(&Key {
            resource: kind.stored_as(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The objects of a kind, of one namespace or of all (`None`), by namespace and name.
    pub(super) fn list<'a>(
        &'a self,
        kind: &ResourceType,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Value>> + use<'a> {
        let resource = kind.stored_as();
        let first = Key {
            resource,
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        self.objects
            .range(first..)
            .take_while(move |(key, _)| {
                key.resource == resource && namespace.is_none_or(|wanted| key.namespace == wanted)
            })
            .map(|(_, object)| object)
    }

    /// Every object, for the garbage collector.
    pub(super) fn everything(
        &self,
    ) -> impl Iterator<Item = ((&'static str, &'static str), &Arc<Value>)> {
        self.objects.iter().map(|(key, object)| (key.resource, object))
    }

    /// Fills in what the server assigns to a new object.
    pub(super) fn stamp(&mut self, kind: &ResourceType, object: &mut Value, now: Timestamp) {
        let word = object::hex_word(&self.fresh(), 16);
        let uid = format!(
            "{}-{}-4{}-a{}-{}",
            &word[..8],
            &word[8..12],
            &word[13..16],
            &word[17..20],
            &word[20..32]
        );
        object::put(object, &["metadata", "uid"], uid);
        object::put(object, &["metadata", "creationTimestamp"], object::rfc3339(now));
        if kind.generation {
            object::put(object, &["metadata", "generation"], 1);
        }
    }

    /// Stores a new object that [`Store::stamp`] has filled in.
    pub(super) fn insert(&mut self, kind: &ResourceType, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object::put(&mut object, &["metadata", "resourceVersion"], self.version.to_string());
        let key = self.key(kind, &object);
        let object = Arc::new(object);
        if key.resource == EVENTS.stored_as() {
            self.events.push_back(key.clone());
            if self.events.len() > EVENTS_KEPT
                && let Some(oldest) = self.events.pop_front()
            {
                self.objects.remove(&oldest);
            }
        }
        self.objects.insert(key, Arc::clone(&object));
        self.log(ChangeKind::Added, kind, Arc::clone(&object), None);
        object
    }

    /// Stores the new state of an object; what changes nothing leaves the version alone.
    pub(super) fn replace(&mut self, kind: &ResourceType, mut object: Value) -> Arc<Value> {
        let key = self.key(kind, &object);
        let before = self.objects.get(&key).cloned();
        if let Some(before) = &before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if **before == object {
                return Arc::clone(before);
            }
        }
        self.version += 1;
        object::put(&mut object, &["metadata", "resourceVersion"], self.version.to_string());
        let object = Arc::new(object);
        self.objects.insert(key, Arc::clone(&object));
        self.log(ChangeKind::Modified, kind, Arc::clone(&object), before);
        object
    }

    /// Changes an object in place, as the controllers do: the generation follows the spec.
    pub(super) fn modify(
        &mut self,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Option<Arc<Value>> {
        let before = Arc::clone(self.get(kind, namespace, name)?);
        let mut object = (*before).clone();
        change(&mut object);
        if object == *before {
            return Some(before);
        }
        // Binding a pod to a node is no change of what was asked for.
        let counted = kind.generation && *kind != super::resources::PODS;
        if counted && object.get("spec") != before.get("spec") {
            let next = object::number(&before, "/metadata/generation").unwrap_or(0) + 1;
            object::put(&mut object, &["metadata", "generation"], next);
        }
        Some(self.replace(kind, object))
    }

    pub(super) fn remove(
        &mut self,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Value>> {
        let key = Key {
            resource: kind.stored_as(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let before = self.objects.remove(&key)?;
        self.version += 1;
        let mut last = (*before).clone();
        object::put(&mut last, &["metadata", "resourceVersion"], self.version.to_string());
        let last = Arc::new(last);
        self.log(ChangeKind::Deleted, kind, Arc::clone(&last), Some(before));
        Some(last)
    }

    /// The changes after `version`, or the oldest version that is still known when that is too old.
    pub(super) fn changes_after(&self, version: u64) -> Result<impl Iterator<Item = &Change>, u64> {
        if version < self.forgotten {
            return Err(self.forgotten);
        }
        let start = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.range(start..))
    }

    fn key(&self, kind: &ResourceType, object: &Value) -> Key {
        Key {
            resource: kind.stored_as(),
            namespace: object::namespace(object).to_owned(),
            name: object::name(object).to_owned(),
        }
    }

    fn log(
        &mut self,
        change: ChangeKind,
        kind: &ResourceType,
        object: Arc<Value>,
        before: Option<Arc<Value>>,
    ) {
        let resource = kind.stored_as();
        self.changes.push_back(Change {
            version: self.version,
            kind: change,
            resource,
            object,
            before,
        });
        if self.changes.len() > CHANGES_KEPT
            && let Some(oldest) = self.changes.pop_front()
        {
            self.forgotten = oldest.version;
        }
    }

    /// Forgets the events that have not been repeated for an hour.
    pub(super) fn forget_events(&mut self, now: Timestamp) {
        // Each look passes every event once; those that were repeated go to the end of the queue.
        for _ in 0..self.events.len() {
            let Some(key) = self.events.pop_front() else { return };
            let Some(event) = self.objects.get(&key) else { continue };
            let fresh = |pointer: &str| {
                object::time(object::text(event, pointer))
                    .is_some_and(|at| now.duration_since(at) < EVENT_LIFE)
            };
            if fresh("/lastTimestamp") || fresh("/eventTime") {
                let oldest_is_fresh = fresh("/metadata/creationTimestamp");
                if oldest_is_fresh {
                    self.events.push_front(key);
                    return;
                }
                self.events.push_back(key);
            } else {
                self.objects.remove(&key);
            }
        }
    }

    /// Writes a core event about `about`, or counts one more of the same.
    pub(super) fn event(&mut self, about: &Value, note: &EventNote<'_>, now: Timestamp) {
        let namespace = match object::namespace(about) {
            "" => "default",
            namespace => namespace,
        };
        let series = format!(
            "{}/{}/{}/{}/{}",
            object::uid(about),
            note.reason,
            note.field_path,
            note.component,
            note.message
        );
        let name = format!("{}.{}", object::name(about), object::hex_word(&series, 8));
        let at = object::rfc3339(now);
        let again = self.modify(&EVENTS, namespace, &name, |event| {
            let count = object::number(event, "/count").unwrap_or(0) + 1;
            event["count"] = json!(count);
            event["lastTimestamp"] = json!(at);
        });
        if again.is_some() {
            return;
        }
        let mut involved = json!({
            "kind": about["kind"], "apiVersion": about["apiVersion"], "name": object::name(about),
            "uid": object::uid(about), "resourceVersion": about["metadata"]["resourceVersion"],
        });
        if !object::namespace(about).is_empty() {
            involved["namespace"] = json!(object::namespace(about));
        }
        if !note.field_path.is_empty() {
            involved["fieldPath"] = json!(note.field_path);
        }
        let mut source = json!({"component": note.component});
        if !note.host.is_empty() {
            source["host"] = json!(note.host);
        }
        let mut event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved, "reason": note.reason, "message": note.message,
            "type": note.kind, "source": source, "count": 1, "firstTimestamp": at,
            "lastTimestamp": at, "eventTime": null, "reportingComponent": note.component,
            "reportingInstance": note.host,
        });
        self.stamp(&EVENTS, &mut event, now);
        self.insert(&EVENTS, event);
    }
}

/// What an event says.
#[derive(Debug)]
pub(super) struct EventNote<'a> {
    /// `Normal` or `Warning`.
    pub(super) kind: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    pub(super) component: &'a str,
    pub(super) host: &'a str,
    pub(super) field_path: &'a str,
}
