//! ControllerRevisions: the history of StatefulSets and DaemonSets.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, number};
use super::super::resources::CONTROLLER_REVISIONS;
use super::super::write::Write;

const HASH: &str = "controller.kubernetes.io/hash";

/// The history of `owner`, oldest first.
pub(super) fn history(cluster: &Cluster, owner: &Value) -> Vec<Arc<Value>> {
    let mut all = cluster.controlled(&CONTROLLER_REVISIONS, owner);
    all.sort_by_key(|revision| number(revision, "/revision").unwrap_or(0));
    all
}

/// The revision of the current template: an equal one gets the highest number, else it is new.
pub(super) fn current(
    cluster: &mut Cluster,
    owner: &Arc<Value>,
    now: Timestamp,
) -> Option<Arc<Value>> {
    let mut template = owner["spec"]["template"].clone();
    object::put(&mut template, &["$patch"], "replace");
    let data = json!({"spec": {"template": template}});
    let all = history(cluster, owner);
    let last = all.last().and_then(|revision| number(revision, "/revision")).unwrap_or(0);
    let namespace = object::namespace(owner);
    if let Some(equal) = all.iter().rev().find(|revision| revision["data"] == data) {
        if number(equal, "/revision") == Some(last) {
            return Some(Arc::clone(equal));
        }
        return cluster.store.modify(
            &CONTROLLER_REVISIONS,
            namespace,
            object::name(equal),
            |revision| {
                revision["revision"] = json!(last + 1);
            },
        );
    }
    let hash = object::safe_word(&data.to_string(), 10);
    let mut labels = owner.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    object::put(&mut labels, &[HASH], hash.clone());
    let mut revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", object::name(owner)), "labels": labels,
            "ownerReferences": [object::owner_reference(owner)],
        },
        "data": data, "revision": last + 1,
    });
    if let Some(cause) = object::annotation(owner, "kubernetes.io/change-cause") {
        object::put(
            &mut revision,
            &["metadata", "annotations", "kubernetes.io/change-cause"],
            cause,
        );
    }
    let written =
        cluster.create(&CONTROLLER_REVISIONS, namespace, revision, &Write::controller(now));
    written.ok().map(|written| written.object)
}

/// The pod template of a revision.
pub(super) fn template(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    object::take(&mut template, &["$patch"]);
    template
}

/// The hash label of a revision.
pub(super) fn hash(revision: &Value) -> &str {
    object::label(revision, HASH).unwrap_or_default()
}

/// Forgets revisions beyond `revisionHistoryLimit`, except those that are `in_use`.
pub(super) fn clean_up(cluster: &mut Cluster, owner: &Value, in_use: &[&str]) {
    let Some(limit) = number(owner, "/spec/revisionHistoryLimit") else { return };
    let mut spare: Vec<Arc<Value>> = history(cluster, owner);
    spare.retain(|revision| {
        !in_use.contains(&object::name(revision)) && !in_use.contains(&hash(revision))
    });
    let surplus = spare.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in spare.into_iter().take(surplus) {
        let (namespace, name) = (object::namespace(&revision), object::name(&revision));
        cluster.store.remove(&CONTROLLER_REVISIONS, namespace, name);
    }
}
