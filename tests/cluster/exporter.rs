//! The metrics that the agents and kube-state-metrics would have, from what the cluster says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::plane::kubectl;

struct Exporter {
    namespaces: &'static [&'static str],
    seen: Mutex<Seen>,
    requests: Mutex<BTreeMap<String, Requests>>,
}

/// What was last seen in the cluster: the lines of kube-state-metrics, and how many pods of each agent
/// serve a good and a bad release.
#[derive(Default)]
struct Seen {
    lines: String,
    agents: BTreeMap<String, (u64, u64)>,
}

/// Requests are counted by the time that passes, however often somebody looks.
struct Requests {
    counted_until: Instant,
    all: f64,
    failed: f64,
}

impl Exporter {
    fn look(&self) {
        let mut seen = Seen::default();
        for namespace in self.namespaces {
            let text = kubectl(&["-n", namespace, "get", "pods,deployments", "-o", "json"]);
            let list: Value = serde_json::from_str(&text).unwrap();
            for object in list["items"].as_array().into_iter().flatten() {
                match object["kind"].as_str() {
                    Some("Pod") => seen.pod(namespace, object),
                    _ => seen.deployment(namespace, object),
                }
            }
        }
        *self.seen.lock().unwrap() = seen;
    }

    fn scrape(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let mut requests = self.requests.lock().unwrap();
        let now = Instant::now();
        let mut text = seen.lines.clone();
        for (agent, (good, bad)) in &seen.agents {
            let none = Requests { counted_until: now, all: 0.0, failed: 0.0 };
            let counted = requests.entry(agent.clone()).or_insert(none);
            let passed = 100.0 * now.duration_since(counted.counted_until).as_secs_f64();
            counted.counted_until = now;
            counted.all += passed;
            if *bad > 0 {
                counted.failed += passed * 0.4 * *bad as f64 / (bad + good) as f64;
            }
            let labels = [("namespace", "ai-agents"), ("agent_id", agent)];
            line(&mut text, "agent_requests_total", &labels, counted.all);
            line(&mut text, "agent_errors_total", &labels, counted.failed);
        }
        text
    }
}

impl Seen {
    fn pod(&mut self, namespace: &str, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let (place, version) = image.rsplit_once(':').unwrap_or_default();
        let agent = place.rsplit('/').next().unwrap_or_default();
        // The bad release makes errors, and nothing else shows it.
        if agent.starts_with("support-agent") {
            let (good, bad) = self.agents.entry(agent.to_owned()).or_default();
            *(if version == "v1.5.0" { bad } else { good }) += 1;
        }
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        let labels = [("namespace", namespace), ("pod", name), ("container", "agent")];
        let metric = "kube_pod_container_status_restarts_total";
        line(&mut self.lines, metric, &labels, restarts.unwrap_or(0));
    }

    fn deployment(&mut self, namespace: &str, deployment: &Value) {
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        let labels = [("namespace", namespace), ("deployment", name)];
        let number = |path| deployment.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let available = number("/status/availableReplicas");
        let metric = "kube_deployment_status_replicas_available";
        line(&mut self.lines, metric, &labels, available);
        line(&mut self.lines, "kube_deployment_spec_replicas", &labels, number("/spec/replicas"));
    }
}

fn line(text: &mut String, metric: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    text.push_str(&format!("{metric}{{{}}} {value}\n", labels.join(",")));
}

/// Serves the metrics of the namespaces until `stop` is cancelled.
pub async fn export(namespaces: &'static [&'static str], stop: CancellationToken) -> u16 {
    let exporter =
        Arc::new(Exporter { namespaces, seen: Mutex::default(), requests: Mutex::default() });
    exporter.look();
    let looking = exporter.clone();
    std::thread::spawn(move || {
        while !stop.is_cancelled() {
            std::thread::sleep(Duration::from_millis(500));
            looking.look();
        }
    });
    let metrics = get(move || std::future::ready(exporter.scrape()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/metrics", metrics)).await.unwrap();
    });
    port
}
