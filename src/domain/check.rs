//! The plan check: a finished plan looked at with other eyes.
//!
//! Shares no code with the actions that made the plan. It reads only what would be sent and asks of
//! every byte: does the policy allow this? A plan that it does not understand is refused.

use serde_json::Value;

use super::facts::{Facts, Target};
use super::plan::{Change, DeletePods, ObjectRef, Patch, PatchChange, Plan};
use super::policy::spec::{ActionSpec, AmountSpec, PolicySpec};
use super::quantity::Quantity;

/// No runbook in the catalogue takes more than four steps; ten leaves room for selectors.
pub const MAX_STEPS: usize = 10;

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
    for step in &plan.steps {
        let mut verdict = Err(format!("the policy has no action `{}`", step.action));
        for action in actions.iter().filter(|action| action.name() == step.action) {
            verdict = check_step(&step.change, action, spec, facts);
            if verdict.is_ok() {
                break;
            }
        }
        verdict?;
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
        Change::Notify { to, .. } => match action {
            ActionSpec::Escalate(escalate) if escalate.to == *to => Ok(()),
            _ => Err(format!("nothing in the policy tells `{to}`")),
        },
    }
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
    known_object(object, action, facts)?;
    if let Patch::Merge(body) = &change.patch
        && leaves(body).iter().any(|(path, _)| path.iter().any(|part| part == "0"))
    {
        return Err("a merge patch would replace a whole list".to_owned());
    }
    if let ActionSpec::Rollback(_) = action {
        in_history(object, change.patch.body(), facts)?;
    }
    let allowed = allowed_paths(action, object);
    for (path, value) in leaves(change.patch.body()) {
        let fits = allowed.iter().any(|pattern| path_fits(pattern, &path));
        if !fits {
            return Err(format!("`{}` may not set {}", action.name(), path.join(".")));
        }
        check_value(action, &path, value)?;
    }
    Ok(())
}

/// The object must be one that was looked at, by uid; and the policy's target or an action's `on`.
fn known_object(object: &ObjectRef, action: &ActionSpec, facts: &Facts) -> Result<(), String> {
    let mut all = facts.targets.iter().map(|workload| (true, workload));
    let related = facts.related.iter().map(|workload| (false, workload));
    let seen = all.by_ref().chain(related).find(|(_, workload)| {
        let scales = workload.autoscaler.known().is_some_and(|owner| owner.uid == object.uid);
        workload.uid == object.uid || (scales && object.kind == "HorizontalPodAutoscaler")
    });
    let Some((is_target, workload)) = seen else {
        return Err(format!("{} `{}` was never looked at", object.kind, object.name));
    };
    if workload.target.namespace != object.namespace {
        return Err(format!("{} `{}` is in another namespace", object.kind, object.name));
    }
    let meant = match action.on() {
        Some(on) => on.kind == workload.target.kind && on.name == workload.target.name,
        None => is_target,
    };
    if meant { Ok(()) } else { Err(format!("{} is not what the policy names", workload.target)) }
}

/// What an action may set: `*` stands for one name, `**` for anything below, `C` for the one
/// container of the patch.
fn allowed_paths(action: &ActionSpec, object: &ObjectRef) -> Vec<&'static str> {
    match (action, object.kind.as_str(), object.subresource.as_deref()) {
        (ActionSpec::Restart(_), "Deployment" | "StatefulSet" | "DaemonSet", None) => {
            vec!["spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt"]
        }
        (ActionSpec::Scale(_), "Deployment" | "StatefulSet", Some("scale")) => {
            vec!["spec.replicas"]
        }
        (ActionSpec::Scale(_), "HorizontalPodAutoscaler", None) => vec!["spec.minReplicas"],
        (ActionSpec::Rollback(_), "Deployment" | "StatefulSet" | "DaemonSet", None) => {
            vec!["spec.template.**", "metadata.annotations.kubernetes.io/change-cause"]
        }
        (ActionSpec::SetResources(_), "Deployment" | "StatefulSet" | "DaemonSet", None) => {
            vec!["C.name", "C.resources.limits.*", "C.resources.requests.*"]
        }
        (ActionSpec::SetProbe(spec), "Deployment" | "StatefulSet" | "DaemonSet", None) => {
            match spec.probe.field() {
                "livenessProbe" => vec!["C.name", "C.livenessProbe.*"],
                "readinessProbe" => vec!["C.name", "C.readinessProbe.*"],
                _ => vec!["C.name", "C.startupProbe.*"],
            }
        }
        _ => Vec::new(),
    }
}

fn path_fits(pattern: &str, path: &[String]) -> bool {
    // Names may hold dots (annotation keys), so the path is compared as a whole, not split.
    let joined = path.join(".");
    let pattern = match pattern.strip_prefix("C.") {
        Some(rest) => format!("spec.template.spec.containers.0.{rest}"),
        None => pattern.to_owned(),
    };
    if let Some(head) = pattern.strip_suffix("**") {
        return joined.starts_with(head) && joined.len() > head.len();
    }
    match pattern.strip_suffix('*') {
        Some(head) => {
            joined.strip_prefix(head).is_some_and(|tail| !tail.is_empty() && !tail.contains('.'))
        }
        None => joined == pattern,
    }
}

fn check_value(action: &ActionSpec, path: &[String], value: &Value) -> Result<(), String> {
    let last = path.last().map_or("", String::as_str);
    match action {
        ActionSpec::Scale(spec) => {
            let replicas = value.as_i64().ok_or("the number of replicas is not a number")?;
            let above = spec.max.is_some_and(|max| replicas > i64::from(max));
            let below = spec.min.is_some_and(|min| replicas < i64::from(min));
            let zero = replicas <= 0 && spec.to != Some(0) && spec.min != Some(0);
            if above || below || zero {
                return Err(format!("{replicas} replicas are outside the policy's bounds"));
            }
        }
        ActionSpec::SetResources(spec) if path.len() > 2 && last != "name" => {
            let which = path[path.len() - 2].as_str();
            let amounts = if which == "limits" { &spec.limits } else { &spec.requests };
            // A request that equals its limit follows it, under the limit's cap.
            let amount = amounts.get(last).or_else(|| spec.limits.get(last));
            let amount = amount.ok_or_else(|| format!("the policy does not set {which} {last}"))?;
            under_cap(amount, value, last)?;
        }
        ActionSpec::SetProbe(spec) if last != "name" => {
            let wanted = match last {
                "initialDelaySeconds" => spec.initial_delay_seconds,
                "periodSeconds" => spec.period_seconds,
                "failureThreshold" => spec.failure_threshold,
                "timeoutSeconds" => spec.timeout_seconds,
                _ => None,
            };
            if wanted.map(u64::from) != value.as_u64() {
                return Err(format!("the policy does not set {last} to {value}"));
            }
        }
        ActionSpec::Restart(_)
        | ActionSpec::Rollback(_)
        | ActionSpec::SetResources(_)
        | ActionSpec::SetProbe(_)
        | ActionSpec::Escalate(_) => {}
    }
    Ok(())
}

fn under_cap(amount: &AmountSpec, value: &Value, resource: &str) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    let new: Quantity = text.parse().map_err(|_| format!("{resource} `{text}` is no quantity"))?;
    let cap = amount.max.or(amount.to).ok_or_else(|| format!("{resource} has no cap"))?;
    if new > cap {
        return Err(format!("{resource} {new} is above the policy's cap {cap}"));
    }
    Ok(())
}

/// A rollback may only bring back a template that the cluster's own history holds.
fn in_history(object: &ObjectRef, body: &Value, facts: &Facts) -> Result<(), String> {
    let workload = facts.targets.iter().find(|workload| workload.uid == object.uid);
    let revisions = workload.and_then(|workload| workload.revisions.known());
    let revisions = revisions.ok_or("the history was never looked at")?;
    let mut wanted = body["spec"]["template"].clone();
    if let Some(fields) = wanted.as_object_mut() {
        if fields.remove("$patch") != Some(Value::String("replace".to_owned())) {
            return Err("the template would be merged, not replaced".to_owned());
        }
    }
    let same = revisions.iter().any(|revision| without_hash(&revision.template) == wanted);
    if same { Ok(()) } else { Err("the template is not one of the history".to_owned()) }
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    template
}

fn check_pods(
    change: &DeletePods,
    action: &ActionSpec,
    spec: &PolicySpec,
    facts: &Facts,
) -> Result<(), String> {
    let Target { namespace, .. } = &change.owner;
    if !matches!(action, ActionSpec::Rollback(_)) {
        return Err(format!("`{}` may not delete pods", action.name()));
    }
    if !spec.target.namespaces.contains(namespace) {
        return Err(format!("namespace `{namespace}` is not in the policy's list"));
    }
    let workload = facts.targets.iter().find(|workload| workload.target == change.owner);
    let pods = workload.and_then(|workload| workload.pods.known());
    let pods = pods.ok_or("the pods to delete were never looked at")?;
    for (name, uid) in &change.pods {
        let pod = pods.iter().find(|pod| pod.uid == *uid && pod.name == *name);
        if pod.is_none_or(|pod| pod.ready) {
            return Err(format!("pod `{name}` is unknown or ready"));
        }
    }
    Ok(())
}

/// Every scalar of a patch with its path; list entries by index.
fn leaves(value: &Value) -> Vec<(Vec<String>, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let mut path = path.clone();
                    path.push(key.clone());
                    open.push((path, value));
                }
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    let mut path = path.clone();
                    path.push(index.to_string());
                    open.push((path, value));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                found.push((path, value));
            }
        }
    }
    found
}
