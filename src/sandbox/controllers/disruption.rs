//! The disruption controller: how many pods of a PodDisruptionBudget may be evicted now.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::super::cluster::Cluster;
use super::super::object::{self, number};
use super::super::resources::{ALL, DISRUPTION_BUDGETS, PODS, ResourceType};
use super::super::selectors::LabelSelector;
use super::{Round, put_condition, share};

pub(super) fn sync(cluster: &mut Cluster, budget: &Arc<Value>, now: Timestamp) {
    let selector = LabelSelector::of_object(budget.pointer("/spec/selector"));
    let namespace = object::namespace(budget).to_owned();
    let pods: Vec<Arc<Value>> = cluster
        .store
        .list(&PODS, Some(&namespace))
        .filter(|pod| selector.as_ref().is_some_and(|selector| selector.matches(pod)))
        .cloned()
        .collect();
    let healthy =
        i64::try_from(pods.iter().filter(|pod| object::pod_ready(pod)).count()).unwrap_or(0);
    let expected = expected(cluster, &pods);
    let desired =
        match (budget.pointer("/spec/minAvailable"), budget.pointer("/spec/maxUnavailable")) {
            (Some(least), _) => share(Some(least), expected, Round::Up),
            (None, most) => expected - share(most, expected, Round::Up),
        }
        .max(0);
    let allowed = if expected == 0 { 0 } else { (healthy - desired).max(0) };
    let generation = budget["metadata"]["generation"].clone();
    cluster.store.modify(&DISRUPTION_BUDGETS, &namespace, object::name(budget), |budget| {
        let status = object::child(budget, &["status"]);
        object::put(status, &["currentHealthy"], healthy);
        object::put(status, &["desiredHealthy"], desired);
        object::put(status, &["expectedPods"], expected);
        object::put(status, &["disruptionsAllowed"], allowed);
        status["observedGeneration"] = generation;
        let (state, reason) =
            if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        put_condition(status, ("DisruptionAllowed", state), reason, "", now);
    });
}

/// How many pods the controllers of these pods want.
fn expected(cluster: &Cluster, pods: &[Arc<Value>]) -> i64 {
    let mut seen: Vec<String> = Vec::new();
    let mut sum = 0;
    for pod in pods {
        let Some(owner) = object::controller(pod) else {
            sum += 1;
            continue;
        };
        let Some(scaled) = scaled_owner(cluster, object::namespace(pod), owner) else { continue };
        let uid = object::uid(&scaled).to_owned();
        if !seen.contains(&uid) {
            seen.push(uid);
            sum += number(&scaled, "/spec/replicas")
                .or_else(|| number(&scaled, "/status/desiredNumberScheduled"))
                .unwrap_or(0);
        }
    }
    sum
}

/// The workload on top of the chain of owners.
fn scaled_owner(cluster: &Cluster, namespace: &str, owner: &Value) -> Option<Arc<Value>> {
    let kind: &ResourceType = ALL
        .into_iter()
        .find(|kind| owner["kind"] == kind.kind && owner["apiVersion"] == kind.api_version())?;
    let found = cluster.store.get(kind, namespace, object::text(owner, "/name"))?.clone();
    match object::controller(&found) {
        Some(above) => scaled_owner(cluster, namespace, above),
        None => Some(found),
    }
}
