//! The garbage collector: objects whose owners are gone go too.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, items, text};
use super::super::resources::{ALL, PODS, ResourceType};
use super::super::write::Effect;

pub(super) fn collect(cluster: &mut Cluster) {
    let mut alive: BTreeSet<String> = BTreeSet::new();
    let mut owned: Vec<Arc<Value>> = Vec::new();
    for (resource, object) in cluster.store.everything() {
        // Events own nothing and are owned by nothing; there are many.
        if resource == ("", "events") {
            continue;
        }
        alive.insert(object::uid(object).to_owned());
        if !items(object, "/metadata/ownerReferences").is_empty() {
            owned.push(Arc::clone(object));
        }
    }
    let orphaned = |object: &Value| {
        items(object, "/metadata/ownerReferences")
            .iter()
            .all(|owner| !alive.contains(text(owner, "/uid")))
    };
    let now = cluster.worked_until;
    for object in owned.into_iter().filter(|object| orphaned(object)) {
        let kind: Option<&'static ResourceType> = ALL
            .into_iter()
            .find(|kind| object["kind"] == kind.kind && object["apiVersion"] == kind.api_version());
        let Some(kind) = kind else { continue };
        if *kind == PODS && object::terminating(&object) {
            continue;
        }
        let options = json!({"preconditions": {"uid": object::uid(&object)}});
        let place = (object::namespace(&object), object::name(&object));
        // Somebody else may have deleted it in the same round; then there is nothing left to do.
        let _gone = cluster.delete(kind, place, &options, Effect::Store, now);
    }
}
