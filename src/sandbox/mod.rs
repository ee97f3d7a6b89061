//! The embedded cluster: a Kubernetes API server, controllers in miniature, Prometheus and
//! Alertmanager, over HTTP on loopback, in memory.
//!
//! The demo and the tests run against it through the ordinary client, so nothing else has to be
//! faked. It can misbehave on command ([`Fault`]), remembers every request ([`AuditEntry`]), and
//! moves only with the clock that it is given. Where it differs from a real control plane it is
//! wrong.

mod access;
mod admission;
mod alertmanager;
mod answer;
mod api;
mod audit;
mod cluster;
mod connection;
mod controllers;
mod defaults;
mod delete;
mod discovery;
mod error;
mod events;
mod faults;
mod logs;
mod managed;
mod object;
mod options;
mod patch;
mod prometheus;
mod quantity;
mod request;
mod resources;
mod scale;
mod schema;
mod seed;
mod selectors;
mod server;
mod store;
mod tables;
mod validate;
mod watches;
mod write;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use access::{Identity, Rule};
pub use alertmanager::{Alertmanager, fingerprint};
pub use audit::AuditEntry;
pub use cluster::{AdmissionDenial, Pace, View};
pub use faults::{Fault, FaultHandle, FaultMatch, FaultOutcome};
pub use options::{Contents, Drive, Options, SandboxError};
pub use prometheus::{QueryAnswer, QueryMatch, QueryProvider, Sample};
pub use seed::{Deed, demo_history};

use crate::clock::SharedClock;
use audit::Audit;
use cluster::Cluster;
use faults::Faults;
use patch::PatchKind;
use prometheus::Prometheus;
use schema::FieldValidation;
use write::{Effect, Write};

/// How often the controllers look after the cluster when the clock drives them.
const TICK: SignedDuration = SignedDuration::from_millis(100);
/// Under which name the scenario's own changes are recorded.
const SCENARIO: &str = "kubectl-client-side-apply";

/// Everything that the server, the driver and the scenario share.
#[derive(Debug)]
pub(crate) struct Shared {
    cluster: Mutex<Cluster>,
    clock: SharedClock,
    /// The newest version, for watches.
    news: watch::Sender<u64>,
    stop: CancellationToken,
    faults: Faults,
    audit: Audit,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
}

impl Shared {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the watches that something may have changed.
    fn announce(&self) {
        let version = self.cluster().store.version();
        self.news.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}

/// A running sandbox cluster. Dropping it leaves it running until the runtime ends;
/// [`Sandbox::shutdown`] ends it in order.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a cluster and its server on 127.0.0.1.
    pub async fn start(options: Options) -> Result<Self, SandboxError> {
        let address = SocketAddr::from(([127, 0, 0, 1], options.port));
        let refused = |source| SandboxError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let now = options.clock.now();
        let mut cluster = Cluster::new(options.seed, options.pace, now);
        match options.contents {
            Contents::Empty => seed::bare(&mut cluster, now)?,
            Contents::Demo => seed::demo(&mut cluster, now)?,
        }
        let shared = Arc::new(Shared {
            news: watch::channel(cluster.store.version()).0,
            cluster: Mutex::new(cluster),
            clock: options.clock,
            stop: CancellationToken::new(),
            faults: Faults::default(),
            audit: Audit::default(),
            prometheus: Prometheus::default(),
            alertmanager: Alertmanager::default(),
        });
        let mut tasks = vec![tokio::spawn(server::serve(Arc::clone(&shared), listener))];
        if options.drive == Drive::Clock {
            tasks.push(tokio::spawn(drive(Arc::clone(&shared))));
        }
        Ok(Self { shared, address, tasks })
    }

    /// Ends the server, the watches and the driver, and waits for them.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.faults.clear();
        for task in self.tasks {
            // A task that failed has nothing left to end.
            let _ended = task.await;
        }
    }

    /// Where the API server listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The base of the Prometheus API.
    pub fn prometheus_url(&self) -> String {
        format!("{}/prometheus", self.url())
    }

    /// The base of the Alertmanager API.
    pub fn alertmanager_url(&self) -> String {
        format!("{}/alertmanager", self.url())
    }

    /// A kubeconfig for kubectl, as YAML.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: orderly-sandbox\nclusters:\n- name: \
             orderly-sandbox\n  cluster:\n    server: {}\ncontexts:\n- name: orderly-sandbox\n  \
             context:\n    cluster: orderly-sandbox\n    namespace: ai-agents\n    user: \
             orderly-sandbox\nusers:\n- name: orderly-sandbox\n  user: {{}}\n",
            self.url()
        )
    }

    /// The configuration of a Kubernetes client without any identity. It does not retry by itself,
    /// so that faults are seen as they happen.
    pub fn client_config(&self) -> kube::Config {
        // The address is printed by the standard library: it is a valid URI.
        let uri = self.url().parse().unwrap_or_else(|_| http::Uri::from_static("http://127.0.0.1"));
        let mut config = kube::Config::new(uri);
        config.default_retry = false;
        config.default_namespace = "default".into();
        config
    }

    /// Lets the controllers work up to the clock's now, playing through every moment in between.
    pub fn tick(&self) {
        let now = self.shared.clock.now();
        self.shared.cluster().work(now);
        self.shared.announce();
    }

    /// The cluster's state, to be looked at without a request.
    pub fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let now = self.shared.clock.now();
        let cluster = self.shared.cluster();
        look(&View { store: &cluster.store, now })
    }

    /// One object, by the plural or short name of its kind.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.view(|view| view.get(resource, namespace, name))
    }

    /// The objects of a kind, in one namespace or (empty) in all.
    pub fn list(&self, resource: &str, namespace: &str) -> Vec<Value> {
        self.view(|view| view.list(resource, namespace))
    }

    /// The pods of a workload.
    pub fn pods_of(&self, namespace: &str, workload: &str) -> Vec<Value> {
        self.view(|view| view.pods_of(namespace, workload))
    }

    /// Creates or updates the objects of a YAML stream, as `kubectl apply` would.
    pub fn apply_yaml(&self, manifests: &str) -> Result<(), SandboxError> {
        let now = self.shared.clock.now();
        seed::apply(&mut self.shared.cluster(), manifests, now)?;
        self.shared.announce();
        Ok(())
    }

    /// Changes an object by a strategic merge patch, as somebody else in the cluster would.
    pub fn patch(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<(), SandboxError> {
        let kind = resources::by_name(resource)
            .ok_or_else(|| SandboxError::UnknownKind(resource.to_owned()))?;
        let write = scenario_write(self.shared.clock.now());
        let done = self.shared.cluster().patch(
            kind,
            (namespace, name),
            (PatchKind::Strategic, patch),
            true,
            &write,
        );
        self.shared.announce();
        done.map(drop).map_err(|error| SandboxError::refused(kind.kind, namespace, name, &error))
    }

    /// Gives a container of a workload another image, which begins a new revision.
    pub fn set_image(
        &self,
        resource: &str,
        (namespace, name): (&str, &str),
        container: &str,
        image: &str,
    ) -> Result<(), SandboxError> {
        let containers = json!([{"name": container, "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.patch(resource, namespace, name, &patch)
    }

    /// Deletes an object, as `kubectl delete` would.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> Result<(), SandboxError> {
        let kind = resources::by_name(resource)
            .ok_or_else(|| SandboxError::UnknownKind(resource.to_owned()))?;
        let now = self.shared.clock.now();
        let options = json!({});
        let done =
            self.shared.cluster().delete(kind, (namespace, name), &options, Effect::Store, now);
        self.shared.announce();
        done.map(drop).map_err(|error| SandboxError::refused(kind.kind, namespace, name, &error))
    }

    /// Serves an optional kind (`verticalpodautoscalers`, `scaledobjects`) from now on.
    pub fn install(&self, plural: &'static str) {
        self.shared.cluster().optional.push(plural);
    }

    /// Lets somebody in with a bearer token, and from then on nobody with another one. Requests
    /// without a token stay the administrator's, unless the empty token gets an identity too.
    pub fn admit(&self, token: &str, identity: Identity) {
        self.shared.cluster().access.admit(token, identity);
    }

    /// Adds an admission webhook that denies.
    pub fn deny(&self, denial: AdmissionDenial) {
        self.shared.cluster().denials.push(denial);
    }

    /// Takes all admission webhooks away.
    pub fn clear_denials(&self) {
        self.shared.cluster().denials.clear();
    }

    /// Sets a fault.
    pub fn fault(&self, fault: Fault) -> FaultHandle {
        let past = matches!(fault.outcome, FaultOutcome::Stale);
        let snapshot = past.then(|| self.shared.cluster().store.clone());
        self.shared.faults.add(fault, snapshot)
    }

    /// Takes all faults away and releases what they hold.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Every request since the start, or since [`Sandbox::clear_audit`].
    pub fn audit(&self) -> Vec<AuditEntry> {
        self.shared.audit.entries()
    }

    /// The requests that changed the cluster or tried to, dry runs left out.
    pub fn writes(&self) -> Vec<AuditEntry> {
        let mut entries = self.shared.audit.entries();
        entries.retain(AuditEntry::is_write);
        entries
    }

    /// Forgets the requests so far.
    pub fn clear_audit(&self) {
        self.shared.audit.clear();
    }

    /// Scripts the answer to a Prometheus query; the latest script that matches answers. The
    /// provider must not call the sandbox.
    pub fn set_query(
        &self,
        on: QueryMatch,
        provider: impl Fn(&View<'_>) -> QueryAnswer + Send + Sync + 'static,
    ) {
        self.shared.prometheus.set(on, Arc::new(provider));
    }

    /// The Alertmanager, to let alerts fire and resolve.
    pub fn alertmanager(&self) -> Alertmanager {
        self.shared.alertmanager.clone()
    }
}

async fn drive(shared: Arc<Shared>) {
    loop {
        let now = shared.clock.now();
        shared.cluster().work(now);
        shared.announce();
        let next = now.saturating_add(TICK).unwrap_or(now);
        tokio::select! {
            () = shared.clock.sleep_until(next) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

fn scenario_write(now: Timestamp) -> Write<'static> {
    Write {
        effect: Effect::Store,
        manager: SCENARIO,
        validation: FieldValidation::Strict,
        subresource: "",
        now,
    }
}
