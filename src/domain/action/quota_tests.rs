//! What fits into a quota, and what is said of what does not.

use serde_json::json;

use super::*;

fn workload(kind: &str, replicas: i64, memory: &str, rest: Value) -> Value {
    let mut object = json!({"kind": kind, "spec": {
        "replicas": replicas,
        "template": {"spec": {"containers": [
            {"name": "app", "resources": {"limits": {"memory": memory}}},
        ]}},
    }});
    for (key, value) in rest.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

fn quota(hard: Value, used: Value) -> Quota {
    let object = json!({
        "metadata": {"name": "house"}, "spec": {"hard": hard.clone()},
        "status": {"hard": hard, "used": used},
    });
    Quota::read(&object).expect("it is counted")
}

/// What is said of a change from 100Mi to 200Mi, with so much limited and 100Mi a pod used.
fn replaced(kind: &str, replicas: i64, limited: &str, rest: Value) -> Result<(), String> {
    let before = workload(kind, replicas, "100Mi", rest.clone());
    let after = workload(kind, replicas, "200Mi", rest);
    let used = format!("{}Mi", 100 * replicas);
    let mut quotas = [quota(json!({"limits.memory": limited}), json!({"limits.memory": used}))];
    charge_change(&mut quotas, &before, &after, replicas).map_err(|why| why.to_string())
}

#[test]
fn a_pod_that_comes_before_an_old_one_goes_needs_room_of_its_own() {
    // Two replicas: a quarter of them is rounded down to none that may be away.
    let refused = replaced("Deployment", 2, "399Mi", json!({})).expect_err("no room");
    assert_eq!(
        refused,
        "its pods would be refused: exceeded quota: house, requested: limits.memory=200Mi, \
         used: limits.memory=200Mi, limited: limits.memory=399Mi"
    );
    // The second comes while one of the old ones is left: 100Mi + 200Mi are used.
    assert!(replaced("Deployment", 2, "499Mi", json!({})).is_err());
    assert_eq!(replaced("Deployment", 2, "500Mi", json!({})), Ok(()));
}

#[test]
fn what_goes_before_it_comes_needs_less() {
    let recreate = json!({"strategy": {"type": "Recreate"}});
    assert_eq!(replaced("Deployment", 2, "400Mi", recreate.clone()), Ok(()));
    assert!(replaced("Deployment", 2, "399Mi", recreate).is_err());
    assert_eq!(replaced("StatefulSet", 2, "400Mi", json!({})), Ok(()));
    assert!(replaced("StatefulSet", 2, "399Mi", json!({})).is_err());
    assert_eq!(replaced("DaemonSet", 2, "400Mi", json!({})), Ok(()));
    let surge = json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}});
    assert!(replaced("DaemonSet", 2, "400Mi", surge).is_err());
    let none = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}}});
    assert_eq!(replaced("Deployment", 2, "400Mi", none), Ok(()));
}

#[test]
fn replicas_are_counted_up_to_the_first_that_does_not_fit() {
    let before = workload("Deployment", 2, "100Mi", json!({}));
    let after = workload("Deployment", 5, "100Mi", json!({}));
    let limits = |hard: &str| quota(json!({"pods": hard}), json!({"pods": "2"}));
    assert!(charge_change(&mut [limits("5")], &before, &after, 2).is_ok());
    let refused = charge_change(&mut [limits("4")], &before, &after, 2).expect_err("no room");
    assert!(refused.to_string().ends_with("requested: pods=1, used: pods=4, limited: pods=4"));
    assert!(charge_change(&mut [limits("1")], &after, &before, 5).is_ok(), "fewer always fit");
    // Two steps of one plan share what there is.
    let mut shared = [limits("7")];
    assert!(charge_change(&mut shared, &before, &after, 2).is_ok());
    assert!(charge_change(&mut shared, &before, &after, 2).is_err());
}

#[test]
fn a_quota_counts_the_pods_of_its_scopes_only() {
    let with = |spec: Value| {
        let object = json!({
            "metadata": {"name": "house"}, "spec": spec,
            "status": {"hard": {"pods": "2"}, "used": {"pods": "2"}},
        });
        let before = workload("Deployment", 2, "100Mi", json!({}));
        let after = workload("Deployment", 3, "100Mi", json!({}));
        charge_change(&mut [Quota::read(&object).expect("counted")], &before, &after, 2).is_ok()
    };
    let priority = |operator: &str| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": ["high"]},
        ]}})
    };
    assert!(!with(json!({})));
    assert!(!with(json!({"scopes": ["NotTerminating", "NotBestEffort"]})));
    assert!(with(json!({"scopes": ["BestEffort"]})));
    assert!(with(json!({"scopes": ["Terminating"]})));
    assert!(with(priority("In")));
    assert!(!with(priority("NotIn")));
    assert!(with(json!({"scopes": ["CrossNamespacePodAffinity"]})));
    assert!(!with(json!({"scopes": ["SomethingNew"]})));
}

#[test]
fn what_is_not_counted_yet_is_not_taken_for_empty() {
    let object = json!({"metadata": {"name": "new"}, "spec": {"hard": {"pods": "1"}}});
    let why = Quota::read(&object).expect_err("nothing is known");
    assert_eq!(why, "ResourceQuota `new` has not counted its pods yet");
}

#[test]
fn a_pod_is_charged_for_its_sidecars_and_for_the_largest_before_it() {
    let container = |memory: &str| json!({"resources": {"requests": {"memory": memory}}});
    let sidecar = |memory: &str| {
        let mut it = container(memory);
        it["restartPolicy"] = json!("Always");
        it
    };
    let mebibytes =
        |spec: Value| charge(&json!({"spec": spec}), "requests.memory") / 1_000 / (1 << 20);
    let containers = json!([container("100Mi"), container("50Mi")]);
    assert_eq!(mebibytes(json!({"containers": containers})), 150);
    let init = json!([sidecar("20Mi"), container("90Mi")]);
    assert_eq!(mebibytes(json!({"containers": containers, "initContainers": init})), 170);
    let init = json!([sidecar("20Mi"), container("190Mi")]);
    assert_eq!(mebibytes(json!({"containers": containers, "initContainers": init})), 210);
    let overhead = json!({"memory": "5Mi"});
    assert_eq!(mebibytes(json!({"containers": containers, "overhead": overhead})), 155);
    let whole = json!({"requests": {"memory": "300Mi"}});
    assert_eq!(mebibytes(json!({"containers": containers, "resources": whole})), 300);
}
