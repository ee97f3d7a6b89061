//! One step, at most once: preconditions, marks, and every way in which a request can go wrong.

use orderly::clock::Clock as _;
use orderly::domain::action::{self, Stamp};
use orderly::domain::facts::{Facts, Kind, Target, Workload};
use orderly::domain::id::{Digest, Episode, Fingerprint, IncidentId};
use orderly::domain::plan::{Change, Step};
use orderly::domain::policy::spec::{ActionSpec, RestartSpec, RollbackSpec, ScaleSpec};
use orderly::kubernetes::diff;
use orderly::kubernetes::event::{Event, Regarding, Severity};
use orderly::kubernetes::writer::{Again, DryRun, Mark, Observation, Performed};
use orderly::sandbox::{Contents, Fault, FaultMatch, FaultOutcome};
use serde_json::{Value, json};

use super::{World, target, world};

fn mark(step: usize) -> Mark {
    let episode = Episode { fingerprint: Fingerprint(7), starts_at: jiff::Timestamp::UNIX_EPOCH };
    Mark { incident: IncidentId::of(episode), plan: Digest::of("test", &0), step }
}

fn agent() -> Target {
    target("ai-agents", "support-agent-deployment")
}

async fn plan(world: &World, target: &Target, action: ActionSpec) -> Vec<Step> {
    let workload = world.reader.workload(target).await.expect("it is there");
    plan_for(world, workload, action)
}

fn plan_for(world: &World, workload: Workload, action: ActionSpec) -> Vec<Step> {
    let now = world.clock.now();
    let facts = Facts { at: now, targets: vec![workload], related: Vec::new(), queries: [].into() };
    action::plan(&[action], &facts, Stamp { time: now }).expect("it can be planned")
}

async fn restart(world: &World) -> Step {
    plan(world, &agent(), ActionSpec::Restart(RestartSpec::default())).await.remove(0)
}

fn live(world: &World) -> Value {
    world.sandbox.get("deployments", "ai-agents", "support-agent-deployment").expect("there")
}

fn fail(code: u16) -> FaultOutcome {
    FaultOutcome::Status { code, message: "scripted".to_owned(), retry_after: None }
}

#[tokio::test]
async fn a_rollback_is_shown_then_made_then_seen_and_not_made_twice() {
    let world = world(Contents::Demo).await;
    let action = ActionSpec::Rollback(RollbackSpec::default());
    let step = plan(&world, &agent(), action).await.remove(0);
    let before = live(&world);

    let DryRun::Would { before: old, after } = world.writer.dry_run(&step, &mark(0)).await else {
        panic!("refused")
    };
    let changes: Vec<String> = diff::fields(&old, &after).iter().map(ToString::to_string).collect();
    let image = changes.iter().find(|line| line.contains("containers[agent].image"));
    assert!(image.expect("the image changes").contains("v1.5.0 → "), "{changes:#?}");
    assert!(diff::unified(&old, &after).contains("support-agent:v1.4.1"));
    assert_eq!(live(&world), before, "a dry run stores nothing");
    assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::NotApplied);

    let performed = world.writer.perform(&step, &mark(0)).await;
    let Performed::Done { left, .. } = performed else { panic!("{performed:?}") };
    let now = live(&world);
    assert_eq!(now["metadata"]["annotations"]["orderly.dev/step"], mark(0).to_string());
    let uid = now["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let generation = now["metadata"]["generation"].as_i64().expect("a generation");
    assert_eq!(left, Some((uid, generation)));
    assert_eq!(before["metadata"]["generation"], generation - 1, "the mark causes no rollout");
    assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::Applied);

    let again = world.writer.perform(&step, &mark(0)).await;
    assert!(matches!(again, Performed::Done { .. }), "{again:?}");
    let writes = world.sandbox.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0].field_manager, "orderly");
    assert!(writes[0].body.as_ref().expect("a body")["metadata"]["resourceVersion"].is_string());
}

#[tokio::test]
async fn a_change_by_somebody_else_is_a_conflict_and_nothing_is_written() {
    let world = world(Contents::Demo).await;
    let step = restart(&world).await;
    let place = ("ai-agents", "support-agent-deployment");
    world.sandbox.set_image("deployments", place, "agent", "other:1").expect("changed");
    let performed = world.writer.perform(&step, &mark(0)).await;
    let Performed::Conflict { what } = performed else { panic!("{performed:?}") };
    assert!(what.contains("generation") && what.contains("kubectl-client-side-apply"), "{what}");
    assert!(matches!(world.writer.observe(&step, &mark(0)).await, Observation::Changed { .. }));
    assert_eq!(world.sandbox.writes(), []);

    world.sandbox.delete("deployments", "ai-agents", "support-agent-deployment").expect("gone");
    let performed = world.writer.perform(&step, &mark(0)).await;
    let Performed::Conflict { what } = performed else { panic!("{performed:?}") };
    assert!(what.contains("no longer exists"), "{what}");
    assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::Gone);
}

#[tokio::test]
async fn a_change_of_the_status_alone_does_not_stop_a_step() {
    let world = world(Contents::Demo).await;
    let step = restart(&world).await;
    // The first look is at the past, so its resourceVersion is old when it is sent.
    let past = FaultMatch::read("get", "deployments");
    world.sandbox.fault(Fault::once(past, FaultOutcome::Stale));
    let note = json!({"metadata": {"annotations": {"somebody/was": "here"}}});
    let place = ("ai-agents", "support-agent-deployment");
    world.sandbox.patch("deployments", place.0, place.1, &note).expect("annotated");
    let performed = world.writer.perform(&step, &mark(0)).await;
    assert!(matches!(performed, Performed::Done { .. }), "{performed:?}");
    let codes: Vec<_> = world.sandbox.writes().iter().map(|write| write.code).collect();
    assert_eq!(codes, [Some(409), Some(200)]);
}

#[tokio::test]
async fn an_unknown_outcome_is_unknown_and_looking_tells() {
    let cases = [
        (FaultOutcome::DropBefore, Observation::NotApplied),
        (FaultOutcome::DropAfter, Observation::Applied),
        (fail(504), Observation::NotApplied),
        (fail(503), Observation::NotApplied),
        (fail(500), Observation::NotApplied),
    ];
    for (outcome, seen) in cases {
        let world = world(Contents::Demo).await;
        let step = restart(&world).await;
        let write = FaultMatch::write("patch", "deployments");
        let fault = world.sandbox.fault(Fault::once(write, outcome.clone()));
        let performed = world.writer.perform(&step, &mark(0)).await;
        assert!(matches!(performed, Performed::Unknown { .. }), "{outcome:?}: {performed:?}");
        assert_eq!(fault.struck(), 1);
        assert_eq!(world.sandbox.writes().len(), 1, "{outcome:?}: sent once");
        assert_eq!(world.writer.observe(&step, &mark(0)).await, seen, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_a_refusal_and_says_whether_later_is_of_use() {
    let busy = FaultOutcome::PlainText {
        code: 429,
        body: "Too many requests, please try again later.\n".to_owned(),
        retry_after: Some(7),
    };
    let cases = [
        (fail(403), Again::Never),
        (fail(422), Again::Never),
        (fail(400), Again::Never),
        (busy, Again::Later { seconds: Some(7) }),
    ];
    for (outcome, expected) in cases {
        let world = world(Contents::Demo).await;
        let step = restart(&world).await;
        let write = FaultMatch::write("patch", "deployments");
        world.sandbox.fault(Fault::always(write, outcome.clone()));
        let performed = world.writer.perform(&step, &mark(0)).await;
        let Performed::Refused(refusal) = performed else { panic!("{outcome:?}: {performed:?}") };
        assert_eq!(refusal.again, expected, "{refusal}");
        assert_eq!(world.sandbox.writes().len(), 1);
        assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::NotApplied);
    }
}

#[tokio::test]
async fn what_could_not_be_looked_at_was_not_sent() {
    let world = world(Contents::Demo).await;
    let step = restart(&world).await;
    let read = FaultMatch::read("get", "deployments");
    world.sandbox.fault(Fault::always(read, FaultOutcome::DropBefore));
    let performed = world.writer.perform(&step, &mark(0)).await;
    assert!(matches!(performed, Performed::NotSent { .. }), "{performed:?}");
    let seen = world.writer.observe(&step, &mark(0)).await;
    assert!(matches!(seen, Observation::Unknown { .. }), "{seen:?}");
    assert_eq!(world.sandbox.writes(), []);
}

#[tokio::test]
async fn scaling_goes_through_the_subresource_and_knows_the_generation_that_it_leaves() {
    let world = world(Contents::Demo).await;
    let scale = ScaleSpec { to: Some(5), ..ScaleSpec::default() };
    let step = plan(&world, &agent(), ActionSpec::Scale(scale)).await.remove(0);
    let would = world.writer.dry_run(&step, &mark(0)).await;
    let DryRun::Would { before, after } = would else { panic!("{would:?}") };
    let changes: Vec<String> =
        diff::fields(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["spec.replicas: 3 → 5"]);
    assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::NotApplied);
    let performed = world.writer.perform(&step, &mark(0)).await;
    let Performed::Done { left, resource_version, .. } = performed else { panic!("{performed:?}") };
    let now = live(&world);
    assert_eq!(now["spec"]["replicas"], 5);
    assert_eq!(left.map(|(_, generation)| generation), now["metadata"]["generation"].as_i64());
    assert_eq!(now["metadata"]["resourceVersion"], resource_version);
    assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::Applied);
    let writes = world.sandbox.writes();
    assert_eq!((writes.len(), writes[0].subresource.as_str()), (1, "scale"));
}

#[tokio::test]
async fn pods_are_deleted_by_uid_so_that_a_successor_of_the_same_name_lives() {
    let world = world(Contents::Demo).await;
    let pods = world.sandbox.pods_of("ai-agents", "support-agent-deployment");
    let name = |pod: &Value| pod["metadata"]["name"].as_str().expect("a name").to_owned();
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let delete = |pods: Vec<(String, String)>| Step {
        action: "rollback".to_owned(),
        summary: String::new(),
        reason: String::new(),
        change: Change::DeletePods(orderly::domain::plan::DeletePods { owner: agent(), pods }),
    };
    // One that is there, one that is another by now, one that is gone.
    let step = delete(vec![
        (name(&pods[0]), uid(&pods[0])),
        (name(&pods[1]), "of-its-predecessor".to_owned()),
        ("gone".to_owned(), "gone".to_owned()),
    ]);
    assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::NotApplied);
    let would = world.writer.dry_run(&step, &mark(0)).await;
    assert!(matches!(would, DryRun::Would { .. }), "{would:?}");
    assert_eq!(world.sandbox.writes(), []);
    let performed = world.writer.perform(&step, &mark(0)).await;
    let Performed::Done { after, .. } = performed else { panic!("{performed:?}") };
    assert_eq!(after["deleted"], json!([{"name": name(&pods[0]), "uid": uid(&pods[0])}]));
    assert_eq!(world.writer.observe(&step, &mark(0)).await, Observation::Applied);
    let left = world.sandbox.list("pods", "ai-agents");
    assert!(left.iter().any(|pod| uid(pod) == uid(&pods[1])), "the successor lives");
}

#[tokio::test]
async fn an_event_is_written_about_the_object() {
    let world = world(Contents::Demo).await;
    let object = live(&world);
    let event = Event {
        regarding: Regarding {
            api_version: "apps/v1".to_owned(),
            kind: Kind::Deployment.to_string(),
            namespace: "ai-agents".to_owned(),
            name: "support-agent-deployment".to_owned(),
            uid: object["metadata"]["uid"].as_str().expect("a uid").to_owned(),
        },
        severity: Severity::Normal,
        reason: "RemediationApplied".to_owned(),
        action: "Rollback".to_owned(),
        note: "incident abc rolled back".to_owned(),
    };
    world.writer.record_event(&event).await.expect("accepted");
    let workload = world.reader.workload(&agent()).await.expect("it is there");
    let events = workload.events.known().expect("known");
    let ours = events.iter().find(|event| event.reason == "RemediationApplied");
    assert_eq!(ours.expect("it is read back").note, "incident abc rolled back");
}
