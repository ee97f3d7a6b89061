//! The plan check: a finished plan looked at with other eyes.
//!
//! Shares no code with the actions that made the plan. It reads only what would be sent and asks of
//! every byte: does the policy allow this? A plan that it does not understand is refused. Which
//! values are allowed is in `values`; this file asks which objects and which fields are.

mod values;

use serde_json::Value;

use super::facts::{Facts, Kind, Target, Workload};
use super::plan::{Change, DeletePods, ObjectRef, Patch, PatchChange, Plan, Step};
use super::policy::spec::{ActionSpec, PolicySpec};

/// No runbook in the catalogue takes more than four steps; ten leaves room for selectors.
pub const MAX_STEPS: usize = 10;

/// The place of the one container that a patch may name.
const CONTAINER: [&str; 5] = ["spec", "template", "spec", "containers", "[0]"];
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const AUTOSCALER: &str = "HorizontalPodAutoscaler";

/// Looks for something in `plan` that the policy does not allow.
///
/// # Errors
/// The first violation, in words.
pub fn check(
    plan: &Plan,
    spec: &PolicySpec,
    actions: &[ActionSpec],
    facts: &Facts,
) -> Result<(), String> {
    if plan.steps.is_empty() {
        return Err("the plan has no step".to_owned());
    }
    if plan.steps.len() > MAX_STEPS {
        return Err(format!("{} steps are more than {MAX_STEPS}", plan.steps.len()));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let mut verdict = Err(format!("the policy has no action `{}`", step.action));
        for action in actions.iter().filter(|action| action.name() == step.action) {
            verdict = check_step(&step.change, action, spec, facts);
            if verdict.is_ok() {
                break;
            }
        }
        verdict?;
        let earlier = &plan.steps[..index];
        not_too_often(step, earlier, actions)?;
        if let Change::DeletePods(change) = &step.change {
            reverted_before(change, earlier)?;
        }
    }
    Ok(())
}

fn check_step(
    change: &Change,
    action: &ActionSpec,
    spec: &PolicySpec,
    facts: &Facts,
) -> Result<(), String> {
    match change {
        Change::Patch(change) => check_patch(change, action, spec, facts),
        Change::DeletePods(change) => check_pods(change, action, spec, facts),
        Change::Notify { to, message } => match action {
            ActionSpec::Escalate(escalate)
                if escalate.to == *to
                    && escalate.message.as_ref().is_none_or(|meant| meant == message) =>
            {
                Ok(())
            }
            _ => Err(format!("nothing in the policy tells `{to}` this")),
        },
    }
}

/// One action may change one object once.
fn not_too_often(step: &Step, earlier: &[Step], actions: &[ActionSpec]) -> Result<(), String> {
    let place = |change: &Change| match change {
        Change::Patch(change) => format!("patch {}", change.object.uid),
        Change::DeletePods(change) => format!("pods of {}", change.owner),
        Change::Notify { to, .. } => format!("message to {to}"),
    };
    let here = place(&step.change);
    let again = |one: &&Step| one.action == step.action && place(&one.change) == here;
    let times = earlier.iter().filter(again).count() + 1;
    let allowed = actions.iter().filter(|action| action.name() == step.action).count();
    if times > allowed || earlier.iter().any(|one| one.change == step.change) {
        return Err(format!("`{}` is done twice: {}", step.action, step.summary));
    }
    Ok(())
}

fn check_patch(
    change: &PatchChange,
    action: &ActionSpec,
    spec: &PolicySpec,
    facts: &Facts,
) -> Result<(), String> {
    let object = &change.object;
    if !spec.target.namespaces.contains(&object.namespace) {
        return Err(format!("namespace `{}` is not in the policy's list", object.namespace));
    }
    let workload = known_object(object, action, facts)?;
    for patch in [&change.patch, &change.inverse] {
        // A merge patch replaces whole lists; only for a single number is that of no account.
        match (patch, action) {
            (Patch::Strategic(_), ActionSpec::Scale(_)) => {
                return Err("a number of replicas is set by a merge patch".to_owned());
            }
            (Patch::Strategic(_), _) | (Patch::Merge(_), ActionSpec::Scale(_)) => {}
            (Patch::Merge(_), _) => {
                return Err("a merge patch would replace whole lists".to_owned());
            }
        }
    }
    if let ActionSpec::Rollback(rollback) = action {
        values::in_history(rollback, workload, change)?;
    }
    let allowed = allowed_paths(action, object);
    let fits = |path: &[String]| allowed.iter().any(|pattern| path_fits(pattern, path));
    let body = change.patch.body();
    for (path, value) in leaves(body) {
        if !fits(&path) {
            return Err(format!("`{}` may not set {}", action.name(), path.join(".")));
        }
        values::check(action, object, workload, body, &path, value)?;
    }
    let undone = leaves(change.inverse.body());
    let done = leaves(body);
    let same = undone.iter().all(|(path, _)| done.iter().any(|(done, _)| done == path));
    // What a rollback undoes is a whole template, held against the live one by `in_history`.
    let rolls_back = matches!(action, ActionSpec::Rollback(_));
    if let Some((path, _)) = undone.iter().find(|(path, _)| !fits(path)) {
        return Err(format!("undoing `{}` may not set {}", action.name(), path.join(".")));
    }
    if !rolls_back && (!same || undone.len() != done.len()) {
        return Err(format!("undoing `{}` would touch other fields than it does", action.name()));
    }
    for (path, value) in undone.iter().filter(|_| !rolls_back) {
        if !values::is_live(object, workload, body, path, value) {
            return Err(format!("undoing it would not bring back {}", path.join(".")));
        }
    }
    if change.postcondition.is_empty() {
        return Err("nobody could see whether it was applied".to_owned());
    }
    let fewer = body["spec"]["replicas"].as_i64() < Some(workload.replicas.desired);
    let scales_down = object.subresource.is_some() && fewer;
    if (!body["spec"]["template"].is_null() || scales_down) && !change.replaces_pods {
        return Err("it takes pods away and does not say so".to_owned());
    }
    Ok(())
}

/// The object must be one that was looked at, as it was then; and the policy's target or an
/// action's `on`.
fn known_object<'a>(
    object: &ObjectRef,
    action: &ActionSpec,
    facts: &'a Facts,
) -> Result<&'a Workload, String> {
    let targets = facts.targets.iter().map(|workload| (true, workload));
    let related = facts.related.iter().map(|workload| (false, workload));
    let autoscaler = object.kind == AUTOSCALER;
    let seen = targets.chain(related).find(|(_, workload)| {
        let owner = workload.autoscaler.known().filter(|_| autoscaler);
        owner.map_or(&workload.uid, |owner| &owner.uid) == &object.uid
    });
    let Some((is_target, workload)) = seen else {
        return Err(format!("{} `{}` was never looked at", object.kind, object.name));
    };
    let Target { kind, namespace, name } = &workload.target;
    let as_seen = match workload.autoscaler.known().filter(|_| autoscaler) {
        Some(owner) => ObjectRef {
            api_version: "autoscaling/v2".to_owned(),
            kind: AUTOSCALER.to_owned(),
            plural: "horizontalpodautoscalers".to_owned(),
            namespace: namespace.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            generation: 0,
            subresource: None,
        },
        None => ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: kind.to_string(),
            plural: format!("{}s", kind.to_string().to_lowercase()),
            namespace: namespace.clone(),
            name: name.clone(),
            uid: workload.uid.clone(),
            generation: workload.generation,
            subresource: object.subresource.clone(),
        },
    };
    if as_seen != *object {
        return Err(format!("{} `{}` is not as it was seen", object.kind, object.name));
    }
    let meant = match action.on() {
        Some(on) => on.kind == *kind && on.name == *name,
        None => is_target,
    };
    if meant {
        Ok(workload)
    } else {
        Err(format!("{} is not what the policy names", workload.target))
    }
}

/// What an action may set: `*` stands for one name, `**` for anything below.
fn allowed_paths(action: &ActionSpec, object: &ObjectRef) -> Vec<Vec<&'static str>> {
    let workload = Kind::ALL.iter().any(|kind| kind.to_string() == object.kind);
    let container = |rest: &[&'static str]| [&CONTAINER[..], rest].concat();
    match (action, object.subresource.as_deref()) {
        (ActionSpec::Scale(_), Some("scale")) if object.kind != "DaemonSet" => {
            vec![vec!["spec", "replicas"]]
        }
        (ActionSpec::Scale(_), None) if object.kind == AUTOSCALER => {
            vec![vec!["spec", "minReplicas"]]
        }
        (ActionSpec::Restart(_), None) if workload => {
            vec![vec!["spec", "template", "metadata", "annotations", RESTARTED_AT]]
        }
        (ActionSpec::Rollback(_), None) if workload => {
            vec![vec!["spec", "template", "**"], vec!["metadata", "annotations", CHANGE_CAUSE]]
        }
        (ActionSpec::SetResources(_), None) if workload => vec![
            container(&["name"]),
            container(&["resources", "limits", "*"]),
            container(&["resources", "requests", "*"]),
        ],
        (ActionSpec::SetProbe(spec), None) if workload => {
            vec![container(&["name"]), container(&[spec.probe.field(), "*"])]
        }
        _ => Vec::new(),
    }
}

fn path_fits(pattern: &[&str], path: &[String]) -> bool {
    let same = |pattern: &[&str]| pattern.iter().zip(path).all(|(a, b)| *a == "*" || a == b);
    match pattern.split_last() {
        Some((&"**", head)) => path.len() > head.len() && same(head),
        Some(_) | None => path.len() == pattern.len() && same(pattern),
    }
}

/// Pods are deleted to let a revert through, not for their own sake.
fn reverted_before(change: &DeletePods, earlier: &[Step]) -> Result<(), String> {
    let Target { kind, namespace, name } = &change.owner;
    let reverts = |step: &Step| match &step.change {
        Change::Patch(patch) => {
            let object = &patch.object;
            object.kind == kind.to_string()
                && object.name == *name
                && object.namespace == *namespace
        }
        Change::DeletePods(_) | Change::Notify { .. } => false,
    };
    if earlier.iter().any(reverts) {
        Ok(())
    } else {
        Err(format!("pods of {} are deleted without a revert before", change.owner))
    }
}

fn check_pods(
    change: &DeletePods,
    action: &ActionSpec,
    spec: &PolicySpec,
    facts: &Facts,
) -> Result<(), String> {
    let Target { namespace, kind, .. } = &change.owner;
    if !matches!(action, ActionSpec::Rollback(_)) || *kind != Kind::StatefulSet {
        return Err(format!("`{}` may not delete pods of a {kind}", action.name()));
    }
    if !spec.target.namespaces.contains(namespace) {
        return Err(format!("namespace `{namespace}` is not in the policy's list"));
    }
    let workload = facts.targets.iter().find(|workload| workload.target == change.owner);
    let pods = workload.and_then(|workload| workload.pods.known());
    let pods = pods.ok_or("the pods to delete were never looked at")?;
    if change.pods.is_empty() {
        return Err("no pod is named".to_owned());
    }
    for (name, uid) in &change.pods {
        let pod = pods.iter().find(|pod| pod.uid == *uid && pod.name == *name);
        if pod.is_none_or(|pod| pod.ready) {
            return Err(format!("pod `{name}` is unknown or ready"));
        }
    }
    Ok(())
}

/// Every value of a patch that is not a filled map or list, with its path; list entries as `[0]`.
/// Empty ones count: an empty list empties a list.
fn leaves(value: &Value) -> Vec<(Vec<String>, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), value)];
    while let Some((path, value)) = open.pop() {
        let below = |part: String| path.iter().cloned().chain([part]).collect::<Vec<_>>();
        match value {
            Value::Object(map) if !map.is_empty() => {
                open.extend(map.iter().map(|(key, value)| (below(key.clone()), value)));
            }
            Value::Array(list) if !list.is_empty() => {
                let items = list.iter().enumerate();
                open.extend(items.map(|(index, value)| (below(format!("[{index}]")), value)));
            }
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => found.push((path, value)),
        }
    }
    found
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
