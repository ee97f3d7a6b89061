//! The request log: the witness that a client made only the calls that it claims.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::request::Request;

/// How many requests are remembered; the oldest go first.
const ENTRIES_KEPT: usize = 20_000;
/// Longer bodies are not kept.
const BODY_KEPT: usize = 64 * 1024;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// When it was answered.
    pub at: Timestamp,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// The path, without the query.
    pub path: String,
    /// The plural of the kind; empty when the path is no object's.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// Was `dryRun=All` asked for?
    pub dry_run: bool,
    /// The `User-Agent`.
    pub user_agent: String,
    /// The `fieldManager`, as the request gave it.
    pub field_manager: String,
    /// The `Content-Type`, which says what kind of patch it is.
    pub content_type: String,
    /// The body of a write, where it is JSON and not too long.
    pub body: Option<Value>,
    /// The HTTP code; `None` when the connection was dropped without an answer.
    pub code: Option<u16>,
}

impl AuditEntry {
    pub(super) fn new(request: &Request, at: Timestamp) -> Self {
        let target = &request.target;
        let readable = !request.body.is_empty() && request.body.len() <= BODY_KEPT;
        let body = if readable { serde_json::from_slice(&request.body).ok() } else { None };
        Self {
            at,
            verb: request.verb,
            path: request.path.clone(),
            resource: target.resource.clone(),
            subresource: target.subresource.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            dry_run: request.dry_run(),
            user_agent: request.header("user-agent").to_owned(),
            field_manager: request.parameter("fieldManager").to_owned(),
            content_type: request.header("content-type").to_owned(),
            body,
            code: None,
        }
    }

    /// A request that changes the cluster, or tries to: no read, no dry run, no access review.
    pub fn is_write(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete" | "deletecollection")
            && !self.dry_run
            && !self.resource.is_empty()
            && !self.resource.ends_with("reviews")
    }
}

/// The log.
#[derive(Debug, Default)]
pub(super) struct Audit {
    entries: Mutex<VecDeque<AuditEntry>>,
}

impl Audit {
    pub(super) fn write(&self, entry: AuditEntry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(super) fn entries(&self) -> Vec<AuditEntry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
