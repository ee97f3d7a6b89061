//! What holds of every plan, whatever the policy and the facts: caps, bounds, inverses, digests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::check;
use crate::domain::plan::{Change, Patch, Plan};
use crate::domain::quantity::Quantity;
use crate::domain::testing::*;

prop_compose! {
    fn bounded_scale()(
        to in proptest::option::of(prop_oneof![Just(0u32), 0u32..20, any::<u32>()]),
        by in proptest::option::of(prop_oneof![-9i32..9, any::<i32>()]),
        percent in prop_oneof![0u32..400, any::<u32>()],
        min in proptest::option::of(0u32..8),
        span in proptest::option::of(0u32..8),
        raise in any::<bool>(),
    ) -> Value {
        let mut spec = json!({"min": min});
        // A maximum of zero is refused when a policy is read.
        spec["max"] = json!(span.map(|span| (min.unwrap_or(1) + span).max(1)));
        match (to, by) {
            (Some(to), _) => spec["to"] = json!(to),
            (None, Some(by)) => spec["by"] = json!(by),
            (None, None) => spec["percent"] = json!(percent),
        }
        if raise {
            spec["whenAutoscaled"] = json!("raiseMinReplicas");
        }
        json!({"scale": spec})
    }
}

fn amount() -> impl Strategy<Value = Value> {
    let size = || prop_oneof![1u64..4_096, any::<u32>().prop_map(u64::from)];
    let factor = prop_oneof![1.0f64..4.0, Just(f64::MAX), Just(1e300)];
    prop_oneof![
        size().prop_map(|to| json!({"to": format!("{to}Mi")})),
        (size(), size())
            .prop_map(|(to, max)| json!({"to": format!("{to}Mi"), "max": format!("{max}M")})),
        (factor, size()).prop_map(|(by, max)| json!({"multiply": by, "max": format!("{max}Mi")})),
        (size(), size())
            .prop_map(|(more, max)| json!({"add": format!("{more}k"), "max": format!("{max}Mi")})),
    ]
}

prop_compose! {
    fn set_resources()(
        limit in proptest::option::of(amount()),
        request in proptest::option::of(amount()),
        cpu in proptest::option::of((1u32..9_000, 1.0f64..3.0)),
    ) -> Value {
        let (mut limits, mut requests) = (json!({}), json!({}));
        if let Some(limit) = limit { limits["memory"] = limit; }
        if let Some(request) = request { requests["memory"] = request; }
        if let Some((cap, by)) = cpu {
            limits["cpu"] = json!({"multiply": by, "max": format!("{cap}m")});
        }
        json!({"setResources": {"container": "agent", "limits": limits, "requests": requests}})
    }
}

prop_compose! {
    fn set_probe()(
        delay in proptest::option::of(0u32..100),
        period in proptest::option::of(1u32..100),
        failures in proptest::option::of(any::<u32>()),
    ) -> Value {
        json!({"setProbe": {"container": "agent", "initialDelaySeconds": delay,
            "periodSeconds": period, "failureThreshold": failures}})
    }
}

fn any_action() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"restart": {}})),
        bounded_scale(),
        Just(json!({"rollback": {}})),
        (0i64..5).prop_map(|number| json!({"rollback": {"toRevision": number}})),
        set_resources(),
        set_probe(),
        Just(json!({"escalate": {"to": "oncall"}})),
    ]
}

prop_compose! {
    fn any_workload()(
        kind in 0usize..3,
        desired in prop_oneof![0i64..12, Just(i64::from(i32::MAX))],
        memory in proptest::option::of(1u64..4_096),
        equal in any::<bool>(),
        bounds in proptest::option::of((1i64..6, 0i64..10)),
        stuck in 0usize..3,
    ) -> Workload {
        let kind = Kind::ALL[kind];
        let mut workload = workload(kind, "agent");
        workload.replicas.desired = desired;
        workload.object["spec"]["replicas"] = json!(desired);
        let resources = match memory {
            Some(memory) if equal => json!({"limits": {"memory": format!("{memory}Mi")}, "requests": {"memory": format!("{memory}Mi")}}),
            Some(memory) => json!({"limits": {"memory": format!("{memory}Mi"), "cpu": 1}, "requests": {"memory": "1Mi"}}),
            None => json!({"requests": {"memory": "64Mi"}}),
        };
        workload.object["spec"]["template"]["spec"]["containers"][0]["resources"] = resources;
        if let Some((min, span)) = bounds {
            workload.autoscaler = known(autoscaler(min, min + span));
        }
        if let crate::domain::facts::Fact::Known { value: pods, .. } = &mut workload.pods {
            pods[stuck].ready = false;
        }
        workload
    }
}

/// The live object that a step would change.
fn live(step: &Step, workload: &Workload) -> Value {
    let mut object = match &step.change {
        Change::Patch(change) if change.object.kind == "HorizontalPodAutoscaler" => {
            let owner = workload.autoscaler.known().expect("an autoscaler");
            json!({"metadata": {}, "spec": {"minReplicas": owner.min, "maxReplicas": owner.max}})
        }
        Change::Patch(_) | Change::DeletePods(_) | Change::Notify { .. } => workload.object.clone(),
    };
    // What was there before the current revision said why it came.
    object["metadata"]["annotations"] = json!({"kubernetes.io/change-cause": "release 3"});
    object
}

fn apply_patch(patch: &Patch, object: &mut Value) {
    match patch {
        Patch::Merge(body) => apply(body, object, false),
        Patch::Strategic(body) => apply(body, object, true),
    }
}

/// Without maps that hold nothing, which mean the same as no map; amounts in one spelling.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(key, value)| (key.clone(), pruned(value)));
            let kept = kept.filter(|(_, value)| *value != json!({}) && !value.is_null());
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().map(pruned).collect(),
        // `1024Mi`, `1Gi` and a bare number are the same amount.
        other => match serde_json::from_value::<Quantity>(other.clone()) {
            Ok(amount) => json!(amount),
            Err(_) => other.clone(),
        },
    }
}

fn amounts(object: &Value, which: &str, resource: &str) -> Option<Quantity> {
    let value = &object["spec"]["template"]["spec"]["containers"][0]["resources"][which][resource];
    serde_json::from_value(value.clone()).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_sound(written in any_action(), workload in any_workload()) {
        let (spec, seen) = (action(written), facts([workload.clone()]));
        let Ok(steps) = plan(std::slice::from_ref(&spec), &seen, Stamp { time: NOW }) else {
            return Ok(());
        };
        let again = plan(std::slice::from_ref(&spec), &seen, Stamp { time: NOW }).expect("again");
        let whole = plan_of(steps);
        prop_assert_eq!(whole.digest(), plan_of(again).digest());
        let read: Plan = serde_json::from_value(json!(whole)).expect("a plan is read back");
        prop_assert_eq!(read.digest(), whole.digest());
        let allowed = policy(vec![spec.clone()]);
        prop_assert_eq!(check::check(&whole, &allowed, &[spec], &seen), Ok(()));
        for step in &whole.steps {
            let Change::Patch(change) = &step.change else { continue };
            let before = live(step, &workload);
            let mut object = before.clone();
            apply_patch(&change.patch, &mut object);
            prop_assert!(holds(&change.postcondition, &object), "not after: {}", step.summary);
            prop_assert!(!holds(&change.postcondition, &before), "before: {}", step.summary);
            apply_patch(&change.inverse, &mut object);
            prop_assert_eq!(pruned(&object), pruned(&before));
        }
    }

    #[test]
    fn replicas_stay_inside_the_bounds_and_go_the_way_that_is_asked(
        written in bounded_scale(),
        workload in any_workload(),
    ) {
        let ActionSpec::Scale(spec) = action(written.clone()) else { unreachable!() };
        let current = workload.replicas.desired;
        let Ok(steps) = plan(&[action(written)], &facts([workload]), Stamp { time: NOW }) else {
            return Ok(());
        };
        let body = patch(&steps[0]).patch.body()["spec"].clone();
        if let Some(replicas) = body["replicas"].as_i64() {
            prop_assert!(spec.max.is_none_or(|max| replicas <= i64::from(max)));
            prop_assert!(spec.min.is_none_or(|min| replicas >= i64::from(min)));
            prop_assert!(replicas > 0 || spec.to == Some(0) || spec.min == Some(0));
            if let (None, Some(by)) = (spec.to, spec.by) {
                prop_assert_eq!(by > 0, replicas > current);
            }
            prop_assert_eq!(patch(&steps[0]).replaces_pods, replicas < current);
        } else {
            let minimum = body["minReplicas"].as_i64().expect("one of the two");
            prop_assert!(minimum >= 1 && spec.max.is_none_or(|max| minimum <= i64::from(max)));
        }
    }

    #[test]
    fn resources_never_pass_a_cap_nor_shrink_nor_cross(
        written in set_resources(),
        workload in any_workload(),
    ) {
        let ActionSpec::SetResources(spec) = action(written.clone()) else { unreachable!() };
        let before = workload.object.clone();
        let Ok(steps) = plan(&[action(written)], &facts([workload]), Stamp { time: NOW }) else {
            return Ok(());
        };
        let mut after = before.clone();
        apply_patch(&patch(&steps[0]).patch, &mut after);
        for (which, amounts_of) in [("limits", &spec.limits), ("requests", &spec.requests)] {
            for (resource, amount) in amounts_of {
                let new = amounts(&after, which, resource).expect("set");
                let old = amounts(&before, which, resource);
                let cap = amount.max.or(amount.to).expect("a cap");
                prop_assert!(new <= cap || Some(new) == old, "{new} is above {cap}");
                prop_assert!(old.is_none_or(|old| new >= old));
            }
        }
        for resource in ["memory", "cpu"] {
            let of = |object: &Value, which| amounts(object, which, resource);
            let (limit, request) = (of(&after, "limits"), of(&after, "requests"));
            if let (Some(limit), Some(request)) = (limit, request) {
                prop_assert!(request <= limit, "{request} is above {limit}");
            }
            let equal = of(&before, "limits").is_some() && of(&before, "limits") == of(&before, "requests");
            if equal && !spec.requests.contains_key(resource) {
                prop_assert_eq!(limit, request);
            }
        }
    }
}
