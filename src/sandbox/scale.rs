//! The scale subresource: reading and setting `spec.replicas` with a precondition.

use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::api;
use super::cluster::Cluster;
use super::error::ApiError;
use super::object::{self, number, text};
use super::patch::{self, PatchKind};
use super::request::Request;
use super::resources::ResourceType;
use super::selectors::LabelSelector;
use super::write::Write;

pub(super) fn answer(
    cluster: &mut Cluster,
    request: &Request,
    kind: &'static ResourceType,
    write: &Write<'_>,
) -> Result<Answer, ApiError> {
    let (namespace, name) = (request.target.namespace.as_str(), request.target.name.as_str());
    let found = cluster.store.get(kind, namespace, name).cloned();
    let found = found.ok_or_else(|| ApiError::not_found(kind, name))?;
    let current = scale_of(&found);
    let wanted = match request.verb {
        "get" => return Ok(Answer::ok(current)),
        "update" => api::body(request)?,
        "patch" => {
            let patch_kind = PatchKind::of_content_type(request.header("content-type"))
                .ok_or_else(|| ApiError::unsupported_patch(&["application/merge-patch+json"]))?;
            patch::patched(patch_kind, &current, &api::body(request)?)?
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let version = text(&wanted, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(&found, "/metadata/resourceVersion") {
        return Err(ApiError::stale(kind, name));
    }
    let uid = text(&wanted, "/metadata/uid");
    if !uid.is_empty() && uid != object::uid(&found) {
        let why = "Precondition failed: UID in precondition differs from UID in object meta";
        return Err(ApiError::conflict(kind, name, why));
    }
    // A scale without replicas is a scale to zero, as with the real type.
    let replicas = number(&wanted, "/spec/replicas").unwrap_or(0);
    let change = json!({"spec": {"replicas": replicas}});
    let merge = (PatchKind::Merge, &change);
    let written = cluster.patch(kind, (namespace, name), merge, false, write)?;
    Ok(Answer::Json { code: 200, body: scale_of(&written.object), warnings: written.warnings })
}

fn scale_of(workload: &Arc<Value>) -> Value {
    let selector = LabelSelector::of_object(workload.pointer("/spec/selector"));
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": object::name(workload), "namespace": object::namespace(workload),
            "uid": object::uid(workload),
            "resourceVersion": workload["metadata"]["resourceVersion"],
            "creationTimestamp": workload["metadata"]["creationTimestamp"],
        },
        "spec": {"replicas": number(workload, "/spec/replicas").unwrap_or(0)},
        "status": {
            "replicas": number(workload, "/status/replicas").unwrap_or(0),
            "selector": selector.map(|selector| selector.to_text()).unwrap_or_default(),
        },
    })
}
