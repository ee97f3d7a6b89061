//! Performs one step of a plan, exactly as given, at most once.
//!
//! Before it sends anything it reads the object again and compares it with the plan; what it sends
//! carries that read's `resourceVersion`. It decides nothing: what differs is reported, and what may
//! or may not have happened is reported as unknown (invariants 2 and 4).

pub mod guard;
mod outcome;

use http::Method;
use serde_json::{Value, json};

use super::connection::{CallError, WriteConnection};
use super::reader::convert;
use super::{event, json, path};
use crate::domain::authority::ApprovedStep;
use crate::domain::claim::IncidentClaim;
use crate::domain::plan::{Change, DeletePods, PatchChange, Step};
use outcome::Failure;
pub use outcome::{Again, DryRun, Mark, Observation, Performed, Refusal};

/// The name under which the API server records our fields.
pub const FIELD_MANAGER: &str = "orderly";
/// How often a patch is sent when only the object's status moved between reading and writing: a
/// crash-looping workload changes every few seconds, reading and writing takes milliseconds.
const CONFLICT_TRIES: u32 = 3;

/// Writes to one cluster.
#[derive(Clone, Debug)]
pub struct Writer {
    connection: WriteConnection,
    instance: String,
}

/// Whether a request is to be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    DryRun,
    Real,
}

/// What came of looking at an object before changing it.
enum Look {
    Ready(Value),
    Done(Value),
    Differs(String),
    Failed(CallError),
}

impl Writer {
    /// Writes through `connection`; `instance` names this process in Events.
    pub fn new(connection: WriteConnection, instance: impl Into<String>) -> Self {
        Self { connection, instance: instance.into() }
    }

    /// The connection that it writes through.
    pub fn connection(&self) -> &WriteConnection {
        &self.connection
    }

    /// Sends the step with `dryRun=All`: defaulting, admission, quota and rights say what they would
    /// say, and nothing is stored.
    pub async fn dry_run(&self, step: &Step, mark: &Mark) -> DryRun {
        match &step.change {
            Change::Patch(change) => self.patch(change, mark, Mode::DryRun).await.into(),
            Change::DeletePods(pods) => self.delete_pods(pods, Mode::DryRun).await.into(),
            Change::Notify { .. } => DryRun::Refused(not_ours()),
        }
    }

    /// Performs a step that the incident's events approve, for whoever has the incident in hand
    /// (invariant 2).
    pub async fn perform(&self, approved: &ApprovedStep, claim: &IncidentClaim) -> Performed {
        if claim.incident() != approved.incident() {
            let (step, held) = (approved.incident(), claim.incident());
            let message = format!("the step is of incident {step}, the claim of {held}");
            let refusal = Refusal { message, ..not_ours() };
            return Performed::Refused(refusal);
        }
        let mark = &Mark::from(approved);
        match &approved.step().change {
            Change::Patch(change) => self.patch(change, mark, Mode::Real).await,
            Change::DeletePods(pods) => self.delete_pods(pods, Mode::Real).await,
            Change::Notify { .. } => Performed::Refused(not_ours()),
        }
    }

    /// Looks whether the step was performed. Changes nothing.
    pub async fn observe(&self, approved: &ApprovedStep) -> Observation {
        let mark = &Mark::from(approved);
        match &approved.step().change {
            Change::Patch(change) => match self.connection.get(&object_path(change)).await {
                Ok(live) => guard::observe(change, &live, mark),
                Err(error) if error.is_not_found() => Observation::Gone,
                Err(error) => Observation::Unknown { why: error.to_string() },
            },
            Change::DeletePods(pods) => self.observe_pods(pods).await,
            Change::Notify { .. } => {
                Observation::Unknown { why: "a message leaves no trace in the cluster".to_owned() }
            }
        }
    }

    async fn look(&self, change: &PatchChange, mark: &Mark) -> Look {
        let live = match self.connection.get(&object_path(change)).await {
            Ok(live) => live,
            Err(error) if error.is_not_found() => return Look::Differs(gone(change)),
            Err(error) => return Look::Failed(error),
        };
        match guard::observe(change, &live, mark) {
            Observation::Applied => Look::Done(live),
            Observation::NotApplied
            | Observation::Changed { .. }
            | Observation::Gone
            | Observation::Unknown { .. } => match guard::difference(change, &live) {
                Some(what) => Look::Differs(what),
                None => Look::Ready(live),
            },
        }
    }

    async fn patch(&self, change: &PatchChange, mark: &Mark, mode: Mode) -> Performed {
        let mut conflict = String::new();
        for _ in 0..CONFLICT_TRIES {
            let live = match self.look(change, mark).await {
                Look::Ready(live) => live,
                Look::Done(live) => return done(change, &live, &live),
                Look::Differs(what) => return Performed::Conflict { what },
                Look::Failed(error) => return unread(error),
            };
            let mut query = vec![("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")];
            if mode == Mode::DryRun {
                query.push(("dryRun", "All"));
            }
            let place = format!("{}{}", guard::path(&change.object), path::query(&query));
            let body = guard::body(change, &live, mark);
            let kind = guard::content_type(&change.patch);
            let sent = self.connection.send(Method::PATCH, &place, kind, &body).await;
            match sent.map_err(Failure::from) {
                Ok(answer) => return done(change, &live, &answer),
                // Nothing was stored. Read again and compare again; only then send again.
                Err(Failure::Conflict(message)) => conflict = message,
                Err(Failure::Gone) => return Performed::Conflict { what: gone(change) },
                Err(Failure::Refused(refusal)) => return Performed::Refused(refusal),
                Err(Failure::Unknown(why)) => return Performed::Unknown { why },
            }
        }
        let what = format!("it keeps changing while being changed: {conflict}");
        Performed::Conflict { what }
    }

    async fn delete_pods(&self, delete: &DeletePods, mode: Mode) -> Performed {
        let mut deleted = Vec::new();
        for (name, uid) in &delete.pods {
            let mut place = path::object("v1", &delete.owner.namespace, "pods", name);
            if mode == Mode::DryRun {
                // The body decides; the query lets audit logs and proxies see it too.
                place.push_str("?dryRun=All");
            }
            let body = delete_options(uid, mode);
            let sent =
                self.connection.send(Method::DELETE, &place, "application/json", &body).await;
            match sent.map_err(Failure::from) {
                Ok(_) => deleted.push(json!({"name": name, "uid": uid})),
                // Gone already, or replaced by another pod of the same name.
                Err(Failure::Gone | Failure::Conflict(_)) => {}
                Err(Failure::Refused(mut refusal)) => {
                    refusal.message = format!(
                        "pod `{name}`, after {} of {} were deleted: {}",
                        deleted.len(),
                        delete.pods.len(),
                        refusal.message
                    );
                    return Performed::Refused(refusal);
                }
                Err(Failure::Unknown(why)) => {
                    return Performed::Unknown { why: format!("pod `{name}`: {why}") };
                }
            }
        }
        let wanted = |(name, uid): &(String, String)| json!({"name": name, "uid": uid});
        Performed::Done {
            before: json!({"pods": delete.pods.iter().map(wanted).collect::<Vec<_>>()}),
            after: json!({"pods": [], "deleted": deleted}),
            resource_version: String::new(),
            left: None,
        }
    }

    /// Deleting is applied when every pod is going, gone, or another one. While one is left it counts
    /// as not applied: deleting by uid may be repeated safely.
    async fn observe_pods(&self, delete: &DeletePods) -> Observation {
        for (name, uid) in &delete.pods {
            let place = path::object("v1", &delete.owner.namespace, "pods", name);
            match self.connection.get(&place).await {
                Ok(pod) => {
                    let going = json::at(&pod, &["metadata", "deletionTimestamp"]).is_some();
                    if json::uid(&pod) == uid && !going {
                        return Observation::NotApplied;
                    }
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Observation::Unknown { why: error.to_string() },
            }
        }
        Observation::Applied
    }

    /// Writes a Kubernetes Event about an object. Best effort: the journal is the record.
    pub async fn record_event(&self, event: &event::Event) -> Result<(), CallError> {
        let place = path::namespaced("events.k8s.io/v1", &event.regarding.namespace, "events");
        let body = event::body(event, &self.instance, self.connection.clock().now());
        self.connection.send(Method::POST, &place, "application/json", &body).await.map(drop)
    }
}

/// The object itself, also when the change goes to its subresource.
fn object_path(change: &PatchChange) -> String {
    let object = &change.object;
    path::object(&object.api_version, &object.namespace, &object.plural, &object.name)
}

fn gone(change: &PatchChange) -> String {
    let object = &change.object;
    format!("`{}/{}/{}` no longer exists", object.namespace, object.kind, object.name)
}

fn not_ours() -> Refusal {
    Refusal {
        code: 0,
        reason: "NotKubernetes".to_owned(),
        message: "a message is not sent through the Kubernetes API".to_owned(),
        again: Again::Never,
    }
}

/// Looking before the change failed: nothing was sent.
fn unread(error: CallError) -> Performed {
    match error {
        CallError::Rejected { rejection, .. } => Performed::Refused(rejection.into()),
        error @ (CallError::Timeout { .. }
        | CallError::Connection { .. }
        | CallError::Unreadable { .. }) => Performed::NotSent { why: error.to_string() },
    }
}

fn done(change: &PatchChange, live: &Value, answer: &Value) -> Performed {
    let before = convert::stripped(live);
    let resource_version = json::resource_version(answer).to_owned();
    let after = match change.object.subresource {
        None => convert::stripped(answer),
        Some(_) => with_replicas(&before, answer),
    };
    let left = Some((json::uid(&after).to_owned(), json::generation(&after)));
    Performed::Done { before, after, resource_version, left }
}

/// A subresource answers with itself; what it changed is shown on the object. The precondition
/// guarantees that the change was made to exactly this version of it, so its generation is known.
fn with_replicas(before: &Value, answer: &Value) -> Value {
    let mut after = before.clone();
    let replicas = answer.pointer("/spec/replicas").cloned().unwrap_or(Value::Null);
    let moved = before.pointer("/spec/replicas") != Some(&replicas);
    if let Some(spec) = after.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), replicas);
    }
    if let Some(metadata) = after.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), json::resource_version(answer).into());
        if moved {
            metadata.insert("generation".to_owned(), (json::generation(before) + 1).into());
        }
    }
    after
}

/// The client library's own options are serialised rightly today; these bytes are ours and tested.
fn delete_options(uid: &str, mode: Mode) -> Value {
    let mut options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid},
        "propagationPolicy": "Background",
    });
    if mode == Mode::DryRun {
        options["dryRun"] = json!(["All"]);
    }
    options
}

impl From<Performed> for DryRun {
    fn from(performed: Performed) -> Self {
        match performed {
            Performed::Done { before, after, .. } => Self::Would { before, after },
            Performed::Refused(refusal) => Self::Refused(refusal),
            Performed::Conflict { what } => Self::Conflict { what },
            Performed::NotSent { why } | Performed::Unknown { why } => Self::Unavailable { why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_deleted_by_uid_and_a_dry_run_says_so_in_the_body() {
        assert_eq!(
            delete_options("u1", Mode::Real).to_string(),
            r#"{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u1"},"propagationPolicy":"Background"}"#
        );
        assert_eq!(delete_options("u1", Mode::DryRun)["dryRun"], json!(["All"]));
    }
}
