//! The Kubernetes API: from a request to an answer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::Answer;
use super::cluster::{Cluster, list_of};
use super::error::{ApiError, FieldError};
use super::events::to_shown;
use super::patch::PatchKind;
use super::request::Request;
use super::resources::{ResourceType, Scope};
use super::schema::FieldValidation;
use super::selectors::{FieldSelector, LabelSelector};
use super::store::Store;
use super::watches::{self, Wanted};
use super::write::{Effect, Write, Written};
use super::{Shared, discovery, logs, scale, tables};

/// The reviews that can be created, with their groups.
const REVIEWS: [(&str, &str); 4] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authentication.k8s.io", "tokenreviews"),
];

/// Answers a request to the Kubernetes API; reads come from `snapshot` where a fault says so.
pub(super) fn answer(shared: &Arc<Shared>, request: &Request, snapshot: Option<&Store>) -> Answer {
    attempt(shared, request, snapshot).unwrap_or_else(Answer::from)
}

fn attempt(
    shared: &Arc<Shared>,
    request: &Request,
    snapshot: Option<&Store>,
) -> Result<Answer, ApiError> {
    let target = &request.target;
    let caller = shared.cluster().access.caller(request.token());
    if caller == Caller::Unknown {
        return Err(ApiError::unauthorized());
    }
    if target.resource.is_empty() {
        let cluster = shared.cluster();
        return discovery::answer(&cluster, &request.path).ok_or_else(ApiError::no_such_path);
    }
    if REVIEWS.contains(&(target.group.as_str(), target.resource.as_str())) {
        return review(shared, request, &caller);
    }
    let kind = shared.cluster().served(&target.group, &target.version, &target.resource);
    let kind = kind.ok_or_else(ApiError::no_such_path)?;
    authorize(shared, request, kind, &caller)?;
    if request.verb == "watch" {
        return watch(shared, request, kind);
    }
    let mut cluster = shared.cluster();
    if !target.subresource.is_empty() {
        if !kind.subresources.contains(&target.subresource.as_str()) {
            return Err(ApiError::no_such_path());
        }
        match target.subresource.as_str() {
            "log" => return logs::answer(&cluster, request, shared.clock.now()),
            "scale" => return scale::answer(&mut cluster, request, kind, &write(shared, request)?),
            "eviction" => return evict(&mut cluster, shared, request),
            _ => {}
        }
    }
    match request.verb {
        "get" => get(snapshot.unwrap_or(&cluster.store), request, kind, shared),
        "list" => list(snapshot.unwrap_or(&cluster.store), request, kind, shared),
        "create" | "update" | "patch" => {
            let written = change(&mut cluster, shared, request, kind)?;
            let code = if written.created { 201 } else { 200 };
            let body = to_shown(kind, &written.object);
            Ok(Answer::Json { code, body, warnings: written.warnings })
        }
        "delete" => {
            let options = delete_options(request)?;
            let body = options.pointer("/dryRun/0").is_some_and(|word| word == "All");
            let effect = if body { Effect::DryRun } else { effect(request)? };
            let place = (target.namespace.as_str(), target.name.as_str());
            let left = cluster.delete(kind, place, &options, effect, shared.clock.now())?;
            Ok(Answer::ok(to_shown(kind, &left)))
        }
        "deletecollection" => delete_all(&mut cluster, shared, request, kind),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn authorize(
    shared: &Arc<Shared>,
    request: &Request,
    kind: &ResourceType,
    caller: &Caller,
) -> Result<(), ApiError> {
    let wanted = request.attributes();
    if shared.cluster().access.permits(caller, &wanted) {
        return Ok(());
    }
    let Caller::Known(user) = caller else { return Err(ApiError::unauthorized()) };
    Err(ApiError::forbidden(kind, wanted.name, &wanted.refusal(user)))
}

fn review(shared: &Arc<Shared>, request: &Request, caller: &Caller) -> Result<Answer, ApiError> {
    if request.verb != "create" {
        return Err(ApiError::method_not_allowed());
    }
    let cluster = shared.cluster();
    let wanted = request.attributes();
    if let (false, Caller::Known(user)) = (cluster.access.permits(caller, &wanted), caller) {
        let mut error = ApiError::scripted(403, "", None);
        error.message =
            format!("{}.{} is forbidden: {}", wanted.resource, wanted.group, wanted.refusal(user));
        return Err(error);
    }
    let body = body(request)?;
    let body = cluster.access.review(&request.target.resource, caller, body);
    Ok(Answer::Json { code: 201, body, warnings: Vec::new() })
}

/// Reads a JSON body; YAML, which includes JSON, where the client says so.
pub(super) fn body(request: &Request) -> Result<Value, ApiError> {
    let content_type = request.header("content-type");
    if content_type.contains("protobuf") || content_type.contains("cbor") {
        return Err(ApiError::unsupported_body(content_type));
    }
    let yaml = content_type.contains("yaml");
    if yaml {
        let text = String::from_utf8_lossy(&request.body);
        return serde_saphyr::from_str(&text)
            .map_err(|error| ApiError::bad_request(format!("error decoding the body: {error}")));
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding the body: {error}")))
}

fn effect(request: &Request) -> Result<Effect, ApiError> {
    match request.parameter("dryRun") {
        "" => Ok(Effect::Store),
        "All" => Ok(Effect::DryRun),
        other => Err(ApiError::bad_request(format!(
            "dryRun: Unsupported value: \"{other}\": supported values: \"All\""
        ))),
    }
}

fn write<'a>(shared: &Shared, request: &'a Request) -> Result<Write<'a>, ApiError> {
    Ok(Write {
        effect: effect(request)?,
        manager: request.manager(),
        validation: match request.parameter("fieldValidation") {
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            _ => FieldValidation::Warn,
        },
        subresource: if request.target.subresource == "status" { "status" } else { "" },
        now: shared.clock.now(),
    })
}

fn change(
    cluster: &mut Cluster,
    shared: &Shared,
    request: &Request,
    kind: &'static ResourceType,
) -> Result<Written, ApiError> {
    let write = write(shared, request)?;
    let (namespace, name) = (request.target.namespace.as_str(), request.target.name.as_str());
    if kind.scope == Scope::Namespaced && namespace.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    match request.verb {
        "create" if name.is_empty() => cluster.create(kind, namespace, body(request)?, &write),
        "update" if !name.is_empty() => {
            cluster.update(kind, namespace, name, body(request)?, &write)
        }
        "patch" if !name.is_empty() => {
            let patch_kind = patch_kind(request, kind)?;
            let force = request.parameter("force") == "true";
            let patch = body(request)?;
            cluster.patch(kind, (namespace, name), (patch_kind, &patch), force, &write)
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Which kind of patch it is; custom resources know no strategic merge.
fn patch_kind(request: &Request, kind: &ResourceType) -> Result<PatchKind, ApiError> {
    let mut offered = vec![
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ];
    let built_in = kind.availability == super::resources::Availability::BuiltIn;
    if built_in {
        offered.insert(2, "application/strategic-merge-patch+json");
    }
    PatchKind::of_content_type(request.header("content-type"))
        .filter(|kind| built_in || *kind != PatchKind::Strategic)
        .ok_or_else(|| ApiError::unsupported_patch(&offered))
}

fn wanted(request: &Request, kind: &'static ResourceType) -> Result<Wanted, ApiError> {
    Ok(Wanted {
        kind,
        namespace: request.target.namespace.clone(),
        labels: LabelSelector::parse(request.parameter("labelSelector"))?,
        fields: FieldSelector::parse(kind, request.parameter("fieldSelector"))?,
    })
}

fn get(
    store: &Store,
    request: &Request,
    kind: &'static ResourceType,
    shared: &Shared,
) -> Result<Answer, ApiError> {
    let (namespace, name) = (&request.target.namespace, &request.target.name);
    let found = store.get(kind, namespace, name).ok_or_else(|| ApiError::not_found(kind, name))?;
    let shown = to_shown(kind, found);
    if tables::asked_for(request) {
        let version = found["metadata"]["resourceVersion"].clone();
        return Ok(Answer::ok(tables::table(kind, &[shown], version, shared.clock.now())));
    }
    Ok(Answer::ok(shown))
}

fn list(
    store: &Store,
    request: &Request,
    kind: &'static ResourceType,
    shared: &Shared,
) -> Result<Answer, ApiError> {
    if !request.parameter("sendInitialEvents").is_empty() {
        let why = "sendInitialEvents is forbidden for list";
        return Err(ApiError::list_options(&[FieldError::forbidden("sendInitialEvents", why)]));
    }
    let wanted = wanted(request, kind)?;
    let limit: usize = request.parameter("limit").parse().unwrap_or(0);
    let limit = if limit == 0 { usize::MAX } else { limit };
    // The token to go on with is the place in the order of names, behind a mark of its own.
    let start: usize = match request.parameter("continue") {
        "" => 0,
        token => token.strip_prefix("after-").and_then(|at| at.parse().ok()).ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: it was not made by this server")
        })?,
    };
    let all: Vec<&Arc<Value>> = wanted.select(store).collect();
    let page: Vec<Value> =
        all.iter().skip(start).take(limit).map(|object| to_shown(kind, object)).collect();
    let left = all.len().saturating_sub(start + page.len());
    if tables::asked_for(request) {
        let version = json!(store.version().to_string());
        return Ok(Answer::ok(tables::table(kind, &page, version, shared.clock.now())));
    }
    let next = start + page.len();
    let items = page.into_iter().map(|mut item| {
        // Items of lists carry neither kind nor version, as on a real server.
        if let Some(map) = item.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        item
    });
    let mut body = list_of(kind, store.version(), items.collect());
    if left > 0 {
        body["metadata"]["continue"] = json!(format!("after-{next}"));
        body["metadata"]["remainingItemCount"] = json!(left);
    }
    Ok(Answer::ok(body))
}

fn watch(
    shared: &Arc<Shared>,
    request: &Request,
    kind: &'static ResourceType,
) -> Result<Answer, ApiError> {
    let wanted = wanted(request, kind)?;
    let opening = watches::Opening::of(request)?;
    watches::start(shared, wanted, &opening).map(Answer::Stream)
}

fn delete_options(request: &Request) -> Result<Value, ApiError> {
    let mut options = if request.body.is_empty() { json!({}) } else { body(request)? };
    if !options.is_object() {
        return Err(ApiError::bad_request("the options of a deletion are a JSON object"));
    }
    for field in ["propagationPolicy", "gracePeriodSeconds"] {
        let given = request.parameter(field);
        if !given.is_empty() {
            options[field] =
                given.parse::<i64>().map_or_else(|_| json!(given), |number| json!(number));
        }
    }
    Ok(options)
}

fn delete_all(
    cluster: &mut Cluster,
    shared: &Shared,
    request: &Request,
    kind: &'static ResourceType,
) -> Result<Answer, ApiError> {
    let wanted = wanted(request, kind)?;
    let options = delete_options(request)?;
    let effect = effect(request)?;
    let all: Vec<Arc<Value>> = wanted.select(&cluster.store).cloned().collect();
    for object in &all {
        let place = (super::object::namespace(object), super::object::name(object));
        cluster.delete(kind, place, &options, effect, shared.clock.now())?;
    }
    let items = all.iter().map(|object| to_shown(kind, object)).collect();
    Ok(Answer::ok(list_of(kind, cluster.store.version(), items)))
}

fn evict(cluster: &mut Cluster, shared: &Shared, request: &Request) -> Result<Answer, ApiError> {
    if request.verb != "create" {
        return Err(ApiError::method_not_allowed());
    }
    let eviction = body(request)?;
    let (namespace, name) = (&request.target.namespace, &request.target.name);
    let effect = effect(request)?;
    let body = cluster.evict(namespace, name, &eviction, effect, shared.clock.now())?;
    Ok(Answer::Json { code: 201, body, warnings: Vec::new() })
}
