//! Whether the pods that a change asks for fit into the ResourceQuotas of their namespace.
//!
//! The API server takes a workload whatever its pods need, also in a dry run: quota is charged when
//! the controller makes the pods, and then a rollout is stuck that nobody was warned of. So it is
//! computed here, from the object that the server would store, in the order in which its controller
//! replaces pods. To create a pod as a dry run would ask the server itself, but about one pod beside
//! all the old ones, which is not what a StatefulSet or `Recreate` does, and it takes the right to
//! create pods.
//!
//! Pods are charged as the API server does it (`pkg/quota/v1/evaluator/core/pods.go`). The defaults of
//! a LimitRange are not known here: what a container does not ask for is charged as nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Exceeded, Impossible};
use crate::domain::quantity::Quantity;

/// Pods that are followed one by one until the first that does not fit; of more, the last is looked
/// at besides. Larger than any workload whose quota a person watches.
const FOLLOWED: i64 = 1_000;

/// One ResourceQuota with what is used of it. Amounts are thousandths.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    name: String,
    scopes: Vec<Scope>,
    hard: BTreeMap<String, i128>,
    used: BTreeMap<String, i128>,
}

#[derive(Clone, Debug, PartialEq)]
struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

impl Quota {
    /// Reads it as the API server shows it.
    ///
    /// # Errors
    /// When its use is not counted yet, as in the moment after it was made.
    pub fn read(object: &Value) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&object["metadata"]["name"]);
        let (hard, used) = (&object["status"]["hard"], &object["status"]["used"]);
        let wanted = object["spec"]["hard"].as_object().into_iter().flatten();
        if let Some((resource, _)) =
            wanted.into_iter().find(|(it, _)| hard[it].is_null() || used[it].is_null())
        {
            return Err(format!("ResourceQuota `{name}` has not counted its {resource} yet"));
        }
        let amounts = |of: &Value| {
            let all = of.as_object().into_iter().flatten();
            all.map(|(resource, amount)| (resource.clone(), thousandths(amount))).collect()
        };
        let plain = object["spec"]["scopes"].as_array().into_iter().flatten();
        let plain = plain.map(|name| Scope {
            name: text(name),
            operator: "Exists".to_owned(),
            values: Vec::new(),
        });
        let selected = object.pointer("/spec/scopeSelector/matchExpressions");
        let selected = selected.and_then(Value::as_array).into_iter().flatten();
        let selected = selected.map(|it| Scope {
            name: text(&it["scopeName"]),
            operator: text(&it["operator"]),
            values: it["values"].as_array().into_iter().flatten().map(text).collect(),
        });
        let scopes = plain.chain(selected).collect();
        Ok(Self { name, scopes, hard: amounts(hard), used: amounts(used) })
    }

    fn covers(&self, template: &Value) -> bool {
        self.scopes.iter().all(|scope| scope.covers(template))
    }

    /// The resources of which the next pod does not fit any more.
    fn exceeded(&self, used: impl Fn(&str) -> i128, template: &Value) -> Vec<Exceeded> {
        let over = self.hard.iter().filter_map(|(resource, limited)| {
            let (requested, used) = (charge(template, resource), used(resource));
            (requested > 0 && used + requested > *limited).then(|| Exceeded {
                resource: resource.clone(),
                requested: Quantity::of_thousandths(requested),
                used: Quantity::of_thousandths(used),
                limited: Quantity::of_thousandths(*limited),
            })
        });
        over.collect()
    }
}

impl Scope {
    /// Whether it covers pods of this template. One that is not known here covers them: that can only
    /// make the answer more cautious.
    fn covers(&self, template: &Value) -> bool {
        let spec = &template["spec"];
        match self.name.as_str() {
            // A workload's pods have no deadline: their template must not have one.
            "Terminating" => false,
            "BestEffort" | "NotBestEffort" => {
                let effort = ["cpu", "memory"].iter().all(|resource| {
                    let of = |which: &str| pod(spec, which, resource);
                    of("requests") == 0 && of("limits") == 0
                });
                effort == (self.name == "BestEffort")
            }
            "PriorityClass" => {
                let class = spec["priorityClassName"].as_str().unwrap_or_default();
                let named = self.values.iter().any(|value| value == class);
                match self.operator.as_str() {
                    "In" => named,
                    "NotIn" => !named,
                    "DoesNotExist" => class.is_empty(),
                    _ => !class.is_empty(),
                }
            }
            "CrossNamespacePodAffinity" => spec["affinity"].to_string().contains("\"namespace"),
            _ => true,
        }
    }
}

/// Takes the pods of a change into account: `before` and `after` are the workload as it is and as
/// the API server would store it, `pods` how many it has now.
///
/// # Errors
/// [`Impossible::QuotaExceeded`] with what the API server will say to the first pod that does not fit.
pub fn charge_change(
    quotas: &mut [Quota],
    before: &Value,
    after: &Value,
    pods: i64,
) -> Result<(), Impossible> {
    let (old, new) = (&before["spec"]["template"], &after["spec"]["template"]);
    if !new.is_object() {
        return Ok(());
    }
    let wanted = after["spec"]["replicas"].as_i64().unwrap_or(pods);
    let replaced = old != new;
    // So many pods are made, and so many old ones are gone before the first of them.
    let (made, ahead) =
        if replaced { (wanted, ahead(after, wanted, pods)) } else { (wanted - pods, 0) };
    let gone = |made: i64| if replaced { (ahead + made).min(pods) } else { 0 };
    let last = (made > FOLLOWED).then_some(made - 1);
    for quota in quotas.iter().filter(|quota| quota.covers(new)) {
        let held = quota.covers(old);
        for number in (0..made.min(FOLLOWED)).chain(last) {
            let used = |resource: &str| {
                let freed = if held { charge(old, resource) } else { 0 };
                let used = quota.used.get(resource).copied().unwrap_or(0);
                let used = used - freed * i128::from(gone(number));
                (used + charge(new, resource) * i128::from(number)).max(0)
            };
            let exceeded = quota.exceeded(used, new);
            if !exceeded.is_empty() {
                return Err(Impossible::QuotaExceeded { quota: quota.name.clone(), exceeded });
            }
        }
    }
    // What a later step of the plan finds used.
    for quota in quotas {
        let (held, holds) = (quota.covers(old), quota.covers(new));
        for (resource, used) in &mut quota.used {
            let of = |template: &Value, covered: bool, count: i64| {
                if covered { charge(template, resource) * i128::from(count) } else { 0 }
            };
            *used += of(new, holds, wanted) - of(old, held, pods);
        }
    }
    Ok(())
}

/// How many old pods a controller takes away before it makes the first new one, as long as no new one
/// is available. Kubernetes' defaults, where the object does not say.
fn ahead(object: &Value, wanted: i64, pods: i64) -> i64 {
    let strategy = match object["kind"].as_str() {
        Some("Deployment") => &object["spec"]["strategy"],
        // One at a time, and a pod goes before its successor of the same name comes.
        Some("StatefulSet") => return 1,
        _ => &object["spec"]["updateStrategy"],
    };
    if strategy["type"] == "Recreate" {
        return pods;
    }
    let rolling = &strategy["rollingUpdate"];
    let daemon = object["kind"] == "DaemonSet";
    let default = |deployment, daemon_set| if daemon { daemon_set } else { deployment };
    let surge = share(&rolling["maxSurge"], default("25%", "0"), wanted, true);
    let unavailable = share(&rolling["maxUnavailable"], default("25%", "1"), wanted, daemon);
    // Pods that are missing already are part of what may be unavailable.
    let missing = (wanted - pods).max(0);
    let allowed = if surge == 0 { unavailable.max(1) } else { unavailable };
    (allowed - missing).max(0)
}

/// A number of pods, or a percentage of them.
fn share(value: &Value, default: &str, of: i64, round_up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let text = value.as_str().unwrap_or(default);
    match text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()) {
        Some(percent) => (of * percent + if round_up { 99 } else { 0 }) / 100,
        None => text.parse().unwrap_or(0),
    }
}

/// What one pod of a template is charged for a quota's resource, in thousandths.
fn charge(template: &Value, resource: &str) -> i128 {
    let spec = &template["spec"];
    match resource {
        "pods" | "count/pods" => 1_000,
        "cpu" | "memory" | "ephemeral-storage" => pod(spec, "requests", resource),
        _ => match resource.split_once('.') {
            Some((which @ ("requests" | "limits"), resource)) => pod(spec, which, resource),
            _ => 0,
        },
    }
}

/// The containers that run together, or the one before them that needs more.
fn pod(spec: &Value, which: &str, resource: &str) -> i128 {
    let overhead = thousandths(&spec["overhead"][resource]);
    let whole = &spec["resources"][which][resource];
    if !whole.is_null() {
        return thousandths(whole) + overhead;
    }
    let all = |list: &str| spec[list].as_array().map_or(&[][..], Vec::as_slice).iter();
    let mut together: i128 = all("containers").map(|it| container(it, which, resource)).sum();
    let (mut sidecars, mut starting) = (0, 0);
    for it in all("initContainers") {
        let amount = container(it, which, resource);
        if it["restartPolicy"] == "Always" {
            sidecars += amount;
            together += amount;
            starting = sidecars.max(starting);
        } else {
            starting = (sidecars + amount).max(starting);
        }
    }
    together.max(starting) + overhead
}

/// A limit is a request, too, where a container has no other.
fn container(container: &Value, which: &str, resource: &str) -> i128 {
    let resources = &container["resources"];
    let own = &resources[which][resource];
    if own.is_null() && which == "requests" {
        return thousandths(&resources["limits"][resource]);
    }
    thousandths(own)
}

/// An amount that the API server has checked; nothing where there is none.
fn thousandths(amount: &Value) -> i128 {
    let read = match amount {
        Value::String(text) => text.parse::<Quantity>().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    read.map_or(0, Quantity::thousandths)
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
