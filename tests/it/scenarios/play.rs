//! Plays a scenario in a world of its own and tells it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use orderly::clock::{Clock as _, ManualClock};
use orderly::domain::alert::Alert;
use orderly::domain::event::{Event, Stream};
use orderly::domain::id::IncidentId;
use orderly::domain::policy::choice::PolicySet;
use orderly::domain::policy::spec::PolicyDocument;
use orderly::engine::{Board, Decided, DecisionError};
use orderly::journal::Journal;
use orderly::journal::codec;
use orderly::journal::faults::Fault as JournalFault;
use orderly::journal::verify::verify;
use orderly::sandbox::fingerprint;
use serde_json::{Value, json};

use super::script::{Policy, Scenario, Step};
use super::stage::Stage;
use super::teller::Teller;
use crate::world::{Setting, World, policy_set};

/// How long a phase is waited for: longer than any time of a shipped policy.
const PATIENCE: SignedDuration = SignedDuration::from_hours(3);
/// How long a step may take in real time, so that one that waits for a clock that nobody moves is
/// seen: many times what any of them needs.
const STEP_LIMIT: Duration = Duration::from_secs(300);

/// A scenario under way.
struct Play<S> {
    /// Missing only while the service is being started again.
    world: Option<World<S>>,
    teller: Teller,
    alerts: BTreeMap<String, Alert>,
    /// The digests of the plans, in the order in which they were made.
    plans: Vec<String>,
    told: u64,
}

/// Plays a scenario on a stage whose clock this is; gives its transcript. `change` has its way with
/// the text of policies that are files.
pub async fn play<S: Stage>(
    scenario: Scenario,
    stage: S,
    clock: Arc<ManualClock>,
    change: impl Fn(String) -> String,
) -> String {
    let setting = Setting {
        rails: scenario.rails,
        watch_alertmanager: scenario.alertmanager,
        ..Setting::default()
    };
    let world = World::on(stage, clock, policies(&scenario.policies, change), setting).await;
    if !scenario.cluster.manifests.is_empty() {
        world.ground.apply(&scenario.cluster.manifests);
    }
    world.clock.advance(scenario.cluster.age.get());
    world.calm().await;
    for query in scenario.queries {
        world.ground.answer(query);
    }
    let teller = Teller::new(world.clock.now());
    let (alerts, plans) = (BTreeMap::new(), Vec::new());
    let mut play = Play { world: Some(world), teller, alerts, plans, told: 0 };
    for (number, step) in scenario.steps.into_iter().enumerate() {
        let took_too_long = tokio::time::timeout(STEP_LIMIT, play.step(step)).await.is_err();
        assert!(!took_too_long, "step {} does not end:\n{}", number + 1, play.teller.text);
        play.world().settle().await;
        play.tell().await;
    }
    let report = verify(play.world().engine.journal().reader(), None).await.expect("readable");
    assert!(report.is_sound(), "{report:?}");
    kept_boards_go_on(play.world().engine.journal()).await;
    play.teller.text
}

/// A board that was kept after any entry, and goes on from there, is the board of the whole journal.
async fn kept_boards_go_on(journal: &Journal) {
    let mut recorded = Vec::new();
    loop {
        let page = journal.read(recorded.len() as u64 + 1, 0).await.expect("readable");
        if page.is_empty() {
            break;
        }
        recorded.extend(page.iter().map(|entry| codec::decode(entry).expect("an event")));
    }
    let go_on = |mut board: Board, from: usize| {
        recorded[from..].iter().for_each(|it| board.note(it));
        board.to_bytes().expect("bytes")
    };
    let whole = go_on(Board::new(None), 0);
    let mut board = Board::new(None);
    for (number, event) in recorded.iter().enumerate() {
        board.note(event);
        let kept = Board::from_bytes(&board.to_bytes().expect("bytes")).expect("a board");
        assert!(go_on(kept, number + 1) == whole, "kept after {event:?}");
    }
}

fn policies(all: &[Policy], change: impl Fn(String) -> String) -> Arc<PolicySet> {
    let documents = all.iter().map(|policy| {
        let mut document: Value = match (&policy.file, &policy.inline) {
            (Some(file), None) => {
                let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
                let text = std::fs::read_to_string(root.join(file)).expect("a policy");
                serde_saphyr::from_str(&change(text)).expect("yaml")
            }
            (None, Some(inline)) => inline.clone(),
            _ => panic!("a policy is a file or inline"),
        };
        if let Some(mode) = policy.mode {
            document["spec"]["mode"] = serde_json::to_value(mode).expect("a word");
        }
        if let Some(spec) = &policy.spec {
            json_patch::merge(&mut document["spec"], spec);
        }
        let _valid: PolicyDocument = serde_json::from_value(document.clone()).expect("a policy");
        document.to_string()
    });
    policy_set(&documents.collect::<Vec<_>>())
}

impl<S: Stage> Play<S> {
    fn world(&self) -> &World<S> {
        self.world.as_ref().expect("the service runs")
    }

    async fn restart(&mut self) {
        let world = self.world.take().expect("the service runs");
        self.world = Some(world.restart().await);
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Fire { name, labels } => self.fire(name, &labels).await,
            Step::Repeat { name, times } => {
                self.say(&format!("Alertmanager delivers `{name}` {times} more times"));
                let alert = self.alerts[&name].clone();
                for _ in 0..times {
                    self.world().deliver(vec![alert.clone()]).await;
                }
            }
            Step::Resolve { name } => {
                self.say(&format!("`{name}` resolves"));
                let alert = self.alerts[&name].clone();
                self.world().ground.alertmanager().resolve(&fingerprint(&alert.labels));
                self.world().resolve(&alert).await;
            }
            Step::Until { name, phase } => self.until(&name, &phase).await,
            Step::Pass(time) => self.pass(time.get()).await,
            Step::SetImage { resource, namespace, workload, container, image } => {
                self.say(&format!("somebody deploys {image} to {namespace}/{workload}"));
                let containers = json!([{"name": container, "image": image}]);
                let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
                self.world().ground.patch(&resource, &namespace, &workload, &patch);
                self.world().calm().await;
            }
            Step::Patch { resource, namespace, name, patch } => {
                self.say(&format!("somebody changes {namespace}/{name}: {patch}"));
                self.world().ground.patch(&resource, &namespace, &name, &patch);
                self.world().calm().await;
            }
            Step::Silence { labels, lasts } => {
                self.say(&format!("a silence for {lasts}"));
                let now = self.world().clock.now();
                let until = now.saturating_add(lasts.get()).expect("in range");
                self.world().ground.alertmanager().silence(&labels, now, until);
            }
            Step::Crash { kind, stored } => {
                let when = if stored { "after" } else { "before" };
                self.say(&format!("the service will die right {when} {kind} is stored"));
                let fault =
                    if stored { JournalFault::CrashAfter } else { JournalFault::CrashBefore };
                self.world().journal_faults.at(kind.leak(), fault);
            }
            Step::Drop { verb, resource, carried_out } => {
                let when = if carried_out { "after" } else { "before" };
                self.say(&format!("the connection will break {when} the next {verb} {resource}"));
                self.world().ground.break_connection(&verb, &resource, carried_out);
            }
            Step::ExpectImage { resource, namespace, workload, contains } => {
                let object = self.world().ground.get(&resource, &namespace, &workload);
                let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
                assert!(image.as_str().is_some_and(|it| it.contains(&contains)), "{image}");
            }
            Step::ExpectWrites(wanted) => {
                let writes = self.world().ground.writes();
                assert_eq!(writes.len(), wanted, "{writes:#?}\n{}", self.teller.text);
            }
            step @ (Step::Approve { .. }
            | Step::Refuse { .. }
            | Step::Abort { .. }
            | Step::KillSwitch { .. }
            | Step::ResetBreaker { .. }) => self.decide(step).await,
            Step::Restart => {
                self.say("the service is killed and started again");
                self.restart().await;
            }
        }
    }

    async fn decide(&mut self, step: Step) {
        let said = match step {
            Step::Approve { name, by, digest_of } => {
                let digest = digest_of.map(|number| self.plans[number - 1].clone());
                let (id, digest) = (self.incident(&name), digest.as_deref());
                let person = World::person(&by);
                let done = self.world().engine.approve(&id, person, digest, None).await;
                format!("{by} approves {}: {}", digest.unwrap_or("what stands"), came_of(done))
            }
            Step::Refuse { name, by, reason } => {
                let (id, person) = (self.incident(&name), World::person(&by));
                let done = self.world().engine.refuse(&id, person, reason).await;
                format!("{by} refuses: {}", came_of(done))
            }
            Step::Abort { name, by, reason } => {
                let (id, person) = (self.incident(&name), World::person(&by));
                let done = self.world().engine.abort(&id, person, reason).await;
                format!("{by} aborts: {}", came_of(done))
            }
            Step::KillSwitch { on, by, reason } => {
                let person = World::person(&by);
                let set = self.world().engine.set_kill_switch(on, person, reason).await;
                set.expect("set");
                format!("{by} turns the kill switch {}", if on { "on" } else { "off" })
            }
            Step::ResetBreaker { policy, by, reason } => {
                let person = World::person(&by);
                let said = format!("{by} resets the breaker of `{policy}`");
                let reset = self.world().engine.reset_breaker(policy, person, reason).await;
                reset.expect("reset");
                said
            }
            _ => unreachable!("not a decision"),
        };
        self.say(&said);
    }

    async fn fire(&mut self, name: String, labels: &BTreeMap<String, String>) {
        let mut labels = labels.clone();
        if let Some(workload) = labels.get("pod").and_then(|pod| pod.strip_prefix("of:")) {
            let pods = self.world().ground.pods_of(&labels["namespace"], workload);
            labels.insert("pod".to_owned(), pods[0].clone());
        }
        self.say(&format!("`{name}` fires"));
        let pairs: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let alert = self.world().alert(&pairs);
        let alertmanager = self.world().ground.alertmanager();
        alertmanager.fire(labels.clone(), BTreeMap::new(), alert.starts_at);
        self.teller.name(&alert.fingerprint.to_string(), "alert");
        self.teller.name(&IncidentId::of(alert.episode()).to_string(), "incident");
        self.alerts.insert(name, alert.clone());
        self.world().deliver(vec![alert]).await;
    }

    fn incident(&self, name: &str) -> IncidentId {
        IncidentId::of(self.alerts[name].episode())
    }

    fn say(&mut self, what: &str) {
        self.teller.script(self.world().clock.now(), what);
    }

    async fn until(&mut self, name: &str, phase: &str) {
        let alert = self.alerts[name].clone();
        let end = self.world().clock.now().saturating_add(PATIENCE).expect("in range");
        // Reading an incident takes longer than a tick: only what was appended can have changed it.
        let mut looked_at = None;
        loop {
            self.world().settle().await;
            // Before the cluster gets any further: a service is started again at once.
            self.revive().await;
            let head = *self.world().engine.journal().subscribe().borrow();
            if looked_at.replace(head) != Some(head) {
                let incident = self.world().incident(&alert).await;
                if incident.is_some_and(|it| it.phase.name() == phase) {
                    return;
                }
            }
            if self.world().clock.now() >= end {
                self.tell().await;
                panic!("`{name}` is never {phase}:\n{}", self.teller.text);
            }
            self.world().tick().await;
        }
    }

    async fn pass(&mut self, time: SignedDuration) {
        self.world().pass(time).await;
        self.revive().await;
    }

    /// Starts a service that died.
    async fn revive(&mut self) {
        if self.world().engine.journal().subscribe().has_changed().is_err() {
            self.tell().await;
            self.say("the service died and is started again");
            self.restart().await;
            self.world().settle().await;
        }
    }

    /// Tells what was appended since the last time.
    async fn tell(&mut self) {
        let page = self.world().engine.journal().read(self.told + 1, 0).await.expect("readable");
        for entry in page {
            self.told = entry.seq;
            let recorded = codec::decode(&entry).expect("an event");
            if let Event::PlanProposed { digest, .. } = &recorded.event
                && !self.plans.contains(&digest.short())
            {
                self.plans.push(digest.short());
            }
            let quiet = match &recorded.event {
                Event::AlertsReceived { .. } => true,
                Event::AlertsCorrelated { ignored_total, duplicates, .. } => {
                    *ignored_total == 0 && *duplicates == 0
                }
                _ => false,
            };
            if quiet {
                continue;
            }
            let of = match &recorded.stream {
                Stream::Incident(id) => {
                    let mut names = self.alerts.iter();
                    let name = names.find(|(_, it)| IncidentId::of(it.episode()) == *id);
                    name.map_or_else(String::new, |(name, _)| format!("[{name}] "))
                }
                Stream::Intake => "[intake] ".to_owned(),
                Stream::Control => "[control] ".to_owned(),
                Stream::Conversation => "[conversation] ".to_owned(),
            };
            self.teller.event(recorded.at, &of, &recorded.event);
        }
    }
}

fn came_of(decided: Result<Decided, DecisionError>) -> String {
    match decided {
        Ok(Decided::Noted(_)) => "noted".to_owned(),
        Ok(Decided::Already(_)) => "said before".to_owned(),
        Err(error) => error.to_string(),
    }
}
