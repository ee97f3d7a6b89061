//! A whole Orderly beside a cluster, on a clock that the test moves: tests read like an operator's
//! shift. The cluster is the sandbox, unless a test brings another [`Ground`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use orderly::clock::{Clock, ManualClock};
use orderly::domain::alert::{Alert, AlertStatus, Delivery};
use orderly::domain::event::{Event, Outcome, Person, Stream};
use orderly::domain::gate::rails::GuardRails;
use orderly::domain::id::{Fingerprint, IncidentId};
use orderly::domain::incident::{Incident, Phase};
use orderly::domain::policy::choice::PolicySet;
use orderly::domain::policy::compiled::{CompiledPolicy, Names};
use orderly::domain::policy::spec::PolicyDocument;
use orderly::engine::{Engine, Ports};
use orderly::http::intake::{Intake, IntakeRefused};
use orderly::journal::codec;
use orderly::journal::faults::Faults;
use orderly::journal::memory::MemoryStore;
use orderly::journal::{Identity as JournalIdentity, Journal, JournalId, JournalTask};
use orderly::kubernetes::connection::{Identity, ReadConnection, WRITE_LIMIT, WriteConnection};
use orderly::kubernetes::reader::Reader;
use orderly::kubernetes::writer::Writer;
use orderly::metrics::Metrics;
use orderly::notify::places::Places;
use orderly::notify::{Receiver, Receivers};
use orderly::outbound::{Credentials, Service};
use orderly::prometheus::Prometheus;
use orderly::sandbox::{Contents, Options, Sandbox};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How far time moves at once at most, so that a condition is seen soon after it came about.
const LONGEST: SignedDuration = SignedDuration::from_secs(2);
/// And at least, so that neighbouring deadlines do not cost a tick each.
const SHORTEST: SignedDuration = SignedDuration::from_millis(100);
/// Time within which anything that a test waits for must have happened.
const PATIENCE: SignedDuration = SignedDuration::from_hours(2);
/// How long the rooms get to come to rest: only a request that a fault holds takes so long.
const SETTLE: Duration = Duration::from_secs(10);
/// So many times in a row they may fail to: a fault ends before that, an engine that hangs does not.
const RESTLESS: u32 = 6;

/// The cluster that a world stands on, with the Prometheus and the Alertmanager beside it.
pub trait Ground {
    /// Where Orderly finds the API server.
    fn url(&self) -> String;
    /// The base of the Prometheus API.
    fn prometheus_url(&self) -> String;
    /// The base of the Alertmanager API.
    fn alertmanager_url(&self) -> String;
    /// Completes when the cluster has done everything that does not wait for the clock.
    async fn rest(&self);
    /// Takes up the time that the clock shows now.
    fn tick(&self);
}

impl Ground for Sandbox {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn prometheus_url(&self) -> String {
        Self::prometheus_url(self)
    }

    fn alertmanager_url(&self) -> String {
        Self::alertmanager_url(self)
    }

    /// Its controllers work only when the clock has moved.
    async fn rest(&self) {}

    fn tick(&self) {
        Self::tick(self);
    }
}

/// The world of one test.
pub struct World<G = Sandbox> {
    pub clock: Arc<ManualClock>,
    pub ground: G,
    pub store: MemoryStore,
    pub engine: Engine,
    pub policies: watch::Sender<Arc<PolicySet>>,
    /// What goes wrong with the journal, by script.
    pub journal_faults: Faults,
    setting: Setting,
    journal_task: JournalTask,
    stop: CancellationToken,
    tasks: Tasks,
    /// How often in a row the rooms did not come to rest.
    restless: AtomicU32,
}

/// The engine's tasks, and why one of them ended that should not have.
struct Tasks {
    running: Vec<JoinHandle<()>>,
    broken: Arc<OnceLock<String>>,
}

/// How a world is set up.
#[derive(Clone)]
pub struct Setting {
    /// The limits on how much may be changed.
    pub rails: GuardRails,
    /// The gates ask the sandbox's Alertmanager.
    pub watch_alertmanager: bool,
    /// What is in the cluster.
    pub contents: Contents,
    /// How long a change is waited for.
    pub write_limit: Duration,
    /// How long the rooms get to come to rest.
    pub settle: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            rails: GuardRails::default(),
            watch_alertmanager: false,
            contents: Contents::Demo,
            write_limit: WRITE_LIMIT,
            settle: SETTLE,
        }
    }
}

/// When every world begins.
pub fn began() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().expect("a time")
}

/// The policies of these documents.
pub fn policy_set(documents: &[String]) -> Arc<PolicySet> {
    let compiled = documents.iter().map(|text| {
        let document: PolicyDocument = serde_saphyr::from_str(text).expect("a policy document");
        let policy = CompiledPolicy::compile(document, &Names::default());
        Arc::new(policy.unwrap_or_else(|problems| panic!("{problems:?}")))
    });
    Arc::new(PolicySet::new(compiled.collect::<Vec<_>>()))
}

impl World {
    /// The demo's cluster and these policies, without limits on how much may be changed.
    pub async fn start(documents: &[String]) -> Self {
        Self::with(documents, GuardRails::default(), false).await
    }

    /// The same with these limits; `watch_alertmanager` has the gates ask the sandbox's.
    pub async fn with(documents: &[String], rails: GuardRails, watch_alertmanager: bool) -> Self {
        let setting = Setting { rails, watch_alertmanager, ..Setting::default() };
        Self::of(policy_set(documents), setting).await
    }

    /// These policies in this setting.
    pub async fn of(policies: Arc<PolicySet>, setting: Setting) -> Self {
        let clock = Arc::new(ManualClock::new(began()));
        let options = Options { contents: setting.contents, ..Options::new(clock.clone()) };
        let sandbox = Sandbox::start(options).await.expect("a sandbox");
        Self::on(sandbox, clock, policies, setting).await
    }

    /// Somebody of the group `sre`.
    pub fn person(name: &str) -> Person {
        Person { name: name.to_owned(), groups: vec!["sre".to_owned()], path: "api".to_owned() }
    }
}

impl<G: Ground> World<G> {
    /// These policies on this ground, whose clock it is.
    pub async fn on(
        ground: G,
        clock: Arc<ManualClock>,
        policies: Arc<PolicySet>,
        setting: Setting,
    ) -> Self {
        let now = clock.now();
        let id = JournalId::from_bytes([7; 16]);
        let store = MemoryStore::new(JournalIdentity { id, created_at: now });
        let policies = watch::Sender::new(policies);
        let journal_faults = Faults::default();
        let (engine, journal_task, stop, tasks) =
            boot(&clock, &ground, &store, &policies, &setting, &journal_faults).await;
        Self {
            clock,
            ground,
            store,
            engine,
            policies,
            journal_faults,
            setting,
            journal_task,
            stop,
            tasks,
            restless: AtomicU32::new(0),
        }
    }

    /// Kills the service without a word and starts another one on the same journal.
    pub async fn restart(mut self) -> Self {
        for task in self.tasks.running.drain(..) {
            task.abort();
        }
        self.stop.cancel();
        drop(self.engine);
        self.journal_task.close().await;
        let (engine, journal_task, stop, tasks) = boot(
            &self.clock,
            &self.ground,
            &self.store,
            &self.policies,
            &self.setting,
            &self.journal_faults,
        )
        .await;
        Self { engine, journal_task, stop, tasks, ..self }
    }

    /// Alertmanager delivers one firing alert.
    pub async fn fire(&self, labels: &[(&str, &str)]) -> Alert {
        let alert = self.alert(labels);
        self.deliver(vec![alert.clone()]).await;
        alert
    }

    /// An alert that began to fire a minute ago.
    pub fn alert(&self, labels: &[(&str, &str)]) -> Alert {
        let now = self.clock.now();
        let labels: BTreeMap<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let fingerprint = Fingerprint::of(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        Alert {
            status: AlertStatus::Firing,
            labels,
            annotations: BTreeMap::new(),
            starts_at: now.saturating_sub(SignedDuration::from_mins(1)).expect("in range"),
            ends_at: None,
            generator_url: String::new(),
            fingerprint,
        }
    }

    /// Alertmanager delivers that it is over.
    pub async fn resolve(&self, alert: &Alert) {
        let ended = Some(self.clock.now());
        let resolved = Alert { status: AlertStatus::Resolved, ends_at: ended, ..alert.clone() };
        self.deliver(vec![resolved]).await;
    }

    /// Delivers some alerts as one webhook would.
    pub async fn deliver(&self, alerts: Vec<Alert>) {
        self.try_deliver(alerts).await.expect("accepted");
    }

    /// The same, when it may be refused.
    pub async fn try_deliver(&self, alerts: Vec<Alert>) -> Result<(), IntakeRefused> {
        let delivery = Delivery {
            receiver: "orderly".to_owned(),
            group: "test".to_owned(),
            truncated_alerts: 0,
            reason: None,
            external_url: String::new(),
        };
        self.engine.accept(delivery, alerts).await.map(drop)
    }

    /// Waits until nothing happens any more while the clock stands still.
    pub async fn settle(&self) {
        let rest = tokio::time::timeout(self.setting.settle, self.engine.at_rest()).await;
        if let Some(why) = self.tasks.broken.get() {
            panic!("{why}; the journal says:\n{}", self.told().await);
        }
        if let Ok(rest) = rest {
            rest.expect("readable");
            self.restless.store(0, Ordering::Relaxed);
        } else if self.restless.fetch_add(1, Ordering::Relaxed) >= RESTLESS {
            panic!("the rooms do not come to rest; the journal says:\n{}", self.told().await);
        }
    }

    /// One tick of the world: to the next deadline, or a while.
    pub async fn tick(&self) {
        self.tick_within(LONGEST).await;
    }

    async fn tick_within(&self, longest: SignedDuration) {
        self.settle().await;
        self.ground.rest().await;
        let now = self.clock.now();
        let next = self.clock.next_deadline().map_or(longest, |next| next.duration_since(now));
        self.clock.advance(next.max(SHORTEST).min(longest));
        self.ground.tick();
        self.settle().await;
    }

    /// Lets the cluster finish what it was asked to do, while the clock stands still.
    pub async fn calm(&self) {
        self.ground.rest().await;
        self.ground.tick();
        self.settle().await;
    }

    /// Lets time pass until `done`.
    pub async fn until(&self, what: &str, mut done: impl AsyncFnMut(&Self) -> bool) {
        let end = self.clock.now().saturating_add(PATIENCE).expect("in range");
        while self.clock.now() < end {
            if done(self).await {
                return;
            }
            self.tick().await;
        }
        panic!("waited in vain for {what}; the journal says:\n{}", self.told().await);
    }

    /// Everything in the journal, a line an event.
    pub async fn told(&self) -> String {
        let mut text = String::new();
        for (at, event) in self.all_events().await {
            text.push_str(&format!("{at} {}\n", orderly::domain::explain::line(&event)));
        }
        text
    }

    /// Lets so much time pass.
    pub async fn pass(&self, time: SignedDuration) {
        let end = self.clock.now().saturating_add(time).expect("in range");
        while self.clock.now() < end {
            self.tick_within(LONGEST.min(end.duration_since(self.clock.now()))).await;
        }
    }

    /// The incident that the alert opened.
    pub async fn incident(&self, alert: &Alert) -> Option<Incident> {
        self.engine.incident(&IncidentId::of(alert.episode())).await.ok()
    }

    /// Lets time pass until the alert's incident is in the phase.
    pub async fn until_phase(&self, alert: &Alert, phase: &str) -> Incident {
        self.until(phase, async |world| {
            world.incident(alert).await.is_some_and(|it| it.phase.name() == phase)
        })
        .await;
        self.incident(alert).await.expect("just seen")
    }

    /// Lets time pass until the alert's incident is over; how it ended and why.
    pub async fn until_closed(&self, alert: &Alert) -> (Outcome, String) {
        let incident = self.until_phase(alert, "closed").await;
        match incident.phase {
            Phase::Closed { outcome, reason, .. } => (outcome, reason),
            _ => unreachable!("the phase was closed"),
        }
    }

    /// The events of the alert's incident.
    pub async fn events(&self, alert: &Alert) -> Vec<Event> {
        let stream = Stream::Incident(IncidentId::of(alert.episode()));
        let entries = self.engine.journal().read_stream(&codec::stream_id(&stream)).await;
        let entries = entries.expect("readable");
        entries.iter().map(|entry| codec::decode(entry).expect("an event").event).collect()
    }

    /// Everything in the journal.
    pub async fn all_events(&self) -> Vec<(Timestamp, Event)> {
        let mut all = Vec::new();
        let mut from = 1;
        loop {
            let page = self.engine.journal().read(from, 0).await.expect("readable");
            let Some(last) = page.last() else { return all };
            from = last.seq + 1;
            for entry in &page {
                let recorded = codec::decode(entry).expect("an event");
                all.push((recorded.at, recorded.event));
            }
        }
    }

    /// The kinds of events of the alert's incident, in order.
    pub async fn kinds(&self, alert: &Alert) -> Vec<&'static str> {
        self.events(alert).await.iter().map(Event::kind).collect()
    }
}

type Booted = (Engine, JournalTask, CancellationToken, Tasks);

async fn boot(
    clock: &Arc<ManualClock>,
    ground: &impl Ground,
    store: &MemoryStore,
    policies: &watch::Sender<Arc<PolicySet>>,
    setting: &Setting,
    faults: &Faults,
) -> Booted {
    let opened = store.open().with_store(|store| faults.before(store));
    let (journal, journal_task): (Journal, _) = opened.start(clock.clone());
    let identity = Identity { server: Some(ground.url()), ..Identity::default() };
    let read = ReadConnection::connect(&identity, clock.clone()).await.expect("a client");
    let write = WriteConnection::connect(&identity, clock.clone()).await.expect("a client");
    let write = write.with_limit(setting.write_limit);
    let service = |url: String| Service { url, credentials: Credentials::None, ca_file: None };
    let prometheus = Prometheus::new(&service(ground.prometheus_url())).expect("a client");
    let alertmanager = setting.watch_alertmanager.then(|| {
        let replicas = [service(ground.alertmanager_url())];
        orderly::alertmanager::Alertmanager::new(&replicas, clock.clone()).expect("a client")
    });
    let names = ["oncall", "leads", "platform"];
    let receivers = names.map(|name| (name.to_owned(), Receiver::Log));
    let ports = Ports {
        reader: Reader::new(read),
        writer: Writer::new(write, "orderly-test"),
        prometheus: Some(prometheus),
        alertmanager,
        receivers: Receivers::new(receivers.into_iter().collect(), Places::default()),
    };
    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::new(clock.now()));
    let started = Engine::start(
        journal,
        clock.clone(),
        ports,
        setting.rails.clone(),
        policies.subscribe(),
        metrics,
        stop.clone(),
    );
    let (engine, tasks) = started.await.expect("the engine starts");
    let broken = Arc::<OnceLock<String>>::default();
    let running = tasks.into_iter().map(|(name, task)| {
        let broken = broken.clone();
        tokio::spawn(async move {
            if let Err(error) = task.await {
                let _first = broken.set(format!("task {name} ended: {error:?}"));
            }
        })
    });
    (engine, journal_task, stop, Tasks { running: running.collect(), broken })
}
