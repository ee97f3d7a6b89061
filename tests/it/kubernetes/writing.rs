//! One step, at most once: preconditions, marks, and every way in which a request can go wrong.

use jiff::{SignedDuration, Timestamp};
use orderly::clock::Clock as _;
use orderly::domain::action::{self, Stamp};
use orderly::domain::alert::{Alert, AlertStatus};
use orderly::domain::authority::ApprovedStep;
use orderly::domain::claim::{Claims, IncidentClaim};
use orderly::domain::event::{Event, PolicySnapshot};
use orderly::domain::facts::{Facts, Kind, Target};
use orderly::domain::gate::Ruling;
use orderly::domain::id::{Digest, Fingerprint, IncidentId};
use orderly::domain::incident::Incident;
use orderly::domain::plan::{Change, DeletePods, Plan, Step};
use orderly::domain::policy::spec::{ActionSpec, RestartSpec, RollbackSpec, ScaleSpec};
use orderly::kubernetes::diff;
use orderly::kubernetes::event::{Event as ClusterEvent, Regarding, Severity};
use orderly::kubernetes::writer::{Again, DryRun, Mark, Observation, Performed};
use orderly::sandbox::{Fault, FaultMatch, FaultOutcome};
use serde_json::{Value, json};

use super::{World, deployed, target};

/// A step that the gates let pass, as the events of its incident say, with the incident in hand.
struct Approved {
    step: ApprovedStep,
    claim: IncidentClaim,
}

impl Approved {
    fn of(step: Step) -> Self {
        let at = Timestamp::UNIX_EPOCH;
        let alert = Alert {
            status: AlertStatus::Firing,
            labels: [("alertname".to_owned(), "AgentDown".to_owned())].into(),
            annotations: [].into(),
            starts_at: at,
            ends_at: None,
            generator_url: String::new(),
            fingerprint: Fingerprint(7),
        };
        let id = IncidentId::of(alert.episode());
        let spec = json!({"summary": "", "match": ["alertname=\"AgentDown\""], "causes": [],
            "target": {"kind": "Deployment", "namespaces": ["ai-agents"]}});
        let policy = PolicySnapshot {
            name: "agent-down".to_owned(),
            digest: Digest::of("test", &0),
            spec: serde_json::from_value(spec).expect("a policy"),
        };
        let plan = Plan { cause: "test".to_owned(), policy: policy.digest, steps: vec![step] };
        let digest = plan.digest();
        let events = [
            Event::IncidentOpened {
                alert,
                policy: Box::new(policy),
                others: Vec::new(),
                target: Err("found by the test".to_owned()),
            },
            Event::PlanProposed { plan: Box::new(plan), digest, previews: Vec::new() },
            Event::GateDecided { digest, ruling: Ruling::Act, verdicts: Vec::new() },
            Event::StepStarted { digest, step: 0, attempt: 1 },
        ];
        let incident = Incident::fold(&id, events.iter().map(|event| (at, event))).expect("folds");
        let step = ApprovedStep::of(&incident, 0).expect("approved");
        let claim = Claims::default().take(&id).expect("nobody has it");
        Self { step, claim }
    }

    fn mark(&self) -> Mark {
        Mark::from(&self.step)
    }

    async fn dry_run(&self, world: &World) -> DryRun {
        world.writer.dry_run(self.step.step(), &self.mark()).await
    }

    async fn perform(&self, world: &World) -> Performed {
        world.writer.perform(&self.step, &self.claim).await
    }

    async fn observe(&self, world: &World) -> Observation {
        world.writer.observe(&self.step).await
    }
}

fn agent() -> Target {
    target("default", "api")
}

async fn plan(world: &World, target: &Target, action: ActionSpec) -> Approved {
    let workload = world.reader.workload(target).await.expect("it is there");
    let now = world.clock.now();
    let facts = Facts { at: now, targets: vec![workload], related: Vec::new(), queries: [].into() };
    let mut steps =
        action::plan(&[action], &facts, Stamp { time: now }).expect("it can be planned");
    Approved::of(steps.remove(0))
}

async fn restart(world: &World) -> Approved {
    plan(world, &agent(), ActionSpec::Restart(RestartSpec::default())).await
}

fn live(world: &World) -> Value {
    world.sandbox.get("deployments", "default", "api").expect("there")
}

fn fail(code: u16) -> FaultOutcome {
    FaultOutcome::Status { code, message: "scripted".to_owned(), retry_after: None }
}

#[tokio::test]
async fn a_rollback_is_shown_then_made_then_seen_and_not_made_twice() {
    let world = deployed().await;
    let action = ActionSpec::Rollback(RollbackSpec::default());
    let step = plan(&world, &agent(), action).await;
    let before = live(&world);

    let DryRun::Would { before: old, after } = step.dry_run(&world).await else {
        panic!("refused")
    };
    let changes: Vec<String> = diff::fields(&old, &after).iter().map(ToString::to_string).collect();
    let image = changes.iter().find(|line| line.contains("containers[agent].image"));
    assert!(image.expect("the image changes").contains("v2 → "), "{changes:#?}");
    assert!(diff::unified(&old, &after).contains("api:v1"));
    assert_eq!(live(&world), before, "a dry run stores nothing");
    assert_eq!(step.observe(&world).await, Observation::NotApplied);

    let performed = step.perform(&world).await;
    let Performed::Done { left, .. } = performed else { panic!("{performed:?}") };
    let now = live(&world);
    assert_eq!(now["metadata"]["annotations"]["orderly.dev/step"], step.mark().to_string());
    let uid = now["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let generation = now["metadata"]["generation"].as_i64().expect("a generation");
    assert_eq!(left, Some((uid, generation)));
    assert_eq!(before["metadata"]["generation"], generation - 1, "the mark causes no rollout");
    assert_eq!(step.observe(&world).await, Observation::Applied);

    let again = step.perform(&world).await;
    assert!(matches!(again, Performed::Done { .. }), "{again:?}");
    let writes = world.sandbox.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0].field_manager, "orderly");
    assert!(writes[0].body.as_ref().expect("a body")["metadata"]["resourceVersion"].is_string());
}

#[tokio::test]
async fn a_change_by_somebody_else_is_a_conflict_and_nothing_is_written() {
    let world = deployed().await;
    let step = restart(&world).await;
    let place = ("default", "api");
    world.sandbox.set_image("deployments", place, "agent", "other:1").expect("changed");
    let performed = step.perform(&world).await;
    let Performed::Conflict { what } = performed else { panic!("{performed:?}") };
    assert!(what.contains("generation") && what.contains("kubectl-client-side-apply"), "{what}");
    assert!(matches!(step.observe(&world).await, Observation::Changed { .. }));
    assert_eq!(world.sandbox.writes(), []);

    world.sandbox.delete("deployments", "default", "api").expect("gone");
    let performed = step.perform(&world).await;
    let Performed::Conflict { what } = performed else { panic!("{performed:?}") };
    assert!(what.contains("no longer exists"), "{what}");
    assert_eq!(step.observe(&world).await, Observation::Gone);
}

#[tokio::test]
async fn a_change_of_the_status_alone_does_not_stop_a_step() {
    let world = deployed().await;
    let step = restart(&world).await;
    // The first look is at the past, so its resourceVersion is old when it is sent: a pod went away
    // in the meantime, which changes the Deployment's status and nothing else.
    let past = FaultMatch::read("get", "deployments");
    world.sandbox.fault(Fault::once(past, FaultOutcome::Stale));
    let planned = live(&world);
    let pod = world.sandbox.pods_of("default", "api").remove(0);
    let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
    world.sandbox.delete("pods", "default", &name).expect("deleted");
    world.pass(SignedDuration::from_secs(10));
    let now = live(&world);
    assert_ne!(now["metadata"]["resourceVersion"], planned["metadata"]["resourceVersion"]);
    assert_eq!(now["metadata"]["generation"], planned["metadata"]["generation"]);
    let performed = step.perform(&world).await;
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
        let world = deployed().await;
        let step = restart(&world).await;
        let write = FaultMatch::write("patch", "deployments");
        let fault = world.sandbox.fault(Fault::once(write, outcome.clone()));
        let performed = step.perform(&world).await;
        assert!(matches!(performed, Performed::Unknown { .. }), "{outcome:?}: {performed:?}");
        assert_eq!(fault.struck(), 1);
        assert_eq!(world.sandbox.writes().len(), 1, "{outcome:?}: sent once");
        assert_eq!(step.observe(&world).await, seen, "{outcome:?}");
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
        let world = deployed().await;
        let step = restart(&world).await;
        let write = FaultMatch::write("patch", "deployments");
        world.sandbox.fault(Fault::always(write, outcome.clone()));
        let performed = step.perform(&world).await;
        let Performed::Refused(refusal) = performed else { panic!("{outcome:?}: {performed:?}") };
        assert_eq!(refusal.again, expected, "{refusal}");
        assert_eq!(world.sandbox.writes().len(), 1);
        if let Again::Later { seconds: Some(pause) } = expected {
            // A server that asked for a pause is not even asked what became of it.
            let asked = world.sandbox.audit().len();
            let seen = step.observe(&world).await;
            assert!(matches!(seen, Observation::Unknown { .. }), "{seen:?}");
            assert_eq!(world.sandbox.audit().len(), asked);
            world.clock.advance(SignedDuration::from_secs(pause as i64 + 1));
        }
        assert_eq!(step.observe(&world).await, Observation::NotApplied);
    }
}

#[tokio::test]
async fn what_could_not_be_looked_at_was_not_sent() {
    let world = deployed().await;
    let step = restart(&world).await;
    let read = FaultMatch::read("get", "deployments");
    world.sandbox.fault(Fault::always(read, FaultOutcome::DropBefore));
    let performed = step.perform(&world).await;
    assert!(matches!(performed, Performed::NotSent { .. }), "{performed:?}");
    let seen = step.observe(&world).await;
    assert!(matches!(seen, Observation::Unknown { .. }), "{seen:?}");
    assert_eq!(world.sandbox.writes(), []);
}

#[tokio::test]
async fn scaling_goes_through_the_subresource_and_knows_the_generation_that_it_leaves() {
    let world = deployed().await;
    let scale = ScaleSpec { to: Some(5), ..ScaleSpec::default() };
    let step = plan(&world, &agent(), ActionSpec::Scale(scale)).await;
    let would = step.dry_run(&world).await;
    let DryRun::Would { before, after } = would else { panic!("{would:?}") };
    let changes: Vec<String> =
        diff::fields(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["spec.replicas: 3 → 5"]);
    assert_eq!(step.observe(&world).await, Observation::NotApplied);
    let performed = step.perform(&world).await;
    let Performed::Done { left, resource_version, .. } = performed else { panic!("{performed:?}") };
    let now = live(&world);
    assert_eq!(now["spec"]["replicas"], 5);
    assert_eq!(left.map(|(_, generation)| generation), now["metadata"]["generation"].as_i64());
    assert_eq!(now["metadata"]["resourceVersion"], resource_version);
    assert_eq!(step.observe(&world).await, Observation::Applied);
    let writes = world.sandbox.writes();
    assert_eq!((writes.len(), writes[0].subresource.as_str()), (1, "scale"));
}

#[tokio::test]
async fn pods_are_deleted_by_uid_so_that_a_successor_of_the_same_name_lives() {
    let world = deployed().await;
    let pods = world.sandbox.pods_of("default", "api");
    let name = |pod: &Value| pod["metadata"]["name"].as_str().expect("a name").to_owned();
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let delete = |pods: Vec<(String, String)>| {
        Approved::of(Step {
            action: "rollback".to_owned(),
            summary: String::new(),
            reason: String::new(),
            change: Change::DeletePods(DeletePods { owner: agent(), pods }),
        })
    };
    // One that is there, one that is another by now, one that is gone.
    let step = delete(vec![
        (name(&pods[0]), uid(&pods[0])),
        (name(&pods[1]), "of-its-predecessor".to_owned()),
        ("gone".to_owned(), "gone".to_owned()),
    ]);
    assert_eq!(step.observe(&world).await, Observation::NotApplied);
    let would = step.dry_run(&world).await;
    assert!(matches!(would, DryRun::Would { .. }), "{would:?}");
    assert_eq!(world.sandbox.writes(), []);
    let performed = step.perform(&world).await;
    let Performed::Done { after, .. } = performed else { panic!("{performed:?}") };
    assert_eq!(after["deleted"], json!([{"name": name(&pods[0]), "uid": uid(&pods[0])}]));
    assert_eq!(step.observe(&world).await, Observation::Applied);
    let left = world.sandbox.list("pods", "default");
    assert!(left.iter().any(|pod| uid(pod) == uid(&pods[1])), "the successor lives");
}

#[tokio::test]
async fn an_event_is_written_about_the_object() {
    let world = deployed().await;
    let object = live(&world);
    let event = ClusterEvent {
        regarding: Regarding {
            api_version: "apps/v1".to_owned(),
            kind: Kind::Deployment.to_string(),
            namespace: "default".to_owned(),
            name: "api".to_owned(),
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

#[tokio::test]
async fn a_second_step_on_a_deployment_is_not_stopped_by_its_controller() {
    let world = deployed().await;
    let first = restart(&world).await;
    let Performed::Done { left, .. } = first.perform(&world).await else { panic!("not done") };
    let left = left.expect("of an object").1;
    // The controller rolls out and writes the revision's number, by way of the status.
    world.pass(SignedDuration::from_secs(30));
    assert_eq!(live(&world)["metadata"]["generation"], left);
    let scale = ScaleSpec { to: Some(4), ..ScaleSpec::default() };
    let second = plan(&world, &agent(), ActionSpec::Scale(scale)).await;
    let mut step = second.step.step().clone();
    if let Change::Patch(change) = &mut step.change {
        change.object.generation = left;
    }
    let performed = Approved::of(step).perform(&world).await;
    assert!(matches!(performed, Performed::Done { .. }), "{performed:?}");
    assert_eq!(live(&world)["spec"]["replicas"], 4);
}
