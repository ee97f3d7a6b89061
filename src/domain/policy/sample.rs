//! A good policy, and the same with something changed, for the tests of this room.

use serde_json::{Value, json};

use super::compiled::{CompiledPolicy, Names};
use super::problem::{Problem, Severity};
use super::spec::PolicyDocument;

/// A policy for AgentDown of which nothing is wrong.
pub(crate) fn document() -> Value {
    json!({
        "apiVersion": "orderly.dev/v1alpha1",
        "kind": "RemediationPolicy",
        "metadata": {"name": "agent-down"},
        "spec": {
            "summary": "An agent's pods fail their health checks",
            "match": ["alertname=\"AgentDown\""],
            "target": {
                "kind": "Deployment",
                "namespaces": ["ai-agents", "production-agents"],
                "namespace": "{{ labels.namespace }}",
                "name": "{{ labels.agent_id }}-deployment",
            },
            "mode": "approval",
            "queries": {"errorRate": "sum(rate(agent_errors_total[5m]))"},
            "causes": [
                {
                    "name": "out-of-memory",
                    "when": "pods.exists(p, p.containers.exists(c, c.lastTerminated.reason == 'OOMKilled'))",
                    "actions": [{"setResources": {"limits": {"memory": {"multiply": 2, "max": "2Gi"}}}}],
                },
                {"name": "errors", "when": "queries.errorRate > 0.5", "actions": [{"rollback": {}}]},
                {"name": "otherwise", "actions": [{"restart": {}}]},
            ],
            "onFailure": [{"escalate": {"to": "oncall"}}],
            "escalate": [{"after": "15m", "to": "oncall"}],
        },
    })
}

/// The good policy with an RFC 7386 merge patch.
pub(crate) fn changed(patch: Value) -> PolicyDocument {
    let mut document = document();
    json_patch::merge(&mut document, &patch);
    serde_json::from_value(document).expect("a policy document")
}

/// The good policy's spec with a merge patch.
pub(crate) fn with_spec(patch: Value) -> PolicyDocument {
    changed(json!({ "spec": patch }))
}

pub(crate) fn compile(document: PolicyDocument) -> CompiledPolicy {
    CompiledPolicy::compile(document, &Names::default()).expect("a good policy")
}

/// What is wrong, as `path: message (help)`.
pub(crate) fn errors(document: PolicyDocument, names: &Names) -> Vec<String> {
    let problems = match CompiledPolicy::compile(document, names) {
        Ok(_) => Vec::new(),
        Err(problems) => problems,
    };
    assert!(problems.iter().all(|problem| problem.severity == Severity::Error));
    problems.iter().map(Problem::to_string).collect()
}
