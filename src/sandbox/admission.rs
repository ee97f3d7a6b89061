//! What may refuse a valid write: admission webhooks of the scenario, and quotas.

use serde_json::Value;

use super::cluster::Cluster;
use super::error::ApiError;
use super::object::{self, text};
use super::quantity::Quantity;
use super::resources::{PODS, RESOURCE_QUOTAS, ResourceType};

impl Cluster {
    /// Asks the scripted admission webhooks.
    pub(super) fn admit(
        &self,
        verb: &str,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        for denial in &self.denials {
            if fits(&denial.verb, verb)
                && fits(&denial.resource, kind.plural)
                && fits(&denial.namespace, namespace)
                && fits(&denial.name, name)
            {
                return Err(ApiError::denied(&denial.webhook, &denial.message, denial.code));
            }
        }
        Ok(())
    }

    /// Holds a new pod against the quotas of the namespace.
    pub(super) fn quota(
        &self,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
        pod: &Value,
    ) -> Result<(), ApiError> {
        if *kind != PODS {
            return Ok(());
        }
        for quota in self.store.list(&RESOURCE_QUOTAS, Some(namespace)) {
            let hard = quota.pointer("/spec/hard").and_then(Value::as_object);
            let over = hard.into_iter().flatten().filter_map(|(resource, hard)| {
                let (requested, used) = (charge(pod, resource), self.charged(namespace, resource));
                let hard = amount(hard);
                (used.plus(requested) > hard).then(|| {
                    [requested, used, hard].map(|it| format!("{resource}={}", it.canonical()))
                })
            });
            let over: Vec<_> = over.collect();
            if !over.is_empty() {
                let listed = |which: usize| {
                    over.iter().map(|it| it[which].as_str()).collect::<Vec<_>>().join(",")
                };
                let why = format!(
                    "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                    object::name(quota),
                    listed(0),
                    listed(1),
                    listed(2)
                );
                return Err(ApiError::forbidden(kind, name, &why));
            }
        }
        Ok(())
    }

    /// What the pods of a namespace use of a quota's resource.
    pub(super) fn charged(&self, namespace: &str, resource: &str) -> Quantity {
        let finished = |pod: &Value| matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        let pods = self.store.list(&PODS, Some(namespace)).filter(|pod| !finished(pod));
        pods.fold(Quantity::whole(0), |sum, pod| sum.plus(charge(pod, resource)))
    }
}

/// What one pod is charged: itself, and what its containers ask for. Init containers and overhead are
/// left out; nothing in the sandbox has them.
fn charge(pod: &Value, resource: &str) -> Quantity {
    let (which, resource) = match resource {
        "pods" | "count/pods" => return Quantity::whole(1),
        "cpu" | "memory" => ("requests", resource),
        _ => resource.split_once('.').unwrap_or(("", resource)),
    };
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let asked = containers.into_iter().flatten().map(|container| {
        let of = |which: &str| &container["resources"][which][resource];
        let own = of(which);
        amount(if own.is_null() && which == "requests" { of("limits") } else { own })
    });
    asked.fold(Quantity::whole(0), Quantity::plus)
}

fn amount(value: &Value) -> Quantity {
    let read = match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    read.unwrap_or(Quantity::whole(0))
}
