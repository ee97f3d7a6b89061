//! Decoding against the published types: wrong types are refused, unknown fields are found.
//!
//! The types are those of `k8s-openapi`; a field that is gone after reading an object into its type
//! and writing it again is a field that the type does not know.

use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use super::resources::ResourceType;

/// What to do about unknown fields (`fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum FieldValidation {
    /// What the cluster's own controllers make from objects that were decoded before.
    Trusted,
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Drops unknown fields and names them, or refuses the object.
pub(super) fn decode(
    kind: &ResourceType,
    object: &mut Value,
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    if validation == FieldValidation::Trusted {
        return Ok(Vec::new());
    }
    let read = match (kind.group, kind.plural) {
        ("apps", "deployments") => known::<Deployment>(object),
        ("apps", "statefulsets") => known::<StatefulSet>(object),
        ("apps", "daemonsets") => known::<DaemonSet>(object),
        ("apps", "replicasets") => known::<ReplicaSet>(object),
        ("apps", "controllerrevisions") => known::<ControllerRevision>(object),
        ("autoscaling", "horizontalpodautoscalers") => known::<HorizontalPodAutoscaler>(object),
        ("policy", "poddisruptionbudgets") => known::<PodDisruptionBudget>(object),
        ("coordination.k8s.io", "leases") => known::<Lease>(object),
        ("", "pods") => known::<Pod>(object),
        ("", "configmaps") => known::<ConfigMap>(object),
        ("", "secrets") => known::<Secret>(object),
        ("", "events") => known::<Event>(object),
        _ => return Ok(Vec::new()),
    };
    let known = read.map_err(|error| {
        ApiError::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {error}",
            kind.kind, kind.version, kind.kind
        ))
    })?;
    let mut unknown = Vec::new();
    drop_unknown(object, &known, "", &mut unknown);
    match validation {
        FieldValidation::Strict if !unknown.is_empty() => {
            let fields: Vec<String> =
                unknown.iter().map(|field| format!("unknown field \"{field}\"")).collect();
            Err(ApiError::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                fields.join(", ")
            )))
        }
        FieldValidation::Ignore | FieldValidation::Trusted => Ok(Vec::new()),
        FieldValidation::Strict | FieldValidation::Warn => Ok(unknown),
    }
}

fn known<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(object)?)
}

fn drop_unknown(object: &mut Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (object, known) {
        (Value::Object(map), Value::Object(known)) => map.retain(|key, value| {
            // Emptiness is not written again by the types; it is no sign of being unknown.
            let empty = value.is_null()
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty);
            let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match known.get(key) {
                Some(next) => drop_unknown(value, next, &place, unknown),
                None if empty || key == "metadata" => {}
                None => {
                    unknown.push(place);
                    return false;
                }
            }
            true
        }),
        (Value::Array(list), Value::Array(known)) => {
            for (at, (value, known)) in list.iter_mut().zip(known).enumerate() {
                drop_unknown(value, known, &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}
