//! From an alert to a verified change: the stories that the demo tells, on a clock of their own.

use jiff::SignedDuration;
use orderly::clock::Clock as _;
use orderly::domain::event::{Outcome, Person};
use orderly::sandbox::{Fault, FaultMatch, FaultOutcome, QueryAnswer, QueryMatch, View};

use crate::world::World;

fn high_error_rate(mode: &str) -> String {
    format!(
        r#"
apiVersion: orderly.dev/v1alpha1
kind: RemediationPolicy
metadata: {{name: high-error-rate}}
spec:
  summary: Too many requests fail
  match: ['alertname="HighErrorRate"']
  target:
    kind: Deployment
    namespaces: [ai-agents, production-agents]
    namespace: "{{{{ labels.namespace }}}}"
    name: "{{{{ labels.agent_id }}}}-deployment"
  mode: {mode}
  causes:
    - name: bad-deployment
      when: rollout.age < duration("30m")
      actions: [{{rollback: {{}}}}]
    - name: otherwise
      actions: [{{restart: {{}}}}]
  approval: {{approvers: [sre]}}
  verify:
    within: 5m
    query: {{expr: 'sum(rate(errors[5m]))', below: 0.01, for: 1m}}
  escalate: [{{after: 2h, to: oncall}}]
"#
    )
}

const FIRING: &[(&str, &str)] =
    &[("alertname", "HighErrorRate"), ("namespace", "ai-agents"), ("agent_id", "support-agent")];

fn errors_follow_the_bad_version(world: &World) {
    let expr = QueryMatch::Contains(vec!["errors".to_owned()]);
    world.ground.set_query(expr, |view: &View<'_>| {
        let bad = view.serves_image("ai-agents", "support-agent-deployment", "v1.5.0");
        QueryAnswer::value(if bad { 0.14 } else { 0.002 })
    });
}

fn image(world: &World) -> String {
    let object = world.ground.get("deployments", "ai-agents", "support-agent-deployment");
    let image =
        object.expect("it exists")["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    image.as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_deployment_is_rolled_back_when_a_person_approves() {
    let world = World::start(&[high_error_rate("approval")]).await;
    errors_follow_the_bad_version(&world);
    let alert = world.fire(FIRING).await;
    let incident = world.until_phase(&alert, "waiting-for-approval").await;
    let proposal = incident.proposal.expect("a plan");
    assert!(image(&world).contains("v1.5.0"), "nothing is changed before approval");
    assert!(proposal.previews[0].diff.contains("v1.4.1"), "{}", proposal.previews[0].diff);

    let digest = proposal.digest.to_string();
    world
        .engine
        .approve(&incident.id, World::person("ada"), Some(&digest[..12]), None)
        .await
        .expect("approved");
    world.until_phase(&alert, "verifying").await;
    assert!(image(&world).contains("v1.4.1"), "{}", image(&world));
    world.pass(SignedDuration::from_mins(3)).await;
    world.resolve(&alert).await;
    let (outcome, reason) = world.until_closed(&alert).await;
    assert_eq!(outcome, Outcome::Fixed, "{reason}");
    let writes = world.ground.writes();
    let patches = writes.iter().filter(|entry| entry.verb == "patch").count();
    assert_eq!(patches, 1, "{writes:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_run_changes_nothing_and_says_what_it_would_have_done() {
    let world = World::start(&[high_error_rate("dry-run")]).await;
    errors_follow_the_bad_version(&world);
    let alert = world.fire(FIRING).await;
    let (outcome, reason) = world.until_closed(&alert).await;
    assert_eq!(outcome, Outcome::DryRun, "{reason}");
    assert!(world.ground.writes().is_empty(), "{:#?}", world.ground.writes());
    let kinds = world.kinds(&alert).await;
    assert_eq!(
        kinds,
        [
            "IncidentOpened",
            "TargetsFound",
            "FactsCollected",
            "CauseFound",
            "PlanProposed",
            "GateDecided",
            "IncidentClosed",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_ends_before_anybody_answers_has_recovered_by_itself() {
    let world = World::start(&[high_error_rate("approval")]).await;
    errors_follow_the_bad_version(&world);
    let alert = world.fire(FIRING).await;
    world.until_phase(&alert, "waiting-for-approval").await;
    world.resolve(&alert).await;
    let (outcome, _) = world.until_closed(&alert).await;
    assert_eq!(outcome, Outcome::Recovered);
    assert!(world.ground.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_while_a_question_waits_changes_nothing_about_it() {
    let world = World::start(&[high_error_rate("approval")]).await;
    errors_follow_the_bad_version(&world);
    let alert = world.fire(FIRING).await;
    let before = world.until_phase(&alert, "waiting-for-approval").await;
    let world = world.restart().await;
    world.pass(SignedDuration::from_secs(30)).await;
    let after = world.incident(&alert).await.expect("still there");
    assert_eq!(before, after);
    world.engine.approve(&after.id, World::person("ada"), None, None).await.expect("approved");
    world.until_phase(&alert, "verifying").await;
    assert!(image(&world).contains("v1.4.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_besides_the_target_is_verified_too() {
    let policy = r#"
apiVersion: orderly.dev/v1alpha1
kind: RemediationPolicy
metadata: {name: database}
spec:
  summary: The database has to be restarted
  match: ['alertname="HighErrorRate"']
  target: {kind: Deployment, namespaces: [ai-agents], name: support-agent-deployment}
  mode: auto
  causes:
    - {name: always, actions: [{restart: {on: {kind: StatefulSet, name: postgres}}}]}
  verify: {within: 5m, rollout: complete, alert: any}
"#;
    let world = World::start(&[policy.to_owned()]).await;
    let alert = world.fire(FIRING).await;
    world.until_phase(&alert, "verifying").await;
    // The target itself was complete all the time.
    let incident = world.incident(&alert).await.expect("an incident");
    let told = world.told().await;
    assert!(told.contains("rollout does not hold: ai-agents/StatefulSet/postgres"), "{told}");
    assert!(!incident.closed());
    let (outcome, reason) = world.until_closed(&alert).await;
    assert_eq!(outcome, Outcome::Fixed, "{reason}");
}

/// A policy that restarts, then scales: two steps, and a write to the second can be made to wait.
fn two_steps() -> String {
    r#"
apiVersion: orderly.dev/v1alpha1
kind: RemediationPolicy
metadata: {name: two-steps}
spec:
  summary: Two steps
  match: ['alertname="HighErrorRate"']
  target: {kind: Deployment, namespaces: [ai-agents], name: support-agent-deployment}
  mode: auto
  causes:
    - {name: always, actions: [{restart: {}}, {scale: {by: 1, max: 9}}]}
  verify: {within: 5m, rollout: complete}
"#
    .to_owned()
}

/// The server is busy once, at the write to this resource.
fn busy_once(world: &World, resource: &str) {
    let busy =
        FaultOutcome::Status { code: 429, message: "busy".to_owned(), retry_after: Some(10) };
    world.ground.fault(Fault::once(FaultMatch::write("patch", resource), busy));
}

async fn kill_switch_while_waiting(resource: &str) -> (Outcome, String, usize) {
    let world = World::start(&[two_steps()]).await;
    busy_once(&world, resource);
    let alert = world.fire(FIRING).await;
    world
        .until("a write that the server was too busy for", async |world: &World| {
            world.kinds(&alert).await.contains(&"StepNotApplied")
        })
        .await;
    let why = "the database is being moved".to_owned();
    world.engine.set_kill_switch(true, World::person("ada"), why).await.expect("noted");
    let (outcome, reason) = world.until_closed(&alert).await;
    let changed =
        |entry: &&orderly::sandbox::AuditEntry| entry.verb == "patch" && entry.code == Some(200);
    (outcome, reason, world.ground.writes().iter().filter(changed).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_stops_a_plan_before_another_try_of_its_first_step() {
    let (outcome, reason, changes) = kill_switch_while_waiting("deployments").await;
    assert_eq!(outcome, Outcome::Denied, "{reason}");
    assert!(reason.contains("ada turned the kill switch on"), "{reason}");
    assert_eq!(changes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_stops_a_plan_between_two_steps() {
    let (outcome, reason, changes) = kill_switch_while_waiting("deployments/scale").await;
    assert_eq!(outcome, Outcome::Failed, "{reason}");
    assert!(reason.contains("step 2 failed: ada turned the kill switch on"), "{reason}");
    assert_eq!(changes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_put_off_calls_nobody_and_is_asked_anew() {
    let world = World::start(&[high_error_rate("approval")]).await;
    errors_follow_the_bad_version(&world);
    let alert = world.fire(FIRING).await;
    let asked = world.until_phase(&alert, "waiting-for-approval").await;
    let first = asked.question.expect("a question").expires;

    let outsider = Person { groups: Vec::new(), ..World::person("eve") };
    let hour = || "3h".parse().expect("a time");
    let denied = world.engine.snooze(&asked.id, outsider, hour(), None).await;
    assert!(denied.is_err(), "who may not decide may not make others wait");
    world.engine.snooze(&asked.id, World::person("ada"), hour(), None).await.expect("noted");
    let asleep = world.incident(&alert).await.expect("it is open");
    assert_eq!((asleep.phase.name(), asleep.question), ("held", None));

    // Nobody is called at the policy's two hours, and the old question does not lapse.
    world.pass(SignedDuration::from_mins(170)).await;
    let kinds = world.kinds(&alert).await;
    assert!(!kinds.contains(&"Escalated") && !kinds.contains(&"ApprovalExpired"), "{kinds:?}");
    let yes = world.engine.approve(&asked.id, World::person("ada"), None, None).await;
    assert!(yes.is_err(), "nothing is asked, so nothing is agreed to");

    let again = world.until_phase(&alert, "waiting-for-approval").await;
    assert!(again.question.expect("a question").expires > first);
    let kinds = world.kinds(&alert).await;
    let looks = kinds.iter().filter(|kind| **kind == "FactsCollected").count();
    assert!(looks >= 2, "it is asked over fresh facts: {kinds:?}");
    world.until("the call", async |world| world.kinds(&alert).await.contains(&"Escalated")).await;

    // A snooze of no time ends one.
    world.engine.snooze(&asked.id, World::person("ada"), hour(), None).await.expect("noted");
    let now = "0s".parse().expect("a time");
    world.engine.snooze(&asked.id, World::person("ada"), now, None).await.expect("noted");
    let before = world.clock.now();
    let asked = world.until_phase(&alert, "waiting-for-approval").await;
    assert!(world.clock.now().duration_since(before) < SignedDuration::from_mins(1));

    world.engine.approve(&asked.id, World::person("ada"), None, None).await.expect("noted");
    world.until_phase(&alert, "verifying").await;
    let late = world.engine.snooze(&asked.id, World::person("ada"), hour(), None).await;
    let late = late.expect_err("it is under way").to_string();
    assert!(late.contains("verifying"), "{late}");
}
