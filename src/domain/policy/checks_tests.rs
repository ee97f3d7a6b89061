//! Every mistake in a policy with what is said about it.

use serde_json::{Value, json};

use super::super::sample::{changed, errors, with_spec};
use super::*;

fn causes(action: Value) -> Value {
    json!({"causes": [{"name": "a", "actions": [action]}]})
}

/// Every mistake with what is said about it.
fn mistakes() -> Vec<(Value, &'static str)> {
    let memory = |amount: Value| causes(json!({"setResources": {"limits": {"memory": amount}}}));
    let freeze = |window: Value| json!({"gates": {"freeze": [window]}});
    vec![
        (json!({"summary": " "}), "spec.summary: the summary is empty"),
        (json!({"match": []}), "spec.match: the policy would match every alert"),
        (json!({"match": ["a!=\"b\""]}), "spec.match: the policy would match every alert"),
        (json!({"match": ["a=~\".*\""]}), "spec.match: the policy would match every alert"),
        (json!({"match": ["a=\"b"]}), "spec.match[0]: the closing `\"` is missing"),
        (
            json!({"target": {"namespaces": []}}),
            "spec.target.namespaces: the list of namespaces is empty",
        ),
        (
            json!({"target": {"namespaces": ["A"]}}),
            "spec.target.namespaces[0]: `A` is not the name of a namespace",
        ),
        (
            json!({"target": {"namespaces": ["a", "a"]}}),
            "spec.target.namespaces[1]: `a` is in the list twice",
        ),
        (json!({"target": {"namespace": null}}), "spec.target: `namespace` is missing"),
        (
            json!({"target": {"namespace": "ai-agent"}}),
            "spec.target.namespace: `ai-agent` is not in the list of namespaces (did you mean `ai-agents`?)",
        ),
        (
            json!({"target": {"name": null}}),
            "spec.target: exactly one of `name`, `selector` and `ownerOf`",
        ),
        (json!({"target": {"ownerOf": {"pod": "x"}}}), "spec.target: exactly one of"),
        (
            json!({"target": {"name": "{{ label.x }}"}}),
            "spec.target.name: write `{{ labels.NAME }}`",
        ),
        (json!({"target": {"name": "A_b"}}), "spec.target.name: `A_b` is not a Kubernetes name"),
        (
            json!({"target": {"name": null, "selector": {}}}),
            "spec.target.selector: the selector is empty",
        ),
        (
            json!({"target": {"name": null, "selector": {"a b": "x"}}}),
            "spec.target.selector.a b: `a b` is not the name of a Kubernetes label",
        ),
        (
            json!({"target": {"maxTargets": 0}}),
            "spec.target.maxTargets: `maxTargets` must be between 1 and 10",
        ),
        (
            json!({"target": {"maxTargets": 3}}),
            "spec.target.maxTargets: `maxTargets` has a meaning only with `selector`",
        ),
        (
            json!({"queries": {"a-b": "up"}}),
            "spec.queries.a-b: `a-b` cannot be used as `queries.a-b`",
        ),
        (
            json!({"queries": {"q": "rate({{ labels.x }}[5m])"}}),
            "spec.queries.q: in PromQL a placeholder must stand inside",
        ),
        (json!({"queries": {"q": ""}}), "spec.queries.q: the query is empty"),
        (json!({"causes": []}), "spec.causes: the policy has no causes"),
        (
            json!({"causes": [{"name": "A", "actions": [{"restart": {}}]}]}),
            "spec.causes[0].name: `A` is no name for a cause",
        ),
        (
            json!({"causes": [{"name": "a", "actions": []}]}),
            "spec.causes[0].actions: the cause has no actions",
        ),
        (
            json!({"causes": [{"name": "a", "when": "pod.ready", "actions": [{"restart": {}}]}]}),
            "spec.causes[0].when: there is no variable `pod` (did you mean `pods`?)",
        ),
        (
            json!({"causes": [{"name": "a", "when": "(", "actions": [{"restart": {}}]}]}),
            "spec.causes[0].when: the expression ends too early",
        ),
        (
            json!({"causes": [{"name": "a", "when": "true", "actions": [{"restart": {}}]}, {"name": "a", "actions": [{"restart": {}}]}]}),
            "spec.causes[1].name: there are two causes named `a`",
        ),
        (
            causes(json!({"scale": {}})),
            "spec.causes[0].actions[0].scale: exactly one of `to`, `by` and `percent`",
        ),
        (causes(json!({"scale": {"to": 1, "by": 1, "max": 3}})), "scale: exactly one of"),
        (causes(json!({"scale": {"by": 1}})), "scale: `max` is missing"),
        (causes(json!({"scale": {"by": -1}})), "scale: `min` is missing"),
        (causes(json!({"scale": {"percent": 150}})), "scale: `max` is missing"),
        (causes(json!({"scale": {"by": 0, "max": 1}})), "scale.by: a change by 0 is none"),
        (
            causes(json!({"scale": {"to": 5, "max": 3}})),
            "scale.to: `to` 5 is outside `min` and `max`",
        ),
        (
            causes(json!({"scale": {"to": 5, "max": 3, "min": 4}})),
            "scale.min: `min` 4 is above `max` 3",
        ),
        (causes(json!({"scale": {"to": 5000}})), "scale.to: more than 1000 replicas"),
        (
            causes(json!({"scale": {"percent": 0, "min": 1}})),
            "scale.percent: must be between 1 and 1000",
        ),
        (
            causes(json!({"scale": {"to": 1, "on": {"kind": "DaemonSet", "name": "x"}}})),
            "scale: `scale` cannot be done to a DaemonSet",
        ),
        (
            causes(json!({"restart": {"on": {"kind": "StatefulSet", "name": "{{ labels.x }}"}}})),
            "restart.on.name: the name of another workload cannot be a template",
        ),
        (
            causes(json!({"rollback": {"toRevision": 0}})),
            "rollback.toRevision: revisions are numbered from 1",
        ),
        (causes(json!({"setResources": {}})), "setResources: neither `limits` nor `requests`"),
        (
            causes(json!({"setResources": {"limits": {"memroy": {"to": "1Gi"}}}})),
            "limits.memroy: `memroy` is not a resource that can be changed (did you mean `memory`?)",
        ),
        (memory(json!({})), "memory: exactly one of `to`, `multiply` and `add`"),
        (memory(json!({"multiply": 2})), "memory: `max` is missing"),
        (memory(json!({"add": "1Gi"})), "memory: `max` is missing"),
        (
            memory(json!({"multiply": 1, "max": "1Gi"})),
            "memory.multiply: `multiply` must be above 1",
        ),
        (memory(json!({"to": "4Gi", "max": "2Gi"})), "memory.to: `to` 4Gi is above `max` 2Gi"),
        (memory(json!({"to": "0"})), "memory.to: must be more than nothing"),
        (causes(json!({"setProbe": {}})), "setProbe: at least one of"),
        (
            causes(json!({"setProbe": {"periodSeconds": 0}})),
            "setProbe.periodSeconds: must be between 1 and 3600",
        ),
        (
            causes(json!({"setProbe": {"container": "A", "periodSeconds": 1}})),
            "setProbe.container: `A` is not the name of a container",
        ),
        (
            causes(json!({"escalate": {"to": "oncal"}})),
            "escalate.to: the configuration has no receiver `oncal` (did you mean `oncall`?)",
        ),
        (
            causes(json!({"escalate": {"to": "oncall", "message": ""}})),
            "escalate.message: the message is empty",
        ),
        (json!({"onFailure": [{"scale": {}}]}), "spec.onFailure[0].scale: exactly one of"),
        (
            json!({"escalate": [{"after": "15m", "to": ""}]}),
            "spec.escalate[0].to: the receiver's name is empty",
        ),
        (json!({"gates": {"cooldown": "8d"}}), "spec.gates.cooldown: `8d` is longer than 7d"),
        (
            json!({"gates": {"limit": {"actions": 0, "per": "0s"}}}),
            "spec.gates.limit.actions: a limit of no actions",
        ),
        (
            json!({"gates": {"limit": {"actions": 1, "per": "0s"}}}),
            "spec.gates.limit.per: `0s` is less than 1s",
        ),
        (
            json!({"gates": {"minReadyPercent": 101}}),
            "spec.gates.minReadyPercent: `101` percent is more than all",
        ),
        (
            freeze(json!({"name": "x", "starts": "often", "lasts": "1h"})),
            "freeze[0].starts: `often` is not a cron expression",
        ),
        (
            freeze(json!({"name": "x", "starts": "0 0 18 * * FRI", "lasts": "1h"})),
            "freeze[0].starts: ",
        ),
        (
            freeze(json!({"name": "x", "starts": "0 18 * * FRI", "lasts": "0s"})),
            "freeze[0].lasts: `0s` is less than 1s",
        ),
        (
            freeze(json!({"name": "x", "starts": "0 18 * * FRI", "lasts": "1h", "zone": "Berlin"})),
            "freeze[0].zone: `Berlin` is not a time zone",
        ),
        (
            json!({"approval": {"quorum": 0}}),
            "spec.approval.quorum: `quorum` must be between 1 and 10",
        ),
        (
            json!({"approval": {"approvers": ["sra"]}}),
            "spec.approval.approvers[0]: the configuration has no group `sra` (did you mean `sre`?)",
        ),
        (
            json!({"approval": {"expiresAfter": "1s"}}),
            "spec.approval.expiresAfter: `1s` is less than 30s",
        ),
        (json!({"verify": {"within": "0s"}}), "spec.verify.within: `0s` is less than 1s"),
        (
            json!({"verify": {"stableFor": "30m"}}),
            "spec.verify.stableFor: `30m` of stability can never be seen within `10m`",
        ),
        (
            json!({"verify": {"query": {"expr": "up"}}}),
            "spec.verify.query: exactly one of `below` and `above`",
        ),
        (
            json!({"verify": {"query": {"expr": "up", "below": 1, "for": "10m"}}}),
            "spec.verify.query.for: `10m` can never pass within `10m`",
        ),
    ]
}

#[test]
fn every_mistake_is_found_and_named() {
    let names = Names {
        receivers: Some(BTreeSet::from(["oncall".to_owned()])),
        groups: Some(BTreeSet::from(["sre".to_owned()])),
    };
    assert_eq!(errors(with_spec(json!({})), &names), [""; 0]);
    for (patch, expected) in mistakes() {
        let found = errors(with_spec(patch.clone()), &names);
        assert!(found.iter().any(|text| text.contains(expected)), "{patch}: {found:#?}");
    }
}

#[test]
fn the_header_is_checked_too_and_all_is_said_at_once() {
    let document = changed(json!({
        "apiVersion": "v1", "kind": "Policy", "metadata": {"name": "Agent Down"},
    }));
    let found = errors(document, &Names::default());
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].contains("`v1` is not a version that is known (write orderly.dev/v1alpha1)"));
}
