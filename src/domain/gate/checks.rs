//! Each gate by itself.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::evidence::Evidence;
use super::{AlertState, Gate, Inputs, Monitoring, Stand, Verdict, freeze, pods};
use crate::domain::facts::{Fact, Owner, Target, Workload};
use crate::domain::plan::Change;
use crate::domain::policy::spec::{Mode, OwnedElsewhere};

/// The annotation with which an object opts out.
pub const OPT_OUT: &str = "orderly.dev/remediate";

/// How soon a gate is asked again that holds without knowing until when.
const AGAIN_SOON: SignedDuration = SignedDuration::from_secs(15);

/// Asks one gate; it leaves one verdict, or one for each target.
pub fn check(gate: Gate, inputs: &Inputs<'_>, verdicts: &mut Vec<Verdict>) {
    let mut say = |stand, evidence| verdicts.push(Verdict { gate, stand, evidence });
    match gate {
        Gate::Mode => mode(inputs, &mut say),
        Gate::KillSwitch => kill_switch(inputs, &mut say),
        Gate::ProtectedNamespace => protected(inputs, &mut say),
        Gate::OptOut => opt_out(inputs, &mut say),
        Gate::OneIncident => one_incident(inputs, &mut say),
        Gate::Cooldown => cooldown(inputs, &mut say),
        Gate::ActionLimit => action_limit(inputs, &mut say),
        Gate::MinReady => pods::min_ready(inputs, &mut say),
        Gate::DisruptionBudget => pods::disruption_budget(inputs, &mut say),
        Gate::Budget => budget(inputs, &mut say),
        Gate::Storm => storm(inputs, &mut say),
        Gate::Breaker => breaker(inputs, &mut say),
        Gate::Freeze => frozen(inputs, &mut say),
        Gate::Ownership => ownership(inputs, &mut say),
        Gate::Rollout => pods::rollout(inputs, &mut say),
        Gate::StillFiring => still_firing(inputs, &mut say),
        Gate::Monitoring => monitoring(inputs, &mut say),
    }
}

pub(super) type Say<'a> = &'a mut dyn FnMut(Stand, Evidence);

pub(super) fn again(inputs: &Inputs<'_>) -> Stand {
    Stand::Hold { until: later(inputs.now, AGAIN_SOON) }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// The workloads that the plan changes.
pub(super) fn changed<'a>(inputs: &Inputs<'a>) -> Vec<&'a Workload> {
    let all = inputs.facts.targets.iter().chain(&inputs.facts.related);
    all.filter(|workload| inputs.plan.changes(workload)).collect()
}

fn mode(inputs: &Inputs<'_>, say: Say<'_>) {
    let policy = inputs.spec.mode;
    match inputs.mode_now {
        None | Some(Mode::Off) => {
            let policy = inputs.policy.to_owned();
            say(Stand::Deny, Evidence::PolicyWithdrawn { policy });
        }
        Some(now) => {
            let policy = policy.min(now);
            let ceiling = inputs.rails.mode;
            let stand = match policy.min(ceiling) {
                Mode::Off => Stand::Deny,
                Mode::DryRun | Mode::Auto => Stand::Allow,
                Mode::Approval => Stand::Ask,
            };
            say(stand, Evidence::Mode { policy, ceiling });
        }
    }
}

fn kill_switch(inputs: &Inputs<'_>, say: Say<'_>) {
    match inputs.ledger.kill_switch() {
        None => say(Stand::Allow, Evidence::KillSwitchOff),
        Some(switch) => {
            let (by, reason) = (switch.by.name.clone(), switch.reason.clone());
            say(Stand::Deny, Evidence::KillSwitchOn { by, reason, since: switch.since });
        }
    }
}

/// What the plan would change, as the plan itself says: namespace, name for people, and uid.
fn objects<'a>(inputs: &Inputs<'a>) -> Vec<(&'a str, String, Option<&'a str>)> {
    let steps = inputs.plan.steps.iter();
    let object = |change: &'a Change| match change {
        Change::Patch(change) => {
            let object = &change.object;
            let name = format!("{}/{}/{}", object.namespace, object.kind, object.name);
            Some((object.namespace.as_str(), name, Some(object.uid.as_str())))
        }
        Change::DeletePods(change) => {
            Some((change.owner.namespace.as_str(), change.owner.to_string(), None))
        }
        Change::Notify { .. } => None,
    };
    steps.filter_map(|step| object(&step.change)).collect()
}

fn protected(inputs: &Inputs<'_>, say: Say<'_>) {
    // By the plan, not by the facts: what was never looked at can be protected too.
    let namespaces: BTreeSet<_> =
        objects(inputs).into_iter().map(|(namespace, ..)| namespace.to_owned()).collect();
    for namespace in namespaces {
        if inputs.rails.protected_namespaces.contains(&namespace) {
            say(Stand::Deny, Evidence::NamespaceProtected { namespace });
        } else {
            say(Stand::Allow, Evidence::NamespaceOpen { namespace });
        }
    }
}

fn opt_out(inputs: &Inputs<'_>, say: Say<'_>) {
    let workloads = changed(inputs);
    // Every gate that looks at workloads would pass over an object that is not among the facts.
    for (_, name, uid) in objects(inputs) {
        let seen = workloads.iter().any(|workload| match uid {
            Some(uid) => {
                let scales = workload.autoscaler.known().is_some_and(|owner| owner.uid == uid);
                workload.uid == uid || scales
            }
            None => workload.target.to_string() == name,
        });
        if !seen {
            let fact = format!("whether {name} may be changed");
            let why = "it is not among the facts".to_owned();
            say(again(inputs), Evidence::FactUnknown { fact, why });
        }
    }
    for workload in workloads {
        let target = workload.target.to_string();
        let annotations = workload.object.pointer("/metadata/annotations");
        let value = annotations.and_then(|all| all.get(OPT_OUT));
        // Anything but "true" opts out: a mistyped "False" must not be read as consent.
        if value.is_some_and(|value| value.as_str() != Some("true")) {
            say(Stand::Deny, Evidence::OptedOut { target });
        } else {
            say(Stand::Allow, Evidence::OptedIn { target });
        }
    }
}

fn one_incident(inputs: &Inputs<'_>, say: Say<'_>) {
    let mut alone = true;
    for workload in changed(inputs) {
        if let Some(other) = inputs.ledger.others_on(inputs.incident, &workload.target).next() {
            alone = false;
            let target = workload.target.to_string();
            say(again(inputs), Evidence::TargetInHand { target, incident: other.clone() });
        }
    }
    if alone {
        say(Stand::Allow, Evidence::AloneOnTarget);
    }
}

fn cooldown(inputs: &Inputs<'_>, say: Say<'_>) {
    let cooldown = inputs.spec.gates.cooldown;
    let mut cool = true;
    for workload in changed(inputs) {
        let since = earlier(inputs.now, cooldown.get());
        let last = inputs.ledger.changes_since(since).filter(|change| {
            change.target == workload.target && change.incident != *inputs.incident
        });
        let last = last.max_by_key(|change| change.at);
        // A hold until now would be asked again at once.
        if let Some(last) = last.filter(|it| later(it.at, cooldown.get()) > inputs.now) {
            cool = false;
            let until = later(last.at, cooldown.get());
            let (target, incident) = (workload.target.to_string(), last.incident.clone());
            let evidence = Evidence::CoolingDown { target, incident, at: last.at, cooldown };
            say(Stand::Hold { until }, evidence);
        }
    }
    if cool {
        say(Stand::Allow, Evidence::CooledDown { cooldown });
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn action_limit(inputs: &Inputs<'_>, say: Say<'_>) {
    let limit = inputs.spec.gates.limit;
    let since = earlier(inputs.now, limit.per.get());
    let times: Vec<_> = inputs
        .ledger
        .changes_since(since)
        .filter(|change| change.policy == inputs.policy)
        .map(|change| change.at)
        .collect();
    let wanted = count(changed(inputs).len());
    let evidence =
        Evidence::ActionLimit { used: count(times.len()), allowed: limit.actions, per: limit.per };
    let stand = if wanted > limit.actions {
        Stand::Deny
    } else if count(times.len()).saturating_add(wanted) <= limit.actions {
        Stand::Allow
    } else {
        oldest_leaves(&times, limit.per.get(), inputs)
    };
    say(stand, evidence);
}

/// Holds until the oldest of `times` has left its window.
fn oldest_leaves(times: &[Timestamp], window: SignedDuration, inputs: &Inputs<'_>) -> Stand {
    times.first().map_or_else(
        || again(inputs),
        |oldest| Stand::Hold { until: later(later(*oldest, window), SignedDuration::from_secs(1)) },
    )
}

fn budget(inputs: &Inputs<'_>, say: Say<'_>) {
    let spec = inputs.rails.budget;
    let since = earlier(inputs.now, spec.per.get());
    let recent: Vec<_> = inputs.ledger.changes_since(since).collect();
    let mut used: BTreeSet<&Target> = recent.iter().map(|change| &change.target).collect();
    used.extend(inputs.ledger.in_hand());
    let wanted: BTreeSet<_> = changed(inputs).iter().map(|workload| &workload.target).collect();
    let new = wanted.iter().filter(|target| !used.contains(*target)).count();
    let evidence =
        Evidence::Budget { used: count(used.len()), allowed: spec.targets, per: spec.per };
    let times: Vec<_> = recent.iter().map(|change| change.at).collect();
    if new > 0 && used.len() + new > spec.targets as usize {
        let stand = if times.is_empty() {
            again(inputs)
        } else {
            oldest_leaves(&times, spec.per.get(), inputs)
        };
        return say(stand, evidence);
    }
    say(Stand::Allow, evidence);
    let Some(namespace) = wanted.iter().map(|target| target.namespace.clone()).next() else {
        return;
    };
    let workloads = match inputs.workloads {
        Fact::Known { value, .. } => *value,
        Fact::Absent { .. } => 0,
        Fact::Unknown { why, .. } => {
            let why = why.clone();
            return say(again(inputs), Evidence::NamespaceUnknown { namespace, why });
        }
    };
    let here = used.iter().filter(|target| target.namespace == namespace).count();
    let allowed = (u64::from(workloads) * u64::from(spec.namespace_percent) / 100).max(1);
    let evidence = Evidence::NamespaceBudget {
        namespace,
        used: count(here),
        workloads,
        percent: spec.namespace_percent,
        per: spec.per,
    };
    if new > 0 && (here + new) as u64 > allowed {
        let stand = if times.is_empty() {
            again(inputs)
        } else {
            oldest_leaves(&times, spec.per.get(), inputs)
        };
        say(stand, evidence);
    } else {
        say(Stand::Allow, evidence);
    }
}

fn storm(inputs: &Inputs<'_>, say: Say<'_>) {
    let spec = inputs.rails.storm;
    let since = earlier(inputs.now, spec.within.get());
    let opened: Vec<_> = inputs.ledger.opened_since(since).collect();
    let incidents = count(opened.len());
    let evidence = Evidence::Storm { incidents, limit: spec.incidents, within: spec.within };
    if incidents < spec.incidents {
        return say(Stand::Allow, evidence);
    }
    let mode = inputs.spec.mode.min(inputs.rails.mode);
    // A person who approves sees the storm; only the automatic hand is held.
    if mode == Mode::Auto {
        let leaves = opened.len() - spec.incidents as usize;
        let oldest = opened.get(leaves..).unwrap_or(&opened);
        say(oldest_leaves(oldest, spec.within.get(), inputs), evidence);
    } else {
        say(Stand::Ask, evidence);
    }
}

fn breaker(inputs: &Inputs<'_>, say: Say<'_>) {
    let (count, limit) =
        (inputs.ledger.ineffective(inputs.policy), inputs.rails.breaker.ineffective);
    if count >= limit {
        say(Stand::Ask, Evidence::Ineffective { count, limit });
    } else {
        say(Stand::Allow, Evidence::Effective { count, limit });
    }
}

fn frozen(inputs: &Inputs<'_>, say: Say<'_>) {
    let mut open = false;
    for window in inputs.rails.freeze.iter().chain(&inputs.spec.gates.freeze) {
        let name = window.name.clone();
        match freeze::ends(window, inputs.now) {
            Ok(None) => {}
            Ok(Some(until)) => {
                open = true;
                say(Stand::Hold { until }, Evidence::Frozen { name, until });
            }
            Err(why) => {
                open = true;
                say(again(inputs), Evidence::FreezeUnreadable { name, why });
            }
        }
    }
    if !open {
        say(Stand::Allow, Evidence::NoFreeze);
    }
}

fn ownership(inputs: &Inputs<'_>, say: Say<'_>) {
    let mut owned = false;
    for workload in changed(inputs) {
        let vertical = match &workload.vertical_autoscaler {
            Fact::Known { value, .. } if value.mode != "Off" => {
                Some(format!("VerticalPodAutoscaler `{}` ({})", value.name, value.mode))
            }
            Fact::Known { .. } | Fact::Absent { .. } => None,
            Fact::Unknown { why, .. } => {
                owned = true;
                let fact = format!("who sets the resources of {}", workload.target);
                say(Stand::Ask, Evidence::FactUnknown { fact, why: why.clone() });
                None
            }
        };
        let sets_resources = inputs.plan.steps.iter().any(|step| step.action == "setResources");
        let owners = workload.owners.iter().filter_map(owner_name);
        for owner in owners.chain(vertical.filter(|_| sets_resources)) {
            owned = true;
            let stand = match inputs.spec.gates.owned_elsewhere {
                OwnedElsewhere::Deny => Stand::Deny,
                OwnedElsewhere::Approval => Stand::Ask,
                OwnedElsewhere::Allow => Stand::Allow,
            };
            say(stand, Evidence::OwnedBy { target: workload.target.to_string(), owner });
        }
    }
    if !owned {
        say(Stand::Allow, Evidence::NotOwned);
    }
}

/// Who would undo a change. Plain Helm is not named: it changes nothing until its next upgrade.
fn owner_name(owner: &Owner) -> Option<String> {
    match owner {
        Owner::ArgoCd { application } => Some(format!("Argo CD application `{application}`")),
        Owner::FluxKustomization { name } => Some(format!("Flux Kustomization `{name}`")),
        Owner::FluxHelmRelease { name } => Some(format!("Flux HelmRelease `{name}`")),
        Owner::Helm { .. } => None,
        Owner::Controller { kind, name } => Some(format!("{kind} `{name}`")),
    }
}

fn still_firing(inputs: &Inputs<'_>, say: Say<'_>) {
    match inputs.alert {
        AlertState::Firing => say(Stand::Allow, Evidence::StillFiring),
        AlertState::NotConfigured => say(Stand::Allow, Evidence::FiringByWebhook),
        AlertState::Silenced(by) => say(again(inputs), Evidence::Silenced { by: by.clone() }),
        AlertState::Inhibited(by) => say(again(inputs), Evidence::Inhibited { by: by.clone() }),
        AlertState::NotFound => say(again(inputs), Evidence::NotFiring),
        AlertState::Unknown(why) => {
            say(again(inputs), Evidence::FiringUnknown { why: why.clone() });
        }
    }
}

fn monitoring(inputs: &Inputs<'_>, say: Say<'_>) {
    match inputs.monitoring {
        Monitoring::Sane(how) => say(Stand::Allow, Evidence::MonitoringSane { how: how.clone() }),
        Monitoring::Unchecked => say(Stand::Allow, Evidence::MonitoringUnchecked),
        Monitoring::InDoubt(why) => {
            say(again(inputs), Evidence::MonitoringInDoubt { why: why.clone() });
        }
    }
}
