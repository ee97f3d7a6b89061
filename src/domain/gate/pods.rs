//! The gates that look at a target's pods.

use super::checks::{Say, again, changed};
use super::evidence::Evidence;
use super::{Inputs, Stand};
use crate::domain::facts::{Fact, RolloutState, Workload};
use crate::domain::plan::Change;
use crate::domain::policy::spec::{InProgress, NoHeadroom};

/// Whether healthy pods go. Pods that a rollback frees are stuck: they serve nobody.
fn takes_pods_away(inputs: &Inputs<'_>) -> bool {
    inputs.plan.steps.iter().any(|step| match &step.change {
        Change::Patch(change) => change.replaces_pods,
        Change::DeletePods(_) | Change::Notify { .. } => false,
    })
}

pub fn min_ready(inputs: &Inputs<'_>, say: Say<'_>) {
    let percent = inputs.spec.gates.min_ready_percent;
    if percent == 0 || !takes_pods_away(inputs) {
        return say(Stand::Allow, Evidence::ReadyNotAsked);
    }
    for workload in changed(inputs) {
        let target = workload.target.to_string();
        let (ready, desired) = (workload.replicas.ready, workload.replicas.desired);
        if ready <= 0 {
            say(Stand::Allow, Evidence::NothingReady { target });
            continue;
        }
        let enough = ready.saturating_mul(100) >= desired.saturating_mul(i64::from(percent));
        let stand = if enough { Stand::Allow } else { again(inputs) };
        say(stand, Evidence::Ready { target, ready, desired, percent });
    }
}

/// A rollout does not ask a PodDisruptionBudget, so this gate does: whoever wrote one said how many
/// pods must stay.
pub fn disruption_budget(inputs: &Inputs<'_>, say: Say<'_>) {
    if !takes_pods_away(inputs) {
        return say(Stand::Allow, Evidence::DisruptionNotAsked);
    }
    let mut room = true;
    for workload in changed(inputs) {
        let target = workload.target.to_string();
        if workload.replicas.ready <= 0 {
            room = false;
            say(Stand::Allow, Evidence::NothingReady { target });
            continue;
        }
        let budgets = match &workload.budgets {
            Fact::Known { value, .. } => value.as_slice(),
            Fact::Absent { .. } => &[],
            Fact::Unknown { why, .. } => {
                room = false;
                let fact = format!("how many pods of {target} may go");
                say(Stand::Ask, Evidence::FactUnknown { fact, why: why.clone() });
                continue;
            }
        };
        for budget in budgets.iter().filter(|budget| budget.disruptions_allowed <= 0) {
            room = false;
            let stand = match inputs.spec.gates.disruption_budget {
                NoHeadroom::Hold => again(inputs),
                NoHeadroom::Deny => Stand::Deny,
                NoHeadroom::Approval => Stand::Ask,
                NoHeadroom::Allow => Stand::Allow,
            };
            let (target, budget) = (target.clone(), budget.name.clone());
            say(stand, Evidence::NoHeadroom { target, budget });
        }
    }
    if room {
        say(Stand::Allow, Evidence::Headroom);
    }
}

pub fn rollout(inputs: &Inputs<'_>, say: Say<'_>) {
    let rolls_back = inputs.plan.steps.iter().any(|step| step.action == "rollback");
    let mut settled = true;
    for workload in changed(inputs) {
        if !under_way(workload) {
            continue;
        }
        settled = false;
        let target = workload.target.to_string();
        if rolls_back {
            say(Stand::Allow, Evidence::RollbackEndsRollout { target });
            continue;
        }
        let stand = match inputs.spec.gates.rollout_in_progress {
            InProgress::Hold => again(inputs),
            InProgress::Deny => Stand::Deny,
            InProgress::Allow => Stand::Allow,
        };
        let message = workload.rollout.message.clone();
        say(stand, Evidence::RolloutUnderWay { target, message });
    }
    if settled {
        say(Stand::Allow, Evidence::RolloutSettled);
    }
}

/// Whether pods are being replaced. Pods that merely crash make `kubectl rollout status` wait too,
/// but nothing is under way then that a change would disturb.
fn under_way(workload: &Workload) -> bool {
    let replicas = workload.replicas;
    let moving = replicas.updated < replicas.desired || replicas.current > replicas.updated;
    match workload.rollout.state {
        RolloutState::Complete | RolloutState::Stuck | RolloutState::Untracked => false,
        RolloutState::Unobserved => true,
        RolloutState::Progressing => moving,
    }
}
