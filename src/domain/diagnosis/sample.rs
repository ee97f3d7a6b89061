//! One incident's facts in full, for the tests of this room.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::domain::alert::{Alert, AlertStatus, Labels};
use crate::domain::facts::{
    Autoscaler, ClusterEvent, Container, ContainerState, DisruptionBudget, Fact, Facts, Kind,
    LogExcerpt, Node, Owner, Pod, Replicas, Revision, RevisionHealth, Rollout, RolloutState,
    Strategy, Target, Termination, VerticalAutoscaler, Workload,
};
use crate::domain::id::Fingerprint;

/// 2026-11-22T03:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_316_400, 0);

fn ago(minutes: i64) -> Timestamp {
    NOW - SignedDuration::from_mins(minutes)
}

fn known<T>(value: T) -> Fact<T> {
    Fact::Known { value, source: "test".to_owned(), at: NOW }
}

pub(crate) fn unknown<T>(why: &str) -> Fact<T> {
    Fact::Unknown { source: "test".to_owned(), at: NOW, why: why.to_owned() }
}

fn absent<T>() -> Fact<T> {
    Fact::Absent { source: "test".to_owned(), at: NOW }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// AgentDown of `support-agent`, five minutes old.
pub(crate) fn alert() -> Alert {
    let labels = labels(&[
        ("alertname", "AgentDown"),
        ("namespace", "ai-agents"),
        ("agent_id", "support-agent"),
        ("severity", "critical"),
    ]);
    let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let fingerprint = Fingerprint::of(pairs);
    Alert {
        status: AlertStatus::Firing,
        annotations: Labels::new(),
        starts_at: ago(5),
        ends_at: None,
        generator_url: String::new(),
        fingerprint,
        labels,
    }
}

fn workload(kind: Kind, name: &str, replicas: Replicas) -> Workload {
    let target = Target { kind, namespace: "ai-agents".to_owned(), name: name.to_owned() };
    Workload {
        target,
        uid: "u-1".to_owned(),
        resource_version: "7".to_owned(),
        generation: 3,
        object: json!({
            "metadata": {"labels": {"app": name}, "annotations": {"note": "x"}},
            "spec": {"template": {"spec": {"containers": [{
                "name": "agent",
                "image": "agent:2",
                "resources": {"limits": {"memory": "512Mi", "cpu": 1}, "requests": {"memory": "256Mi"}},
            }]}}},
        }),
        replicas,
        strategy: Strategy::RollingUpdate { partition: 0 },
        paused: false,
        rollout: Rollout {
            state: RolloutState::Complete,
            message: String::new(),
            started: Some(ago(20)),
        },
        revisions: absent(),
        pods: absent(),
        events: absent(),
        logs: absent(),
        autoscaler: absent(),
        budgets: known(vec![DisruptionBudget { name: "b".to_owned(), disruptions_allowed: 1 }]),
        vertical_autoscaler: absent(),
        owners: Vec::new(),
        nodes: known(vec![Node { name: "n-1".to_owned(), ready: true, trouble: Vec::new() }]),
    }
}

fn revision(number: i64, minutes: i64, health: RevisionHealth) -> Revision {
    Revision {
        number,
        name: format!("rs-{number}"),
        created: ago(minutes),
        template: json!({"spec": {"containers": [{"name": "agent", "image": format!("agent:{number}")}]}}),
        current: number == 2,
        health,
        change_cause: None,
    }
}

fn pod() -> Pod {
    let last = Termination {
        reason: "OOMKilled".to_owned(),
        exit_code: 137,
        finished: Some(ago(2)),
        message: String::new(),
    };
    let container = Container {
        name: "agent".to_owned(),
        init: false,
        image: "agent:2".to_owned(),
        ready: false,
        restarts: 4,
        state: ContainerState::Waiting {
            reason: "CrashLoopBackOff".to_owned(),
            message: "back-off 5m0s".to_owned(),
        },
        last_terminated: Some(last),
        limits: [("memory".to_owned(), "512Mi".parse().expect("a quantity"))].into(),
        requests: [].into(),
    };
    Pod {
        name: "support-agent-1".to_owned(),
        uid: "p-1".to_owned(),
        phase: "Running".to_owned(),
        reason: None,
        ready: false,
        terminating: false,
        created: ago(20),
        node: Some("n-1".to_owned()),
        unschedulable: None,
        revision: None,
        containers: vec![container],
    }
}

/// A Deployment that was rolled out twenty minutes ago and runs out of memory.
pub(crate) fn facts() -> Facts {
    let replicas = Replicas { desired: 3, current: 3, updated: 3, ready: 2, available: 2 };
    let mut target = workload(Kind::Deployment, "support-agent-deployment", replicas);
    let served = RevisionHealth::Served { since: ago(9_000), until: ago(20) };
    target.revisions =
        known(vec![revision(2, 20, RevisionHealth::Unknown), revision(1, 9_000, served)]);
    target.pods = known(vec![pod()]);
    target.events = known(vec![ClusterEvent {
        severity: "Warning".to_owned(),
        reason: "BackOff".to_owned(),
        regarding: "Pod/support-agent-1".to_owned(),
        note: "Back-off restarting failed container".to_owned(),
        count: 7,
        last: Some(ago(1)),
    }]);
    target.logs = known(vec![LogExcerpt {
        pod: "support-agent-1".to_owned(),
        container: "agent".to_owned(),
        previous: true,
        text: "ERROR rate_limit_error: 429 Too Many Requests".to_owned(),
    }]);
    let down = Replicas { desired: 1, ..Replicas::default() };
    Facts {
        at: NOW,
        targets: vec![target],
        related: vec![workload(Kind::StatefulSet, "postgres", down)],
        queries: [("errorRate".to_owned(), known(0.12))].into(),
    }
}

/// Fills what [`facts`] leaves out, so that every documented field is there.
pub(crate) fn add_the_rest(facts: &mut Facts) {
    let rest = facts.related.clone();
    for target in facts.targets.iter_mut().chain(&mut facts.related) {
        target.autoscaler = known(Autoscaler {
            name: "h".to_owned(),
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
            min: 1,
            max: 5,
            scaled_object: None,
        });
        let mode = "Auto".to_owned();
        target.vertical_autoscaler = known(VerticalAutoscaler { name: "v".to_owned(), mode });
        target.owners = vec![Owner::Helm { release: "agents".to_owned() }];
        let limits = json!({"limits": {"memory": "1Gi", "cpu": "1"}, "requests": {"memory": "1Gi", "cpu": 1}});
        target.object["spec"]["template"]["spec"]["containers"][0]["resources"] = limits;
        if let Fact::Known { value: nodes, .. } = &mut target.nodes {
            nodes[0].trouble = vec!["MemoryPressure".to_owned()];
        }
        if let Fact::Known { value: pods, .. } = &mut target.pods {
            let container = &mut pods[0].containers[0];
            let amount = "1".parse().expect("a quantity");
            container.limits.insert("cpu".to_owned(), amount);
            container.requests = [("cpu".to_owned(), amount), ("memory".to_owned(), amount)].into();
            let mut ended = container.clone();
            let finished = container.last_terminated.clone().expect("it ended");
            ended.state = ContainerState::Terminated(finished);
            pods[0].containers.push(ended);
        }
    }
    facts.related = rest.into_iter().chain(facts.targets.clone()).collect();
}
