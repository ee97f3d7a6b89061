//! Plans that somebody bent: every one must be refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::action::{self, Stamp};
use crate::domain::facts::Fact;
use crate::domain::plan::Step;
use crate::domain::policy::spec::PolicySpec;
use crate::domain::testing::{
    NOW, action as written, autoscaler, facts, known, plan_of, policy, workload,
};

/// A sound plan with all that it is held against.
#[derive(Clone, Debug)]
struct Sound {
    plan: Plan,
    spec: PolicySpec,
    actions: Vec<ActionSpec>,
    facts: Facts,
}

impl Sound {
    fn of(actions: &[Value], target: Workload) -> Self {
        let actions: Vec<_> = actions.iter().cloned().map(written).collect();
        let mut facts = facts([target]);
        facts.related = vec![workload(Kind::Deployment, "other")];
        let steps = action::plan(&actions, &facts, Stamp { time: NOW }).expect("a plan");
        Self { plan: plan_of(steps), spec: policy(actions.clone()), actions, facts }
    }

    fn verdict(&self) -> Result<(), String> {
        check(&self.plan, &self.spec, &self.actions, &self.facts)
    }

    fn patch(&mut self) -> &mut PatchChange {
        match &mut self.plan.steps[0].change {
            Change::Patch(change) => change,
            Change::DeletePods(_) | Change::Notify { .. } => panic!("no patch"),
        }
    }

    fn body(&mut self) -> &mut Value {
        match &mut self.patch().patch {
            Patch::Merge(body) | Patch::Strategic(body) => body,
        }
    }
}

fn all() -> Vec<Sound> {
    let deployment = || workload(Kind::Deployment, "agent");
    let mut scaled = deployment();
    scaled.autoscaler = known(autoscaler(2, 10));
    let mut set = workload(Kind::StatefulSet, "agent");
    if let Fact::Known { value: pods, .. } = &mut set.pods {
        pods[1].ready = false;
    }
    let resources =
        json!({"container": "agent", "limits": {"memory": {"multiply": 2.0, "max": "8Gi"}}});
    vec![
        Sound::of(&[json!({"restart": {}})], deployment()),
        Sound::of(&[json!({"scale": {"by": 2, "max": 6}})], deployment()),
        Sound::of(&[json!({"scale": {"by": -1}})], deployment()),
        Sound::of(&[json!({"scale": {"by": 2, "whenAutoscaled": "raiseMinReplicas"}})], scaled),
        Sound::of(&[json!({"rollback": {}})], deployment()),
        Sound::of(&[json!({"rollback": {}})], set),
        Sound::of(&[json!({"setResources": resources})], deployment()),
        Sound::of(
            &[json!({"setProbe": {"container": "agent", "periodSeconds": 30}})],
            deployment(),
        ),
    ]
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    let mut places = vec![String::new()];
    for (key, value) in below {
        let key = key.replace('~', "~0").replace('/', "~1");
        places.extend(places_below(&key, value));
    }
    places
}

fn places_below(key: &str, value: &Value) -> Vec<String> {
    places(value).into_iter().map(|place| format!("/{key}{place}")).collect()
}

/// Keys and values that would do harm, or at least what nobody asked for.
const KEYS: [&str; 22] = [
    "serviceAccountName",
    "image",
    "replicas",
    "paused",
    "hostPath",
    "hostNetwork",
    "volumes",
    "command",
    "args",
    "env",
    "securityContext",
    "$patch",
    "$retainKeys",
    "httpGet",
    "exec",
    "memory",
    "cpu",
    "finalizers",
    "ownerReferences",
    "labels",
    "resources.limits",
    "[0]",
];

fn values() -> Vec<Value> {
    let long =
        [json!(null), json!(""), json!([]), json!({}), json!(0), json!(-1), json!(1_000_000)];
    let harm = [json!("replace"), json!("delete"), json!("900Gi"), json!("1Mi"), json!("evil")];
    let deep = [json!([{"name": "evil"}]), json!({"path": "/"}), json!(true)];
    [&long[..], &harm, &deep].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    /// Something is put into the patch, or something in it is replaced, anywhere.
    #[test]
    fn a_bent_patch_is_refused(
        which in 0usize..8,
        place in any::<prop::sample::Index>(),
        key in 0usize..22,
        value in any::<prop::sample::Index>(),
        insert in any::<bool>(),
        inverse in any::<bool>(),
    ) {
        let mut sound = all().remove(which);
        prop_assert_eq!(sound.verdict(), Ok(()));
        let before = sound.plan.clone();
        let body = match &mut sound.patch().inverse {
            Patch::Merge(body) | Patch::Strategic(body) if inverse => body,
            Patch::Merge(_) | Patch::Strategic(_) => sound.body(),
        };
        let places = places(body);
        let place = &places[place.index(places.len())];
        let value = values()[value.index(values().len())].clone();
        let found = body.pointer_mut(place).expect("a place");
        match found {
            Value::Object(map) if insert => { map.insert(KEYS[key].to_owned(), value); }
            // What undoes a change sets what was there; only its fields are looked at.
            _ if inverse => return Ok(()),
            Value::Array(list) if insert => list.push(value),
            found => *found = value,
        }
        if sound.plan != before {
            let bent = sound.verdict();
            prop_assert!(bent.is_err(), "it passes: {:?}", sound.plan.steps[0].change);
        }
    }
}

#[test]
fn a_bent_plan_is_refused() {
    type Bend = (&'static str, fn(&mut Sound));
    let bends: [Bend; 18] = [
        ("other namespace", |s| s.patch().object.namespace = "kube-system".to_owned()),
        ("other uid", |s| s.patch().object.uid = "uid-of-evil".to_owned()),
        ("a related object's uid", |s| s.patch().object.uid = "uid-of-other".to_owned()),
        ("other name", |s| s.patch().object.name = "other".to_owned()),
        ("other kind", |s| s.patch().object.kind = "DaemonSet".to_owned()),
        ("other plural", |s| s.patch().object.plural = "secrets".to_owned()),
        ("other version", |s| s.patch().object.api_version = "v1".to_owned()),
        ("other generation", |s| s.patch().object.generation += 1),
        ("other subresource", |s| s.patch().object.subresource = Some("status".to_owned())),
        ("no step", |s| s.plan.steps.clear()),
        ("the same twice", |s| s.plan.steps.push(s.plan.steps[0].clone())),
        ("too many", |s| s.plan.steps = vec![s.plan.steps[0].clone(); MAX_STEPS + 1]),
        ("an action of no policy", |s| s.plan.steps[0].action = "drain".to_owned()),
        ("nothing to see it by", |s| s.patch().postcondition.clear()),
        ("the other kind of patch", |s| {
            let change = s.patch();
            change.patch = match change.patch.clone() {
                Patch::Merge(body) => Patch::Strategic(body),
                Patch::Strategic(body) => Patch::Merge(body),
            };
        }),
        ("a message", |s| {
            let change = Change::Notify { to: "evil".to_owned(), message: String::new() };
            s.plan.steps[0].change = change;
        }),
        ("pods of a Deployment", |s| {
            let owner = s.facts.related[0].target.clone();
            let pods = vec![("other-0".to_owned(), "uid-of-other-0".to_owned())];
            s.plan.steps[0].change = Change::DeletePods(DeletePods { owner, pods });
        }),
        ("a namespace that the policy lost", |s| s.spec.target.namespaces.clear()),
    ];
    for sound in all() {
        for (what, bend) in bends {
            let mut bent = sound.clone();
            bend(&mut bent);
            assert!(bent.verdict().is_err(), "{what}: {:?}", bent.plan.steps);
        }
        let mut silent = sound.clone();
        if silent.patch().replaces_pods {
            silent.patch().replaces_pods = false;
            assert!(silent.verdict().is_err(), "it hides that pods are replaced");
        }
    }
}

#[test]
fn values_that_the_policy_does_not_ask_for_are_refused() {
    let set = |which: usize, pointer: &str, value: Value| {
        let mut bent = all().remove(which);
        *bent.body().pointer_mut(pointer).expect("a place") = value;
        bent.verdict().expect_err("refused")
    };
    let memory = "/spec/template/spec/containers/0/resources/limits/memory";
    let name = "/spec/template/spec/containers/0/name";
    let other = crate::domain::testing::template("agent:2");
    let mut unproven = other.clone();
    unproven["$patch"] = json!("replace");
    let said = [
        set(1, "/spec/replicas", json!(6)),
        set(1, "/spec/replicas", json!(7)),
        set(1, "/spec/replicas", json!(0)),
        set(2, "/spec/replicas", json!(1)),
        set(3, "/spec/minReplicas", json!(2)),
        set(3, "/spec/minReplicas", json!(11)),
        set(4, "/spec/template", other),
        set(4, "/spec/template", unproven),
        set(6, memory, json!("3Gi")),
        set(6, memory, json!("9Gi")),
        set(6, memory, json!("256Mi")),
        set(6, name, json!("proxy")),
        set(7, name, json!("proxy")),
        set(7, "/spec/template/spec/containers/0/livenessProbe", json!({"httpGet": null})),
    ];
    insta::assert_snapshot!(said.join("\n"), @r###"
    6 replicas are not the 5 that the policy asks for
    7 replicas are outside the policy's bounds
    0 replicas are outside the policy's bounds
    1 replicas are not the 2 that the policy asks for
    minReplicas 2 is not above 2 and within 10
    minReplicas 11 is not above 2 and within 10
    the template would be merged, not replaced
    nothing speaks for revision 2
    the request for memory does not follow its limit
    the request for memory does not follow its limit
    the request for memory does not follow its limit
    the policy names `agent`, not "proxy"
    the policy names `agent`, not "proxy"
    the policy does not set httpGet to null
    "###);
}

#[test]
fn pods_are_deleted_only_after_their_revert_and_only_when_they_are_stuck() {
    let sound = all().remove(5);
    assert_eq!(sound.plan.steps.len(), 2);
    let bend = |bend: fn(&mut DeletePods)| {
        let mut bent = sound.clone();
        if let Change::DeletePods(change) = &mut bent.plan.steps[1].change {
            bend(change);
        }
        bent.verdict()
    };
    assert_eq!(bend(|_| {}), Ok(()));
    assert!(bend(|pods| pods.pods[0].1 = "uid-of-agent-2".to_owned()).is_err());
    assert!(
        bend(|pods| pods.pods.push(("agent-0".to_owned(), "uid-of-agent-0".to_owned()))).is_err()
    );
    assert!(bend(|pods| pods.pods.clear()).is_err());
    assert!(bend(|pods| pods.owner.name = "other".to_owned()).is_err());
    let mut first = sound.clone();
    first.plan.steps.reverse();
    assert!(first.verdict().is_err());
    let mut alone: Vec<Step> = sound.plan.steps.clone();
    alone.remove(0);
    first.plan.steps = alone;
    assert!(first.verdict().is_err());
}
