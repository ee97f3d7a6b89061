//! `rollback`: back to the last revision that was healthy, or to a number.
//!
//! kubectl takes the second-highest number, healthy or not, and replaces the Deployment's
//! annotations. This one takes evidence, says which revision and why, patches only the template
//! and the change cause, and frees pods that an OrderedReady StatefulSet would leave stuck after
//! the revert (kubernetes/kubernetes#67250).

use serde_json::{Map, Value, json};

use super::{Impossible, template};
use crate::domain::facts::{Fact, Kind, Revision, RevisionHealth, Workload};
use crate::domain::period::Period;
use crate::domain::plan::{Change, DeletePods, Expected, Patch, PatchChange, Step};
use crate::domain::policy::spec::RollbackSpec;

const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

pub fn plan(spec: &RollbackSpec, workload: &Workload) -> Result<Vec<Step>, Impossible> {
    template::rolls_out(workload)?;
    let revisions = match &workload.revisions {
        Fact::Known { value, .. } => value.as_slice(),
        Fact::Absent { .. } => &[],
        Fact::Unknown { why, .. } => {
            let fact = "the rollout history".to_owned();
            return Err(Impossible::FactUnknown { fact, cause: why.clone() });
        }
    };
    let (chosen, evidence) = match spec.to_revision {
        Some(number) => by_number(revisions, number)?,
        None => last_healthy(revisions, spec.served_for)?,
    };
    let current = workload.object.pointer("/spec/template").cloned().unwrap_or(Value::Null);
    let from = revisions.iter().find(|revision| revision.current);
    let change = PatchChange {
        object: template::object(workload),
        patch: revert_to(&chosen.template, chosen.change_cause.as_deref()),
        inverse: revert_to(&current, from.and_then(|revision| revision.change_cause.as_deref())),
        postcondition: vec![images(&chosen.template)],
        replaces_pods: true,
    };
    let from_number =
        from.map_or_else(|| "the current one".to_owned(), |one| format!("revision {}", one.number));
    let mut steps = vec![Step {
        action: "rollback".to_owned(),
        summary: format!(
            "roll back {} from {from_number} to revision {} ({})",
            workload.target,
            chosen.number,
            what_changes(&current, &chosen.template),
        ),
        reason: evidence,
        change: Change::Patch(change),
    }];
    steps.extend(free_stuck_pods(workload, chosen));
    Ok(steps)
}

fn by_number(revisions: &[Revision], number: i64) -> Result<(&Revision, String), Impossible> {
    let found = revisions.iter().find(|revision| revision.number == number);
    let found = found.ok_or_else(|| Impossible::NoSuchRevision {
        revision: number,
        available: revisions.iter().map(|one| one.number.to_string()).collect(),
    })?;
    if found.current {
        let what = format!("revision {number} is the current one");
        return Err(Impossible::NothingToChange { what });
    }
    Ok((found, format!("the policy names revision {number}")))
}

/// The newest revision before the current one that has evidence of health on its side.
fn last_healthy(
    revisions: &[Revision],
    served_for: Period,
) -> Result<(&Revision, String), Impossible> {
    let mut examined = Vec::new();
    for revision in revisions {
        let number = revision.number;
        if revision.current {
            continue;
        }
        match &revision.health {
            RevisionHealth::Available => {
                return Ok((revision, format!("revision {number}: its pods are available now")));
            }
            RevisionHealth::Verified { at } => {
                let seen = at.strftime("%Y-%m-%d %H:%M UTC");
                let why = format!("revision {number}: an incident was resolved under it on {seen}");
                return Ok((revision, why));
            }
            RevisionHealth::Served { since, until } => {
                let served = Period::between(*since, *until);
                if served >= served_for {
                    let why = format!(
                        "revision {number}: was in service for {served} before its successor"
                    );
                    return Ok((revision, why));
                }
                examined.push(format!(
                    "revision {number} was in service for only {served} (less than {served_for})"
                ));
            }
            RevisionHealth::Failing { evidence } => {
                examined.push(format!("revision {number} fails: {evidence}"));
            }
            RevisionHealth::Unknown => {
                examined.push(format!("nothing speaks for revision {number}"));
            }
        }
    }
    if examined.is_empty() {
        examined.push("there is no rollout history".to_owned());
    }
    Err(Impossible::NoHealthyRevision { examined })
}

fn revert_to(template: &Value, change_cause: Option<&str>) -> Patch {
    let mut whole = template.clone();
    if let Some(labels) = whole.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    whole["$patch"] = json!("replace");
    let annotations = json!({ CHANGE_CAUSE: change_cause });
    Patch::Strategic(json!({"metadata": {"annotations": annotations}, "spec": {"template": whole}}))
}

/// The images of all containers: what a person would look at to see whether it was reverted.
fn images(template: &Value) -> Expected {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    let mut images = Map::new();
    for container in containers.into_iter().flatten() {
        images.insert(template::name(container).to_owned(), container["image"].clone());
    }
    let path = ["spec", "template", "spec", "containers", "{name:image}"];
    Expected { path: path.map(str::to_owned).to_vec(), value: Value::Object(images) }
}

/// What differs between two templates, in a few words.
fn what_changes(from: &Value, to: &Value) -> String {
    let empty = Vec::new();
    let list = |template: &Value| {
        let containers = template.pointer("/spec/containers").and_then(Value::as_array);
        containers.unwrap_or(&empty).clone()
    };
    let (from_list, to_list) = (list(from), list(to));
    let mut said = Vec::new();
    for new in &to_list {
        let name = template::name(new);
        let Some(old) = from_list.iter().find(|one| template::name(one) == name) else {
            said.push(format!("adds container `{name}`"));
            continue;
        };
        if old["image"] != new["image"] {
            let tag = |value: &Value| value["image"].as_str().unwrap_or("?").to_owned();
            said.push(format!("`{name}`: {} → {}", tag(old), tag(new)));
        }
        for (field, word) in [
            ("env", "environment"),
            ("envFrom", "environment"),
            ("resources", "resources"),
            ("command", "command"),
            ("args", "arguments"),
            ("livenessProbe", "liveness probe"),
            ("readinessProbe", "readiness probe"),
            ("securityContext", "security context"),
            ("volumeMounts", "volume mounts"),
        ] {
            if old[field] != new[field] {
                said.push(format!("`{name}`: other {word}"));
            }
        }
    }
    for old in &from_list {
        if !to_list.iter().any(|one| template::name(one) == template::name(old)) {
            said.push(format!("removes container `{}`", template::name(old)));
        }
    }
    for (field, word) in [
        ("initContainers", "init containers"),
        ("serviceAccountName", "service account"),
        ("volumes", "volumes"),
        ("securityContext", "security context"),
        ("hostNetwork", "host network"),
        ("hostPID", "host processes"),
        ("nodeSelector", "node selector"),
    ] {
        let of = |template: &Value| template["spec"][field].clone();
        match (of(from), of(to)) {
            (old, new) if old == new => {}
            (Value::String(old), Value::String(new)) => said.push(format!("{word} {old} → {new}")),
            _ => said.push(format!("other {word}")),
        }
    }
    said.dedup();
    if said.is_empty() { "other template".to_owned() } else { said.join(", ") }
}

/// The pods that a StatefulSet's controller waits for before it looks at the reverted template.
fn free_stuck_pods(workload: &Workload, chosen: &Revision) -> Option<Step> {
    if workload.target.kind != Kind::StatefulSet {
        return None;
    }
    let policy = workload.object.pointer("/spec/podManagementPolicy").and_then(Value::as_str);
    if policy == Some("Parallel") {
        return None;
    }
    let stuck = workload.pods.known()?.iter().filter(|pod| {
        !pod.ready && !pod.terminating && pod.revision.as_deref() != Some(chosen.name.as_str())
    });
    let pods: Vec<_> = stuck.map(|pod| (pod.name.clone(), pod.uid.clone())).collect();
    if pods.is_empty() {
        return None;
    }
    let names: Vec<_> = pods.iter().map(|(name, _)| name.as_str()).collect();
    Some(Step {
        action: "rollback".to_owned(),
        summary: format!("delete the stuck pods {} so that they are made anew", names.join(", ")),
        reason:
            "an OrderedReady StatefulSet waits for a broken pod for ever, also after the revert"
                .to_owned(),
        change: Change::DeletePods(DeletePods { owner: workload.target.clone(), pods }),
    })
}
