//! What can be wrong with the parameters of an action.

use super::checks::Checks;
use super::name::KubernetesName;
use super::problem::{FieldPath, Problem};
use super::spec::{
    ActionSpec, AmountSpec, OnSpec, RollbackSpec, ScaleSpec, SetProbeSpec, SetResourcesSpec,
};
use crate::domain::action::suits;
use crate::domain::facts::Kind;
use crate::domain::nearest::nearest;
use crate::domain::period::Period;

/// Most replicas that a policy may ask for; the API server knows no limit.
const MAX_REPLICAS: u32 = 1_000;
/// Most percent: ten times as many.
const MAX_PERCENT: u32 = 1_000;
/// Largest factor; 512Mi times 16 is 8Gi.
const MAX_FACTOR: f64 = 16.0;
/// Longest time that a probe may take or wait: an hour.
const MAX_PROBE_SECONDS: u32 = 3_600;
/// The resources whose amounts can be changed.
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn check(checks: &mut Checks<'_>, action: &ActionSpec, kind: Kind, path: &FieldPath) {
    if let Some(on) = action.on() {
        other(checks, on, &path.key("on"));
    }
    let kind = action.on().map_or(kind, |on| on.kind);
    if let Err(reason) = suits(action, kind) {
        let message = format!("`{}` cannot be done to a {kind}: {reason}", action.name());
        checks.push(Problem::error("action", path.clone(), message).at_key());
    }
    match action {
        ActionSpec::Restart(_) => {}
        ActionSpec::Scale(spec) => scale(checks, spec, path),
        ActionSpec::Rollback(spec) => rollback(checks, spec, path),
        ActionSpec::SetResources(spec) => resources(checks, spec, path),
        ActionSpec::SetProbe(spec) => probe(checks, spec, path),
        ActionSpec::Escalate(spec) => {
            if spec.message.as_ref().is_some_and(|message| message.trim().is_empty()) {
                let message = "the message is empty";
                checks.push(Problem::error("empty", path.key("message"), message));
            }
        }
    }
}

fn error(checks: &mut Checks<'_>, path: &FieldPath, message: impl Into<String>) {
    checks.push(Problem::error("action", path.clone(), message));
}

fn other(checks: &mut Checks<'_>, on: &OnSpec, path: &FieldPath) {
    if on.name.contains("{{") {
        let message = "the name of another workload cannot be a template: no label may choose it";
        error(checks, &path.key("name"), message);
    } else if let Err(reason) = KubernetesName::object(&on.name) {
        let message = format!("`{}` is not a Kubernetes name: {reason}", on.name);
        error(checks, &path.key("name"), message);
    }
}

fn scale(checks: &mut Checks<'_>, spec: &ScaleSpec, path: &FieldPath) {
    let given = [spec.to.is_some(), spec.by.is_some(), spec.percent.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        error(checks, path, "exactly one of `to`, `by` and `percent` must be given");
    }
    let counts = [("to", spec.to), ("min", spec.min), ("max", spec.max)];
    for (name, count) in counts {
        if count.is_some_and(|count| count > MAX_REPLICAS) {
            error(checks, &path.key(name), format!("more than {MAX_REPLICAS} replicas"));
        }
    }
    if spec.by == Some(0) {
        error(checks, &path.key("by"), "a change by 0 is none");
    }
    if spec.by.is_some_and(|by| by.unsigned_abs() > MAX_REPLICAS) {
        error(checks, &path.key("by"), format!("more than {MAX_REPLICAS} replicas"));
    }
    if spec.percent.is_some_and(|percent| percent == 0 || percent > MAX_PERCENT) {
        error(checks, &path.key("percent"), format!("must be between 1 and {MAX_PERCENT}"));
    }
    let grows = spec.by.is_some_and(|by| by > 0) || spec.percent.is_some_and(|p| p > 100);
    if grows && spec.max.is_none() {
        let message = "`max` is missing: what grows each time needs a cap";
        error(checks, path, message);
    }
    let shrinks = spec.by.is_some_and(|by| by < 0) || spec.percent.is_some_and(|p| p < 100);
    if shrinks && spec.min.is_none() {
        error(checks, path, "`min` is missing: what shrinks each time needs a floor");
    }
    if let (Some(min), Some(max)) = (spec.min, spec.max)
        && min > max
    {
        error(checks, &path.key("min"), format!("`min` {min} is above `max` {max}"));
    }
    if let Some(to) = spec.to
        && (spec.min.is_some_and(|min| to < min) || spec.max.is_some_and(|max| to > max))
    {
        error(checks, &path.key("to"), format!("`to` {to} is outside `min` and `max`"));
    }
}

fn rollback(checks: &mut Checks<'_>, spec: &RollbackSpec, path: &FieldPath) {
    if spec.to_revision.is_some_and(|number| number < 1) {
        error(checks, &path.key("toRevision"), "revisions are numbered from 1");
    }
    checks.period(spec.served_for, Period::ZERO, &path.key("servedFor"));
}

fn container(checks: &mut Checks<'_>, name: Option<&String>, path: &FieldPath) {
    if let Some(name) = name
        && let Err(reason) = KubernetesName::namespace(name)
    {
        let message = format!("`{name}` is not the name of a container: {reason}");
        error(checks, &path.key("container"), message);
    }
}

fn resources(checks: &mut Checks<'_>, spec: &SetResourcesSpec, path: &FieldPath) {
    container(checks, spec.container.as_ref(), path);
    if spec.limits.is_empty() && spec.requests.is_empty() {
        error(checks, path, "neither `limits` nor `requests` are given");
    }
    for (field, amounts) in [("limits", &spec.limits), ("requests", &spec.requests)] {
        for (name, amount) in amounts {
            let path = path.key(field).key(name);
            if !RESOURCES.contains(&name.as_str()) {
                let message = format!("`{name}` is not a resource that can be changed");
                let help = nearest(name, RESOURCES)
                    .or_else(|| Some(format!("they are {}", RESOURCES.join(", "))));
                let problem = Problem::error("action", path.clone(), message);
                checks.push(problem.at_key().maybe_help(help));
            }
            self::amount(checks, amount, &path);
        }
    }
}

fn amount(checks: &mut Checks<'_>, spec: &AmountSpec, path: &FieldPath) {
    let given = [spec.to.is_some(), spec.multiply.is_some(), spec.add.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        error(checks, path, "exactly one of `to`, `multiply` and `add` must be given");
    }
    if let Some(factor) = spec.multiply
        && !(factor > 1.0 && factor <= MAX_FACTOR)
    {
        let message = format!("`multiply` must be above 1 and at most {MAX_FACTOR}");
        error(checks, &path.key("multiply"), message);
    }
    let grows = spec.multiply.is_some() || spec.add.is_some();
    if grows && spec.max.is_none() {
        error(checks, path, "`max` is missing: what grows each time needs a cap");
    }
    for (name, quantity) in [("to", spec.to), ("add", spec.add), ("max", spec.max)] {
        if quantity.is_some_and(|quantity| quantity.thousandths() == 0) {
            error(checks, &path.key(name), "must be more than nothing");
        }
    }
    if let (Some(to), Some(max)) = (spec.to, spec.max)
        && to > max
    {
        error(checks, &path.key("to"), format!("`to` {to} is above `max` {max}"));
    }
}

fn probe(checks: &mut Checks<'_>, spec: &SetProbeSpec, path: &FieldPath) {
    container(checks, spec.container.as_ref(), path);
    // The first may be 0; Kubernetes asks at least 1 of the others.
    let numbers = [
        ("initialDelaySeconds", spec.initial_delay_seconds, 0),
        ("periodSeconds", spec.period_seconds, 1),
        ("failureThreshold", spec.failure_threshold, 1),
        ("timeoutSeconds", spec.timeout_seconds, 1),
    ];
    if numbers.iter().all(|(_, number, _)| number.is_none()) {
        let names: Vec<_> = numbers.iter().map(|(name, ..)| format!("`{name}`")).collect();
        error(checks, path, format!("at least one of {} must be given", names.join(", ")));
    }
    for (name, number, least) in numbers {
        if number.is_some_and(|number| number < least || number > MAX_PROBE_SECONDS) {
            let message = format!("must be between {least} and {MAX_PROBE_SECONDS}");
            error(checks, &path.key(name), message);
        }
    }
}
