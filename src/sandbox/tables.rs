//! Tables: what `kubectl get` shows.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{items, name, number, terminating, text, time};
use super::request::Request;
use super::resources::ResourceType;

/// Does the client want a table?
pub(super) fn asked_for(request: &Request) -> bool {
    request.header("accept").contains("as=Table")
}

/// The table of some objects of one kind.
pub(super) fn table(
    kind: &ResourceType,
    objects: &[Value],
    version: Value,
    now: Timestamp,
) -> Value {
    let columns = columns(kind);
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> =
                columns.iter().map(|column| cell(kind, column, object, now)).collect();
            json!({"cells": cells, "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            }})
        })
        .collect();
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            let format = if *column == "Name" { "name" } else { "" };
            json!({"name": column, "type": "string", "format": format, "description": "", "priority": 0})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn columns(kind: &ResourceType) -> &'static [&'static str] {
    match kind.plural {
        "pods" => &["Name", "Ready", "Status", "Restarts", "Age"],
        "deployments" => &["Name", "Ready", "Up-to-date", "Available", "Age"],
        "replicasets" => &["Name", "Desired", "Current", "Ready", "Age"],
        "statefulsets" => &["Name", "Ready", "Age"],
        "daemonsets" => &["Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Age"],
        "events" => &["Last Seen", "Type", "Reason", "Object", "Message"],
        "nodes" | "namespaces" => &["Name", "Status", "Age"],
        "controllerrevisions" => &["Name", "Controller", "Revision", "Age"],
        "horizontalpodautoscalers" => {
            &["Name", "Reference", "Minpods", "Maxpods", "Replicas", "Age"]
        }
        "poddisruptionbudgets" => {
            &["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"]
        }
        _ => &["Name", "Age"],
    }
}

fn cell(kind: &ResourceType, column: &str, object: &Value, now: Timestamp) -> Value {
    let count = |pointer: &str| number(object, pointer).unwrap_or(0);
    let shown = |pointer: &str| match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "N/A".into(),
    };
    let text_cell = match (kind.plural, column) {
        (_, "Name") => name(object).to_owned(),
        (_, "Age") => age(text(object, "/metadata/creationTimestamp"), now),
        ("pods", "Ready") => {
            let statuses = items(object, "/status/containerStatuses");
            let ready = statuses.iter().filter(|status| status["ready"] == true).count();
            format!("{ready}/{}", items(object, "/spec/containers").len())
        }
        ("pods", "Status") => pod_status(object),
        ("pods", "Restarts") => restarts(object, now),
        ("deployments" | "statefulsets", "Ready") => {
            format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas"))
        }
        ("deployments", "Up-to-date") => count("/status/updatedReplicas").to_string(),
        ("deployments", "Available") => count("/status/availableReplicas").to_string(),
        ("replicasets", "Desired") => count("/spec/replicas").to_string(),
        ("replicasets", "Current") => count("/status/replicas").to_string(),
        ("replicasets", "Ready") => count("/status/readyReplicas").to_string(),
        ("daemonsets", "Desired") => count("/status/desiredNumberScheduled").to_string(),
        ("daemonsets", "Current") => count("/status/currentNumberScheduled").to_string(),
        ("daemonsets", "Ready") => count("/status/numberReady").to_string(),
        ("daemonsets", "Up-to-date") => count("/status/updatedNumberScheduled").to_string(),
        ("daemonsets", "Available") => count("/status/numberAvailable").to_string(),
        ("events", "Last Seen") => {
            let last = ["/lastTimestamp", "/eventTime", "/deprecatedLastTimestamp"]
                .into_iter()
                .map(|pointer| text(object, pointer))
                .find(|at| !at.is_empty());
            age(last.unwrap_or_default(), now)
        }
        ("events", "Object") => {
            let about = object.get("involvedObject").or_else(|| object.get("regarding"));
            let about = about.unwrap_or(&Value::Null);
            format!("{}/{}", text(about, "/kind").to_lowercase(), text(about, "/name"))
        }
        ("events", "Message") => {
            let message = text(object, "/message");
            if message.is_empty() { text(object, "/note").into() } else { message.into() }
        }
        ("events", column) => text(object, &format!("/{}", column.to_lowercase())).into(),
        ("nodes", "Status") => {
            let ready = super::object::condition_true(object, "Ready");
            let cordoned = super::object::flag(object, "/spec/unschedulable");
            format!(
                "{}{}",
                if ready { "Ready" } else { "NotReady" },
                if cordoned { ",SchedulingDisabled" } else { "" }
            )
        }
        ("namespaces", "Status") => text(object, "/status/phase").into(),
        ("controllerrevisions", "Controller") => {
            let owner = super::object::controller(object).unwrap_or(&Value::Null);
            format!("{}.apps/{}", text(owner, "/kind").to_lowercase(), text(owner, "/name"))
        }
        ("controllerrevisions", "Revision") => count("/revision").to_string(),
        ("horizontalpodautoscalers", "Reference") => {
            format!("{}/{}", shown("/spec/scaleTargetRef/kind"), shown("/spec/scaleTargetRef/name"))
        }
        ("horizontalpodautoscalers", "Minpods") => shown("/spec/minReplicas"),
        ("horizontalpodautoscalers", "Maxpods") => shown("/spec/maxReplicas"),
        ("horizontalpodautoscalers", "Replicas") => count("/status/currentReplicas").to_string(),
        ("poddisruptionbudgets", "Min Available") => shown("/spec/minAvailable"),
        ("poddisruptionbudgets", "Max Unavailable") => shown("/spec/maxUnavailable"),
        ("poddisruptionbudgets", "Allowed Disruptions") => {
            count("/status/disruptionsAllowed").to_string()
        }
        _ => String::new(),
    };
    json!(text_cell)
}

fn pod_status(pod: &Value) -> String {
    if terminating(pod) {
        return "Terminating".into();
    }
    let reason = text(pod, "/status/reason");
    if !reason.is_empty() {
        return reason.into();
    }
    let mut shown = text(pod, "/status/phase").to_owned();
    for status in items(pod, "/status/containerStatuses") {
        for pointer in ["/state/waiting/reason", "/state/terminated/reason"] {
            if !text(status, pointer).is_empty() {
                text(status, pointer).clone_into(&mut shown);
            }
        }
    }
    shown
}

fn restarts(pod: &Value, now: Timestamp) -> String {
    let statuses = items(pod, "/status/containerStatuses");
    let sum: i64 = statuses.iter().filter_map(|status| number(status, "/restartCount")).sum();
    let last = statuses
        .iter()
        .map(|status| text(status, "/lastState/terminated/finishedAt"))
        .max()
        .unwrap_or_default();
    if sum == 0 || last.is_empty() {
        sum.to_string()
    } else {
        format!("{sum} ({} ago)", age(last, now))
    }
}

/// A span as kubectl writes it: the two largest units while it is short.
fn age(since: &str, now: Timestamp) -> String {
    let Some(since) = time(since) else { return "<unknown>".into() };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => match seconds % 60 {
            0 => format!("{minutes}m"),
            rest => format!("{minutes}m{rest}s"),
        },
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => match minutes % 60 {
            0 => format!("{hours}h"),
            rest => format!("{hours}h{rest}m"),
        },
        28_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}
