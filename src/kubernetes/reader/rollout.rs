//! Judges where a rollout stands, with the conditions of `kubectl rollout status` in their order.
//!
//! Pure. The status is not looked at before the controller has seen the newest generation: an old
//! status looks complete.

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::facts::{Kind, Replicas, Rollout, RolloutState, Strategy};
use crate::kubernetes::json;

/// The replica counts of an object's spec and status.
pub fn replicas(kind: Kind, object: &Value) -> Replicas {
    let status = |field| json::number(object, &["status", field]).unwrap_or_default();
    match kind {
        Kind::Deployment => Replicas {
            desired: json::number(object, &["spec", "replicas"]).unwrap_or(1),
            current: status("replicas"),
            updated: status("updatedReplicas"),
            ready: status("readyReplicas"),
            available: status("availableReplicas"),
        },
        Kind::StatefulSet => Replicas {
            desired: json::number(object, &["spec", "replicas"]).unwrap_or(1),
            current: status("replicas"),
            updated: status("updatedReplicas"),
            ready: status("readyReplicas"),
            available: status("availableReplicas"),
        },
        Kind::DaemonSet => Replicas {
            desired: status("desiredNumberScheduled"),
            current: status("currentNumberScheduled"),
            updated: status("updatedNumberScheduled"),
            ready: status("numberReady"),
            available: status("numberAvailable"),
        },
    }
}

/// How the object replaces its pods; `None` for a strategy that is not known here.
pub fn strategy(kind: Kind, object: &Value) -> Option<Strategy> {
    let field = match kind {
        Kind::Deployment => "strategy",
        Kind::StatefulSet | Kind::DaemonSet => "updateStrategy",
    };
    let partition = json::number(object, &["spec", field, "rollingUpdate", "partition"]);
    match json::text(object, &["spec", field, "type"]) {
        None | Some("RollingUpdate") => {
            Some(Strategy::RollingUpdate { partition: partition.unwrap_or_default() })
        }
        Some("Recreate") => Some(Strategy::Recreate),
        Some("OnDelete") => Some(Strategy::OnDelete),
        Some(_) => None,
    }
}

/// Where the rollout stands. `started` comes from the history.
pub fn judge(
    kind: Kind,
    object: &Value,
    strategy: &Strategy,
    started: Option<Timestamp>,
) -> Rollout {
    let (state, message) = match strategy {
        Strategy::OnDelete => {
            (RolloutState::Untracked, "pods are replaced only when somebody deletes them".into())
        }
        Strategy::RollingUpdate { partition } => state(kind, object, *partition),
        Strategy::Recreate => state(kind, object, 0),
    };
    Rollout { state, message, started }
}

fn state(kind: Kind, object: &Value, partition: i64) -> (RolloutState, String) {
    let observed = json::number(object, &["status", "observedGeneration"]).unwrap_or_default();
    let unseen = match kind {
        // kubectl also asks a StatefulSet's controller to have seen it at all.
        Kind::StatefulSet => observed == 0 || observed < json::generation(object),
        Kind::Deployment | Kind::DaemonSet => observed < json::generation(object),
    };
    if unseen {
        let what = "waiting for the controller to observe the newest spec";
        return (RolloutState::Unobserved, what.to_owned());
    }
    let counts = replicas(kind, object);
    let waiting = match kind {
        Kind::Deployment => {
            let progress = json::condition(object, "Progressing");
            let reason = progress.and_then(|condition| json::text(condition, &["reason"]));
            if reason == Some("ProgressDeadlineExceeded") {
                let note = progress.map(|condition| json::owned(condition, &["message"]));
                let note = note.filter(|note| !note.is_empty());
                let note = note.unwrap_or_else(|| "exceeded its progress deadline".to_owned());
                return (RolloutState::Stuck, note);
            }
            waiting_deployment(counts)
        }
        Kind::DaemonSet => waiting_daemon_set(counts),
        Kind::StatefulSet => waiting_stateful_set(counts, partition),
    };
    match waiting {
        Some(message) => (RolloutState::Progressing, message),
        None => (RolloutState::Complete, String::new()),
    }
}

fn waiting_deployment(counts: Replicas) -> Option<String> {
    let Replicas { desired, current, updated, available, .. } = counts;
    if updated < desired {
        Some(format!("{updated} out of {desired} new replicas have been updated"))
    } else if current > updated {
        Some(format!("{} old replicas are pending termination", current - updated))
    } else if available < updated {
        Some(format!("{available} of {updated} updated replicas are available"))
    } else {
        None
    }
}

fn waiting_daemon_set(counts: Replicas) -> Option<String> {
    let Replicas { desired, updated, available, .. } = counts;
    if updated < desired {
        Some(format!("{updated} out of {desired} new pods have been updated"))
    } else if available < desired {
        Some(format!("{available} of {desired} updated pods are available"))
    } else {
        None
    }
}

fn waiting_stateful_set(counts: Replicas, partition: i64) -> Option<String> {
    let Replicas { desired, updated, ready, .. } = counts;
    let wanted = (desired - partition).max(0);
    if ready < desired {
        Some(format!("waiting for {} pods to be ready", desired - ready))
    } else if updated < wanted {
        Some(format!("{updated} out of {wanted} new pods have been updated"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(kind: Kind, object: &Value) -> (RolloutState, String) {
        let strategy = strategy(kind, object).expect("a known strategy");
        let rollout = judge(kind, object, &strategy, None);
        (rollout.state, rollout.message)
    }

    fn deployment(generation: i64, status: Value) -> Value {
        json!({"metadata": {"generation": generation}, "spec": {"replicas": 3}, "status": status})
    }

    #[test]
    fn an_old_status_that_looks_complete_is_not_believed() {
        let complete = json!({"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3,
            "readyReplicas": 3, "availableReplicas": 3});
        let (state, _) = judged(Kind::Deployment, &deployment(5, complete.clone()));
        assert_eq!(state, RolloutState::Unobserved);
        let (state, message) = judged(Kind::Deployment, &deployment(4, complete));
        assert_eq!((state, message.as_str()), (RolloutState::Complete, ""));
    }

    #[test]
    fn a_deployment_waits_in_kubectls_order() {
        let case = |updated, replicas, available| {
            let status = json!({"observedGeneration": 1, "replicas": replicas,
                "updatedReplicas": updated, "availableReplicas": available});
            judged(Kind::Deployment, &deployment(1, status)).1
        };
        assert_eq!(case(1, 4, 3), "1 out of 3 new replicas have been updated");
        assert_eq!(case(3, 4, 3), "1 old replicas are pending termination");
        assert_eq!(case(3, 3, 2), "2 of 3 updated replicas are available");
    }

    #[test]
    fn an_exceeded_deadline_is_stuck() {
        let status = json!({"observedGeneration": 1, "replicas": 4, "updatedReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "False",
                "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet \"a-1\" has timed out progressing."}]});
        let (state, message) = judged(Kind::Deployment, &deployment(1, status));
        assert_eq!(state, RolloutState::Stuck);
        assert!(message.contains("timed out"), "{message}");
    }

    #[test]
    fn a_partitioned_stateful_set_is_complete_beyond_its_partition() {
        let object = |updated| {
            json!({"metadata": {"generation": 2},
            "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            "status": {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": updated}})
        };
        assert_eq!(judged(Kind::StatefulSet, &object(1)).0, RolloutState::Complete);
        let (state, message) = judged(Kind::StatefulSet, &object(0));
        assert_eq!(state, RolloutState::Progressing);
        assert_eq!(message, "0 out of 1 new pods have been updated");
    }

    #[test]
    fn on_delete_cannot_be_tracked() {
        let object = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
        assert_eq!(judged(Kind::DaemonSet, &object).0, RolloutState::Untracked);
    }
}
