//! The HorizontalPodAutoscaler: keeps its target within the bounds. It has no metrics, so within
//! the bounds it leaves the target alone.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::object::{self, number, text};
use super::super::resources::{self, AUTOSCALERS};
use super::{put_condition, put_count};

pub(super) fn sync(cluster: &mut Cluster, autoscaler: &Arc<Value>, now: Timestamp) {
    let namespace = object::namespace(autoscaler).to_owned();
    let target = &autoscaler["spec"]["scaleTargetRef"];
    let kind = resources::of_reference(text(target, "/apiVersion"), text(target, "/kind"));
    let name = text(target, "/name").to_owned();
    let found =
        kind.and_then(|kind| Some((kind, cluster.store.get(kind, &namespace, &name)?.clone())));
    let Some((kind, scaled)) = found else {
        let message = format!(
            "the HPA controller was unable to get the target's current scale: {name} not found"
        );
        put_status(cluster, autoscaler, |status| {
            put_condition(status, ("AbleToScale", "False"), "FailedGetScale", &message, now);
        });
        return;
    };
    let least = number(autoscaler, "/spec/minReplicas").unwrap_or(1);
    let most = number(autoscaler, "/spec/maxReplicas").unwrap_or(1);
    let current = number(&scaled, "/spec/replicas").unwrap_or(1);
    let wanted = if current == 0 { 0 } else { current.clamp(least, most) };
    if wanted != current {
        cluster.store.modify(kind, &namespace, &name, |scaled| {
            object::put(scaled, &["spec", "replicas"], wanted);
        });
        let reason = if current > most {
            "Current number of replicas above Spec.MaxReplicas"
        } else {
            "Current number of replicas below Spec.MinReplicas"
        };
        let message = format!("New size: {wanted}; reason: {reason}");
        cluster.note(autoscaler, "Normal", "SuccessfulRescale", &message, now);
    }
    put_status(cluster, autoscaler, |status| {
        put_count(status, "currentReplicas", current);
        object::put(status, &["desiredReplicas"], wanted);
        if wanted != current {
            status["lastScaleTime"] = json!(object::rfc3339(now));
        }
        if current == 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            put_condition(status, ("ScalingActive", "False"), "ScalingDisabled", message, now);
        } else {
            let message = "recommended size matches current size";
            put_condition(status, ("AbleToScale", "True"), "ReadyForNewScale", message, now);
            let message = "the HPA was able to successfully calculate a replica count";
            put_condition(status, ("ScalingActive", "True"), "ValidMetricFound", message, now);
            let limited = match current {
                n if n >= most => ("True", "TooManyReplicas"),
                n if n <= least => ("True", "TooFewReplicas"),
                _ => ("False", "DesiredWithinRange"),
            };
            let message = "the desired count is held within the acceptable range";
            put_condition(status, ("ScalingLimited", limited.0), limited.1, message, now);
        }
    });
}

fn put_status(cluster: &mut Cluster, autoscaler: &Value, change: impl FnOnce(&mut Value)) {
    let (namespace, name) = (object::namespace(autoscaler), object::name(autoscaler));
    cluster.store.modify(&AUTOSCALERS, namespace, name, |autoscaler| {
        let status = object::child(autoscaler, &["status"]);
        if !status.is_object() {
            *status = json!({});
        }
        change(status);
    });
}
