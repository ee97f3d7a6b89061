//! Create, update and patch as the API server does them: preconditions, defaults, validation,
//! admission, generation, field managers, dry run. The same path serves clients and controllers.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::error::ApiError;
use super::managed::{self, Author};
use super::object::{self, number, text};
use super::patch::{self, PatchKind};
use super::resources::{DEPLOYMENTS, NAMESPACES, PODS, ResourceType, Scope};
use super::schema::{self, FieldValidation};
use super::{defaults, events, validate};

/// Longer manager names are refused.
const MANAGER_LENGTH: usize = 128;

/// Is the write stored, or only tried?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Store,
    DryRun,
}

/// How a write is to be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write<'a> {
    pub(super) effect: Effect,
    pub(super) manager: &'a str,
    pub(super) validation: FieldValidation,
    /// `status`, or empty for the object itself.
    pub(super) subresource: &'a str,
    pub(super) now: Timestamp,
}

impl Write<'_> {
    /// A write by one of the cluster's own controllers.
    pub(super) fn controller(now: Timestamp) -> Self {
        Write {
            effect: Effect::Store,
            manager: "kube-controller-manager",
            validation: FieldValidation::Trusted,
            subresource: "",
            now,
        }
    }
}

/// What came of a write.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) object: Arc<Value>,
    pub(super) created: bool,
    pub(super) warnings: Vec<String>,
}

impl Cluster {
    /// Creates an object.
    pub(super) fn create(
        &mut self,
        kind: &'static ResourceType,
        namespace: &str,
        mut object: Value,
        write: &Write<'_>,
    ) -> Result<Written, ApiError> {
        self.touched = write.now;
        shape(kind, &mut object)?;
        events::to_stored(kind, &mut object)?;
        if kind.scope == Scope::Namespaced {
            let own = object::namespace(&object).to_owned();
            if !own.is_empty() && own != namespace {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on \
                     the request",
                ));
            }
            object::put(&mut object, &["metadata", "namespace"], namespace);
            if self.store.get(&NAMESPACES, "", namespace).is_none() {
                return Err(ApiError::not_found(&NAMESPACES, namespace));
            }
        }
        let prefix = text(&object, "/metadata/generateName").to_owned();
        if object::name(&object).is_empty() && !prefix.is_empty() {
            let word = object::safe_word(&self.store.fresh(), 5);
            object::put(&mut object, &["metadata", "name"], format!("{prefix}{word}"));
        }
        let name = object::name(&object).to_owned();
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        for field in ["uid", "creationTimestamp", "managedFields", "deletionTimestamp", "selfLink"]
        {
            object::take(&mut object, &["metadata", field]);
        }
        if status_is_subresource(kind) {
            object::take(&mut object, &["status"]);
        }
        defaults::apply(kind, &mut object);
        let warnings = schema::decode(kind, &mut object, write.validation)?;
        if *kind == PODS {
            let class = defaults::quality_of_service(&object["spec"]);
            object::put(&mut object, &["status", "qosClass"], class);
        }
        validate::check(kind, &object, None)?;
        self.admit("create", kind, namespace, &name)?;
        self.quota(kind, namespace, &name, &object)?;
        if self.store.get(kind, namespace, &name).is_some() {
            return Err(ApiError::already_exists(kind, &name));
        }
        self.store.stamp(kind, &mut object, write.now);
        let author = author(write, PatchKind::Merge)?;
        managed::record(&mut object, &json!({}), author, write.now);
        let object = match write.effect {
            Effect::Store => self.store.insert(kind, object),
            Effect::DryRun => Arc::new(object),
        };
        Ok(Written { object, created: true, warnings })
    }

    /// Replaces an object by the one that is given.
    pub(super) fn update(
        &mut self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        mut object: Value,
        write: &Write<'_>,
    ) -> Result<Written, ApiError> {
        shape(kind, &mut object)?;
        events::to_stored(kind, &mut object)?;
        if object::name(&object) != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                object::name(&object)
            )));
        }
        let before = self.current(kind, namespace, name)?;
        let uid = object::uid(&object);
        if !uid.is_empty() && uid != object::uid(&before) {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                object::uid(&before)
            );
            return Err(ApiError::conflict(kind, name, &why));
        }
        object::put(&mut object, &["metadata", "uid"], object::uid(&before));
        if kind.scope == Scope::Namespaced {
            object::put(&mut object, &["metadata", "namespace"], namespace);
        }
        let author = author(write, PatchKind::Merge)?;
        self.commit(kind, &before, object, author, write)
    }

    /// Changes an object by a patch; server-side apply creates it when it is missing.
    pub(super) fn patch(
        &mut self,
        kind: &'static ResourceType,
        (namespace, name): (&str, &str),
        (patch_kind, patch): (PatchKind, &Value),
        force: bool,
        write: &Write<'_>,
    ) -> Result<Written, ApiError> {
        let author = author(write, patch_kind)?;
        let Some(before) = self.store.get(kind, namespace, name).cloned() else {
            if patch_kind != PatchKind::Apply {
                return Err(ApiError::not_found(kind, name));
            }
            if !text(patch, "/metadata/uid").is_empty() {
                let why = "uid mismatch: the provided object specified uid, and no existing object was found";
                return Err(ApiError::conflict(kind, name, why));
            }
            let mut object = patch.clone();
            object::put(&mut object, &["metadata", "name"], name);
            return self.create(kind, namespace, object, write);
        };
        let shown = events::to_shown(kind, &before);
        let mut after = patch::patched(patch_kind, &shown, patch)?;
        shape(kind, &mut after)?;
        if patch_kind == PatchKind::Apply {
            let changed = managed::difference(&shown, &after, "");
            let changed = changed
                .as_ref()
                .map(|changed| managed::conflicts(&before, changed, author.manager));
            if let Some(causes) = changed.filter(|causes| !causes.is_empty() && !force) {
                return Err(ApiError::manager_conflict(&causes));
            }
        }
        events::to_stored(kind, &mut after)?;
        let mut written = self.commit(kind, &before, after, author, write)?;
        if patch_kind == PatchKind::Apply {
            let mut object = (*written.object).clone();
            managed::own(&mut object, &managed::applied(patch), author, write.now);
            written.object = match write.effect {
                Effect::Store => self.store.replace(kind, object),
                Effect::DryRun => Arc::new(object),
            };
        }
        Ok(written)
    }

    fn current(
        &self,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, ApiError> {
        let found = self.store.get(kind, namespace, name).cloned();
        found.ok_or_else(|| ApiError::not_found(kind, name))
    }

    fn commit(
        &mut self,
        kind: &'static ResourceType,
        before: &Arc<Value>,
        mut after: Value,
        author: Author<'_>,
        write: &Write<'_>,
    ) -> Result<Written, ApiError> {
        self.touched = write.now;
        let name = object::name(before).to_owned();
        let namespace = object::namespace(before).to_owned();
        let version = text(&after, "/metadata/resourceVersion");
        if !version.is_empty() && version != text(before, "/metadata/resourceVersion") {
            return Err(ApiError::stale(kind, &name));
        }
        for field in [
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ] {
            match before["metadata"].get(field) {
                Some(value) => object::put(&mut after, &["metadata", field], value.clone()),
                None => drop(object::take(&mut after, &["metadata", field])),
            }
        }
        let keep = |after: &mut Value, part: &str| match before.get(part) {
            Some(value) => object::put(after, &[part], value.clone()),
            None => drop(object::take(after, &[part])),
        };
        if write.subresource == "status" {
            keep(&mut after, "spec");
            after["metadata"]["labels"] = before["metadata"]["labels"].clone();
            if after["metadata"]["labels"].is_null() {
                object::take(&mut after, &["metadata", "labels"]);
            }
        } else if status_is_subresource(kind) {
            keep(&mut after, "status");
        }
        defaults::apply(kind, &mut after);
        let warnings = schema::decode(kind, &mut after, write.validation)?;
        validate::check(kind, &after, Some(before))?;
        self.admit("update", kind, &namespace, &name)?;
        if after == **before {
            return Ok(Written { object: Arc::clone(before), created: false, warnings });
        }
        let annotated = *kind == DEPLOYMENTS
            && after.pointer("/metadata/annotations") != before.pointer("/metadata/annotations");
        if kind.generation
            && write.subresource != "status"
            && (after.get("spec") != before.get("spec") || annotated)
        {
            let next = number(before, "/metadata/generation").unwrap_or(0) + 1;
            object::put(&mut after, &["metadata", "generation"], next);
        }
        managed::record(&mut after, before, author, write.now);
        let object = match write.effect {
            Effect::DryRun => Arc::new(after),
            Effect::Store => {
                let finished = object::terminating(&after)
                    && object::items(&after, "/metadata/finalizers").is_empty()
                    && *kind != PODS;
                let stored = self.store.replace(kind, after);
                if finished {
                    self.store.remove(kind, &namespace, &name);
                }
                stored
            }
        };
        Ok(Written { object, created: false, warnings })
    }
}

fn author<'a>(write: &Write<'a>, patch_kind: PatchKind) -> Result<Author<'a>, ApiError> {
    if write.manager.len() > MANAGER_LENGTH {
        return Err(ApiError::bad_request(format!(
            "fieldManager: Too long: may not be more than {MANAGER_LENGTH} bytes"
        )));
    }
    Ok(Author {
        manager: write.manager,
        operation: patch_kind.operation(),
        subresource: write.subresource,
    })
}

/// Is `status` written only through its own path?
fn status_is_subresource(kind: &ResourceType) -> bool {
    kind.subresources.contains(&"status") && *kind != NAMESPACES
}

/// Refuses what is no object of this kind, and fills in apiVersion and kind.
fn shape(kind: &ResourceType, object: &mut Value) -> Result<(), ApiError> {
    let wrong = |what: &str| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {what}",
            kind.kind
        ))
    };
    if !object.is_object() {
        return Err(wrong("it is no JSON object"));
    }
    for (field, wanted) in [("kind", kind.kind.to_owned()), ("apiVersion", kind.api_version())] {
        match object.get(field) {
            None | Some(Value::Null) => object::put(object, &[field], wanted),
            Some(found) if *found == wanted => {}
            Some(found) => return Err(wrong(&format!("`{field}` is {found}"))),
        }
    }
    let object_or_absent =
        |value: Option<&Value>| value.is_none_or(|v| v.is_object() || v.is_null());
    let metadata = object.get("metadata");
    let string_map = |field: &str| {
        let map = metadata.and_then(|metadata| metadata.get(field));
        object_or_absent(map)
            && map.and_then(Value::as_object).is_none_or(|map| map.values().all(Value::is_string))
    };
    if !object_or_absent(metadata) {
        return Err(wrong("`metadata` is no object"));
    }
    for field in ["labels", "annotations"] {
        if !string_map(field) {
            return Err(wrong(&format!("`metadata.{field}` is no map of strings")));
        }
    }
    for part in ["spec", "status"] {
        if !object_or_absent(object.get(part)) {
            return Err(wrong(&format!("`{part}` is no object")));
        }
    }
    for field in ["labels", "annotations"] {
        if object.pointer(&format!("/metadata/{field}")).is_some_and(Value::is_null) {
            object::take(object, &["metadata", field]);
        }
    }
    Ok(())
}
