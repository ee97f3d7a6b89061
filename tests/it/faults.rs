//! The fault matrix: whatever fails at whatever write, an incident ends with a reason, a change is
//! made at most once and never without a claim in the journal, and no acknowledged alert is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use orderly::clock::Clock as _;
use orderly::domain::alert::Alert;
use orderly::domain::event::{Event, Outcome};
use orderly::domain::gate::rails::{BudgetSpec, GuardRails};
use orderly::domain::id::IncidentId;
use orderly::domain::incident::{Incident, Phase};
use orderly::journal::verify::verify;
use orderly::sandbox::{AuditEntry, Contents};

use crate::world::{Setting, World, policy_set};

mod cluster;
mod journal;

/// How long a change is waited for where a fault holds the answer back.
const SHORT_LIMIT: Duration = Duration::from_millis(400);
/// Turns of an operator's shift: far more than any incident needs.
const TURNS: usize = 3_000;
/// How long a person's request may take before it is given up and made again.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// What is in the cluster of the matrix: one workload of each kind that the stories change.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop, labels: {app: api}}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: agent, image: "registry.example.com/api:v1"}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop, labels: {app: db}}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: agent, image: "registry.example.com/db:v1"}]}
"#;

/// The policy of a story: `rest` is the part that differs, already indented by two.
fn policy(kind: &str, name: &str, mode: &str, rest: &str) -> String {
    format!(
        "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: matrix}}\n\
         spec:\n  summary: The matrix\n  match: ['alertname=\"Trouble\"']\n  target: {{kind: {kind}, \
         namespaces: [shop], name: {name}}}\n  mode: {mode}\n{rest}"
    )
}

/// One cell under way: the world, its alert, and what was acknowledged.
struct Cell {
    name: String,
    world: World,
    alert: Alert,
    acknowledged: Vec<Alert>,
    generation: i64,
    target: (&'static str, &'static str),
}

impl Cell {
    async fn start(name: String, policy: String, target: (&'static str, &'static str)) -> Self {
        let budget = BudgetSpec { namespace_percent: 100, ..BudgetSpec::default() };
        let setting = Setting {
            rails: GuardRails { budget, ..GuardRails::default() },
            contents: Contents::Empty,
            write_limit: SHORT_LIMIT,
            ..Setting::default()
        };
        let world = World::of(policy_set(&[policy]), setting).await;
        world.ground.apply_yaml(CLUSTER).expect("applied");
        // Old enough for its first revision to count as healthy.
        world.clock.advance(SignedDuration::from_mins(45));
        world.ground.tick();
        let alert = world.alert(&[("alertname", "Trouble")]);
        Self { name, world, alert, acknowledged: Vec::new(), generation: 0, target }
    }

    fn live_generation(&self) -> i64 {
        let (resource, name) = self.target;
        let object = self.world.ground.get(resource, "shop", name).expect("it exists");
        object["metadata"]["generation"].as_i64().expect("a number")
    }

    /// Alertmanager delivers until it is acknowledged, as it would.
    async fn deliver(&mut self, alert: Alert) -> bool {
        let taken = self.world.try_deliver(vec![alert.clone()]).await.is_ok();
        if taken {
            self.acknowledged.push(alert);
        }
        taken
    }

    /// Runs the incident to its end: an operator who tries again what failed, and starts a service
    /// that died.
    async fn run(mut self, operator: Operator) -> Self {
        self.generation = self.live_generation();
        let id = IncidentId::of(self.alert.episode());
        let (mut fired, mut resolved) = (false, false);
        for _ in 0..TURNS {
            if self.dead() {
                self.world = self.world.restart().await;
            }
            if !fired {
                fired = self.deliver(self.alert.clone()).await;
            }
            match self.world.incident(&self.alert).await {
                Some(incident) if incident.closed() => return self,
                Some(incident) => {
                    let acted = operator.act(&self.world, &id, &incident);
                    let _tried_again = tokio::time::timeout(IMPATIENCE, acted).await;
                    if operator.resolves(&incident) && !resolved {
                        let ended = Some(self.world.clock.now());
                        let status = orderly::domain::alert::AlertStatus::Resolved;
                        let over = Alert { status, ends_at: ended, ..self.alert.clone() };
                        resolved = self.deliver(over).await;
                    }
                }
                None => {}
            }
            self.world.tick().await;
        }
        panic!("{}: it does not end:\n{}", self.name, self.world.told().await);
    }

    /// Whether the journal's writer has died.
    fn dead(&self) -> bool {
        self.world.engine.journal().subscribe().has_changed().is_err()
    }

    /// The promises that hold in every cell.
    async fn check(&self, outcomes: &[Outcome], changes: i64) -> Result<(), String> {
        let mut wrong = Vec::new();
        let incident = self.world.incident(&self.alert).await.expect("it was opened");
        match &incident.phase {
            Phase::Closed { outcome, reason, .. } => {
                if !outcomes.contains(outcome) {
                    wrong.push(format!("ended {outcome:?} ({reason}), not {outcomes:?}"));
                }
                if reason.is_empty() {
                    wrong.push("ended without a reason".to_owned());
                }
            }
            other => wrong.push(format!("ended {}", other.name())),
        }
        let report = verify(self.world.engine.journal().reader(), None).await.expect("readable");
        if !report.is_sound() {
            wrong.push(format!("the chain is broken: {report:?}"));
        }
        self.check_alerts(&mut wrong).await;
        self.check_changes(changes, &mut wrong).await;
        wrong.extend(steps_out_of_order(&self.world.events(&self.alert).await));
        if wrong.is_empty() {
            return Ok(());
        }
        let told = self.world.told().await;
        Err(format!("{}:\n  {}\n{told}", self.name, wrong.join("\n  ")))
    }

    async fn check_alerts(&self, wrong: &mut Vec<String>) {
        let events = self.world.all_events().await;
        let stored: Vec<_> = events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::AlertsReceived { alerts, .. } => Some(alerts),
                _ => None,
            })
            .flatten()
            .collect();
        for alert in &self.acknowledged {
            if !stored.contains(&alert) {
                wrong.push(format!("acknowledged and not in the journal: {alert:?}"));
            }
        }
        let opened = events.iter().filter(|(_, it)| matches!(it, Event::IncidentOpened { .. }));
        if opened.count() != 1 {
            wrong.push("one episode opened more than one incident".to_owned());
        }
    }

    async fn check_changes(&self, changes: i64, wrong: &mut Vec<String>) {
        let moved = self.live_generation() - self.generation;
        if moved != changes {
            wrong.push(format!("the target's spec was changed {moved} times, not {changes}"));
        }
        let events = self.world.all_events().await;
        let started: Vec<_> = events
            .iter()
            .filter(|(_, event)| matches!(event, Event::StepStarted { .. }))
            .map(|(at, _)| *at)
            .collect();
        let writes = self.world.ground.writes();
        let changing = writes.iter().filter(|entry| entry.resource != "events");
        let requests: BTreeMap<_, Vec<_>> = changing.fold(BTreeMap::new(), |mut all, entry| {
            all.entry(entry.path.clone()).or_insert_with(Vec::new).push(entry);
            all
        });
        for (path, sent) in requests {
            for entry in &sent {
                if !started.iter().any(|at| *at <= entry.at) {
                    wrong.push(format!("{} {path} left without a claim", entry.verb));
                }
            }
            // A conflict stores nothing and is read again; everything else needs a new claim.
            let claims = sent.iter().filter(|entry| entry.code != Some(409)).count();
            if claims > started.len() {
                wrong.push(format!("{claims} requests to {path}, {} claims", started.len()));
            }
        }
        wrong.extend(unlooked(&self.world.ground.audit()));
    }
}

/// Patches that were sent without reading the object since the last one.
fn unlooked(audit: &[AuditEntry]) -> Vec<String> {
    let mut looked = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in audit {
        let object = (entry.resource.clone(), entry.name.clone());
        match entry.verb {
            "get" => drop(looked.insert(object)),
            "patch" if !looked.remove(&object) => {
                wrong.push(format!("{} was patched without a look", entry.path));
            }
            _ => {}
        }
    }
    wrong
}

/// Whatever a step's start is followed by says what came of it, before it is started again.
fn steps_out_of_order(events: &[Event]) -> Vec<String> {
    let mut open = None;
    let mut wrong = Vec::new();
    for event in events {
        match event {
            Event::StepStarted { step, attempt, .. } => {
                if let Some(before) = open.replace(*step) {
                    wrong
                        .push(format!("step {step}, try {attempt}, begins while {before} is open"));
                }
            }
            Event::StepFinished { .. }
            | Event::StepNotApplied { .. }
            | Event::StepFailed { .. }
            | Event::PlanStale { .. } => open = None,
            _ => {}
        }
    }
    wrong
}

/// What the people of a story do, each time they look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// Nothing at all.
    Absent,
    /// Approves what is asked, and the alert resolves while the fix is verified.
    Approves,
    /// Somebody without the right tries first.
    ApprovesAfterADenial,
    /// Refuses what is asked.
    Refuses,
    /// Stops what is asked.
    Aborts,
    /// Turns the kill switch, then approves.
    Stops,
}

impl Operator {
    async fn act(self, world: &World, id: &IncidentId, incident: &Incident) {
        if !matches!(incident.phase, Phase::Asking) || incident.question.is_none() {
            return;
        }
        let (ada, why) = (World::person("ada"), "by the matrix".to_owned());
        // What fails is tried again at the next look.
        match self {
            Self::Absent => {}
            Self::Approves => drop(world.engine.approve(id, ada, None, None).await),
            Self::ApprovesAfterADenial => {
                let kinds = world.all_events().await;
                if !kinds.iter().any(|(_, event)| event.kind() == "DecisionDenied") {
                    let mallory = orderly::domain::event::Person {
                        groups: vec!["guests".to_owned()],
                        ..World::person("mallory")
                    };
                    drop(world.engine.approve(id, mallory, None, None).await);
                } else {
                    drop(world.engine.approve(id, ada, None, None).await);
                }
            }
            Self::Refuses => drop(world.engine.refuse(id, ada, why).await),
            Self::Aborts => drop(world.engine.abort(id, ada, why).await),
            Self::Stops => {
                if world.engine.board(|board| board.ledger().kill_switch().is_none()) {
                    drop(world.engine.set_kill_switch(true, ada.clone(), why).await);
                } else {
                    drop(world.engine.approve(id, ada, None, None).await);
                }
            }
        }
    }

    fn resolves(self, incident: &Incident) -> bool {
        matches!(self, Self::Approves | Self::ApprovesAfterADenial)
            && matches!(incident.phase, Phase::Verifying { .. })
    }
}

/// Runs cells, a few at a time, and fails with all that is wrong at once.
async fn matrix<F>(title: &str, cells: Vec<F>)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let total = cells.len();
    let room = Arc::new(tokio::sync::Semaphore::new(4));
    let running = cells.into_iter().map(|cell| {
        let room = Arc::clone(&room);
        tokio::spawn(async move {
            let _place = room.acquire_owned().await.expect("never closed");
            cell.await
        })
    });
    let mut wrong = Vec::new();
    for cell in running.collect::<Vec<_>>() {
        match cell.await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => wrong.push(why),
            Err(panic) => wrong.push(panic.to_string()),
        }
    }
    println!("{title}: {total} cells, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} of {total} cells:\n{}", wrong.len(), wrong.join("\n"));
}
