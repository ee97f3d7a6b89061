//! `setResources`: requests and limits of one container, within the policy's caps.
//!
//! Requests and limits stay consistent: a request never exceeds its limit, and where they were
//! equal they stay equal, so that the pod keeps its quality-of-service class.

use serde_json::{Map, Value, json};

use super::{Impossible, template};
use crate::domain::facts::Workload;
use crate::domain::plan::{Change, Expected, Step};
use crate::domain::policy::spec::{AmountSpec, SetResourcesSpec};
use crate::domain::quantity::Quantity;

pub fn plan(spec: &SetResourcesSpec, workload: &Workload) -> Result<Vec<Step>, Impossible> {
    template::rolls_out(workload)?;
    let wanted = spec.container.as_deref();
    let container = template::container(workload, wanted, template::out_of_memory)?;
    let name = template::name(container);
    let mut change = Amounts::default();
    for (resource, amount) in &spec.limits {
        let label = format!("{resource} limit");
        let current = template::amount(container, "limits", resource)?;
        let new = resolve(amount, current, resource, &label, name)?;
        change.set("limits", resource, current, new);
        let request = template::amount(container, "requests", resource)?;
        // Only where there was no limit before: a new one below the request would be refused.
        if let Some(request) = request.filter(|request| *request > new) {
            let (container, resource) = (name.to_owned(), format!("{resource} request"));
            let (current, wanted) = (request, new);
            return Err(Impossible::WouldLower { resource, container, current, wanted });
        }
        if request.is_some() && request == current && !spec.requests.contains_key(resource) {
            change.set("requests", resource, request, new);
        }
    }
    for (resource, amount) in &spec.requests {
        let label = format!("{resource} request");
        let current = template::amount(container, "requests", resource)?;
        let new = resolve(amount, current, resource, &label, name)?;
        let limit = match change.planned("limits", resource) {
            Some(planned) => Some(planned),
            None => template::amount(container, "limits", resource)?,
        };
        let new = limit.map_or(new, |limit| new.min(limit));
        if Some(new) == current {
            continue;
        }
        change.set("requests", resource, current, new);
    }
    if change.said.is_empty() {
        let what = format!("container `{name}` has these amounts already");
        return Err(Impossible::NothingToChange { what });
    }
    let postcondition = change.postcondition(name);
    let (new, old) = (json!({"resources": change.new}), json!({"resources": change.old}));
    let said = change.said.join(", ");
    Ok(vec![Step {
        action: "setResources".to_owned(),
        summary: format!("set {said} of container `{name}` in {}", workload.target),
        reason: "within the policy's cap; pods are replaced by a rollout".to_owned(),
        change: Change::Patch(template::change_container(workload, name, new, old, postcondition)),
    }])
}

/// The new amount: never lower than the current one, never above the cap.
fn resolve(
    spec: &AmountSpec,
    current: Option<Quantity>,
    resource: &str,
    label: &str,
    container: &str,
) -> Result<Quantity, Impossible> {
    let from = || {
        current.ok_or_else(|| Impossible::NoAmount {
            resource: label.to_owned(),
            container: container.to_owned(),
        })
    };
    let raw = match (spec.to, spec.multiply, spec.add) {
        (Some(to), _, _) => to,
        (None, Some(factor), _) => from()?.times(factor).rounded_up_to(unit(resource)),
        (None, None, Some(more)) => from()?.plus(more),
        (None, None, None) => from()?,
    };
    let new = spec.max.map_or(raw, |cap| raw.min(cap));
    let Some(current) = current else { return Ok(new) };
    let (resource, container) = (label.to_owned(), container.to_owned());
    if new > current {
        Ok(new)
    } else if let Some(cap) = spec.max.filter(|cap| current >= *cap) {
        Err(Impossible::AtCap { resource, container, current, cap })
    } else if new == current {
        let what = format!("{resource} of container `{container}` is {current} already");
        Err(Impossible::NothingToChange { what })
    } else {
        Err(Impossible::WouldLower { resource, container, current, wanted: new })
    }
}

/// What a calculated amount is rounded up to: nobody writes, and few read, `590558003200m` bytes.
fn unit(resource: &str) -> Quantity {
    const MEBIBYTE: i64 = 1 << 20;
    match resource {
        "cpu" => Quantity::whole(0),
        "memory" | "ephemeral-storage" => Quantity::whole(MEBIBYTE),
        _ => Quantity::whole(1),
    }
}

#[derive(Default)]
struct Amounts {
    new: Map<String, Value>,
    old: Map<String, Value>,
    said: Vec<String>,
}

impl Amounts {
    fn set(&mut self, which: &str, resource: &str, from: Option<Quantity>, to: Quantity) {
        let old = from.map_or(Value::Null, |amount| json!(amount));
        for (map, value) in [(&mut self.new, json!(to)), (&mut self.old, old)] {
            let amounts = map.entry(which).or_insert_with(|| json!({}));
            amounts[resource] = value;
        }
        let singular = which.trim_end_matches('s');
        let from = from.map_or_else(|| "none".to_owned(), |amount| amount.to_string());
        self.said.push(format!("{resource} {singular} {from} → {to}"));
    }

    fn planned(&self, which: &str, resource: &str) -> Option<Quantity> {
        self.new.get(which)?.get(resource)?.as_str()?.parse().ok()
    }

    fn postcondition(&self, container: &str) -> Vec<Expected> {
        let mut expected = Vec::new();
        for (which, amounts) in &self.new {
            for (resource, value) in amounts.as_object().into_iter().flatten() {
                let path = template::container_path(container, &["resources", which, resource]);
                expected.push(Expected { path, value: value.clone() });
            }
        }
        expected
    }
}
