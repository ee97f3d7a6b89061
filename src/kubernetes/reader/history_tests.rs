//! The rollout history and its evidence, on JSON as the API gives it.

use serde_json::json;

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + minute * 60).expect("a time")
}

fn replica_set(number: i64, minute: i64, image: &str, former: &str) -> Value {
    let name = format!("api-{image}");
    let mut annotations = json!({NUMBER: number.to_string()});
    if !former.is_empty() {
        annotations[FORMER] = json!(former);
    }
    json!({
        "metadata": {"name": name, "uid": format!("uid-{image}"), "annotations": annotations,
            "creationTimestamp": at(minute).to_string(),
            "ownerReferences": [{"kind": "Deployment", "name": "api", "uid": "d", "controller": true}]},
        "spec": {"template": {"metadata": {"labels": {"app": "api", "pod-template-hash": image}},
            "spec": {"containers": [{"name": "agent", "image": image}]}}}
    })
}

fn deployment(image: &str) -> Value {
    json!({"metadata": {"name": "api", "uid": "d"},
        "spec": {"template": {"metadata": {"labels": {"app": "api"}, "creationTimestamp": null,
            "annotations": {RESTARTED: "2026-01-01T00:00:00Z", "orderly.dev/by": "x"}},
            "spec": {"containers": [{"name": "agent", "image": image}]}}}})
}

fn read(object: &Value, items: &[Value], pods: Option<&[Seen]>) -> Vec<Revision> {
    revisions(Kind::Deployment, object, &owned(items, "d"), pods)
}

fn pod(revision: &str, available: bool, state: &str) -> Seen {
    let item = json!({
        "metadata": {"name": format!("{revision}-x"), "uid": "p", "creationTimestamp": at(0).to_string(),
            "ownerReferences": [{"uid": "rs", "controller": true}]},
        "spec": {"containers": [{"name": "agent", "image": "i"}]},
        "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": if available { "True" } else { "False" }}],
            "containerStatuses": [{"name": "agent", "restartCount": 0,
                "state": {"waiting": {"reason": state}}}]}});
    let belonging = pods::Belonging {
        owners: ["rs".to_owned()].into(),
        revisions: [("rs".to_owned(), revision.to_owned())].into(),
    };
    pods::seen(&[item], &belonging, 0, at(0)).remove(0)
}

#[test]
fn a_revision_served_from_its_creation_to_that_of_its_successor() {
    let items = [replica_set(1, 0, "one", ""), replica_set(2, 90, "two", "")];
    let history = read(&deployment("two"), &items, None);
    let numbers: Vec<_> = history.iter().map(|revision| revision.number).collect();
    assert_eq!(numbers, [2, 1]);
    assert!(history[0].current && !history[1].current);
    assert_eq!(history[0].health, RevisionHealth::Unknown);
    assert_eq!(history[1].health, RevisionHealth::Served { since: at(0), until: at(90) });
    assert_eq!(history[1].template["metadata"]["labels"], json!({"app": "api"}));
}

#[test]
fn a_revision_that_was_replaced_by_going_back_has_no_time_in_service() {
    // 1 = good, 2 = bad, back to good (now 3), then 4. How long `bad` lasted is not written down.
    let items = [
        replica_set(3, 0, "good", "1"),
        replica_set(2, 90, "bad", ""),
        replica_set(4, 300, "newest", ""),
    ];
    let history = read(&deployment("newest"), &items, None);
    let health = |name: &str| {
        let revision = history.iter().find(|revision| revision.name == name);
        revision.map(|revision| revision.health.clone()).expect("in the history")
    };
    assert_eq!(health("api-bad"), RevisionHealth::Unknown);
    assert_eq!(health("api-good"), RevisionHealth::Served { since: at(0), until: at(90) });
}

#[test]
fn pods_outweigh_the_past() {
    let items = [replica_set(1, 0, "one", ""), replica_set(2, 90, "two", "")];
    let pods = [pod("api-one", true, ""), pod("api-two", false, "ImagePullBackOff")];
    let history = read(&deployment("two"), &items, Some(&pods));
    assert_eq!(history[1].health, RevisionHealth::Available);
    let RevisionHealth::Failing { evidence } = &history[0].health else {
        panic!("{:?}", history[0].health)
    };
    assert_eq!(evidence, "1 of 1 pods fail: pod `api-two-x`, container `agent`: ImagePullBackOff");
}

#[test]
fn another_deployments_replica_sets_are_left_out() {
    let mut foreign = replica_set(9, 10, "foreign", "");
    foreign["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    assert!(read(&deployment("one"), &[foreign], None).is_empty());
}

#[test]
fn a_rollout_started_when_its_revision_was_made_unless_it_is_an_old_one() {
    let items = [replica_set(1, 0, "one", ""), replica_set(2, 90, "two", "")];
    let object = deployment("two");
    assert_eq!(started(Kind::Deployment, &object, &owned(&items, "d")), Some(at(90)));
    let back = [replica_set(3, 0, "one", "1"), replica_set(2, 90, "two", "")];
    let mut object = deployment("one");
    assert_eq!(started(Kind::Deployment, &object, &owned(&back, "d")), None);
    object["metadata"]["managedFields"] = json!([
        {"manager": "a", "time": at(100).to_string(), "fieldsV1": {"f:spec": {"f:template": {}}}},
        {"manager": "b", "time": at(120).to_string(), "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]);
    assert_eq!(started(Kind::Deployment, &object, &owned(&back, "d")), Some(at(100)));
}

#[test]
fn a_controller_revision_holds_the_template_as_a_patch() {
    let template = |image: &str| {
        json!({"$patch": "replace", "metadata": {"labels": {"app": "db"}, "creationTimestamp": null},
        "spec": {"containers": [{"name": "db", "image": image}]}})
    };
    let item = |number: i64, image: &str| {
        json!({
        "metadata": {"name": format!("db-{number}"), "creationTimestamp": at(number * 60).to_string(),
            "ownerReferences": [{"uid": "s", "controller": true}]},
        "data": {"spec": {"template": template(image)}}, "revision": number})
    };
    let object = json!({"spec": {"template": {"metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "db", "image": "db:2"}]}}}});
    let items = [item(1, "db:1"), item(2, "db:2")];
    let history = revisions(Kind::StatefulSet, &object, &owned(&items, "s"), None);
    assert!(history[0].current && history[0].number == 2);
    assert!(history[1].template.get("$patch").is_none());
    assert_eq!(history[1].health, RevisionHealth::Served { since: at(60), until: at(120) });
}
