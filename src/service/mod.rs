//! The composition root: builds every room from a configuration, and runs them until one ends.

mod api;
mod health;
pub mod outbound;
pub mod policy_resources;
mod policy_status;
mod rehearsal;
pub mod slack;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rand::RngExt as _;

use crate::clock::SharedClock;
use crate::config::Config;
use crate::correspondence;
use crate::domain::event::Outcome;
use crate::domain::gate::Gate;
use crate::domain::gate::rails::GuardRails;
use crate::domain::incident::Phase;
use crate::domain::policy::compiled::Names;
use crate::engine::{Engine, Ports};
use crate::http::admin;
use crate::http::api::{Api, Incidents};
use crate::http::auth::{People, WebhookAuth};
use crate::http::body::BODY_TIMEOUT;
use crate::http::routes::{self, Site};
use crate::http::server::Listener;
use crate::http::status::Health;
use crate::http::tls::{Tls, TlsFiles};
use crate::http::webhook::Webhook;
use crate::journal::keepsake::Keepsake;
use crate::journal::{self, JournalId, sqlite};
use crate::kubernetes::connection::{Identity, ReadConnection, WriteConnection};
use crate::kubernetes::reader::Reader;
use crate::kubernetes::writer::Writer;
use crate::lifecycle::Tasks;
use crate::metrics::Metrics;
use crate::policies::loader::PolicyStore;

pub use api::{Desk, audit_page};
pub use health::Watch;
pub use rehearsal::{Rehearsing, rehearsing};

/// Whether a journal may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalMode {
    /// It must be there.
    Open,
    /// It is made when it is not there.
    CreateIfMissing,
}

/// A running service, before its tasks are awaited.
pub struct Service {
    /// The engine.
    pub engine: Engine,
    /// Where webhooks and the API are served.
    pub address: SocketAddr,
    /// Where the operator looks.
    pub admin: SocketAddr,
    /// The long-lived tasks.
    pub tasks: Tasks,
    /// The policies.
    pub policies: Arc<PolicyStore>,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    journal: journal::JournalTask,
}

/// Makes a new journal.
///
/// # Errors
/// When there is one, or it cannot be made.
pub async fn create_journal(path: &Path, clock: &SharedClock) -> anyhow::Result<()> {
    let id = JournalId::from_bytes(rand::rng().random());
    let opened = sqlite::create(path, id, clock.now(), &sqlite::Options::default()).await?;
    let (journal, task) = opened.start(clock.clone());
    drop(journal);
    task.close().await;
    Ok(())
}

impl Service {
    /// Builds everything and starts it. Addresses are bound before anything else happens, so that
    /// an address in use is found before a journal is opened.
    ///
    /// # Errors
    /// The first thing that is not as the configuration says, in words.
    pub async fn start(
        config: &Config,
        clock: SharedClock,
        mode: JournalMode,
    ) -> anyhow::Result<Self> {
        let now = clock.now();
        let main = Listener::bind(config.listen.get(), "webhooks and the API", "--listen")?;
        let operator = Listener::bind(config.admin.listen.get(), "the operator", "--admin-listen")?;
        let (address, admin_address) = (main.address(), operator.address());
        let metrics = Arc::new(Metrics::new(now));
        let mut tasks = Tasks::new(clock.clone());
        let stop = tasks.stop();

        let path = &config.journal.path;
        if mode == JournalMode::CreateIfMissing && !path.exists() {
            create_journal(path, &clock).await?;
        }
        let opened = sqlite::open(path, &sqlite::Options::default()).await?;
        let opened = opened.observed_by(metrics.clone());
        let opened = opened.with_keepsake(Keepsake::beside(path));
        let (journal, journal_task) = opened.with_queue(config.limits.queue).start(clock.clone());

        let policies = policies(config, &clock, &metrics).await?;
        let (ports, cluster, write) = ports(config, &clock, &metrics).await?;
        let kinds = policy_resources::kinds(config);
        policy_resources::keep(&mut tasks, &kinds, &cluster, &policies, &clock).await;
        let (engine, engine_tasks) = Engine::start(
            journal,
            clock.clone(),
            ports,
            rails(config),
            policies.subscribe(),
            metrics.clone(),
            stop.clone(),
        )
        .await
        .context("the engine cannot start")?;
        for (name, task) in engine_tasks {
            tasks.spawn(name, async move { Ok(task.await?) });
        }
        {
            let (policies, clock, stop) = (policies.clone(), clock.clone(), stop.clone());
            tasks.spawn("policies", async move {
                policies.keep_current(clock, stop).await;
                Ok(())
            });
        }
        measure_policies(&mut tasks, &policies, &metrics, &clock);
        if !kinds.is_empty() {
            let (policies, engine) = (policies.clone(), engine.clone());
            let telling =
                policy_resources::tell(policies, engine, write, clock.clone(), stop.clone());
            tasks.spawn("policy status", async move {
                telling.await;
                Ok(())
            });
        }

        let watch: Arc<dyn Health> = Arc::new(Watch {
            engine: engine.clone(),
            policies: policies.clone(),
            cluster,
            journal_path: path.display().to_string(),
            started: now,
            ceiling: config.rails.mode,
        });
        let desk: Arc<dyn Incidents> = Arc::new(Desk::new(engine.clone()));
        {
            let telling = correspondence::notices::run(engine.clone(), clock.clone(), stop.clone());
            tasks.spawn("notices", async move { Ok(telling.await?) });
        }
        let door = slack::start(config, &engine, &desk, &metrics, &clock, &mut tasks).await?;
        let webhook = Webhook::new(
            WebhookAuth::new(config, now)?,
            Arc::new(engine.clone()),
            config.limits.body_bytes,
            BODY_TIMEOUT,
            metrics.clone(),
            clock.clone(),
        );
        let site = Site {
            webhook,
            api: Api::new(desk, watch.clone()),
            people: Arc::new(People::new(config, now)?),
            slack: door,
            clock: clock.clone(),
        };
        let tls = tls(config, &mut tasks, &clock)?;
        let (main_stop, admin_stop) = (stop.clone(), stop);
        let router = routes::router(site);
        tasks.spawn("listener", async move { Ok(main.serve(router, tls, main_stop).await?) });
        let router = admin::router(watch, metrics.clone());
        tasks.spawn("operator's listener", async move {
            Ok(operator.serve(router, None, admin_stop).await?)
        });
        Ok(Self {
            engine,
            address,
            admin: admin_address,
            tasks,
            policies,
            metrics,
            journal: journal_task,
        })
    }

    /// Runs until a signal, or until a task ends that never should; then drains and closes the
    /// journal.
    ///
    /// # Errors
    /// Which task ended, and why.
    pub async fn run(self) -> anyhow::Result<()> {
        let signals = crate::lifecycle::signals()?;
        let ended = self.tasks.run(signals).await;
        drop(self.engine);
        self.journal.close().await;
        Ok(ended?)
    }

    /// Stops without a signal: for the demo and for tests.
    ///
    /// # Errors
    /// Which task ended badly.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.tasks.stop().cancel();
        let ended = self.tasks.run(futures::stream::pending()).await;
        drop(self.engine);
        self.journal.close().await;
        Ok(ended?)
    }
}

async fn policies(
    config: &Config,
    clock: &SharedClock,
    metrics: &Metrics,
) -> anyhow::Result<Arc<PolicyStore>> {
    let names = names(config);
    let (paths, now) = (config.policies.clone(), clock.now());
    let store = tokio::task::spawn_blocking(move || PolicyStore::open(paths, names, now)).await?;
    let gates: Vec<_> = Gate::ALL.iter().map(|gate| gate.name()).collect();
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
    let current = store.current();
    let loaded: Vec<_> = current.iter().map(|policy| policy.name.as_str()).collect();
    metrics.expect(&gates, &Phase::NAMES, &outcomes, &loaded);
    Ok(Arc::new(store))
}

/// The policies of the configuration, read once: for commands that look and end. What is out of
/// reach is among the store's diagnostics.
pub async fn policies_once(config: &Config, clock: &SharedClock) -> Arc<PolicyStore> {
    let store = PolicyStore::open(config.policies.clone(), names(config), clock.now());
    let store = Arc::new(store);
    let kinds = policy_resources::kinds(config);
    if !kinds.is_empty() {
        match ReadConnection::connect(&reading_identity(config), clock.clone()).await {
            Ok(read) => policy_resources::list_once(&kinds, &read, &store, clock).await,
            Err(error) => {
                for kind in kinds {
                    store.set_resources(kind, Err(error.to_string()), clock.now());
                }
            }
        }
    }
    store
}

/// The names that policies may use.
pub fn names(config: &Config) -> Names {
    let slack = config.slack.iter().flat_map(|slack| slack.groups.keys().cloned());
    let people = config.people.iter().flat_map(|person| person.groups.clone());
    let groups = people.chain(slack).collect();
    Names {
        // Without any receiver a policy is not refused for naming one: what cannot be delivered is
        // noted, and `serve --policies` alone suffices.
        receivers: (!config.receivers.is_empty())
            .then(|| config.receivers.keys().cloned().collect()),
        // Nobody configured: the demo and the first five minutes, where anyone on the machine
        // decides.
        groups: (!config.people.is_empty() || config.slack.is_some()).then_some(groups),
    }
}

/// The limits over all policies, and that Orderly never acts on itself.
fn rails(config: &Config) -> GuardRails {
    let mut rails = config.rails.clone();
    rails.protected_namespaces.extend(own_namespace());
    rails
}

/// Keeps the numbers about policies current.
fn measure_policies(
    tasks: &mut Tasks,
    policies: &Arc<PolicyStore>,
    metrics: &Arc<Metrics>,
    clock: &SharedClock,
) {
    let (policies, metrics, clock) = (policies.clone(), metrics.clone(), clock.clone());
    let stop = tasks.stop();
    tasks.spawn("policy metrics", async move {
        let mut looked = policies.subscribe_status();
        loop {
            looked.borrow_and_update();
            let status = policies.status();
            metrics.policies_loaded(status.policies.len(), status.bad_files(), clock.now());
            let again = clock.now().saturating_add(LOOK_AT_POLICIES)?;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = looked.changed() => {}
                () = clock.sleep_until(again) => {}
            }
        }
    });
}

/// The time of the last look goes on also when nothing else was found.
const LOOK_AT_POLICIES: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);

/// As whom the cluster is read.
pub fn reading_identity(config: &Config) -> Identity {
    Identity {
        kubeconfig: config.kubernetes.kubeconfig.clone(),
        context: config.kubernetes.read_context.clone(),
        ..Identity::default()
    }
}

/// As whom the cluster is changed.
pub fn writing_identity(config: &Config) -> Identity {
    let spec = &config.kubernetes;
    Identity {
        kubeconfig: spec.kubeconfig.clone(),
        context: spec.write_context.clone().or_else(|| spec.read_context.clone()),
        token_file: spec.write_token_file.clone(),
        ..Identity::default()
    }
}

async fn ports(
    config: &Config,
    clock: &SharedClock,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Ports, ReadConnection, WriteConnection)> {
    let (reading, writing) = (reading_identity(config), writing_identity(config));
    let read = ReadConnection::connect(&reading, clock.clone()).await?.observed_by(metrics.clone());
    let write = WriteConnection::connect(&writing, clock.clone()).await?;
    let write = write.observed_by(metrics.clone());
    let instance = format!("orderly-{}", std::process::id());
    let ports = Ports {
        reader: Reader::new(read.clone()),
        writer: Writer::new(write.clone(), instance),
        prometheus: outbound::prometheus(config)?,
        alertmanager: outbound::alertmanager(config, clock)?,
        receivers: outbound::receivers(config, clock),
    };
    Ok((ports, read, write))
}

fn own_namespace() -> Option<String> {
    let text = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace");
    text.ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn tls(
    config: &Config,
    tasks: &mut Tasks,
    clock: &SharedClock,
) -> anyhow::Result<Option<axum_server::tls_rustls::RustlsConfig>> {
    let Some(spec) = &config.tls else { return Ok(None) };
    let client_ca = config.webhook.auth.mutual_tls.as_ref().map(|it| it.client_ca_file.clone());
    let files = TlsFiles { cert: spec.cert_file.clone(), key: spec.key_file.clone(), client_ca };
    let tls = Tls::open(files)?;
    let served = tls.config();
    let (clock, stop) = (clock.clone(), tasks.stop());
    tasks.spawn("certificates", async move {
        tls.follow(clock, stop).await;
        Ok(())
    });
    Ok(Some(served))
}
