//! Which values a plan may set: calculated anew from the policy and the facts.

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::facts::{Fact, RevisionHealth, Workload};
use crate::domain::period::Period;
use crate::domain::plan::{ObjectRef, PatchChange};
use crate::domain::policy::spec::{
    ActionSpec, AmountSpec, RollbackSpec, ScaleSpec, SetProbeSpec, SetResourcesSpec, WhenAutoscaled,
};
use crate::domain::quantity::Quantity;

/// A calculated amount may be rounded up by less than this.
const ROUNDING: i64 = 1 << 20;

/// Whether `action` may set the field at `path` of `body` to `value`.
pub fn check(
    action: &ActionSpec,
    object: &ObjectRef,
    workload: &Workload,
    body: &Value,
    path: &[String],
    value: &Value,
) -> Result<(), String> {
    let last = path.last().map_or("", String::as_str);
    match action {
        ActionSpec::Restart(_) => {
            let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            time.map(drop).ok_or_else(|| format!("`{value}` is not a time"))
        }
        ActionSpec::Scale(spec) if object.subresource.is_some() => scale(spec, workload, value),
        ActionSpec::Scale(spec) => raise(spec, workload, value),
        ActionSpec::SetResources(spec) => {
            let container = container(spec.container.as_deref(), workload, body)?;
            if path.len() > 6 {
                let which = path[path.len() - 2].as_str();
                let all = &body["spec"]["template"]["spec"]["containers"][0]["resources"];
                resources(spec, container, all, (which, last), value)?;
            }
            Ok(())
        }
        ActionSpec::SetProbe(spec) => {
            let container = container(spec.container.as_deref(), workload, body)?;
            if path.len() > 6 { probe(spec, container, last, value) } else { Ok(()) }
        }
        // Judged as a whole by `in_history`.
        ActionSpec::Rollback(_) => Ok(()),
        ActionSpec::Escalate(_) => Err("a message sets nothing".to_owned()),
    }
}

/// The container that a patch names: one that there is, and the one that the policy names. A name
/// that there is not would add a container.
fn container<'a>(
    meant: Option<&str>,
    workload: &'a Workload,
    body: &Value,
) -> Result<&'a Value, String> {
    let name = &body["spec"]["template"]["spec"]["containers"][0]["name"];
    let containers = workload.object.pointer("/spec/template/spec/containers");
    let found = containers.and_then(Value::as_array).into_iter().flatten();
    let found = found.filter(|_| name.is_string()).find(|one| one["name"] == *name);
    match (found, meant) {
        (Some(found), None) => Ok(found),
        (Some(found), Some(meant)) if name.as_str() == Some(meant) => Ok(found),
        (Some(_), Some(meant)) => Err(format!("the policy names `{meant}`, not {name}")),
        (None, _) => Err(format!("there is no container {name}")),
    }
}

fn bounds(spec: &ScaleSpec, value: &Value) -> Result<i64, String> {
    let replicas = value.as_i64().ok_or("the number of replicas is not a number")?;
    let above = spec.max.is_some_and(|max| replicas > i64::from(max));
    let below = spec.min.is_some_and(|min| replicas < i64::from(min));
    let zero = replicas <= 0 && spec.to != Some(0) && spec.min != Some(0);
    if above || below || zero || replicas < 0 {
        return Err(format!("{replicas} replicas are outside the policy's bounds"));
    }
    Ok(replicas)
}

/// The number that the policy asks for, before its bounds.
fn goal(spec: &ScaleSpec, current: i64) -> i128 {
    let current = i128::from(current);
    match (spec.to, spec.by, spec.percent) {
        (Some(to), _, _) => i128::from(to),
        (None, Some(by), _) => current + i128::from(by),
        (None, None, Some(percent)) => (current * i128::from(percent) + 99).div_euclid(100),
        (None, None, None) => current,
    }
}

/// A number other than the goal must be the bound that the goal passes.
fn near(spec: &ScaleSpec, current: i64, replicas: i64, ceiling: i64) -> Result<(), String> {
    let (goal, replicas) = (goal(spec, current), i128::from(replicas));
    let floor = i128::from(spec.min.unwrap_or(1));
    let ceiling = spec.max.map_or(i128::from(ceiling), |max| i128::from(max).min(ceiling.into()));
    let bound = (goal < floor && replicas == floor) || (goal > ceiling && replicas == ceiling);
    if replicas == goal || bound {
        Ok(())
    } else {
        Err(format!("{replicas} replicas are not the {goal} that the policy asks for"))
    }
}

fn scale(spec: &ScaleSpec, workload: &Workload, value: &Value) -> Result<(), String> {
    match workload.autoscaler {
        Fact::Absent { .. } => {}
        Fact::Known { .. } | Fact::Unknown { .. } => {
            return Err("an autoscaler owns the replicas, or may".to_owned());
        }
    }
    let replicas = bounds(spec, value)?;
    let current = workload.replicas.desired;
    let turned = match (spec.to, spec.by, spec.percent) {
        (None, Some(by), _) => (by > 0 && replicas < current) || (by < 0 && replicas > current),
        (None, None, Some(percent)) => percent > 100 && replicas < current,
        (Some(_), _, _) | (None, None, None) => false,
    };
    if turned {
        return Err(format!("{replicas} replicas are the wrong way from {current}"));
    }
    near(spec, current, replicas, i64::from(i32::MAX))
}

fn raise(spec: &ScaleSpec, workload: &Workload, value: &Value) -> Result<(), String> {
    let replicas = bounds(spec, value)?;
    match (spec.when_autoscaled, workload.autoscaler.known()) {
        (WhenAutoscaled::RaiseMinReplicas, Some(owner)) if owner.scaled_object.is_none() => {
            if replicas <= owner.min || replicas > owner.max {
                let (min, max) = (owner.min, owner.max);
                return Err(format!("minReplicas {replicas} is not above {min} and within {max}"));
            }
            near(spec, workload.replicas.desired, replicas, owner.max)
        }
        (WhenAutoscaled::RaiseMinReplicas | WhenAutoscaled::Refuse, _) => {
            Err("the autoscaler may not be changed".to_owned())
        }
    }
}

fn quantity(value: &Value) -> Result<Quantity, String> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|_| format!("{value} is no quantity"))
}

fn resources(
    spec: &SetResourcesSpec,
    container: &Value,
    planned: &Value,
    (which, resource): (&str, &str),
    value: &Value,
) -> Result<(), String> {
    let new = quantity(value)?;
    let current = |which: &str| {
        serde_json::from_value::<Option<Quantity>>(container["resources"][which][resource].clone())
            .map_err(|_| format!("what {which} {resource} is cannot be read"))
    };
    let amounts = if which == "limits" { &spec.limits } else { &spec.requests };
    match amounts.get(resource) {
        Some(amount) => within(amount, current(which)?, new, &format!("{which} {resource}"))?,
        // A request that equals its limit follows it.
        None if which == "requests" && current("requests")? == current("limits")? => {
            if quantity(&planned["limits"][resource])? != new {
                return Err(format!("the request for {resource} does not follow its limit"));
            }
        }
        None => return Err(format!("the policy does not set {which} {resource}")),
    }
    let of = |which: &str| match &planned[which][resource] {
        Value::Null => current(which),
        value => quantity(value).map(Some),
    };
    if let (Some(request), Some(limit)) = (of("requests")?, of("limits")?)
        && request > limit
    {
        return Err(format!("the request for {resource} {request} is above its limit {limit}"));
    }
    Ok(())
}

fn within(
    spec: &AmountSpec,
    current: Option<Quantity>,
    new: Quantity,
    what: &str,
) -> Result<(), String> {
    let cap = spec.max.or(spec.to).ok_or_else(|| format!("{what} has no cap"))?;
    if new > cap {
        return Err(format!("{what} {new} is above the policy's cap {cap}"));
    }
    if let Some(current) = current.filter(|current| new < *current) {
        return Err(format!("{what} {new} is below the {current} that there is"));
    }
    let nothing = || format!("{what} has nothing to start from");
    let most = match (spec.to, spec.multiply, spec.add) {
        (Some(to), _, _) => to,
        (None, Some(factor), _) => current
            .ok_or_else(nothing)?
            .times(factor)
            .plus(Quantity::whole(if what.ends_with("cpu") { 0 } else { ROUNDING })),
        (None, None, Some(more)) => current.ok_or_else(nothing)?.plus(more),
        (None, None, None) => return Err(format!("the policy does not say what {what} becomes")),
    };
    if new > most {
        return Err(format!("{what} {new} is more than the policy asks for"));
    }
    Ok(())
}

fn probe(spec: &SetProbeSpec, container: &Value, field: &str, value: &Value) -> Result<(), String> {
    if !container[spec.probe.field()].is_object() {
        return Err(format!("there is no {} to set", spec.probe.field()));
    }
    let wanted = match field {
        "initialDelaySeconds" => spec.initial_delay_seconds,
        "periodSeconds" => spec.period_seconds,
        "failureThreshold" => spec.failure_threshold,
        "timeoutSeconds" => spec.timeout_seconds,
        _ => None,
    };
    match wanted {
        Some(wanted) if value.as_u64() == Some(u64::from(wanted)) => Ok(()),
        Some(_) | None => Err(format!("the policy does not set {field} to {value}")),
    }
}

/// Whether the field at `path` has that value now.
pub fn is_live(
    object: &ObjectRef,
    workload: &Workload,
    body: &Value,
    path: &[String],
    value: &Value,
) -> bool {
    let spec = match (&object.subresource, workload.autoscaler.known()) {
        (Some(_), _) => return value.as_i64() == Some(workload.replicas.desired),
        (None, Some(owner)) if owner.uid == object.uid => {
            return value.as_i64() == Some(owner.min);
        }
        (None, _) => &workload.object,
    };
    let named = container(None, workload, body).ok();
    let live = path.iter().try_fold(spec, |found, part| match part.as_str() {
        "[0]" => named,
        part => found.get(part),
    });
    let live = live.unwrap_or(&Value::Null);
    let amount = |value: &Value| serde_json::from_value::<Quantity>(value.clone()).ok();
    live == value || (amount(live).is_some() && amount(live) == amount(value))
}

/// A rollback may only bring back a template that the cluster's own history holds, with the
/// evidence that the policy asks for; and its inverse only the template that there is.
pub fn in_history(
    spec: &RollbackSpec,
    workload: &Workload,
    change: &PatchChange,
) -> Result<(), String> {
    let revisions = workload.revisions.known().ok_or("the history was never looked at")?;
    let wanted = replacing(change.patch.body())?;
    let same = |template: &Value| without_hash(template) == wanted;
    let chosen = revisions.iter().find(|revision| !revision.current && same(&revision.template));
    let chosen = chosen.ok_or("the template is not one of the history")?;
    let evident = match (&chosen.health, spec.to_revision) {
        (_, Some(number)) => number == chosen.number,
        (RevisionHealth::Available | RevisionHealth::Verified { .. }, None) => true,
        (RevisionHealth::Served { since, until }, None) => {
            Period::between(*since, *until) >= spec.served_for
        }
        (RevisionHealth::Failing { .. } | RevisionHealth::Unknown, None) => false,
    };
    if !evident {
        return Err(format!("nothing speaks for revision {}", chosen.number));
    }
    let live = workload.object.pointer("/spec/template").cloned().unwrap_or_default();
    if replacing(change.inverse.body())? != without_hash(&live) {
        return Err("undoing it would not bring back what there is".to_owned());
    }
    let cause = &change.patch.body()["metadata"]["annotations"][super::CHANGE_CAUSE];
    if cause.as_str() != chosen.change_cause.as_deref() || !(cause.is_string() || cause.is_null()) {
        return Err(format!("revision {} has another change cause", chosen.number));
    }
    Ok(())
}

/// The template of a patch that replaces the whole of it.
fn replacing(body: &Value) -> Result<Value, String> {
    let mut template = body["spec"]["template"].clone();
    let directive = template.as_object_mut().and_then(|fields| fields.remove("$patch"));
    if directive.as_ref().and_then(Value::as_str) != Some("replace") {
        return Err("the template would be merged, not replaced".to_owned());
    }
    Ok(template)
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    let labels = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.remove("pod-template-hash");
    }
    template
}
