//! Facts, plans and incidents for the tests of the domain: small, whole, and changed by hand where
//! a test is about something.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::alert::{Alert, AlertStatus};
use super::diagnosis::{Conclusion, Finding};
use super::event::{Event, Person, PolicySnapshot, Preview};
use super::facts::{
    Autoscaler, Container, ContainerState, Fact, Facts, Kind, Pod, Replicas, Revision,
    RevisionHealth, Rollout, RolloutState, Strategy, Target, TargetBy, TargetQuery, Termination,
    Workload,
};
use super::gate::evidence::Evidence;
use super::gate::{Gate, Ruling, Stand, Verdict};
use super::id::{Digest, Fingerprint, IncidentId};
use super::incident::Incident;
use super::period::Period;
use super::plan::{Change, Expected, PatchChange, Plan, Step};
use super::policy::spec::{ActionSpec, CauseSpec, Mode, PolicySpec, TargetSpec};
use super::quantity::Quantity;

/// 2026-11-22T03:00:00Z.
pub const NOW: Timestamp = Timestamp::constant(1_795_316_400, 0);
pub const NAMESPACE: &str = "ai-agents";

pub fn ago(minutes: i64) -> Timestamp {
    NOW - SignedDuration::from_mins(minutes)
}

pub fn later(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

pub fn known<T>(value: T) -> Fact<T> {
    Fact::Known { value, source: "test".to_owned(), at: NOW }
}

pub fn unknown<T>(why: &str) -> Fact<T> {
    Fact::Unknown { source: "test".to_owned(), at: NOW, why: why.to_owned() }
}

pub fn absent<T>() -> Fact<T> {
    Fact::Absent { source: "test".to_owned(), at: NOW }
}

pub fn quantity(text: &str) -> Quantity {
    text.parse().expect("a quantity")
}

pub fn target(kind: Kind, name: &str) -> Target {
    Target { kind, namespace: NAMESPACE.to_owned(), name: name.to_owned() }
}

/// A pod template with the containers `agent` and `proxy`; `agent` has what most actions need.
pub fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "agent"}, "annotations": {"note": "kept"}},
        "spec": {
            "serviceAccountName": "agent",
            "containers": [
                {
                    "name": "agent",
                    "image": image,
                    "command": ["serve", "--all"],
                    "resources": {
                        "limits": {"memory": "512Mi", "cpu": "1"},
                        "requests": {"memory": "512Mi", "cpu": "250m"},
                    },
                    "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10},
                },
                {"name": "proxy", "image": "proxy:1", "resources": {}},
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    })
}

/// A healthy workload with three replicas and a history of three revisions.
pub fn workload(kind: Kind, name: &str) -> Workload {
    let mut live = template("agent:3");
    live["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
        json!("2026-01-01T00:00:00Z");
    let served = RevisionHealth::Served { since: ago(9_000), until: ago(20) };
    Workload {
        target: target(kind, name),
        uid: format!("uid-of-{name}"),
        resource_version: "7".to_owned(),
        generation: 3,
        object: json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"replicas": 3, "template": live},
        }),
        replicas: Replicas { desired: 3, current: 3, updated: 3, ready: 3, available: 3 },
        strategy: Strategy::RollingUpdate { partition: 0 },
        paused: false,
        rollout: Rollout {
            state: RolloutState::Complete,
            message: String::new(),
            started: Some(ago(20)),
        },
        revisions: known(vec![
            Revision { current: true, ..revision(3, RevisionHealth::Unknown) },
            revision(2, RevisionHealth::Failing { evidence: "1 pod crashes".to_owned() }),
            revision(1, served),
        ]),
        pods: known((0..3).map(|index| pod(&format!("{name}-{index}"))).collect()),
        events: absent(),
        logs: absent(),
        autoscaler: absent(),
        budgets: absent(),
        vertical_autoscaler: absent(),
        owners: Vec::new(),
        nodes: absent(),
    }
}

pub fn revision(number: i64, health: RevisionHealth) -> Revision {
    Revision {
        number,
        name: format!("rs-{number}"),
        created: ago(10_000 - number),
        template: template(&format!("agent:{number}")),
        current: false,
        health,
        change_cause: Some(format!("release {number}")),
    }
}

pub fn pod(name: &str) -> Pod {
    Pod {
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        phase: "Running".to_owned(),
        reason: None,
        ready: true,
        terminating: false,
        created: ago(20),
        node: None,
        unschedulable: None,
        revision: Some("rs-3".to_owned()),
        containers: vec![container("agent"), container("proxy")],
    }
}

pub fn container(name: &str) -> Container {
    Container {
        name: name.to_owned(),
        init: false,
        image: format!("{name}:3"),
        ready: true,
        restarts: 0,
        state: ContainerState::Running { since: Some(ago(20)) },
        last_terminated: None,
        limits: [].into(),
        requests: [].into(),
    }
}

pub fn autoscaler(min: i64, max: i64) -> Autoscaler {
    Autoscaler {
        name: "agent-hpa".to_owned(),
        uid: "uid-of-hpa".to_owned(),
        resource_version: "5".to_owned(),
        min,
        max,
        scaled_object: None,
    }
}

pub fn facts(targets: impl IntoIterator<Item = Workload>) -> Facts {
    Facts {
        at: NOW,
        targets: targets.into_iter().collect(),
        related: Vec::new(),
        queries: [].into(),
    }
}

/// One action as it is written in a policy, in JSON.
pub fn action(written: Value) -> ActionSpec {
    serde_json::from_value(written).expect("an action")
}

/// A policy in mode `auto` with one cause that always holds.
pub fn policy(actions: Vec<ActionSpec>) -> PolicySpec {
    let cause = CauseSpec { name: "otherwise".to_owned(), summary: None, when: None, actions };
    PolicySpec {
        summary: "A test".to_owned(),
        runbook: None,
        priority: 0,
        matchers: vec!["alertname=\"AgentDown\"".to_owned()],
        target: TargetSpec {
            kind: Kind::Deployment,
            namespaces: vec![NAMESPACE.to_owned()],
            namespace: None,
            name: Some("agent".to_owned()),
            selector: None,
            owner_of: None,
            max_targets: 1,
        },
        mode: Mode::Auto,
        queries: [].into(),
        causes: vec![cause],
        gates: Default::default(),
        approval: Default::default(),
        verify: Default::default(),
        on_failure: Vec::new(),
        escalate: Vec::new(),
    }
}

pub fn plan_of(steps: Vec<Step>) -> Plan {
    Plan { cause: "otherwise".to_owned(), policy: Digest::of("test", &"policy"), steps }
}

/// The patch of a step that is one.
pub fn patch(step: &Step) -> &PatchChange {
    match &step.change {
        Change::Patch(change) => change,
        Change::DeletePods(_) | Change::Notify { .. } => panic!("no patch: {step:?}"),
    }
}

pub fn person(name: &str) -> Person {
    Person { name: name.to_owned(), groups: vec!["sre".to_owned()], path: "api".to_owned() }
}

pub fn alert(number: u64) -> Alert {
    let labels = [("alertname".to_owned(), "AgentDown".to_owned())];
    Alert {
        status: AlertStatus::Firing,
        labels: labels.into(),
        annotations: [].into(),
        starts_at: ago(5),
        ends_at: None,
        generator_url: String::new(),
        fingerprint: Fingerprint(number),
    }
}

pub fn incident_id(number: u64) -> IncidentId {
    IncidentId::of(alert(number).episode())
}

/// The event that opens an incident under `spec`.
pub fn opened(number: u64, name: &str, spec: PolicySpec) -> Event {
    let query = TargetQuery {
        kind: Kind::Deployment,
        namespace: NAMESPACE.to_owned(),
        by: TargetBy::Name("agent".to_owned()),
        max: 1,
    };
    let digest = Digest::of("test", &"policy");
    Event::IncidentOpened {
        alert: alert(number),
        policy: Box::new(PolicySnapshot { name: name.to_owned(), digest, spec }),
        others: Vec::new(),
        target: Ok(query),
    }
}

/// Whether an object has what a step promises.
pub fn holds(expected: &[Expected], object: &Value) -> bool {
    expected.iter().all(|one| {
        let mut found = object.clone();
        for part in &one.path {
            let inside = |open, close| part.strip_prefix(open)?.strip_suffix(close);
            let list = found.as_array().cloned().unwrap_or_default();
            found = if let Some(name) = inside("[name=", "]") {
                list.into_iter().find(|item| item["name"] == name).unwrap_or_default()
            } else if let Some(field) = inside("{name:", "}") {
                let entry =
                    |item: &Value| Some((item["name"].as_str()?.to_owned(), item[field].clone()));
                Value::Object(list.iter().filter_map(entry).collect())
            } else {
                found[part].take()
            };
        }
        found == one.value
    })
}

/// Applies a patch as the API server would, for what the actions send: maps merge, null deletes,
/// `$patch: replace` replaces; under a strategic patch lists of named entries merge by name, and
/// all other lists are replaced.
pub fn apply(patch: &Value, object: &mut Value, strategic: bool) {
    match (patch, object) {
        (Value::Object(fields), object) => {
            if strategic && fields.get("$patch") == Some(&json!("replace")) {
                let rest = fields.iter().filter(|(key, _)| *key != "$patch");
                *object = Value::Object(rest.map(|(k, v)| (k.clone(), v.clone())).collect());
                return;
            }
            if !object.is_object() {
                *object = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    object.as_object_mut().expect("an object").remove(key);
                } else {
                    apply(value, &mut object[key], strategic);
                }
            }
        }
        (Value::Array(items), Value::Array(there))
            if strategic && items.iter().all(|item| item["name"].is_string()) =>
        {
            for item in items {
                match there.iter_mut().find(|one| one["name"] == item["name"]) {
                    Some(one) => apply(item, one, strategic),
                    None => there.push(item.clone()),
                }
            }
        }
        (value, object) => *object = value.clone(),
    }
}

/// An incident with everything that a person may want to read, up to the question to people.
pub fn asked_incident(quorum: u32) -> Incident {
    let mut spec = policy(vec![action(json!({"restart": {}}))]);
    spec.mode = Mode::Approval;
    spec.runbook = Some("https://runbooks.example.com/agent-down?a=1&b=2".to_owned());
    spec.approval.approvers = vec!["sre".to_owned()];
    spec.approval.quorum = quorum;
    spec.on_failure = vec![action(json!({"escalate": {"to": "oncall"}}))];
    spec.escalate =
        vec![serde_json::from_value(json!({"after": "15m", "to": "oncall"})).expect("escalation")];
    let mut opened = opened(1, "agent-down", spec);
    if let Event::IncidentOpened { alert, .. } = &mut opened {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        alert.labels.extend([label("severity", "critical"), label("namespace", NAMESPACE)]);
        let summary = label("summary", "The agent does not answer. <!channel> *look*");
        alert.annotations.extend([summary, label("dashboard_url", "javascript:alert(1)")]);
        "https://prometheus.example.com/graph?g0.expr=up".clone_into(&mut alert.generator_url);
    }
    let mut incident = Incident::open(&incident_id(1), NOW, &opened).expect("it opens");
    let mut seen = workload(Kind::Deployment, "agent");
    seen.replicas.ready = 1;
    let mut failing = pod("agent-1");
    let mut container = container("agent");
    container.restarts = 4;
    let ended = Termination {
        reason: "OOMKilled".to_owned(),
        exit_code: 137,
        finished: Some(ago(2)),
        message: String::new(),
    };
    container.last_terminated = Some(ended);
    failing.containers = vec![container];
    seen.pods = known(vec![failing, pod("agent-2")]);
    seen.logs = unknown("the kubelet does not answer");
    let facts = facts([seen]);
    let steps = super::action::plan(
        &[action(json!({"restart": {}}))],
        &facts,
        super::action::Stamp { time: NOW },
    );
    let plan = plan_of(steps.expect("a restart"));
    let digest = plan.digest();
    let diff = "@@ -1,3 +1,3 @@\n metadata:\n-  a: <old> & `x`\n+  a: new\n".to_owned();
    let finding = Finding {
        conclusion: Conclusion::Cause { name: "otherwise".to_owned() },
        considered: Vec::new(),
    };
    let verdict = |gate, stand, evidence| Verdict { gate, stand, evidence };
    let storm = Evidence::Storm { incidents: 21, within: Period::from_mins(5), limit: 20 };
    let events = [
        Event::TargetsFound { targets: vec![target(Kind::Deployment, "agent")] },
        Event::FactsCollected { facts: Box::new(facts) },
        Event::CauseFound { finding },
        Event::PlanProposed {
            plan: Box::new(plan),
            digest,
            previews: vec![Preview { diff, changes: Vec::new() }],
        },
        Event::GateDecided {
            digest,
            ruling: Ruling::Ask,
            verdicts: vec![verdict(Gate::Storm, Stand::Ask, storm)],
        },
        Event::ApprovalRequested { digest, expires: later(1800), quorum },
    ];
    for event in &events {
        incident.apply(NOW, event);
    }
    incident
}
