//! `restart`: all pods anew, as `kubectl rollout restart` does it: the same annotation in the pod
//! template. Refused where kubectl refuses (paused) and where kubectl silently does nothing
//! (OnDelete) or half of it (partition).

use serde_json::{Value, json};

use super::{Impossible, Stamp, template};
use crate::domain::facts::{Strategy, Workload};
use crate::domain::plan::{Change, Expected, Patch, PatchChange, Step};

/// kubectl's annotation, so that its tools and Argo CD's understand what happened.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

pub fn plan(workload: &Workload, stamp: Stamp) -> Result<Vec<Step>, Impossible> {
    template::rolls_out(workload)?;
    let now = stamp.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let before = workload.object.pointer("/spec/template/metadata/annotations");
    let before = before.and_then(|all| all.get(RESTARTED_AT)).cloned().unwrap_or(Value::Null);
    if before == json!(now) {
        let what = format!("{} was restarted at {now} already", workload.target);
        return Err(Impossible::NothingToChange { what });
    }
    let path = ["spec", "template", "metadata", "annotations", RESTARTED_AT];
    let change = PatchChange {
        object: template::object(workload),
        patch: annotate(json!(now)),
        inverse: annotate(before),
        postcondition: vec![Expected { path: path.map(str::to_owned).to_vec(), value: json!(now) }],
        replaces_pods: true,
    };
    let manner = match workload.strategy {
        Strategy::RollingUpdate { .. } => "a few at a time",
        Strategy::Recreate => "all at once: its strategy is Recreate, so it will be down",
        Strategy::OnDelete => return Err(Impossible::OnDelete),
    };
    Ok(vec![Step {
        action: "restart".to_owned(),
        summary: format!("restart {}", workload.target),
        reason: format!("pods are replaced {manner}"),
        change: Change::Patch(change),
    }])
}

fn annotate(value: Value) -> Patch {
    let annotations = json!({ RESTARTED_AT: value });
    Patch::Strategic(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
}
