//! Looking: asks the readers for what a decision needs. Writes nothing, decides nothing.
//!
//! What cannot be found out is a fact too, unknown with its reason; only a target that is surely
//! gone, or a cluster that cannot be reached at all, ends a collection.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use crate::alertmanager;
use crate::domain::action;
use crate::domain::event::Healthy;
use crate::domain::facts::{
    Fact, Facts, RevisionHealth, Target, TargetQuery, Workload, template_digest,
};
use crate::domain::gate::rails::MonitoringSpec;
use crate::domain::gate::{AlertState, Monitoring};
use crate::domain::incident::Incident;
use crate::domain::period::Period;
use crate::domain::policy::compiled::CompiledPolicy;
use crate::domain::policy::spec::QuerySpec;
use crate::domain::policy::template;
use crate::kubernetes::path;
use crate::kubernetes::reader::{FindError, ReadError};
use crate::prometheus::QueryOutcome;

use super::Shared;

/// How long one query may take: the incident waits for it, and a query that needs longer is no
/// criterion for a runbook.
const QUERY_LIMIT: Duration = Duration::from_secs(10);
/// Alerts of one incident whose state Alertmanager is asked about. One that fires is enough.
const ALERTS_ASKED: usize = 10;

/// Why a collection has no result.
#[derive(Debug)]
pub enum CollectError {
    /// The target is not there, or cannot be what the policy names.
    Gone(String),
    /// The cluster could not be asked.
    Unavailable(String),
}

/// Finds the workloads that a target names.
pub async fn locate(shared: &Shared, query: &TargetQuery) -> Result<Vec<Target>, CollectError> {
    shared.ports.reader.find(query).await.map_err(|error| match &error {
        FindError::Call(call) => match call.code() {
            // Forbidden stays forbidden: a person must hear of it.
            Some(401 | 403) => CollectError::Gone(error.to_string()),
            Some(_) | None => CollectError::Unavailable(error.to_string()),
        },
        FindError::NotFound { .. } | FindError::OtherOwner { .. } | FindError::TooMany { .. } => {
            CollectError::Gone(error.to_string())
        }
    })
}

/// Collects the facts for an incident.
pub async fn facts(
    shared: &Shared,
    incident: &Incident,
    policy: &CompiledPolicy,
) -> Result<Facts, CollectError> {
    let spec = &policy.spec;
    let actions = spec.causes.iter().flat_map(|cause| &cause.actions).chain(&spec.on_failure);
    let namespace = incident.targets.first().map_or("", |target| target.namespace.as_str());
    let related = action::related(actions, namespace);
    let (targets, related, queries) = tokio::join!(
        read(shared, &incident.targets),
        read(shared, &related),
        queries(shared, incident),
    );
    let mut targets: Vec<_> = targets.into_iter().collect::<Result<_, _>>().map_err(unread)?;
    for workload in &mut targets {
        add_evidence(shared, workload);
    }
    // A related workload that cannot be read is missing when an action asks for it.
    let related = related.into_iter().filter_map(Result::ok).collect();
    Ok(Facts { at: shared.clock.now(), targets, related, queries })
}

/// The templates that the workloads run.
pub fn templates(facts: &Facts) -> Vec<Healthy> {
    let template = |workload: &Workload| workload.object.pointer("/spec/template").cloned();
    let all = facts.targets.iter().filter_map(|workload| {
        let template = template_digest(&template(workload)?);
        Some(Healthy { target: workload.target.clone(), template })
    });
    all.collect()
}

/// Adds what the journal knows of old revisions: those under which an incident was resolved.
fn add_evidence(shared: &Shared, workload: &mut Workload) {
    let Fact::Known { value: revisions, .. } = &mut workload.revisions else { return };
    let board = shared.board();
    for revision in revisions.iter_mut().filter(|revision| !revision.current) {
        let template = template_digest(&revision.template);
        match (&revision.health, board.healthy_at(&workload.target, template)) {
            // What is seen now outweighs what was seen once.
            (RevisionHealth::Failing { .. } | RevisionHealth::Available, _) | (_, None) => {}
            (_, Some(at)) => revision.health = RevisionHealth::Verified { at },
        }
    }
}

fn unread(error: ReadError) -> CollectError {
    match &error {
        ReadError::NotFound(_) | ReadError::Strange { .. } => CollectError::Gone(error.to_string()),
        ReadError::Call { error: call, .. } => match call.code() {
            Some(401 | 403) => CollectError::Gone(error.to_string()),
            Some(_) | None => CollectError::Unavailable(error.to_string()),
        },
    }
}

async fn queries(shared: &Shared, incident: &Incident) -> BTreeMap<String, Fact<f64>> {
    let mut asked = Vec::new();
    for (name, expr) in &incident.policy.spec.queries {
        asked.push(single(shared, incident, name, expr));
    }
    join_all(asked).await.into_iter().collect()
}

/// The answer to a query that must have one series.
async fn single(
    shared: &Shared,
    incident: &Incident,
    name: &str,
    expr: &str,
) -> (String, Fact<f64>) {
    let fact = match values(shared, incident, expr).await {
        Fact::Known { value, source, at } => match value.as_slice() {
            [only] => Fact::Known { value: *only, source, at },
            [] => Fact::Absent { source, at },
            several => {
                let count = several.len();
                let why = format!("it has {count} series: aggregate it to one");
                Fact::Unknown { source, at, why }
            }
        },
        Fact::Absent { source, at } => Fact::Absent { source, at },
        Fact::Unknown { source, at, why } => Fact::Unknown { source, at, why },
    };
    (name.to_owned(), fact)
}

/// Reads some workloads at the same time.
async fn read(shared: &Shared, targets: &[Target]) -> Vec<Result<Workload, ReadError>> {
    let mut reads = Vec::new();
    for target in targets {
        reads.push(shared.ports.reader.workload(target));
    }
    join_all(reads).await
}

/// The values of all series of a query.
async fn values(shared: &Shared, incident: &Incident, expr: &str) -> Fact<Vec<f64>> {
    let at = shared.clock.now();
    let rendered = match template::render_promql(expr, incident.alert()) {
        Ok(rendered) => rendered,
        Err(error) => {
            return Fact::Unknown { source: expr.to_owned(), at, why: error.to_string() };
        }
    };
    ask(shared, &rendered).await
}

async fn ask(shared: &Shared, expr: &str) -> Fact<Vec<f64>> {
    let (source, at) = (expr.to_owned(), shared.clock.now());
    let Some(prometheus) = &shared.ports.prometheus else {
        let why = "no Prometheus is configured".to_owned();
        return Fact::Unknown { source, at, why };
    };
    match prometheus.query(expr, QUERY_LIMIT).await {
        QueryOutcome::Samples(samples) => {
            let value = samples.iter().map(|sample| sample.value).collect();
            Fact::Known { value, source, at }
        }
        QueryOutcome::Empty => Fact::Absent { source, at },
        QueryOutcome::Warned { warnings } => {
            let why = format!("Prometheus warns: {}", warnings.join("; "));
            Fact::Unknown { source, at, why }
        }
        QueryOutcome::Failed { why } => Fact::Unknown { source, at, why },
    }
}

/// One look at the resolution: the workloads and the query.
pub async fn look(
    shared: &Shared,
    incident: &Incident,
) -> Result<(Facts, Option<Fact<Vec<f64>>>), CollectError> {
    let query = incident.policy.spec.verify.query.as_ref();
    let watched = watched(incident);
    let (targets, query) = tokio::join!(read(shared, &watched), async {
        match query {
            Some(query) => Some(values(shared, incident, &query.expr).await),
            None => None,
        }
    },);
    let targets = targets.into_iter().collect::<Result<_, _>>().map_err(unread)?;
    let at = shared.clock.now();
    let facts = Facts { at, targets, related: Vec::new(), queries: BTreeMap::new() };
    Ok((facts, query))
}

/// What is watched: the targets, and what the plan changed besides them.
fn watched(incident: &Incident) -> Vec<Target> {
    let plan = incident.proposal.as_ref().map(|proposal| &proposal.plan);
    let related = incident.facts.iter().flat_map(|facts| &facts.related);
    let besides = related.filter(|it| plan.is_some_and(|plan| plan.changes(it)));
    let besides = besides.map(|workload| workload.target.clone());
    incident.targets.iter().cloned().chain(besides).collect()
}

/// What the gates ask about besides the plan and the facts.
#[derive(Debug)]
pub struct Surroundings {
    /// How many workloads the namespace has.
    pub workloads: Fact<u32>,
    /// What Alertmanager says.
    pub alert: AlertState,
    /// What a check of monitoring says.
    pub monitoring: Monitoring,
}

/// Looks at the surroundings of an incident.
pub async fn surroundings(shared: &Shared, incident: &Incident) -> Surroundings {
    let (workloads, alert, monitoring) = tokio::join!(
        workloads(shared, incident),
        alert_state(shared, incident),
        monitoring(shared),
    );
    Surroundings { workloads, alert, monitoring }
}

/// Counts the workloads of the target's namespace with three requests, whatever its size.
async fn workloads(shared: &Shared, incident: &Incident) -> Fact<u32> {
    let at = shared.clock.now();
    let Some(target) = incident.targets.first() else {
        return Fact::Absent { source: "no target".to_owned(), at };
    };
    let source = format!("/apis/apps/v1/namespaces/{}", target.namespace);
    let mut count = 0_u64;
    for plural in ["deployments", "statefulsets", "daemonsets"] {
        let list = path::namespaced("apps/v1", &target.namespace, plural);
        match shared.ports.reader.connection().get(&format!("{list}?limit=1")).await {
            Ok(page) => {
                let here = page["items"].as_array().map_or(0, Vec::len) as u64;
                let more = page["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
                count = count.saturating_add(here).saturating_add(more);
            }
            Err(error) => return Fact::Unknown { source, at, why: error.to_string() },
        }
    }
    Fact::Known { value: u32::try_from(count).unwrap_or(u32::MAX), source, at }
}

/// What Alertmanager says about the incident's alerts: one that fires unmuted is enough.
async fn alert_state(shared: &Shared, incident: &Incident) -> AlertState {
    let Some(alertmanager) = &shared.ports.alertmanager else { return AlertState::NotConfigured };
    let firing = incident.alerts.iter().filter(|it| it.resolved.is_none()).take(ALERTS_ASKED);
    let mut worst = AlertState::NotFound;
    for attached in firing {
        let alert = &attached.alert;
        let state = match alertmanager.state(&alert.labels, alert.fingerprint).await {
            alertmanager::AlertState::Firing => return AlertState::Firing,
            alertmanager::AlertState::Silenced { by } => AlertState::Silenced(by.join(", ")),
            alertmanager::AlertState::Inhibited { by } => AlertState::Inhibited(by.join(", ")),
            alertmanager::AlertState::NotFound => AlertState::NotFound,
            alertmanager::AlertState::Unknown { why } => AlertState::Unknown(why),
        };
        if worst == AlertState::NotFound {
            worst = state;
        }
    }
    worst
}

async fn monitoring(shared: &Shared) -> Monitoring {
    let Some(MonitoringSpec { watchdog, query }) = &shared.rails.monitoring else {
        return Monitoring::Unchecked;
    };
    let mut said = Vec::new();
    if let Some(watchdog) = watchdog {
        let (name, freshness) = (&watchdog.alertname, watchdog.freshness);
        let now = shared.clock.now();
        let Some(seen) = shared.board().ledger().watchdog_seen(name) else {
            return Monitoring::InDoubt(format!("`{name}` was never received"));
        };
        let age = Period::between(seen, now);
        if age > freshness {
            let why = format!("`{name}` was last received {age} ago; {freshness} are allowed");
            return Monitoring::InDoubt(why);
        }
        said.push(format!("`{name}` was received {age} ago"));
    }
    if let Some(query) = query {
        match beyond(query, &ask(shared, &query.expr).await) {
            Ok(how) => said.push(how),
            Err(why) => return Monitoring::InDoubt(why),
        }
    }
    if said.is_empty() { Monitoring::Unchecked } else { Monitoring::Sane(said.join("; ")) }
}

fn beyond(query: &QuerySpec, answer: &Fact<Vec<f64>>) -> Result<String, String> {
    crate::domain::resolution::threshold(query, Some(answer))
}
