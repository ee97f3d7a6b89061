//! Converts ReplicaSets and ControllerRevisions to a rollout history with evidence of health. Pure.
//!
//! Kubernetes keeps no record of health and renumbers a revision whose template is used again. A
//! time in service is therefore only claimed where both of its ends are certain: the revision was
//! then new, and the next number belongs to a revision that was then new too.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::pods::{self, Seen};
use crate::domain::facts::{Kind, Revision, RevisionHealth};
use crate::kubernetes::json;

/// Kubernetes' number of a ReplicaSet's revision.
const NUMBER: &str = "deployment.kubernetes.io/revision";
/// The numbers that it had before.
const FORMER: &str = "deployment.kubernetes.io/revision-history";
/// What kubectl's restart writes; no difference between two templates for our purpose.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// Orderly's own annotations.
const OURS: &str = "orderly.dev/";

/// The history objects that the workload controls.
pub fn owned<'a>(items: &'a [Value], workload_uid: &str) -> Vec<&'a Value> {
    let controlled = |item: &&Value| {
        let owner = json::controller(item).and_then(|owner| json::text(owner, &["uid"]));
        owner == Some(workload_uid)
    };
    items.iter().filter(controlled).collect()
}

/// The history, newest first.
pub fn revisions(
    kind: Kind,
    object: &Value,
    items: &[&Value],
    pods: Option<&[Seen]>,
) -> Vec<Revision> {
    let live = normal(json::at(object, &["spec", "template"]).unwrap_or(&Value::Null));
    let mut entries: Vec<Entry> = items.iter().filter_map(|item| Entry::read(kind, item)).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.number));
    let service = Service::of(&entries);
    let convert = |entry: &Entry| Revision {
        number: entry.number,
        name: entry.name.clone(),
        created: entry.created,
        template: entry.template.clone(),
        current: normal(&entry.template) == live,
        health: health(entry, pods, &service),
        change_cause: entry.change_cause.clone(),
    };
    entries.iter().map(convert).collect()
}

/// When the newest revision came into service; nothing when it is an old one used again and the
/// object does not say when.
pub fn started(kind: Kind, object: &Value, items: &[&Value]) -> Option<Timestamp> {
    let mut entries: Vec<Entry> = items.iter().filter_map(|item| Entry::read(kind, item)).collect();
    entries.sort_by_key(|entry| entry.number);
    let newest = entries.pop()?;
    let reused =
        !newest.former.is_empty() || entries.iter().any(|earlier| earlier.created > newest.created);
    if reused { template_changed(object) } else { Some(newest.created) }
}

/// When the pod template was last written, as the managed fields of the object say.
fn template_changed(object: &Value) -> Option<Timestamp> {
    json::list(object, &["metadata", "managedFields"])
        .iter()
        .filter(|entry| json::text(entry, &["subresource"]).is_none())
        .filter(|entry| json::at(entry, &["fieldsV1", "f:spec", "f:template"]).is_some())
        .filter_map(|entry| json::time(entry, &["time"]))
        .max()
}

/// A history object, read.
struct Entry {
    number: i64,
    former: Vec<i64>,
    name: String,
    created: Timestamp,
    template: Value,
    change_cause: Option<String>,
}

impl Entry {
    fn read(kind: Kind, item: &Value) -> Option<Self> {
        let (number, template) = match kind {
            Kind::Deployment => {
                let number = json::annotation(item, NUMBER)?.parse().ok()?;
                (number, json::at(item, &["spec", "template"])?)
            }
            Kind::StatefulSet | Kind::DaemonSet => {
                let template = json::at(item, &["data", "spec", "template"])?;
                (json::number(item, &["revision"])?, template)
            }
        };
        let former = json::annotation(item, FORMER).unwrap_or_default();
        Some(Self {
            number,
            former: former.split(',').filter_map(|number| number.trim().parse().ok()).collect(),
            name: json::name(item).to_owned(),
            created: json::created(item),
            template: plain(template),
            change_cause: json::annotation(item, "kubernetes.io/change-cause").map(str::to_owned),
        })
    }
}

/// The template as a user would write it.
fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        // A ControllerRevision holds a patch that replaces the template as a whole.
        fields.remove("$patch");
    }
    let labels = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.remove("pod-template-hash");
    }
    template
}

/// What two templates are compared by: without what changes no pod, and without empty fields.
fn normal(template: &Value) -> Value {
    let mut template = plain(template);
    if let Some(metadata) = template.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| key != RESTARTED && !key.starts_with(OURS));
        }
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    without_nulls(template)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// The certain times in service, by revision name.
struct Service(BTreeMap<String, (Timestamp, Timestamp)>);

impl Service {
    fn of(entries: &[Entry]) -> Self {
        // Every number ever seen, with the time at which it began when that is certain: a revision
        // is made when it gets its first number; later numbers begin at a time nobody wrote down.
        let mut began = BTreeMap::new();
        for entry in entries {
            let bumped_unseen = entry.former.is_empty()
                && entries
                    .iter()
                    .any(|other| other.number < entry.number && other.created > entry.created);
            let first = entry.former.iter().copied().chain([entry.number]).min();
            for number in entry.former.iter().copied().chain([entry.number]) {
                let certain = Some(number) == first && !bumped_unseen;
                began.insert(number, (entry.name.clone(), certain.then_some(entry.created)));
            }
        }
        let mut served = BTreeMap::new();
        for (number, (name, since)) in &began {
            let next = began.get(&(number + 1)).and_then(|(_, began)| *began);
            if let (Some(since), Some(until)) = (*since, next)
                && until > since
            {
                served.insert(name.clone(), (since, until));
            }
        }
        Self(served)
    }
}

fn health(entry: &Entry, pods: Option<&[Seen]>, service: &Service) -> RevisionHealth {
    let of_it =
        |seen: &&Seen| seen.pod.revision.as_deref() == Some(&entry.name) && !seen.pod.terminating;
    let pods: Vec<&Seen> = pods.unwrap_or_default().iter().filter(of_it).collect();
    let failures: Vec<String> = pods.iter().filter_map(|seen| pods::failure(&seen.pod)).collect();
    if let Some(first) = failures.first() {
        let evidence = format!("{} of {} pods fail: {first}", failures.len(), pods.len());
        return RevisionHealth::Failing { evidence };
    }
    if !pods.is_empty() && pods.iter().all(|seen| seen.available) {
        return RevisionHealth::Available;
    }
    match service.0.get(&entry.name) {
        Some((since, until)) => RevisionHealth::Served { since: *since, until: *until },
        None => RevisionHealth::Unknown,
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
