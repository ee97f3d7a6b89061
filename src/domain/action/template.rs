//! Reading and patching pod templates, for the actions that change them.

use serde_json::{Value, json};

use super::Impossible;
use crate::domain::facts::{ContainerState, Strategy, Workload};
use crate::domain::plan::{Expected, ObjectRef, Patch, PatchChange};
use crate::domain::quantity::Quantity;

/// The object itself, for a patch of its spec.
pub fn object(workload: &Workload) -> ObjectRef {
    ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: workload.target.kind.to_string(),
        plural: workload.target.kind.plural().to_owned(),
        namespace: workload.target.namespace.clone(),
        name: workload.target.name.clone(),
        uid: workload.uid.clone(),
        generation: workload.generation,
        subresource: None,
    }
}

/// Refuses where a change of the template would not roll out.
pub fn rolls_out(workload: &Workload) -> Result<(), Impossible> {
    if workload.paused {
        return Err(Impossible::Paused);
    }
    match workload.strategy {
        Strategy::OnDelete => Err(Impossible::OnDelete),
        // kubectl goes ahead and says "restarted". Whoever sets a partition holds a rollout back on
        // purpose: a remedy that reaches some of the pods would neither help all of them nor leave
        // the canary as that person knows it.
        Strategy::RollingUpdate { partition } if partition > 0 => {
            Err(Impossible::Partitioned { partition, replicas: workload.replicas.desired })
        }
        Strategy::RollingUpdate { .. } | Strategy::Recreate => Ok(()),
    }
}

/// The containers of the template that run for as long as the pod does.
pub fn containers(workload: &Workload) -> &[Value] {
    let containers = workload.object.pointer("/spec/template/spec/containers");
    containers.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The name of a container of the template.
pub fn name(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

/// Finds the container that the policy means: the one it names, the only one, or the only one
/// that `suspect` picks among those of the pods.
pub fn container<'a>(
    workload: &'a Workload,
    wanted: Option<&str>,
    suspect: impl Fn(&crate::domain::facts::Container) -> bool,
) -> Result<&'a Value, Impossible> {
    let all = containers(workload);
    let available = || all.iter().map(|one| name(one).to_owned()).collect::<Vec<_>>();
    if let Some(wanted) = wanted {
        return all.iter().find(|one| name(one) == wanted).ok_or_else(|| Impossible::NoContainer {
            container: wanted.to_owned(),
            available: available(),
        });
    }
    if let [only] = all {
        return Ok(only);
    }
    let pods = workload.pods.known().map_or(&[][..], Vec::as_slice);
    let suspects = pods.iter().flat_map(|pod| &pod.containers).filter(|one| suspect(one));
    let mut suspects: Vec<_> = suspects.map(|one| one.name.as_str()).collect();
    suspects.sort_unstable();
    suspects.dedup();
    match (suspects.as_slice(), all) {
        ([only], all) => all
            .iter()
            .find(|one| name(one) == *only)
            .ok_or_else(|| Impossible::WhichContainer { available: available() }),
        _ => Err(Impossible::WhichContainer { available: available() }),
    }
}

/// Whether the container was killed for its memory, now or last time.
pub fn out_of_memory(container: &crate::domain::facts::Container) -> bool {
    let now = match &container.state {
        ContainerState::Terminated(end) => Some(end),
        ContainerState::Waiting { .. } | ContainerState::Running { .. } => None,
    };
    now.into_iter().chain(&container.last_terminated).any(|end| end.reason == "OOMKilled")
}

/// An amount of the template, when it is set.
///
/// # Errors
/// When it is set and cannot be read: that is not the same as unset.
pub fn amount(
    container: &Value,
    which: &str,
    resource: &str,
) -> Result<Option<Quantity>, Impossible> {
    let value = &container["resources"][which][resource];
    let read = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    read.map(Some).ok_or_else(|| Impossible::FactUnknown {
        fact: format!("the {resource} among the {which} of container `{}`", name(container)),
        cause: format!("{value} is no quantity that Orderly can read"),
    })
}

/// A change of one container of the template: strategic merge patches merge containers by name.
pub fn change_container(
    workload: &Workload,
    container: &str,
    fields: Value,
    inverse: Value,
    postcondition: Vec<Expected>,
) -> PatchChange {
    PatchChange {
        object: object(workload),
        patch: container_patch(container, fields),
        inverse: container_patch(container, inverse),
        postcondition,
        replaces_pods: true,
    }
}

fn container_patch(container: &str, mut fields: Value) -> Patch {
    fields["name"] = json!(container);
    Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [fields]}}}}))
}

/// The path of a field of one container of the template.
pub fn container_path(container: &str, rest: &[&str]) -> Vec<String> {
    let list = format!("[name={container}]");
    let head = ["spec", "template", "spec", "containers", list.as_str()];
    head.iter().chain(rest).map(|&part| part.to_owned()).collect()
}
