//! Converts what hangs on a workload: selectors, events, autoscalers, budgets, nodes. Pure.

use serde_json::Value;

use crate::domain::facts::{
    Autoscaler, ClusterEvent, DisruptionBudget, Node, Target, VerticalAutoscaler,
};
use crate::kubernetes::json;

/// The label selector of a workload as a query parameter; `None` when it selects nothing that can
/// be written down.
pub fn selector(selector: &Value) -> Option<String> {
    let mut parts = Vec::new();
    let labels = json::at(selector, &["matchLabels"]).and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    for expression in json::list(selector, &["matchExpressions"]) {
        let key = json::text(expression, &["key"])?;
        let values: Vec<&str> =
            json::list(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match json::text(expression, &["operator"])? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// Whether a label selector matches labels. An empty selector matches everything, no selector
/// nothing; an operator that is not known here matches, since a budget overlooked is worse than one
/// too many.
pub fn selects(selector: Option<&Value>, labels: &Value) -> bool {
    let Some(selector) = selector else { return false };
    let has = |key: &str| labels.get(key).and_then(Value::as_str);
    let equal = json::at(selector, &["matchLabels"]).and_then(Value::as_object);
    let equal = equal.into_iter().flatten().all(|(key, value)| has(key) == value.as_str());
    equal
        && json::list(selector, &["matchExpressions"]).iter().all(|expression| {
            let found = has(json::text(expression, &["key"]).unwrap_or_default());
            let listed = json::list(expression, &["values"])
                .iter()
                .any(|value| found.is_some() && value.as_str() == found);
            match json::text(expression, &["operator"]) {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => found.is_some(),
                Some("DoesNotExist") => found.is_none(),
                _ => true,
            }
        })
}

/// One event, of the old API or the new.
pub fn event(item: &Value) -> ClusterEvent {
    let series = json::number(item, &["series", "count"]);
    let last = [
        &["series", "lastObservedTime"][..],
        &["lastTimestamp"],
        &["eventTime"],
        &["firstTimestamp"],
        &["metadata", "creationTimestamp"],
    ];
    let kind = json::owned(item, &["involvedObject", "kind"]);
    ClusterEvent {
        severity: json::owned(item, &["type"]),
        reason: json::owned(item, &["reason"]),
        regarding: format!("{kind}/{}", json::owned(item, &["involvedObject", "name"])),
        note: super::mask::text(&json::owned(item, &["message"])),
        count: series.or_else(|| json::number(item, &["count"])).unwrap_or(1).max(1),
        last: last.iter().find_map(|path| json::time(item, path)),
    }
}

/// Whether a `scaleTargetRef` names the workload. KEDA's may leave out kind and version.
pub fn refers_to(reference: Option<&Value>, target: &Target) -> bool {
    let Some(reference) = reference else { return false };
    let kind = json::text(reference, &["kind"]).unwrap_or("Deployment");
    let version = json::text(reference, &["apiVersion"]).unwrap_or("apps/v1");
    version.split('/').next() == Some("apps")
        && kind == target.kind.to_string()
        && json::text(reference, &["name"]) == Some(&target.name)
}

/// A HorizontalPodAutoscaler.
pub fn autoscaler(item: &Value) -> Autoscaler {
    let owner = json::controller(item);
    let keda = owner.filter(|owner| json::text(owner, &["kind"]) == Some("ScaledObject"));
    let keda = keda.and_then(|owner| json::text(owner, &["name"]));
    Autoscaler {
        name: json::name(item).to_owned(),
        uid: json::uid(item).to_owned(),
        resource_version: json::resource_version(item).to_owned(),
        min: json::number(item, &["spec", "minReplicas"]).unwrap_or(1),
        max: json::number(item, &["spec", "maxReplicas"]).unwrap_or_default(),
        scaled_object: json::label(item, "scaledobject.keda.sh/name").or(keda).map(str::to_owned),
    }
}

/// A ScaledObject that has no HorizontalPodAutoscaler at the moment, being paused for example. It
/// owns the replicas all the same.
pub fn scaled_object(item: &Value) -> Autoscaler {
    Autoscaler {
        name: json::name(item).to_owned(),
        uid: json::uid(item).to_owned(),
        resource_version: json::resource_version(item).to_owned(),
        min: json::number(item, &["spec", "minReplicaCount"]).unwrap_or(0),
        max: json::number(item, &["spec", "maxReplicaCount"]).unwrap_or(100),
        scaled_object: Some(json::name(item).to_owned()),
    }
}

/// A PodDisruptionBudget. Until its controller has seen the newest spec it lets none go, as the
/// eviction API has it.
pub fn budget(item: &Value) -> DisruptionBudget {
    let observed = json::number(item, &["status", "observedGeneration"]);
    let current = observed >= json::number(item, &["metadata", "generation"]);
    let allowed = json::number(item, &["status", "disruptionsAllowed"]).filter(|_| current);
    DisruptionBudget {
        name: json::name(item).to_owned(),
        disruptions_allowed: allowed.unwrap_or_default(),
    }
}

/// A VerticalPodAutoscaler. Its documented default mode counts when none is written.
pub fn vertical_autoscaler(item: &Value) -> VerticalAutoscaler {
    let mode = json::text(item, &["spec", "updatePolicy", "updateMode"]).unwrap_or("Auto");
    VerticalAutoscaler { name: json::name(item).to_owned(), mode: mode.to_owned() }
}

/// A node and its trouble.
pub fn node(item: &Value) -> Node {
    let ready = json::condition(item, "Ready");
    let ready = ready.and_then(|condition| json::text(condition, &["status"])) == Some("True");
    let mut trouble = Vec::new();
    for condition in json::list(item, &["status", "conditions"]) {
        let kind = json::owned(condition, &["type"]);
        let status = json::text(condition, &["status"]).unwrap_or("Unknown");
        // `Ready` should be true, every other condition of the API's own should be false.
        let expected = if kind == "Ready" { "True" } else { "False" };
        let pressure =
            kind == "Ready" || kind.ends_with("Pressure") || kind.ends_with("Unavailable");
        if pressure && status != expected {
            trouble.push(if status == "Unknown" || kind == "Ready" {
                format!("{kind}={status}")
            } else {
                kind
            });
        }
    }
    if json::is_true(item, &["spec", "unschedulable"]) {
        trouble.push("Unschedulable".to_owned());
    }
    Node { name: json::name(item).to_owned(), ready, trouble }
}

/// The live object as facts keep it: without `managedFields`, without `status`.
pub fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::facts::Kind;

    #[test]
    fn a_selector_is_written_as_a_query() {
        let written = selector(&json!({"matchLabels": {"app": "api"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"}]}));
        assert_eq!(written.as_deref(), Some("app=api,tier in (a,b),!old"));
        assert_eq!(selector(&json!({})), None);
    }

    #[test]
    fn a_budget_with_an_empty_selector_covers_all_and_one_without_covers_nothing() {
        let labels = json!({"app": "api", "tier": "a"});
        assert!(selects(Some(&json!({})), &labels));
        assert!(!selects(None, &labels));
        let tier = |operator: &str| json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": ["a"]}]});
        assert!(selects(Some(&tier("In")), &labels));
        assert!(!selects(Some(&tier("NotIn")), &labels));
        assert!(!selects(Some(&json!({"matchLabels": {"app": "web"}})), &labels));
    }

    #[test]
    fn an_autoscaler_of_keda_names_its_scaled_object() {
        let item = json!({"metadata": {"name": "keda-hpa-api", "uid": "h", "resourceVersion": "5",
            "labels": {"scaledobject.keda.sh/name": "api"}}, "spec": {"maxReplicas": 8}});
        let found = autoscaler(&item);
        assert_eq!((found.min, found.max), (1, 8));
        assert_eq!(found.scaled_object.as_deref(), Some("api"));
        let target = Target { kind: Kind::Deployment, namespace: "p".into(), name: "api".into() };
        assert!(refers_to(Some(&json!({"name": "api"})), &target));
        let rollout =
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "api"});
        assert!(!refers_to(Some(&rollout), &target));
    }

    #[test]
    fn events_of_both_apis_have_their_last_time_and_count() {
        let new = json!({"type": "Warning", "reason": "BackOff", "message": "restarting",
            "involvedObject": {"kind": "Pod", "name": "p"}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "lastTimestamp": null, "series": {"count": 7, "lastObservedTime": "2026-01-01T00:05:00.000000Z"}});
        let event = event(&new);
        assert_eq!((event.count, event.regarding.as_str()), (7, "Pod/p"));
        assert_eq!(event.last, "2026-01-01T00:05:00Z".parse().ok());
    }

    #[test]
    fn a_silent_kubelet_and_pressure_are_trouble() {
        let item = json!({"metadata": {"name": "n"}, "status": {"conditions": [
            {"type": "Ready", "status": "Unknown"}, {"type": "MemoryPressure", "status": "True"},
            {"type": "DiskPressure", "status": "False"}]}});
        let node = node(&item);
        assert!(!node.ready);
        assert_eq!(node.trouble, ["Ready=Unknown", "MemoryPressure"]);
    }
}
