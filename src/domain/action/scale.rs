//! `scale`: through the scale subresource, with bounds. Where an autoscaler owns the replicas a
//! change of the target would be undone within seconds (protocol fact B6): refused, or the
//! autoscaler's lower bound is raised, as the policy says.

use std::cmp::Ordering;

use serde_json::json;

use super::{Impossible, template};
use crate::domain::facts::{Autoscaler, Fact, Kind, Workload};
use crate::domain::plan::{Change, Expected, ObjectRef, Patch, PatchChange, Step};
use crate::domain::policy::spec::{ScaleSpec, WhenAutoscaled};

pub fn plan(spec: &ScaleSpec, workload: &Workload) -> Result<Vec<Step>, Impossible> {
    if workload.target.kind == Kind::DaemonSet {
        return Err(Impossible::NotScalable { kind: Kind::DaemonSet });
    }
    let autoscaler = match &workload.autoscaler {
        Fact::Known { value, .. } => Some(value),
        Fact::Absent { .. } => None,
        Fact::Unknown { why, .. } => {
            let fact = "whether an autoscaler owns the replicas".to_owned();
            return Err(Impossible::FactUnknown { fact, cause: why.clone() });
        }
    };
    match (autoscaler, spec.when_autoscaled) {
        (None, _) => scale_target(spec, workload),
        (Some(Autoscaler { scaled_object: Some(name), .. }), _) => {
            Err(Impossible::ScaledObjectOwns { name: name.clone() })
        }
        (Some(owner), WhenAutoscaled::Refuse) => Err(Impossible::AutoscalerOwns {
            name: owner.name.clone(),
            min: owner.min,
            max: owner.max,
        }),
        (Some(owner), WhenAutoscaled::RaiseMinReplicas) => raise_minimum(spec, workload, owner),
    }
}

/// How many replicas the policy asks for, within its bounds.
fn wanted(spec: &ScaleSpec, current: i64) -> i64 {
    let raw = if let Some(to) = spec.to {
        i64::from(to)
    } else if let Some(by) = spec.by {
        current.saturating_add(i64::from(by))
    } else if let Some(percent) = spec.percent {
        current.saturating_mul(i64::from(percent)).saturating_add(99) / 100
    } else {
        current
    };
    // Only a policy that writes zero means zero: `to: 0` or `min: 0`.
    let floor = spec.min.map_or(if spec.to == Some(0) { 0 } else { 1 }, i64::from);
    let ceiling = spec.max.map_or(i64::from(i32::MAX), i64::from);
    raw.clamp(floor.min(ceiling), ceiling)
}

/// Whether the policy asks for more, or for fewer, whatever there is.
fn direction(spec: &ScaleSpec) -> Option<Ordering> {
    match (spec.to, spec.by, spec.percent) {
        (Some(_), _, _) | (None, None, None) => None,
        (None, Some(by), _) => Some(by.cmp(&0)),
        (None, None, Some(percent)) => Some(percent.cmp(&100)),
    }
}

fn scale_target(spec: &ScaleSpec, workload: &Workload) -> Result<Vec<Step>, Impossible> {
    let current = workload.replicas.desired;
    let wanted = wanted(spec, current);
    // A bound must not turn the direction: "two more, at most five" takes nothing from eight.
    let turned = direction(spec).is_some_and(|way| wanted.cmp(&current) != way);
    if wanted == current || turned {
        let what = format!("{} has {current} replicas already", workload.target);
        return Err(Impossible::NothingToChange { what });
    }
    let object = ObjectRef { subresource: Some("scale".to_owned()), ..template::object(workload) };
    let change = PatchChange {
        object,
        patch: Patch::Merge(json!({"spec": {"replicas": wanted}})),
        inverse: Patch::Merge(json!({"spec": {"replicas": current}})),
        postcondition: vec![replicas("replicas", wanted)],
        replaces_pods: wanted < current,
    };
    Ok(vec![Step {
        action: "scale".to_owned(),
        summary: format!("scale {} from {current} to {wanted} replicas", workload.target),
        reason: "no autoscaler owns the replicas".to_owned(),
        change: Change::Patch(change),
    }])
}

fn raise_minimum(
    spec: &ScaleSpec,
    workload: &Workload,
    owner: &Autoscaler,
) -> Result<Vec<Step>, Impossible> {
    let wanted = wanted(spec, workload.replicas.desired).min(owner.max);
    // Its maximum lies below what the policy asks for at least: that is not the policy's to change.
    if spec.min.is_some_and(|min| wanted < i64::from(min)) {
        let (name, min, max) = (owner.name.clone(), owner.min, owner.max);
        return Err(Impossible::AutoscalerOwns { name, min, max });
    }
    if wanted <= owner.min {
        let what = format!("autoscaler `{}` keeps at least {} already", owner.name, owner.min);
        return Err(Impossible::NothingToChange { what });
    }
    let object = ObjectRef {
        api_version: "autoscaling/v2".to_owned(),
        kind: "HorizontalPodAutoscaler".to_owned(),
        plural: "horizontalpodautoscalers".to_owned(),
        namespace: workload.target.namespace.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        generation: 0,
        subresource: None,
    };
    let change = PatchChange {
        object,
        patch: Patch::Merge(json!({"spec": {"minReplicas": wanted}})),
        inverse: Patch::Merge(json!({"spec": {"minReplicas": owner.min}})),
        postcondition: vec![replicas("minReplicas", wanted)],
        replaces_pods: false,
    };
    Ok(vec![Step {
        action: "scale".to_owned(),
        summary: format!(
            "raise minReplicas of autoscaler {}/{} from {} to {wanted}",
            workload.target.namespace, owner.name, owner.min
        ),
        reason: format!(
            "autoscaler `{}` owns the replicas of {}; its maximum stays {}",
            owner.name, workload.target, owner.max
        ),
        change: Change::Patch(change),
    }])
}

fn replicas(field: &str, value: i64) -> Expected {
    Expected { path: vec!["spec".to_owned(), field.to_owned()], value: json!(value) }
}
