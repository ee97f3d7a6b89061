//! Each refusal of each action, the exact patches, and what a person is told.

use serde_json::{Value, json};

use super::*;
use crate::domain::facts::{Fact, Revision, RevisionHealth, RolloutState, Strategy};
use crate::domain::plan::{Change, Patch};
use crate::domain::testing::*;

fn stamp() -> Stamp {
    Stamp { time: NOW }
}

fn deployment() -> Workload {
    workload(Kind::Deployment, "agent")
}

fn with(change: impl FnOnce(&mut Workload)) -> Workload {
    let mut workload = deployment();
    change(&mut workload);
    workload
}

fn planned(workload: Workload, written: Value) -> Vec<Step> {
    plan(&[action(written)], &facts([workload]), stamp()).expect("a plan")
}

fn refused(workload: Workload, written: Value) -> Impossible {
    plan(&[action(written)], &facts([workload]), stamp()).expect_err("no plan").1
}

fn body(step: &Step) -> &Value {
    patch(step).patch.body()
}

#[test]
fn every_refusal_is_reached_and_says_why() {
    let memory = |amount: Value| json!({"setResources": {"container": "agent", "limits": {"memory": amount}}});
    let requests = json!({"setResources": {"container": "proxy", "requests": {"memory": {"add": "1Mi", "max": "1Gi"}}}});
    let double = || memory(json!({"multiply": 2.0, "max": "4Gi"}));
    let scale = || json!({"scale": {"by": 1}});
    let hpa = |w: &mut Workload| w.autoscaler = known(autoscaler(2, 10));
    let history = |w: &mut Workload, health: RevisionHealth| {
        w.revisions = known(vec![revision(2, health)]);
    };
    let served = RevisionHealth::Served { since: ago(30), until: ago(20) };
    let cases = [
        refused(with(|w| w.paused = true), json!({"restart": {}})),
        refused(with(|w| w.strategy = Strategy::OnDelete), json!({"restart": {}})),
        refused(
            with(|w| w.strategy = Strategy::RollingUpdate { partition: 1 }),
            json!({"rollback": {}}),
        ),
        refused(with(|w| w.strategy = Strategy::RollingUpdate { partition: 9 }), double()),
        refused(with(|w| w.paused = true), json!({"rollback": {}})),
        refused(with(|w| w.strategy = Strategy::OnDelete), double()),
        refused(with(|w| w.paused = true), json!({"setProbe": {"periodSeconds": 5}})),
        refused(
            with(|w| {
                w.object["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
                    json!("2026-11-22T03:00:00Z");
            }),
            json!({"restart": {}}),
        ),
        refused(deployment(), json!({"restart": {"on": {"kind": "StatefulSet", "name": "db"}}})),
        plan(&[action(scale())], &facts([]), stamp()).expect_err("no target").1,
        refused(workload(Kind::DaemonSet, "agent"), scale()),
        refused(with(hpa), scale()),
        refused(
            with(|w| {
                hpa(w);
                if let Fact::Known { value, .. } = &mut w.autoscaler {
                    value.scaled_object = Some("queue".to_owned());
                }
            }),
            scale(),
        ),
        refused(with(|w| w.autoscaler = unknown("403")), scale()),
        refused(deployment(), json!({"scale": {"to": 3}})),
        refused(deployment(), json!({"scale": {"by": 2, "max": 2}})),
        refused(deployment(), json!({"scale": {"by": -1, "min": 5}})),
        refused(deployment(), json!({"scale": {"percent": 200, "max": 2}})),
        refused(
            with(|w| w.autoscaler = known(autoscaler(4, 10))),
            json!({"scale": {"by": 1, "whenAutoscaled": "raiseMinReplicas"}}),
        ),
        refused(deployment(), memory(json!({"multiply": 2.0, "max": "512Mi"}))),
        refused(deployment(), memory(json!({"to": "256Mi"}))),
        refused(deployment(), memory(json!({"to": "512Mi"}))),
        refused(deployment(), requests),
        refused(
            with(|w| {
                let agent = &mut w.object["spec"]["template"]["spec"]["containers"][0];
                agent["resources"] = json!({"requests": {"memory": "1Gi"}});
            }),
            memory(json!({"to": "512Mi"})),
        ),
        refused(
            with(|w| {
                let agent = &mut w.object["spec"]["template"]["spec"]["containers"][0];
                agent["resources"]["limits"]["memory"] = json!("half");
            }),
            double(),
        ),
        refused(deployment(), json!({"setResources": {"container": "gone", "limits": {}}})),
        refused(deployment(), json!({"setResources": {"limits": {"memory": {"to": "1Gi"}}}})),
        refused(deployment(), json!({"setProbe": {"container": "proxy", "periodSeconds": 5}})),
        refused(deployment(), json!({"setProbe": {"container": "agent", "periodSeconds": 10}})),
        refused(with(|w| w.revisions = unknown("403")), json!({"rollback": {}})),
        refused(with(|w| w.revisions = absent()), json!({"rollback": {}})),
        refused(with(|w| history(w, RevisionHealth::Unknown)), json!({"rollback": {}})),
        refused(with(|w| history(w, served)), json!({"rollback": {}})),
        refused(deployment(), json!({"rollback": {"toRevision": 9}})),
        refused(deployment(), json!({"rollback": {"toRevision": 3}})),
    ];
    let said: Vec<_> = cases.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @r###"
    the Deployment is paused: resume it first (`kubectl rollout resume`)
    its update strategy is OnDelete: a change of the template replaces no pod
    its rollout is partitioned: the first 1 of its 3 pods would keep the old template; finish or undo that rollout first (`partition: 0`)
    its rollout is partitioned: the first 3 of its 3 pods would keep the old template; finish or undo that rollout first (`partition: 0`)
    the Deployment is paused: resume it first (`kubectl rollout resume`)
    its update strategy is OnDelete: a change of the template replaces no pod
    the Deployment is paused: resume it first (`kubectl rollout resume`)
    nothing to change: ai-agents/Deployment/agent was restarted at 2026-11-22T03:00:00Z already
    there is no StatefulSet `db` in the target's namespace
    there is no workload to act on
    a DaemonSet cannot be scaled
    HorizontalPodAutoscaler `agent-hpa` owns the replicas (2 to 10) and would undo it
    KEDA ScaledObject `queue` owns the replicas and the autoscaler's bounds
    whether an autoscaler owns the replicas could not be found out: 403
    nothing to change: ai-agents/Deployment/agent has 3 replicas already
    nothing to change: ai-agents/Deployment/agent has 3 replicas already
    nothing to change: ai-agents/Deployment/agent has 3 replicas already
    nothing to change: ai-agents/Deployment/agent has 3 replicas already
    nothing to change: autoscaler `agent-hpa` keeps at least 4 already
    memory limit of container `agent` is 512Mi, at or above the policy's cap 512Mi
    memory limit of container `agent` is 512Mi: 256Mi would lower it
    nothing to change: memory limit of container `agent` is 512Mi already
    container `proxy` has no memory request to start from: use `to` in the policy
    memory request of container `agent` is 1Gi: 512Mi would lower it
    the memory among the limits of container `agent` could not be found out: "half" is no quantity that Orderly can read
    there is no container `gone`; there are: agent, proxy
    which container is meant? name one in the policy: agent, proxy
    container `proxy` has no livenessProbe
    nothing to change: livenessProbe of container `agent` has this timing already
    the rollout history could not be found out: 403
    no earlier revision is known to be healthy: there is no rollout history
    no earlier revision is known to be healthy: nothing speaks for revision 2
    no earlier revision is known to be healthy: revision 2 was in service for only 10m (less than 30m)
    revision 9 is not in the history; there are: 3, 2, 1
    nothing to change: revision 3 is the current one
    "###);
}

#[test]
fn the_patches_are_exactly_these() {
    let steps = [
        planned(deployment(), json!({"restart": {}})),
        planned(deployment(), json!({"scale": {"percent": 150}})),
        planned(
            with(|w| w.autoscaler = known(autoscaler(2, 10))),
            json!({"scale": {"by": 20, "whenAutoscaled": "raiseMinReplicas"}}),
        ),
        planned(
            deployment(),
            json!({"setResources": {"container": "agent", "limits": {"memory": {"multiply": 1.1, "max": "4Gi"}}}}),
        ),
        planned(
            deployment(),
            json!({"setProbe": {"container": "agent", "periodSeconds": 20, "timeoutSeconds": 5}}),
        ),
    ]
    .concat();
    let said: Vec<_> = steps
        .iter()
        .map(|step| {
            let change = patch(step);
            let (forth, back) = (change.patch.body(), change.inverse.body());
            let place = change.object.subresource.as_deref().unwrap_or("itself");
            let kind = match change.patch {
                Patch::Merge(_) => "merge",
                Patch::Strategic(_) => "strategic",
            };
            let (summary, reason) = (&step.summary, &step.reason);
            let object =
                format!("{}/{} ({place}, {kind})", change.object.plural, change.object.name);
            format!("{summary}: {reason}\n{object}\n  {forth}\n  back: {back}")
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r###"
    restart ai-agents/Deployment/agent: pods are replaced a few at a time
    deployments/agent (itself, strategic)
      {"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-11-22T03:00:00Z"}}}}}
      back: {"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-01-01T00:00:00Z"}}}}}
    scale ai-agents/Deployment/agent from 3 to 5 replicas: no autoscaler owns the replicas
    deployments/agent (scale, merge)
      {"spec":{"replicas":5}}
      back: {"spec":{"replicas":3}}
    raise minReplicas of autoscaler ai-agents/agent-hpa from 2 to 10: autoscaler `agent-hpa` owns the replicas of ai-agents/Deployment/agent; its maximum stays 10
    horizontalpodautoscalers/agent-hpa (itself, merge)
      {"spec":{"minReplicas":10}}
      back: {"spec":{"minReplicas":2}}
    set memory limit 512Mi → 564Mi, memory request 512Mi → 564Mi of container `agent` in ai-agents/Deployment/agent: within the policy's cap; pods are replaced by a rollout
    deployments/agent (itself, strategic)
      {"spec":{"template":{"spec":{"containers":[{"name":"agent","resources":{"limits":{"memory":"564Mi"},"requests":{"memory":"564Mi"}}}]}}}}
      back: {"spec":{"template":{"spec":{"containers":[{"name":"agent","resources":{"limits":{"memory":"512Mi"},"requests":{"memory":"512Mi"}}}]}}}}
    set livenessProbe of container `agent` in ai-agents/Deployment/agent: periodSeconds 10 → 20, timeoutSeconds default → 5: the probe's handler stays as it is; pods are replaced by a rollout
    deployments/agent (itself, strategic)
      {"spec":{"template":{"spec":{"containers":[{"livenessProbe":{"periodSeconds":20,"timeoutSeconds":5},"name":"agent"}]}}}}
      back: {"spec":{"template":{"spec":{"containers":[{"livenessProbe":{"periodSeconds":10,"timeoutSeconds":null},"name":"agent"}]}}}}
    "###);
}

#[test]
fn a_rollback_takes_the_newest_revision_with_evidence_and_says_so() {
    let steps = planned(deployment(), json!({"rollback": {}}));
    assert_eq!(steps.len(), 1);
    insta::assert_snapshot!(format!("{}\n{}", steps[0].summary, steps[0].reason), @r###"
    roll back ai-agents/Deployment/agent from revision 3 to revision 1 (`agent`: agent:3 → agent:1)
    revision 1: was in service for 6d 5h 40m before its successor
    "###);
    let sent = body(&steps[0]);
    assert_eq!(sent["spec"]["template"]["$patch"], "replace");
    assert_eq!(sent["spec"]["template"]["spec"]["containers"][0]["image"], "agent:1");
    assert_eq!(sent["metadata"]["annotations"]["kubernetes.io/change-cause"], "release 1");

    for health in [RevisionHealth::Available, RevisionHealth::Verified { at: ago(900) }] {
        let newer = with(|w| {
            w.revisions = known(vec![
                Revision { current: true, ..revision(3, RevisionHealth::Unknown) },
                revision(2, health.clone()),
                revision(1, RevisionHealth::Available),
            ]);
        });
        let sent = planned(newer, json!({"rollback": {}}));
        assert!(sent[0].summary.contains("to revision 2"), "{}", sent[0].summary);
    }
    // A number is the policy's own judgement, whatever the evidence says.
    let sent = planned(deployment(), json!({"rollback": {"toRevision": 2}}));
    assert_eq!(body(&sent[0])["spec"]["template"]["spec"]["containers"][0]["image"], "agent:2");
}

#[test]
fn a_rollback_names_what_else_comes_back_than_images() {
    let rollback = |change: fn(&mut Value)| {
        let mut old = revision(1, RevisionHealth::Available);
        old.template = template("agent:3");
        change(&mut old.template["spec"]);
        old.template["metadata"]["labels"]["pod-template-hash"] = json!("abc");
        let steps = planned(with(|w| w.revisions = known(vec![old])), json!({"rollback": {}}));
        assert!(
            body(&steps[0]).pointer("/spec/template/metadata/labels/pod-template-hash").is_none()
        );
        steps[0].summary.clone()
    };
    let said = [
        rollback(|spec| spec["serviceAccountName"] = json!("admin")),
        rollback(|spec| spec["volumes"][0] = json!({"name": "tmp", "hostPath": {"path": "/"}})),
        rollback(|spec| spec["hostNetwork"] = json!(true)),
        rollback(|spec| spec["containers"][0]["securityContext"] = json!({"privileged": true})),
        rollback(|spec| spec["containers"][1]["name"] = json!("other")),
    ];
    insta::assert_snapshot!(said.join("\n"), @r###"
    roll back ai-agents/Deployment/agent from the current one to revision 1 (service account agent → admin)
    roll back ai-agents/Deployment/agent from the current one to revision 1 (other volumes)
    roll back ai-agents/Deployment/agent from the current one to revision 1 (other host network)
    roll back ai-agents/Deployment/agent from the current one to revision 1 (`agent`: other security context)
    roll back ai-agents/Deployment/agent from the current one to revision 1 (adds container `other`, removes container `proxy`)
    "###);
}

#[test]
fn a_stateful_set_is_freed_of_the_pods_that_its_controller_waits_for() {
    let stuck = |parallel: bool| {
        let mut set = workload(Kind::StatefulSet, "db");
        if parallel {
            set.object["spec"]["podManagementPolicy"] = json!("Parallel");
        }
        if let Fact::Known { value: pods, .. } = &mut set.pods {
            pods[1].ready = false;
            pods[2].ready = false;
            pods[2].terminating = true;
        }
        planned(set, json!({"rollback": {}}))
    };
    assert_eq!(stuck(true).len(), 1);
    let steps = stuck(false);
    let Change::DeletePods(delete) = &steps[1].change else { panic!("no pods are deleted") };
    assert_eq!(delete.pods, [("db-1".to_owned(), "uid-of-db-1".to_owned())]);
    assert_eq!(delete.owner, target(Kind::StatefulSet, "db"));
}

#[test]
fn a_recreate_strategy_is_said() {
    let reason = |strategy: Strategy| {
        let steps = planned(with(|w| w.strategy = strategy), json!({"restart": {}}));
        steps[0].reason.clone()
    };
    assert!(reason(Strategy::Recreate).contains("it will be down"));
}

#[test]
fn the_container_is_the_one_that_was_killed_when_the_policy_names_none() {
    let killed = with(|w| {
        if let Fact::Known { value: pods, .. } = &mut w.pods {
            let end = crate::domain::facts::Termination {
                reason: "OOMKilled".to_owned(),
                exit_code: 137,
                finished: None,
                message: String::new(),
            };
            pods[1].containers[0].last_terminated = Some(end);
        }
    });
    let written = json!({"setResources": {"limits": {"memory": {"to": "1Gi"}}}});
    let steps = planned(killed, written);
    assert_eq!(body(&steps[0])["spec"]["template"]["spec"]["containers"][0]["name"], "agent");
}

#[test]
fn an_action_on_another_workload_finds_it_by_kind_and_name_only() {
    let mut seen = facts([deployment()]);
    let db = workload(Kind::StatefulSet, "db");
    seen.related = vec![workload(Kind::Deployment, "db"), db.clone()];
    let written = json!({"restart": {"on": {"kind": "StatefulSet", "name": "db"}}});
    let steps = plan(&[action(written.clone())], &seen, stamp()).expect("a plan");
    assert_eq!(patch(&steps[0]).object.kind, "StatefulSet");
    assert_eq!(related([&action(written)], NAMESPACE), [db.target]);
}

#[test]
fn a_plan_is_made_whole_or_not_at_all() {
    let mut other = workload(Kind::Deployment, "other");
    other.paused = true;
    let both = facts([deployment(), other]);
    let (name, why) = plan(&[action(json!({"restart": {}}))], &both, stamp()).expect_err("none");
    assert_eq!((name.as_str(), why), ("restart", Impossible::Paused));
}

#[test]
fn an_absent_rollout_state_is_no_reason_for_an_action_to_refuse() {
    let stuck = with(|w| w.rollout.state = RolloutState::Stuck);
    assert_eq!(planned(stuck, json!({"rollback": {}})).len(), 1);
}
