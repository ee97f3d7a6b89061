//! The quota controller: what is used of each ResourceQuota.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::super::cluster::Cluster;
use super::super::object;
use super::super::resources::RESOURCE_QUOTAS;

pub(super) fn sync(cluster: &mut Cluster, quota: &Arc<Value>, _now: Timestamp) {
    let namespace = object::namespace(quota).to_owned();
    let hard = quota.pointer("/spec/hard").cloned().unwrap_or_default();
    let used = hard.as_object().into_iter().flatten().map(|(resource, _)| {
        (resource.clone(), Value::from(cluster.charged(&namespace, resource).canonical()))
    });
    let used = Value::Object(used.collect());
    cluster.store.modify(&RESOURCE_QUOTAS, &namespace, object::name(quota), |quota| {
        let status = object::child(quota, &["status"]);
        status["hard"] = hard;
        status["used"] = used;
    });
}
