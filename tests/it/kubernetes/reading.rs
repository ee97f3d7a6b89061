//! What the reader finds out, what it admits not to know, and that it never writes.

use jiff::SignedDuration;
use orderly::clock::Clock as _;
use orderly::domain::facts::{
    Fact, Kind, RevisionHealth, RolloutState, Strategy, Target, TargetBy, TargetQuery,
};
use orderly::kubernetes::access::{self, Verdict};
use orderly::kubernetes::reader::{FindError, ReadError};
use orderly::sandbox::{Contents, Fault, FaultMatch, FaultOutcome};

use super::{deployed, target, world};

fn refuse(code: u16, message: &str) -> FaultOutcome {
    FaultOutcome::Status { code, message: message.to_owned(), retry_after: None }
}

#[tokio::test]
async fn a_workload_out_of_memory_shows_its_cause_and_its_last_lines() {
    let world = world(Contents::Demo).await;
    let agent = target("production-agents", "agent-deployment");
    let workload = world.reader.workload(&agent).await.expect("it is there");
    assert_eq!(workload.replicas.desired, 2);
    assert_eq!(workload.strategy, Strategy::RollingUpdate { partition: 0 });
    let pods = workload.pods.known().expect("known");
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let [agent] = pod.containers.as_slice() else { panic!("{:?}", pod.containers) };
        let last = agent.last_terminated.as_ref().expect("it was killed");
        assert_eq!((last.reason.as_str(), last.exit_code), ("OOMKilled", 137));
        assert!(agent.restarts > 0);
        assert_eq!(agent.limits["memory"].to_string(), "256Mi");
        assert!(pod.revision.is_some());
    }
    let logs = workload.logs.known().expect("known");
    assert!(logs.iter().any(|log| log.text.contains("loading documents")), "{logs:?}");
    let events = workload.events.known().expect("known");
    assert!(events.iter().any(|event| event.reason == "BackOff"), "{events:?}");
    assert!(events.is_sorted_by(|a, b| a.last >= b.last));
    let nodes = workload.nodes.known().expect("known");
    assert!(!nodes.is_empty() && nodes.iter().all(|node| node.ready), "{nodes:?}");
    let revisions = workload.revisions.known().expect("known");
    let [only] = revisions.as_slice() else { panic!("{revisions:?}") };
    assert!(only.current);
    assert!(matches!(only.health, RevisionHealth::Failing { .. }), "{:?}", only.health);
    assert!(matches!(workload.autoscaler, Fact::Absent { .. }), "{:?}", workload.autoscaler);
    let vertical = &workload.vertical_autoscaler;
    assert!(matches!(vertical, Fact::Absent { .. }), "not installed: {vertical:?}");
    assert!(workload.object.pointer("/metadata/managedFields").is_none());
    assert!(workload.object.get("status").is_none());
}

#[tokio::test]
async fn a_history_names_what_was_in_service_for_how_long() {
    let world = world(Contents::Demo).await;
    let agent = target("ai-agents", "support-agent-deployment");
    let workload = world.reader.workload(&agent).await.expect("it is there");
    let revisions = workload.revisions.known().expect("known");
    let [bad, good, first] = revisions.as_slice() else { panic!("{revisions:?}") };
    assert!(bad.current);
    assert_eq!(bad.health, RevisionHealth::Available, "only its error rate speaks against it");
    assert_eq!(good.change_cause.as_deref(), Some("release v1.4.1"));
    let RevisionHealth::Served { since, until } = good.health else { panic!("{good:?}") };
    assert!(until.duration_since(since) > SignedDuration::from_hours(24 * 5));
    assert_eq!(until, bad.created);
    assert!(matches!(first.health, RevisionHealth::Served { .. }), "{first:?}");
    assert_eq!(workload.rollout.state, RolloutState::Complete);
    let age = world.clock.now().duration_since(workload.rollout.started.expect("known"));
    assert!(age > SignedDuration::from_mins(7) && age <= SignedDuration::from_mins(8), "{age:?}");
}

#[tokio::test]
async fn autoscalers_and_budgets_are_found_by_what_they_point_at() {
    let world = world(Contents::Demo).await;
    let api = target("ai-agents", "agent-api");
    let workload = world.reader.workload(&api).await.expect("it is there");
    let autoscaler = workload.autoscaler.known().expect("known");
    assert_eq!((autoscaler.min, autoscaler.max), (2, 6));
    assert_eq!(workload.budgets.known().expect("known").len(), 1);
    let other = target("ai-agents", "support-agent-deployment");
    let other = world.reader.workload(&other).await.expect("it is there");
    assert_eq!(other.budgets.known().expect("known").len(), 0);
}

#[tokio::test]
async fn a_part_that_cannot_be_read_is_unknown_and_the_rest_is_known() {
    let world = deployed().await;
    let agent = target("default", "api");
    let denied = FaultMatch::read("list", "horizontalpodautoscalers");
    world.sandbox.fault(Fault::always(denied, refuse(403, "no rights")));
    let workload = world.reader.workload(&agent).await.expect("the rest is there");
    let why = workload.autoscaler.unknown().expect("unknown");
    assert!(why.contains("403") && why.contains("no rights"), "{why}");
    assert!(workload.pods.known().is_some());

    world.sandbox.clear_faults();
    let denied = FaultMatch::read("list", "replicasets");
    world.sandbox.fault(Fault::always(denied, refuse(403, "no rights")));
    let workload = world.reader.workload(&agent).await.expect("the rest is there");
    let why = workload.pods.unknown().expect("without ReplicaSets nobody knows whose the pods are");
    assert!(why.contains("ReplicaSets are unknown"), "{why}");
    assert!(workload.logs.unknown().is_some() && workload.revisions.unknown().is_some());
    assert!(workload.budgets.known().is_some());
}

#[tokio::test]
async fn a_read_that_fails_for_a_moment_is_sent_again() {
    let world = deployed().await;
    let agent = target("default", "api");
    let moment = FaultMatch::read("get", "deployments");
    let fault = world.sandbox.fault(Fault::once(moment, refuse(503, "etcd has no leader")));
    let reader = world.reader.clone();
    let mut reading = tokio::spawn(async move { reader.workload(&agent).await });
    let workload = loop {
        tokio::select! {
            biased;
            read = &mut reading => break read.expect("no panic"),
            () = tokio::task::yield_now() => {
                if let Some(deadline) = world.clock.next_deadline() {
                    world.clock.advance(deadline.duration_since(world.clock.now()));
                }
            }
        }
    };
    assert!(workload.is_ok());
    assert_eq!(fault.struck(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let world = world(Contents::Empty).await;
    let nobody = target("default", "nobody");
    let error = world.reader.workload(&nobody).await.expect_err("not there");
    assert_eq!(error, ReadError::NotFound(nobody));
}

#[tokio::test]
async fn targets_are_found_by_name_by_selector_and_by_a_pod_of_theirs() {
    let world = world(Contents::Demo).await;
    let query = |by, max| TargetQuery {
        kind: Kind::Deployment,
        namespace: "ai-agents".to_owned(),
        by,
        max,
    };
    let agent = target("ai-agents", "support-agent-deployment");
    let by_name = query(TargetBy::Name(agent.name.clone()), 1);
    assert_eq!(world.reader.find(&by_name).await, Ok(vec![agent.clone()]));

    let agents = TargetBy::Selector("role=agent".to_owned());
    let found = world.reader.find(&query(agents.clone(), 10)).await.expect("some");
    assert!(found.len() >= 2 && found.contains(&agent), "{found:?}");
    let error = world.reader.find(&query(agents, 1)).await.expect_err("too many");
    assert!(matches!(error, FindError::TooMany { max: 1, .. }), "{error}");

    let pods = world.sandbox.pods_of("ai-agents", "support-agent-deployment");
    let pod = pods[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    let by_pod = query(TargetBy::OwnerOfPod(pod.clone()), 1);
    assert_eq!(world.reader.find(&by_pod).await, Ok(vec![agent]));
    let other_kind = TargetQuery { kind: Kind::StatefulSet, ..by_pod };
    let error = world.reader.find(&other_kind).await.expect_err("another kind").to_string();
    assert!(error.contains("belongs to `Deployment/support-agent-deployment`"), "{error}");
    let gone = query(TargetBy::OwnerOfPod("gone".to_owned()), 1);
    assert!(matches!(world.reader.find(&gone).await, Err(FindError::NotFound(_))));
}

#[tokio::test]
async fn reading_everything_writes_nothing_and_says_who_reads() {
    let world = world(Contents::Demo).await;
    for (namespace, name) in
        [("production-agents", "agent-deployment"), ("ai-agents", "support-agent-deployment")]
    {
        world.reader.workload(&target(namespace, name)).await.expect("it is there");
    }
    let needed = access::reading(&["ai-agents".to_owned()]);
    let verdicts = access::review_reader(world.reader.connection(), &needed).await;
    assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Allowed), "{verdicts:?}");
    assert_eq!(world.sandbox.writes(), []);
    for entry in world.sandbox.audit() {
        assert!(entry.user_agent.starts_with("orderly/"), "{entry:?}");
        // Every read is one that the list of rights names.
        let named = needed.iter().any(|access| {
            access.resource == entry.resource
                && access.subresource.unwrap_or_default() == entry.subresource
                && access.verb == entry.verb
        });
        assert!(named || entry.resource == "selfsubjectaccessreviews", "{entry:?}");
    }
}

/// A StatefulSet and a DaemonSet, whose histories are ControllerRevisions.
const OTHERS: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: 'registry.example.com/db:v1'}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: shipper, namespace: default}
spec:
  selector: {matchLabels: {app: shipper}}
  template:
    metadata: {labels: {app: shipper}}
    spec: {containers: [{name: shipper, image: 'registry.example.com/shipper:v1'}]}
";

#[tokio::test]
async fn histories_of_controller_revisions_are_read_alike() {
    let world = world(Contents::Empty).await;
    world.sandbox.apply_yaml(OTHERS).expect("accepted");
    world.pass(SignedDuration::from_hours(2));
    let changes = [
        (Kind::StatefulSet, "statefulsets", "db", "registry.example.com/db:v2", 2),
        (Kind::DaemonSet, "daemonsets", "shipper", "registry.example.com/shipper:v2", 3),
    ];
    for (_, plural, name, image, _) in changes {
        let place = ("default", name);
        world.sandbox.set_image(plural, place, name, image).expect("accepted");
    }
    world.pass(SignedDuration::from_hours(2));
    for (kind, _, name, image, replicas) in changes {
        let target = Target { kind, ..target("default", name) };
        let workload = world.reader.workload(&target).await.expect("it is there");
        assert_eq!(workload.rollout.state, RolloutState::Complete, "{:?}", workload.rollout);
        assert_eq!(workload.replicas.available, replicas);
        let revisions = workload.revisions.known().expect("known");
        let [new, old] = revisions.as_slice() else { panic!("{revisions:?}") };
        assert!(new.current && !old.current, "{kind}");
        assert_eq!(new.template["spec"]["containers"][0]["image"], image);
        assert_eq!(new.health, RevisionHealth::Available, "{kind}");
        assert!(matches!(old.health, RevisionHealth::Served { .. }), "{kind}: {:?}", old.health);
        let pods = workload.pods.known().expect("known");
        assert!(pods.iter().all(|pod| pod.revision.as_deref() == Some(&new.name)), "{pods:?}");
    }
}
