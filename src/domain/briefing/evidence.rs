//! What a cause rests on, in a few short lines: pods and how they end, warnings, queries, and what
//! could not be found out.

use std::collections::BTreeMap;

use crate::domain::facts::{
    ClusterEvent, ContainerState, Fact, Facts, Pod, RolloutState, Strategy, Workload,
};
use crate::domain::period::Period;

/// Lines of one kind: what fits a screen.
const SHOWN: usize = 3;
/// Characters of an event's note: its beginning says what happened.
const NOTE: usize = 160;

/// The lines.
pub fn lines(facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    for workload in &facts.targets {
        lines.push(counts(workload, facts));
        if let Some(pods) = workload.pods.known() {
            lines.extend(troubles(pods, facts));
        }
        if let Some(events) = workload.events.known() {
            lines.extend(warnings(events));
        }
        lines.extend(unknown(workload));
    }
    for (name, answer) in &facts.queries {
        lines.push(match answer {
            Fact::Known { value, .. } => format!("query `{name}`: {value}"),
            Fact::Absent { .. } => format!("query `{name}`: no data"),
            Fact::Unknown { why, .. } => format!("query `{name}`: unknown ({why})"),
        });
    }
    lines
}

fn counts(workload: &Workload, facts: &Facts) -> String {
    let (ready, desired) = (workload.replicas.ready, workload.replicas.desired);
    let rollout = match workload.rollout.state {
        RolloutState::Complete => "rollout complete",
        RolloutState::Progressing | RolloutState::Unobserved => "a rollout is under way",
        RolloutState::Stuck => "its rollout is stuck",
        RolloutState::Untracked => "pods are replaced by hand",
    };
    let age = workload.rollout.started.map(|at| Period::between(at, facts.at));
    let age = age.map_or_else(String::new, |age| format!("; newest revision {age} old"));
    format!("{ready} of {desired} pods ready, {rollout}{age}")
}

/// How containers end and why they do not start, the most frequent first.
fn troubles(pods: &[Pod], facts: &Facts) -> Vec<String> {
    #[derive(Default)]
    struct Trouble {
        pods: usize,
        restarts: i64,
        last: Option<jiff::Timestamp>,
    }
    let mut troubles: BTreeMap<(String, String), Trouble> = BTreeMap::new();
    for pod in pods {
        if let Some(why) = &pod.unschedulable {
            let entry =
                troubles.entry(("cannot be scheduled".to_owned(), why.clone())).or_default();
            entry.pods += 1;
        }
        for container in &pod.containers {
            let ended = match &container.state {
                ContainerState::Terminated(ended) => Some(ended),
                ContainerState::Waiting { .. } | ContainerState::Running { .. } => {
                    container.last_terminated.as_ref()
                }
            };
            let waiting = match &container.state {
                ContainerState::Waiting { reason, .. } if reason != "ContainerCreating" => {
                    Some(reason.as_str())
                }
                ContainerState::Waiting { .. }
                | ContainerState::Running { .. }
                | ContainerState::Terminated(_) => None,
            };
            let how = match (waiting, ended) {
                (Some(waiting), Some(ended)) => {
                    format!("{waiting} after {} (exit code {})", ended.reason, ended.exit_code)
                }
                (Some(waiting), None) => waiting.to_owned(),
                (None, Some(ended)) => format!("{} (exit code {})", ended.reason, ended.exit_code),
                (None, None) => continue,
            };
            let trouble = troubles.entry((container.name.clone(), how)).or_default();
            trouble.pods += 1;
            trouble.restarts += container.restarts;
            trouble.last = trouble.last.max(ended.and_then(|ended| ended.finished));
        }
    }
    let mut troubles: Vec<_> = troubles.into_iter().collect();
    troubles.sort_by_key(|(_, trouble)| std::cmp::Reverse(trouble.pods));
    let told = troubles.into_iter().take(SHOWN).map(|((container, how), trouble)| {
        let last = trouble.last.map(|at| format!(", last {} ago", Period::between(at, facts.at)));
        let pods = if trouble.pods == 1 { "pod" } else { "pods" };
        let (count, restarts) = (trouble.pods, trouble.restarts);
        let last = last.unwrap_or_default();
        format!("`{container}`: {how} in {count} {pods}, {restarts} restarts{last}")
    });
    told.collect()
}

fn warnings(events: &[ClusterEvent]) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
    for event in events.iter().filter(|event| event.severity == "Warning") {
        let entry = by_reason.entry(&event.reason).or_insert((0, &event.note));
        entry.0 += event.count.max(1);
    }
    let mut all: Vec<_> = by_reason.into_iter().collect();
    all.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let told = all.into_iter().take(SHOWN).map(|(reason, (count, note))| {
        let note: String = note.split_whitespace().collect::<Vec<_>>().join(" ");
        let note: String = note.chars().take(NOTE).collect();
        format!("event {reason} ({count}×): {note}")
    });
    told.collect()
}

/// What could not be found out: a person must not take silence for health.
fn unknown(workload: &Workload) -> Vec<String> {
    let parts = [
        ("revisions", workload.revisions.unknown()),
        ("pods", workload.pods.unknown()),
        ("events", workload.events.unknown()),
        ("logs", workload.logs.unknown()),
        ("disruption budgets", workload.budgets.unknown()),
        ("nodes", workload.nodes.unknown()),
    ];
    let told = parts.into_iter().filter_map(|(part, why)| Some((part, why?)));
    told.map(|(part, why)| format!("{part} could not be read: {why}")).collect()
}

/// What replacing the pods of a workload means.
pub fn replaced(name: &str, workload: Option<&Workload>) -> String {
    let Some(workload) = workload else { return format!("replaces the pods of {name}") };
    let pods = pods_of(usize::try_from(workload.replicas.desired).unwrap_or(0), name);
    match workload.strategy {
        Strategy::Recreate => format!("replaces {pods}, all at once: an outage for a moment"),
        Strategy::RollingUpdate { .. } => format!("replaces {pods}, a few at a time"),
        Strategy::OnDelete => format!("replaces {pods} when somebody deletes them"),
    }
}

/// `2 pods of agent`.
pub fn pods_of(count: usize, name: &str) -> String {
    if count == 1 { format!("1 pod of {name}") } else { format!("{count} pods of {name}") }
}
