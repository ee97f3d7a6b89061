//! Refusals, in exactly the shape in which a Kubernetes API server answers them.

use serde_json::{Value, json};

use super::resources::ResourceType;

/// A refusal: what becomes the `Status` object and the HTTP code.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) details: Option<Value>,
    /// Seconds, for the header `Retry-After`.
    pub(super) retry_after: Option<u32>,
}

/// One field that did not pass validation.
#[derive(Debug, Clone)]
pub(super) struct FieldError {
    pub(super) reason: &'static str,
    pub(super) field: String,
    pub(super) message: String,
}

impl FieldError {
    pub(super) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    pub(super) fn required(field: impl Into<String>, why: &str) -> Self {
        let message =
            if why.is_empty() { "Required value".into() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    pub(super) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        Self { reason: "FieldValueForbidden", field: field.into(), message }
    }

    pub(super) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {value}");
        Self { reason: "FieldValueDuplicate", field: field.into(), message }
    }

    pub(super) fn unsupported(field: impl Into<String>, value: &Value, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        Self { reason: "FieldValueNotSupported", field: field.into(), message }
    }
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, retry_after: None }
    }

    fn about(mut self, kind: &ResourceType, name: &str) -> Self {
        let mut details = json!({"name": name, "kind": kind.plural});
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        self.details = Some(details);
        self
    }

    pub(super) fn not_found(kind: &ResourceType, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.qualified());
        Self::new(404, "NotFound", message).about(kind, name)
    }

    /// The answer to a path that the server does not serve.
    pub(super) fn no_such_path() -> Self {
        let mut error =
            Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = Some(json!({}));
        error
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut error = Self::new(405, "MethodNotAllowed", message);
        error.details = Some(json!({}));
        error
    }

    pub(super) fn already_exists(kind: &ResourceType, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.qualified());
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    pub(super) fn conflict(kind: &ResourceType, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// The object has changed since the version that the caller names.
    pub(super) fn stale(kind: &ResourceType, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(kind, name, why)
    }

    /// Server-side apply met fields of other managers; `causes` are (manager, field).
    pub(super) fn manager_conflict(causes: &[(String, String)]) -> Self {
        let list: Vec<Value> = causes
            .iter()
            .map(|(manager, field)| {
                json!({
                    "reason": "FieldManagerConflict", "field": field,
                    "message": format!("conflict with \"{manager}\""),
                })
            })
            .collect();
        let text: Vec<String> = causes
            .iter()
            .map(|(manager, field)| format!("conflict with \"{manager}\": {field}"))
            .collect();
        let plural = if causes.len() == 1 { "" } else { "s" };
        let message =
            format!("Apply failed with {} conflict{plural}: {}", causes.len(), text.join(", "));
        let mut error = Self::new(409, "Conflict", message);
        error.details = Some(json!({"causes": list}));
        error
    }

    pub(super) fn invalid(kind: &ResourceType, name: &str, fields: &[FieldError]) -> Self {
        let qualified = match kind.group {
            "" => kind.kind.to_owned(),
            group => format!("{}.{group}", kind.kind),
        };
        let message = format!("{qualified} \"{name}\" is invalid: {}", told(fields));
        let mut error = Self::new(422, "Invalid", message).about(kind, name);
        if let Some(details) = error.details.as_mut() {
            details["kind"] = json!(kind.kind);
            details["causes"] = causes(fields);
        }
        error
    }

    /// Parameters of a list or a watch that do not go together.
    pub(super) fn list_options(fields: &[FieldError]) -> Self {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {}", told(fields));
        let mut error = Self::new(422, "Invalid", message);
        error.details =
            Some(json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes(fields)}));
        error
    }

    /// A patch that cannot be applied to the object, as after a failed `test` operation. The real
    /// server does not say more either.
    pub(super) fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        let mut error = Self::new(422, "Invalid", message);
        error.details = Some(json!({}));
        error
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unsupported_patch(offered: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            offered.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A body in a notation that the sandbox does not read.
    pub(super) fn unsupported_body(content_type: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format ({content_type}) - accepted media \
             types include: application/json, application/yaml"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(kind: &ResourceType, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", kind.qualified())
        } else {
            format!("{} \"{name}\" is forbidden: {why}", kind.qualified())
        };
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    /// What a denying admission webhook makes the server say.
    pub(super) fn denied(webhook: &str, why: &str, code: u16) -> Self {
        let message = format!("admission webhook \"{webhook}\" denied the request: {why}");
        let reason = match code {
            403 => "Forbidden",
            422 => "Invalid",
            _ => "BadRequest",
        };
        Self::new(code, reason, message)
    }

    /// An eviction which a disruption budget does not allow.
    pub(super) fn disruption_budget(message: &str, retry_after: Option<u32>) -> Self {
        let why = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut error = Self::new(429, "TooManyRequests", why);
        let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": message}]});
        if let Some(seconds) = retry_after {
            details["retryAfterSeconds"] = json!(seconds);
        }
        error.details = Some(details);
        error.retry_after = retry_after;
        error
    }

    pub(super) fn expired(version: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {version} ({oldest})");
        Self::new(410, "Expired", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// A refusal with any code: what scripted faults answer.
    pub(super) fn scripted(code: u16, message: &str, retry_after: Option<u32>) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        let mut error = Self::new(code, reason, message);
        if let Some(seconds) = retry_after {
            error.details = Some(json!({"retryAfterSeconds": seconds}));
            error.retry_after = Some(seconds);
        }
        error
    }

    /// The `Status` object that is sent.
    pub(super) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

fn told(fields: &[FieldError]) -> String {
    let text: Vec<_> =
        fields.iter().map(|field| format!("{}: {}", field.field, field.message)).collect();
    match text.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn causes(fields: &[FieldError]) -> Value {
    let cause = |field: &FieldError| json!({"reason": field.reason, "message": field.message, "field": field.field});
    fields.iter().map(cause).collect()
}
