//! `setProbe`: the timing of one probe of one container. The probe's handler stays as it is; a
//! container without that probe is refused, because nobody but its authors knows what to ask.

use serde_json::{Map, Value, json};

use super::{Impossible, template};
use crate::domain::facts::Workload;
use crate::domain::plan::{Change, Expected, Step};
use crate::domain::policy::spec::SetProbeSpec;

pub fn plan(spec: &SetProbeSpec, workload: &Workload) -> Result<Vec<Step>, Impossible> {
    template::rolls_out(workload)?;
    let container = template::container(workload, spec.container.as_deref(), restarted)?;
    let name = template::name(container);
    let field = spec.probe.field();
    let probe = &container[field];
    if !probe.is_object() {
        let (container, probe) = (name.to_owned(), field.to_owned());
        return Err(Impossible::NoProbe { container, probe });
    }
    let wanted = [
        ("initialDelaySeconds", spec.initial_delay_seconds),
        ("periodSeconds", spec.period_seconds),
        ("failureThreshold", spec.failure_threshold),
        ("timeoutSeconds", spec.timeout_seconds),
    ];
    let (mut new, mut old, mut said, mut expected) =
        (Map::new(), Map::new(), Vec::new(), Vec::new());
    for (key, value) in wanted {
        let Some(value) = value else { continue };
        let current = &probe[key];
        if current.as_u64() == Some(u64::from(value)) {
            continue;
        }
        let shown = current.as_u64().map_or_else(|| "default".to_owned(), |n| n.to_string());
        said.push(format!("{key} {shown} → {value}"));
        new.insert(key.to_owned(), json!(value));
        old.insert(key.to_owned(), current.clone());
        let path = template::container_path(name, &[field, key]);
        expected.push(Expected { path, value: json!(value) });
    }
    if said.is_empty() {
        let what = format!("{field} of container `{name}` has this timing already");
        return Err(Impossible::NothingToChange { what });
    }
    let (new, old) = (json!({field: Value::Object(new)}), json!({field: Value::Object(old)}));
    let said = said.join(", ");
    Ok(vec![Step {
        action: "setProbe".to_owned(),
        summary: format!("set {field} of container `{name}` in {}: {said}", workload.target),
        reason: "the probe's handler stays as it is; pods are replaced by a rollout".to_owned(),
        change: Change::Patch(template::change_container(workload, name, new, old, expected)),
    }])
}

fn restarted(container: &crate::domain::facts::Container) -> bool {
    !container.init && container.restarts > 0
}
