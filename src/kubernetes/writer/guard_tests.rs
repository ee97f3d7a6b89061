//! What is compared before a change and looked for after it.

use super::*;
use crate::domain::id::{Digest, Episode, Fingerprint, IncidentId};

fn mark() -> Mark {
    let episode = Episode { fingerprint: Fingerprint(1), starts_at: jiff::Timestamp::UNIX_EPOCH };
    let plan = Digest::of("test", &0);
    Mark { incident: IncidentId::of(episode), plan, step: 0 }
}

fn change(subresource: Option<&str>) -> PatchChange {
    let memory = ["spec", "containers", "[name=agent]", "resources", "limits", "memory"];
    let replicas = ["spec", "replicas"];
    let (path, value): (&[&str], _) =
        if subresource.is_some() { (&replicas, json!(5)) } else { (&memory, json!("1024Mi")) };
    PatchChange {
        object: ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
            namespace: "prod".to_owned(),
            name: "api".to_owned(),
            uid: "u1".to_owned(),
            generation: 4,
            subresource: subresource.map(str::to_owned),
        },
        patch: Patch::Strategic(json!({"spec": {"replicas": 5}})),
        inverse: Patch::Strategic(json!({"spec": {"replicas": 3}})),
        postcondition: vec![Expected {
            path: path.iter().map(|step| (*step).to_owned()).collect(),
            value,
        }],
        replaces_pods: true,
    }
}

fn live(generation: i64, marked: Option<&str>, memory: &str, replicas: i64) -> Value {
    json!({"metadata": {"uid": "u1", "generation": generation, "resourceVersion": "77",
            "annotations": {MARK: marked},
            "managedFields": [{"manager": "kubectl-edit", "time": "2026-01-01T00:00:00Z"}]},
        "spec": {"replicas": replicas, "containers": [{"name": "side"},
            {"name": "agent", "resources": {"limits": {"memory": memory}}}]}})
}

#[test]
fn another_uid_or_generation_is_a_difference_that_names_the_last_writer() {
    assert_eq!(difference(&change(None), &live(4, None, "512Mi", 3)), None);
    let changed = difference(&change(None), &live(6, None, "512Mi", 3)).expect("a difference");
    assert!(changed.contains("generation 4 is now 6"), "{changed}");
    assert!(changed.contains("last by `kubectl-edit`"), "{changed}");
    let mut anew = live(4, None, "512Mi", 3);
    anew["metadata"]["uid"] = json!("u2");
    assert!(difference(&change(None), &anew).expect("a difference").contains("made anew"));
}

#[test]
fn an_object_without_generations_is_held_against_what_the_change_replaces() {
    let mut change = change(None);
    change.object.generation = 0;
    let object = |min| json!({"metadata": {"uid": "u1"}, "spec": {"replicas": min}});
    assert_eq!(difference(&change, &object(3)), None);
    let what = difference(&change, &object(4)).expect("a difference");
    assert!(what.contains("`spec.replicas` is 4, planned for 3"), "{what}");
}

#[test]
fn a_patch_carries_its_precondition_and_mark_but_not_in_the_template() {
    let sent = body(&change(None), &live(4, None, "512Mi", 3), &mark());
    assert_eq!(
        sent,
        json!({"spec": {"replicas": 5}, "metadata": {"resourceVersion": "77", "uid": "u1",
            "annotations": {MARK: mark().to_string()}}})
    );
    let scale = body(&change(Some("scale")), &live(4, None, "512Mi", 3), &mark());
    assert_eq!(scale, json!({"spec": {"replicas": 5}, "metadata": {"resourceVersion": "77"}}));
    assert!(path(&change(Some("scale")).object).ends_with("/deployments/api/scale"));
}

#[test]
fn a_marked_patch_is_seen_as_applied_also_when_the_server_writes_the_amount_its_own_way() {
    let ours = mark().to_string();
    let seen = |live: Value| observe(&change(None), &live, &mark());
    assert_eq!(seen(live(5, Some(&ours), "1Gi", 3)), Observation::Applied);
    assert_eq!(seen(live(4, None, "512Mi", 3)), Observation::NotApplied);
    // Neither a mark nor a postcondition that held all along makes a change of it.
    assert_eq!(seen(live(4, Some(&ours), "1Gi", 3)), Observation::NotApplied);
    let Observation::Changed { what } = seen(live(6, Some(&ours), "2Gi", 3)) else {
        panic!("not seen as changed")
    };
    assert!(what.contains("is \"2Gi\", not \"1024Mi\""), "{what}");
    // The same value by somebody else is not our doing.
    let other = seen(live(5, Some("another/0"), "1Gi", 3));
    assert!(matches!(other, Observation::Changed { .. }), "{other:?}");
}

#[test]
fn a_scale_is_seen_by_its_number_and_the_generation() {
    let seen = |generation, replicas| {
        observe(&change(Some("scale")), &live(generation, None, "512Mi", replicas), &mark())
    };
    assert_eq!(seen(4, 3), Observation::NotApplied);
    assert_eq!(seen(5, 5), Observation::Applied);
    assert!(matches!(seen(6, 4), Observation::Changed { .. }));
}

#[test]
fn a_list_can_be_expected_as_a_whole_by_name() {
    let path = ["spec", "containers", "{name:image}"].map(str::to_owned);
    let object = json!({"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b"}]}});
    assert_eq!(resolve(&path, &object), json!({"a": "a:1", "b": null}));
}

#[test]
fn nothing_expected_means_nothing_there() {
    let expected = [Expected { path: vec!["spec".into(), "paused".into()], value: Value::Null }];
    assert_eq!(holds(&expected, &json!({"spec": {}})), Ok(()));
    let held = holds(&expected, &json!({"spec": {"paused": true}}));
    assert_eq!(held, Err("`spec.paused` is true, not null".to_owned()));
}
