//! Resolution: whether the runbook's criteria hold, and for how long they have.
//!
//! Success is proven, not assumed: an empty query result, a warning, an error and a fact that could
//! not be read are not success. A criterion that must hold for a time starts again whenever it
//! ceases, and whenever nobody looked for longer than [`LONGEST_GAP`].

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::facts::{Fact, Facts, Pod, RolloutState};
use super::period::Period;
use super::policy::spec::{AlertExpectation, QuerySpec, RolloutExpectation, VerifySpec};

/// How long a criterion may go unwatched before its time starts again: four looks, so that one slow
/// answer costs nothing and a restart of the service is never taken for health.
pub const LONGEST_GAP: SignedDuration = SignedDuration::from_secs(60);
/// How old a look may be when the next one counts as a change, and is noted although nothing moved:
/// half of [`LONGEST_GAP`], so that a watch that is folded from events is never taken for a gap.
const NOTE_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// The criteria.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Criterion {
    /// The rollout is complete.
    Rollout,
    /// Pods are ready and do not restart.
    Stable,
    /// The query is beyond its threshold.
    Query,
    /// The alert is resolved.
    Alert,
}

impl Criterion {
    /// The word used in tables and tests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Stable => "stable",
            Self::Query => "query",
            Self::Alert => "alert",
        }
    }
}

/// How one criterion stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CriterionState {
    /// Which.
    pub criterion: Criterion,
    /// Since when it holds without interruption; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// For how long it must hold.
    pub hold: Period,
    /// What is seen.
    pub evidence: String,
}

impl CriterionState {
    /// Whether it has held for its time.
    pub fn met(&self, now: Timestamp) -> bool {
        self.since.is_some_and(|since| now.duration_since(since) >= self.hold.get())
    }
}

impl fmt::Display for CriterionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.since.is_some() { "holds" } else { "does not hold" };
        write!(f, "{} {mark}: {}", self.criterion.name(), self.evidence)
    }
}

/// How all criteria stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When they were last looked at.
    pub looked: Option<Timestamp>,
    /// Each.
    pub criteria: Vec<CriterionState>,
    /// Restarts of each pod as of then: `(uid, restarts)`. One more, and the time without restarts
    /// begins again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<(String, i64)>,
}

/// What one look gives.
#[derive(Debug)]
pub struct Look<'a> {
    /// The workloads.
    pub facts: &'a Facts,
    /// The answer to the query, when the policy has one.
    pub query: Option<&'a Fact<Vec<f64>>>,
    /// How many of the incident's alerts still fire.
    pub firing: usize,
    /// Restarts of each pod when verification began: `(uid, restarts)`.
    pub restarts_before: &'a [(String, i64)],
    /// Now.
    pub now: Timestamp,
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// All criteria have held for their time.
    Met(Progress),
    /// Not yet.
    Pending {
        /// How they stand.
        progress: Progress,
        /// Whether it is worth noting: a criterion began, ceased or began again to hold since the
        /// last look, or that look is about to be too old to count.
        changed: bool,
    },
    /// Not in time.
    Missed(Progress),
}

/// Judges one look.
pub fn judge(
    spec: &VerifySpec,
    before: &Progress,
    look: &Look<'_>,
    deadline: Timestamp,
) -> Judgement {
    let gap = before.looked.map(|looked| look.now.duration_since(looked));
    // A look from the future: the clock was set back since, and nobody knows for how long it held.
    let unwatched = gap.is_some_and(|gap| gap > LONGEST_GAP || gap.is_negative());
    let mut criteria = Vec::new();
    let mut changed =
        before.looked.is_none_or(|looked| look.now.duration_since(looked) > NOTE_AGAIN);
    let counted = if before.restarts.is_empty() { look.restarts_before } else { &before.restarts };
    for (criterion, hold, result) in observe(spec, look, counted) {
        let earlier = before.criteria.iter().find(|state| state.criterion == criterion);
        let running = earlier.and_then(|state| state.since).filter(|_| !unwatched);
        let (since, evidence) = match result {
            Ok(evidence) => (Some(running.unwrap_or(look.now)), evidence),
            Err(evidence) => (None, evidence),
        };
        changed |= earlier.is_none_or(|state| state.since != since);
        criteria.push(CriterionState { criterion, since, hold, evidence });
    }
    let restarts =
        if spec.stable_for > Period::ZERO { restarts(look, counted) } else { Vec::new() };
    let progress = Progress { looked: Some(look.now), criteria, restarts };
    if progress.criteria.iter().all(|state| state.met(look.now)) {
        Judgement::Met(progress)
    } else if look.now >= deadline {
        Judgement::Missed(progress)
    } else {
        Judgement::Pending { progress, changed }
    }
}

type Observed = (Criterion, Period, Result<String, String>);

/// How often each pod has restarted; as before where that is not known.
fn restarts(look: &Look<'_>, before: &[(String, i64)]) -> Vec<(String, i64)> {
    let pods = look.facts.targets.iter().map(|workload| workload.pods.known());
    match pods.collect::<Option<Vec<_>>>() {
        Some(pods) => {
            pods.into_iter().flatten().map(|it| (it.uid.clone(), it.restarts())).collect()
        }
        None => before.to_vec(),
    }
}

fn observe(spec: &VerifySpec, look: &Look<'_>, restarts: &[(String, i64)]) -> Vec<Observed> {
    let mut observed = Vec::new();
    match spec.rollout {
        RolloutExpectation::Complete => {
            observed.push((Criterion::Rollout, Period::ZERO, rollout(look)));
        }
        RolloutExpectation::Any => {}
    }
    if spec.stable_for > Period::ZERO {
        observed.push((Criterion::Stable, spec.stable_for, stable(look, restarts)));
    }
    if let Some(query) = &spec.query {
        observed.push((Criterion::Query, query.hold, threshold(query, look.query)));
    }
    match spec.alert {
        AlertExpectation::Resolved => {
            let result = match look.firing {
                0 => Ok("every alert is resolved".to_owned()),
                1 => Err("1 alert still fires".to_owned()),
                firing => Err(format!("{firing} alerts still fire")),
            };
            observed.push((Criterion::Alert, Period::ZERO, result));
        }
        AlertExpectation::Any => {}
    }
    observed
}

fn rollout(look: &Look<'_>) -> Result<String, String> {
    if look.facts.targets.is_empty() {
        return Err("the target is gone".to_owned());
    }
    for workload in &look.facts.targets {
        match workload.rollout.state {
            RolloutState::Complete => {}
            RolloutState::Progressing
            | RolloutState::Stuck
            | RolloutState::Unobserved
            | RolloutState::Untracked => {
                return Err(format!("{}: {}", workload.target, workload.rollout.message));
            }
        }
    }
    Ok("the rollout is complete".to_owned())
}

fn stable(look: &Look<'_>, restarts: &[(String, i64)]) -> Result<String, String> {
    let mut all = 0;
    for workload in &look.facts.targets {
        let mut pods = 0;
        let known = match &workload.pods {
            Fact::Known { value, .. } => value,
            Fact::Absent { .. } => return Err(format!("{} has no pods", workload.target)),
            Fact::Unknown { why, .. } => return Err(format!("the pods are unknown: {why}")),
        };
        // A pod that ended (evicted, say) stays in the list for long; its successor counts.
        let ended = |pod: &Pod| matches!(pod.phase.as_str(), "Failed" | "Succeeded");
        for pod in known.iter().filter(|pod| !pod.terminating && !ended(pod)) {
            pods += 1;
            if !pod.ready {
                return Err(format!("pod {} is not ready", pod.name));
            }
            let before = restarts.iter().find(|(uid, _)| *uid == pod.uid);
            let before = before.map_or(0, |(_, restarts)| *restarts);
            if pod.restarts() > before {
                let more = pod.restarts() - before;
                let times = if more == 1 { "once".to_owned() } else { format!("{more} times") };
                return Err(format!("pod {} restarted {times}", pod.name));
            }
        }
        if pods < workload.replicas.desired {
            let (target, desired) = (&workload.target, workload.replicas.desired);
            return Err(format!("{pods} of {desired} pods of {target} exist"));
        }
        all += pods;
    }
    if all == 0 { Err("there are no pods".to_owned()) } else { Ok(format!("{all} pods ready")) }
}

/// Whether every sample of an answer is where the query asks for it.
///
/// # Errors
/// What is seen instead.
pub fn threshold(spec: &QuerySpec, answer: Option<&Fact<Vec<f64>>>) -> Result<String, String> {
    let values = match answer {
        Some(Fact::Known { value, .. }) if !value.is_empty() => value,
        Some(Fact::Known { .. } | Fact::Absent { .. }) => {
            return Err("the query has no data, which is not health".to_owned());
        }
        Some(Fact::Unknown { why, .. }) => return Err(format!("the query failed: {why}")),
        None => return Err("the query was not asked: no Prometheus is configured".to_owned()),
    };
    if spec.below.is_none() && spec.above.is_none() {
        return Err("the query has no threshold, so nothing is proven".to_owned());
    }
    for value in values {
        // Not a number is on neither side of a threshold.
        let below = spec.below.is_none_or(|below| *value < below);
        let above = spec.above.is_none_or(|above| *value > above);
        if !(below && above) {
            return Err(format!("the query is at {value}, {}", bounds(spec)));
        }
    }
    let worst = match spec.below {
        Some(_) => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        None => values.iter().copied().fold(f64::INFINITY, f64::min),
    };
    Ok(format!("the query is at {worst}, {}", bounds(spec)))
}

fn bounds(spec: &QuerySpec) -> String {
    match (spec.below, spec.above) {
        (Some(below), Some(above)) => format!("asked for below {below} and above {above}"),
        (Some(below), None) => format!("asked for below {below}"),
        (None, Some(above)) => format!("asked for above {above}"),
        (None, None) => "nothing asked for".to_owned(),
    }
}

#[cfg(test)]
#[path = "resolution_tests.rs"]
mod tests;
