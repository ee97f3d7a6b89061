//! A stage on the real control plane: namespaces of a scenario's own with the demo's workloads, whose
//! history is lived through, and the sandbox's Prometheus and Alertmanager beside it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::SignedDuration;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use orderly::clock::{Clock as _, ManualClock};
use orderly::sandbox::{
    Alertmanager, Deed, Options, QueryAnswer, QueryMatch, Sandbox, demo_history,
};
use serde_json::Value;

use super::almanac::Almanac;
use super::proxy::Proxy;
use super::rest::{KINDS, Seen, failing, left_to_do, pods_of, ready, text, unsettled};
use super::script::Query;
use super::stage::Stage;
use crate::plane::{kubeconfig, kubectl, try_kubectl};
use crate::world::{Ground, began};

/// The namespaces of the demo: each scenario has its own of each.
const NAMESPACES: [&str; 2] = ["ai-agents", "production-agents"];
/// How long the controllers may take for anything: a rollout takes seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the cluster is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(200);

/// What tells a scenario's namespaces from those of others.
#[derive(Clone)]
pub struct Own(String);

impl Own {
    /// By the scenario's number, and by the process: an earlier run's may not be gone yet.
    pub fn of(scenario: &str) -> Self {
        Self(format!("-{}-{}", scenario.split('-').next().unwrap(), std::process::id()))
    }

    /// A text of the scenario with the namespaces that are its own.
    pub fn own(&self, text: &str) -> String {
        NAMESPACES.iter().fold(text.to_owned(), |text, name| text.replace(name, &self.name(name)))
    }

    /// A text with the names that the scenario uses.
    pub fn common(&self, text: &str) -> String {
        NAMESPACES.iter().fold(text.to_owned(), |text, name| text.replace(&self.name(name), name))
    }

    fn name(&self, name: &str) -> String {
        format!("{name}{}", self.0)
    }

    fn namespaces(&self) -> [String; 2] {
        NAMESPACES.map(|name| self.name(name))
    }
}

/// The namespaces of one scenario; gone with the value.
pub struct Plane {
    own: Own,
    client: Client,
    clock: Arc<ManualClock>,
    almanac: Arc<Almanac>,
    proxy: Proxy,
    /// For its Prometheus and Alertmanager; its cluster is empty.
    neighbours: Sandbox,
    /// What was seen when the cluster last rested.
    seen: Arc<Mutex<Seen>>,
    /// What was asked of the cluster when it last rested.
    rested: AtomicUsize,
}

impl Drop for Plane {
    fn drop(&mut self) {
        let [first, second] = self.own.namespaces();
        let _left = try_kubectl(&["delete", "namespace", &first, &second, "--wait=false"], "");
    }
}

impl Plane {
    /// Repeats the demo's history in namespaces of its own, unless nothing is to be there. The clock
    /// must show the time at which scenarios begin.
    pub async fn start(own: Own, clock: Arc<ManualClock>, empty: bool) -> Self {
        let file = Kubeconfig::read_from(kubeconfig()).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
        config.default_retry = false;
        let client = Client::try_from(config).expect("a client");
        let history = if empty { Vec::new() } else { demo_history() };
        let oldest = history.first().map_or(SignedDuration::ZERO, |(ago, _)| *ago);
        let almanac = Arc::new(Almanac::new(began() - oldest));
        let plane = Self {
            own,
            proxy: Proxy::start(client.clone(), almanac.clone()).await,
            client,
            almanac,
            neighbours: Sandbox::start(Options::new(clock.clone())).await.expect("a sandbox"),
            clock,
            seen: Arc::default(),
            // It has not rested yet, whatever it was asked for.
            rested: AtomicUsize::new(usize::MAX),
        };
        if !empty {
            plane.live_through(history).await;
        }
        plane.tick();
        plane.rest().await;
        plane
    }

    async fn live_through(&self, history: Vec<(SignedDuration, Deed)>) {
        for (number, (ago, deed)) in history.into_iter().enumerate() {
            self.almanac.turn(began() - ago);
            self.repeat(&deed);
            if number == 0 {
                self.until_usable().await;
            }
            self.rest().await;
        }
        self.until_in_trouble().await;
    }

    fn repeat(&self, deed: &Deed) {
        match deed {
            Deed::Applied(manifests) => {
                // What belongs to the whole cluster is in no scenario.
                let own = manifests.split("\n---\n").filter(|it| !it.contains("kube-system"));
                self.apply(&own.collect::<Vec<_>>().join("\n---\n").replace(
                    // A warm-up that is cut short after one second instead of fifteen.
                    r#"fake/run-seconds: "15""#,
                    r#"fake/run-seconds: "1""#,
                ));
            }
            Deed::Patched { namespace, name, patch } => {
                self.patch("deployments", &self.own.name(namespace), name, patch);
            }
        }
    }

    /// Waits until pods can be made: only when the controller has made their account.
    async fn until_usable(&self) {
        self.until("service account", async || {
            let accounts = self.objects("serviceaccounts", "api/v1").await;
            (accounts.len() < NAMESPACES.len()).then(|| format!("{} so far", accounts.len()))
        })
        .await;
    }

    /// Waits until the workloads that are in trouble have been seen in it.
    async fn until_in_trouble(&self) {
        self.until("trouble", async || {
            let seen = self.look().await;
            // Only what is in trouble tells the kit what to do.
            let troubled = |it: &&Value| {
                let annotations = &it["spec"]["template"]["metadata"]["annotations"];
                annotations
                    .as_object()
                    .is_some_and(|all| all.keys().any(|key| key.contains("fake/")))
            };
            let troubled = seen["deployments"].iter().filter(troubled);
            let fine: Vec<_> = troubled
                .flat_map(|it| pods_of(&seen, it))
                .filter(|pod| !failing(pod))
                .map(|pod| text(pod, "/metadata/name").to_owned())
                .collect();
            fine.first().map(|name| format!("{name} has not failed yet"))
        })
        .await;
        self.until("word of it", async || {
            let path = format!("/api/v1/namespaces/{}/events", self.own.name(NAMESPACES[0]));
            let told = self.list(&path).await;
            let word = told.iter().any(|it| text(it, "/reason") == "Unhealthy");
            (!word).then(|| "no event tells of a failed probe".to_owned())
        })
        .await;
        self.almanac.second_over().await;
    }

    /// Looks again and again until nothing is missing.
    async fn until(&self, what: &str, mut missing: impl AsyncFnMut() -> Option<String>) {
        let end = Instant::now() + PATIENCE;
        while let Some(missing) = missing().await {
            assert!(Instant::now() < end, "no {what}: {missing}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let list: Value = self.client.request(request).await.expect("a list");
        // The items of a list do not say what they are; nobody asks them.
        list["items"].as_array().cloned().unwrap_or_default()
    }

    async fn look(&self) -> Seen {
        let all = KINDS.map(async |(kind, at)| (kind, self.objects(kind, at).await));
        join_all(all).await.into_iter().collect()
    }

    /// The scenario's objects of a kind.
    async fn objects(&self, kind: &str, at: &str) -> Vec<Value> {
        let namespaces = self.own.namespaces();
        let paths = namespaces.iter().map(|name| format!("/{at}/namespaces/{name}/{kind}"));
        join_all(paths.map(async |path| self.list(&path).await)).await.concat()
    }
}

impl Ground for Plane {
    fn url(&self) -> String {
        self.proxy.url.clone()
    }

    fn prometheus_url(&self) -> String {
        self.neighbours.prometheus_url()
    }

    fn alertmanager_url(&self) -> String {
        self.neighbours.alertmanager_url()
    }

    async fn rest(&self) {
        let asked = self.proxy.asked();
        if self.rested.swap(asked, Ordering::Relaxed) == asked {
            return;
        }
        self.until("rest", async || {
            // What takes longest is looked at first, so that the rest is mostly looked at once.
            if let Some(left) = unsettled(&self.objects("pods", "api/v1").await) {
                return Some(left);
            }
            let seen = self.look().await;
            let left = left_to_do(&seen);
            *self.seen.lock().unwrap() = seen;
            left
        })
        .await;
        self.almanac.second_over().await;
    }

    fn tick(&self) {
        self.almanac.turn(self.clock.now());
    }
}

impl Stage for Plane {
    fn apply(&self, manifests: &str) {
        let (applied, said) = try_kubectl(&["apply", "-f", "-"], &self.own.own(manifests));
        assert!(applied, "{said}");
        self.proxy.ask();
    }

    fn patch(&self, resource: &str, namespace: &str, name: &str, patch: &Value) {
        let patch = patch.to_string();
        kubectl(&["-n", namespace, "patch", resource, name, "--type=strategic", "-p", &patch]);
        self.proxy.ask();
    }

    fn get(&self, resource: &str, namespace: &str, name: &str) -> Value {
        let text = kubectl(&["-n", namespace, "get", resource, name, "-o", "json"]);
        serde_json::from_str(&text).expect("json")
    }

    fn pods_of(&self, namespace: &str, workload: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        pods_called(&seen, namespace, workload)
            .iter()
            .map(|pod| text(pod, "/metadata/name").to_owned())
            .collect()
    }

    fn break_connection(&self, verb: &str, resource: &str, carried_out: bool) {
        self.proxy.break_connection(verb, resource, carried_out);
    }

    fn writes(&self) -> Vec<String> {
        self.proxy.writes()
    }

    fn answer(&self, query: Query) {
        let on = QueryMatch::Contains(vec![query.contains.clone()]);
        let seen = self.seen.clone();
        self.neighbours.set_query(on, move |_: &_| {
            let bad = query.serves.as_ref().is_some_and(|serves| {
                let seen = seen.lock().unwrap();
                let pods = pods_called(&seen, &serves.namespace, &serves.workload);
                let image = |pod: &Value| text(pod, "/spec/containers/0/image").to_owned();
                pods.iter().any(|pod| ready(pod) && image(pod).contains(&serves.image))
            });
            QueryAnswer::value(if bad { query.bad } else { query.good })
        });
    }

    fn alertmanager(&self) -> Alertmanager {
        self.neighbours.alertmanager()
    }
}

fn pods_called<'a>(seen: &'a Seen, namespace: &str, workload: &str) -> Vec<&'a Value> {
    let called = |it: &&Value| {
        text(it, "/metadata/namespace") == namespace && text(it, "/metadata/name") == workload
    };
    let all = ["deployments", "statefulsets"].iter().flat_map(|kind| &seen[kind]);
    all.filter(called).flat_map(|it| pods_of(seen, it)).collect()
}
