//! Actions: how one line of a policy becomes exact steps for one workload.
//!
//! One file per action: its refusals, its patch, its inverse and its postcondition. Nothing here
//! acts; a plan is only data. kubectl's semantics are the reference (`rollout restart`, `rollout
//! undo`, `scale`, `set resources`), except where a runbook needs better, and then the file says so.

mod escalate;
mod impossible;
pub mod quota;
mod restart;
mod rollback;
mod scale;
mod set_probe;
mod set_resources;
mod template;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use impossible::{Exceeded, Impossible};

use jiff::Timestamp;

use super::facts::{Facts, Kind, Target, Workload};
use super::plan::Step;
use super::policy::spec::ActionSpec;

/// What a plan may depend on besides the facts: fixed for one attempt of one incident, so that
/// planning twice over the same facts gives the same plan and the same digest.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Stands for "now" wherever a plan must hold a time.
    pub time: Timestamp,
}

/// The steps of `actions`, in order, for every workload that the facts hold.
///
/// # Errors
/// The first action that cannot be planned, with its evidence. A plan is made whole or not at all.
pub fn plan(
    actions: &[ActionSpec],
    facts: &Facts,
    stamp: Stamp,
) -> Result<Vec<Step>, (String, Impossible)> {
    let mut steps = Vec::new();
    for action in actions {
        let named = |error| (action.name().to_owned(), error);
        if let ActionSpec::Escalate(spec) = action {
            steps.push(escalate::plan(spec));
            continue;
        }
        for workload in workloads(action, facts).map_err(named)? {
            steps.extend(plan_one(action, workload, stamp).map_err(named)?);
        }
    }
    Ok(steps)
}

fn plan_one(
    action: &ActionSpec,
    workload: &Workload,
    stamp: Stamp,
) -> Result<Vec<Step>, Impossible> {
    match action {
        ActionSpec::Restart(_) => restart::plan(workload, stamp),
        ActionSpec::Scale(spec) => scale::plan(spec, workload),
        ActionSpec::Rollback(spec) => rollback::plan(spec, workload),
        ActionSpec::SetResources(spec) => set_resources::plan(spec, workload),
        ActionSpec::SetProbe(spec) => set_probe::plan(spec, workload),
        ActionSpec::Escalate(spec) => Ok(vec![escalate::plan(spec)]),
    }
}

/// The workloads that `action` is about: the policy's target, or the one its `on` names.
fn workloads<'a>(action: &ActionSpec, facts: &'a Facts) -> Result<Vec<&'a Workload>, Impossible> {
    let Some(on) = action.on() else {
        return if facts.targets.is_empty() {
            Err(Impossible::NoTarget)
        } else {
            Ok(facts.targets.iter().collect())
        };
    };
    let found = facts.related.iter().chain(&facts.targets);
    let mut found =
        found.filter(|workload| workload.target.kind == on.kind && workload.target.name == on.name);
    found
        .next()
        .map(|workload| vec![workload])
        .ok_or_else(|| Impossible::RelatedNotFound { kind: on.kind, name: on.name.clone() })
}

/// What must be read in order to plan `actions` for a target in `namespace`.
pub fn related<'a>(
    actions: impl IntoIterator<Item = &'a ActionSpec>,
    namespace: &str,
) -> Vec<Target> {
    let mut targets: Vec<_> = actions
        .into_iter()
        .filter_map(ActionSpec::on)
        .map(|on| Target { kind: on.kind, namespace: namespace.to_owned(), name: on.name.clone() })
        .collect();
    targets.sort();
    targets.dedup();
    targets
}

/// Whether `action` can be taken on a workload of `kind` at all; why not, if not.
pub fn suits(action: &ActionSpec, kind: Kind) -> Result<(), &'static str> {
    match (action, kind) {
        (ActionSpec::Scale(_), Kind::DaemonSet) => {
            Err("a DaemonSet has one pod on each node and cannot be scaled")
        }
        _ => Ok(()),
    }
}
