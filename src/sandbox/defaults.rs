//! What a real API server fills in: the defaults of workloads, pods, budgets and autoscalers, and
//! the canonical form of quantities.

use serde_json::{Value, json};

use super::object::{child, default, items, text};
use super::quantity::Quantity;
use super::resources::ResourceType;

/// Fills in the defaults of one object.
pub(super) fn apply(kind: &ResourceType, object: &mut Value) {
    match (kind.group, kind.plural) {
        ("apps", "deployments") => deployment(object),
        ("apps", "statefulsets") => stateful_set(object),
        ("apps", "daemonsets") => daemon_set(object),
        ("apps", "replicasets") => {
            default(object, &["spec", "replicas"], 1);
            template(object);
        }
        ("", "pods") => {
            pod_spec(child(object, &["spec"]));
            default(object, &["spec", "enableServiceLinks"], true);
            default(object, &["status", "phase"], "Pending");
            default(object, &["status", "qosClass"], "Burstable");
        }
        ("", "namespaces") => {
            default(object, &["spec", "finalizers"], json!(["kubernetes"]));
            default(object, &["status", "phase"], "Active");
            let name = text(object, "/metadata/name").to_owned();
            default(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
        }
        ("autoscaling", "horizontalpodautoscalers") => {
            default(object, &["spec", "minReplicas"], 1);
        }
        ("", "secrets") => {
            default(object, &["type"], "Opaque");
        }
        ("", "services") => {
            default(object, &["spec", "type"], "ClusterIP");
            default(object, &["spec", "sessionAffinity"], "None");
        }
        _ => {}
    }
}

fn deployment(object: &mut Value) {
    default(object, &["spec", "replicas"], 1);
    default(object, &["spec", "strategy", "type"], "RollingUpdate");
    if text(object, "/spec/strategy/type") == "RollingUpdate" {
        default(object, &["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%");
        default(object, &["spec", "strategy", "rollingUpdate", "maxSurge"], "25%");
    }
    default(object, &["spec", "revisionHistoryLimit"], 10);
    default(object, &["spec", "progressDeadlineSeconds"], 600);
    template(object);
}

fn stateful_set(object: &mut Value) {
    default(object, &["spec", "replicas"], 1);
    default(object, &["spec", "podManagementPolicy"], "OrderedReady");
    default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
    if text(object, "/spec/updateStrategy/type") == "RollingUpdate" {
        default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
    }
    default(object, &["spec", "revisionHistoryLimit"], 10);
    let retention = &["spec", "persistentVolumeClaimRetentionPolicy"];
    default(object, retention, json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
    template(object);
}

fn daemon_set(object: &mut Value) {
    default(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
    if text(object, "/spec/updateStrategy/type") == "RollingUpdate" {
        default(object, &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 1);
        default(object, &["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0);
    }
    default(object, &["spec", "revisionHistoryLimit"], 10);
    template(object);
}

fn template(object: &mut Value) {
    pod_spec(child(object, &["spec", "template", "spec"]));
}

fn pod_spec(spec: &mut Value) {
    default(spec, &["restartPolicy"], "Always");
    default(spec, &["dnsPolicy"], "ClusterFirst");
    default(spec, &["schedulerName"], "default-scheduler");
    default(spec, &["securityContext"], json!({}));
    default(spec, &["terminationGracePeriodSeconds"], 30);
    for list in ["containers", "initContainers"] {
        if let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) {
            containers.iter_mut().filter(|c| c.is_object()).for_each(container);
        }
    }
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        for volume in volumes.iter_mut().filter(|volume| volume.is_object()) {
            for source in ["configMap", "secret", "projected", "downwardAPI"] {
                if volume.get(source).is_some_and(Value::is_object) {
                    default(volume, &[source, "defaultMode"], 420);
                }
            }
        }
    }
    // The old name of the field is still written beside the new one.
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        default(spec, &["serviceAccount"], account);
    }
}

fn container(container: &mut Value) {
    let image = text(container, "/image").to_owned();
    let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    let policy = match tag {
        Some("latest") => "Always",
        None if !image.contains('@') => "Always",
        Some(_) | None => "IfNotPresent",
    };
    default(container, &["imagePullPolicy"], policy);
    default(container, &["terminationMessagePath"], "/dev/termination-log");
    default(container, &["terminationMessagePolicy"], "File");
    default(container, &["resources"], json!({}));
    resources(child(container, &["resources"]));
    if let Some(ports) = container.get_mut("ports").and_then(Value::as_array_mut) {
        ports
            .iter_mut()
            .filter(|p| p.is_object())
            .for_each(|port| default(port, &["protocol"], "TCP"));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            default(probe, &["timeoutSeconds"], 1);
            default(probe, &["periodSeconds"], 10);
            default(probe, &["successThreshold"], 1);
            default(probe, &["failureThreshold"], 3);
            if probe.get("httpGet").is_some_and(Value::is_object) {
                default(probe, &["httpGet", "path"], "/");
                default(probe, &["httpGet", "scheme"], "HTTP");
            }
        }
    }
    if let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) {
        for variable in env.iter_mut().filter(|v| v.pointer("/valueFrom/fieldRef").is_some()) {
            default(variable, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
    }
}

/// Quantities in canonical form; requests that are missing follow the limits.
fn resources(resources: &mut Value) {
    for list in ["limits", "requests"] {
        if let Some(amounts) = resources.get_mut(list).and_then(Value::as_object_mut) {
            for amount in amounts.values_mut() {
                let given = match &*amount {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => continue,
                };
                *amount = match Quantity::parse(&given) {
                    Some(quantity) => json!(quantity.canonical()),
                    None => json!(given),
                };
            }
        }
    }
    let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, limit) in limits {
        default(resources, &["requests", &name], limit);
    }
}

/// The quality-of-service class that a pod's resources give it.
pub(super) fn quality_of_service(spec: &Value) -> &'static str {
    let containers = || items(spec, "/containers").iter().chain(items(spec, "/initContainers"));
    let empty = |c: &Value, list: &str| {
        c.pointer(list).and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
    };
    if containers().all(|c| empty(c, "/resources/limits") && empty(c, "/resources/requests")) {
        return "BestEffort";
    }
    let guaranteed = containers().all(|c| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = c.pointer(&format!("/resources/limits/{resource}"));
            limit.is_some() && limit == c.pointer(&format!("/resources/requests/{resource}"))
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}
