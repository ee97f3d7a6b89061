//! The whole chain, no shortcut: a metric goes bad, the shipped rule fires, Alertmanager delivers by
//! the shipped routes, the shipped policies act, pods change, the metric recovers, the alert
//! resolves, the incident closes.
//!
//! Only times are other than shipped: a runbook's minutes are seconds here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use regex::Regex;
use reqwest::Client;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::plane::{self, audited, kubectl, try_kubectl};
use crate::programs::{Program, free_port, program};
use crate::serving::Serving;
use crate::witness::changes;

const NAMESPACES: [&str; 2] = ["ai-agents", "production-agents"];
const TOKEN: &str = "chain-token-3c9d";

fn shipped(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The metrics that the agents and kube-state-metrics would have, from what the cluster says.
struct Exporter {
    seen: Mutex<Seen>,
    requests: Mutex<Requests>,
}

/// What was last seen in the cluster: the lines of kube-state-metrics, and how many pods serve which
/// release.
#[derive(Default)]
struct Seen {
    lines: String,
    good: u64,
    bad: u64,
}

/// Requests are counted by the time that passes, however often somebody looks.
struct Requests {
    counted_until: Instant,
    all: f64,
    failed: f64,
}

impl Exporter {
    fn look(&self) {
        let items = |kind: &str, namespace: &str| -> Vec<Value> {
            let text = kubectl(&["-n", namespace, "get", kind, "-o", "json"]);
            let list: Value = serde_json::from_str(&text).unwrap();
            list["items"].as_array().cloned().unwrap_or_default()
        };
        let mut seen = Seen::default();
        for namespace in NAMESPACES {
            for pod in items("pods", namespace) {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
                // The bad release makes errors, and nothing else shows it.
                match image.rsplit_once("support-agent:").map(|(_, version)| version) {
                    Some("v1.5.0") => seen.bad += 1,
                    Some(_) => seen.good += 1,
                    None => {}
                }
                let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
                let labels = [("namespace", namespace), ("pod", name), ("container", "agent")];
                let metric = "kube_pod_container_status_restarts_total";
                line(&mut seen.lines, metric, &labels, restarts.unwrap_or(0));
            }
            for deployment in items("deployments", namespace) {
                let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
                let labels = [("namespace", namespace), ("deployment", name)];
                let number = |path| deployment.pointer(path).and_then(Value::as_u64).unwrap_or(0);
                let available = number("/status/availableReplicas");
                let metric = "kube_deployment_status_replicas_available";
                line(&mut seen.lines, metric, &labels, available);
                let metric = "kube_deployment_spec_replicas";
                line(&mut seen.lines, metric, &labels, number("/spec/replicas"));
            }
        }
        *self.seen.lock().unwrap() = seen;
    }

    fn scrape(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let mut requests = self.requests.lock().unwrap();
        let now = Instant::now();
        let passed = 100.0 * now.duration_since(requests.counted_until).as_secs_f64();
        requests.counted_until = now;
        requests.all += passed;
        if seen.bad > 0 {
            requests.failed += passed * 0.4 * seen.bad as f64 / (seen.bad + seen.good) as f64;
        }
        let mut text = seen.lines.clone();
        let agent = [("namespace", "ai-agents"), ("agent_id", "support-agent")];
        line(&mut text, "agent_requests_total", &agent, requests.all);
        line(&mut text, "agent_errors_total", &agent, requests.failed);
        text
    }
}

fn line(text: &mut String, metric: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    text.push_str(&format!("{metric}{{{}}} {value}\n", labels.join(",")));
}

/// Serves the metrics until `stop` is dropped.
async fn export(stop: CancellationToken) -> u16 {
    let requests = Requests { counted_until: Instant::now(), all: 0.0, failed: 0.0 };
    let exporter = Arc::new(Exporter { seen: Mutex::default(), requests: Mutex::new(requests) });
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

/// The demo's workloads with their history, lived through in seconds.
fn populate() {
    let seed = |name: &str| shipped(&format!("src/sandbox/seed/{name}.yaml"));
    let apply = |text: &str| {
        let (success, said) = try_kubectl(&["apply", "-f", "-"], text);
        assert!(success, "{said}");
    };
    apply(&seed("namespaces"));
    for namespace in NAMESPACES {
        plane::until("service account", || {
            try_kubectl(&["-n", namespace, "get", "serviceaccount", "default"], "").0.then_some(())
        });
    }
    apply(&seed("workloads"));
    apply(&seed("trouble"));
    let agent = ["-n", "ai-agents"];
    let run = |arguments: &[&str]| kubectl(&[&agent[..], arguments].concat());
    let object = "deployment/support-agent-deployment";
    run(&["rollout", "status", object, "--timeout=90s"]);
    let release = |version: &str| {
        let image = format!("agent=registry.example.com/agents/support-agent:{version}");
        run(&["set", "image", object, &image]);
        run(&["rollout", "status", object, "--timeout=90s"]);
    };
    release("v1.4.1");
    // In service for longer than `servedFor`, so that its successor's errors are not its own.
    std::thread::sleep(Duration::from_secs(6));
    release("v1.5.0");
}

/// A shipped policy in this mode, its minutes as seconds.
fn policy(name: &str, mode: &str) -> String {
    let minutes = Regex::new(r"\b(within|for|stableFor|cooldown): (\d+)m\b").unwrap();
    let text = shipped(&format!("policies/{name}.yaml"));
    let text = minutes.replace_all(&text, "$1: ${2}s").replace("within: 10s", "within: 60s");
    text.replace("within: 25s", "within: 75s")
        .replace("[5m]", "[15s]")
        .replace("- rollback: {}", "- rollback: {servedFor: 5s}")
        .replace("mode: dry-run", &format!("mode: {mode}"))
}

struct Chain {
    orderly: Serving,
    directory: tempfile::TempDir,
    _programs: Vec<Program>,
    _exporting: DropGuard,
}

async fn chain(policies: &[(&str, &str)]) -> Chain {
    let stop = CancellationToken::new();
    let exporter = export(stop.clone()).await;
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let (prometheus, alertmanager) = (free_port(), free_port());

    // The rules as they are shipped, in seconds.
    let rules = shipped("deploy/prometheus/agents.rules.yaml");
    let rules = rules.replace("[5m]", "[15s]").replace("[15m]", "[30s]");
    let rules = rules.replace("for: 5m", "for: 2s").replace("for: 1m", "for: 1s");
    std::fs::write(at.join("agents.rules.yaml"), rules).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: \
         [agents.rules.yaml]\nscrape_configs:\n  - job_name: agents\n    honor_labels: true\n    \
         static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]\nalerting:\n  alertmanagers:\n    \
         - static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]\n"
    );
    std::fs::write(at.join("prometheus.yaml"), config).unwrap();
    std::fs::write(at.join("token"), TOKEN).unwrap();

    std::fs::create_dir(at.join("policies")).unwrap();
    for (name, mode) in policies {
        let file = at.join(format!("policies/{name}.yaml"));
        std::fs::write(file, policy(name, mode)).unwrap();
    }
    let config = [
        "policies: [policies]".to_owned(),
        "journal: {path: orderly.db}".to_owned(),
        format!("kubernetes: {{kubeconfig: '{}'}}", plane::kubeconfig().display()),
        "webhook: {auth: {bearerTokenFile: token}}".to_owned(),
        format!("prometheus: {{url: 'http://127.0.0.1:{prometheus}'}}"),
        format!("alertmanager: {{urls: ['http://127.0.0.1:{alertmanager}']}}"),
        "receivers: {oncall: {log: {}}, leads: {log: {}}}".to_owned(),
        "rails:".to_owned(),
        "  budget: {namespacePercent: 60}".to_owned(),
        "  monitoring: {watchdog: {alertname: Watchdog, freshness: 15s}}".to_owned(),
    ];
    let config = config.join("\n");
    std::fs::write(at.join("orderly.yaml"), config).unwrap();
    let mut orderly = Serving::start(at, &["--init"]);
    orderly.ready().await;
    orderly.patience = Duration::from_secs(180);

    let routes = shipped("deploy/alertmanager/alertmanager.yaml");
    let routes = routes
        .replace("http://orderly.orderly.svc:8080", &orderly.api)
        .replace("/etc/alertmanager/secrets/orderly/token", &at.join("token").to_string_lossy())
        .replace("group_wait: 5s", "group_wait: 1s")
        .replace("group_interval: 30s", "group_interval: 1s")
        .replace("_interval: 1m", "_interval: 1s");
    std::fs::write(at.join("alertmanager.yaml"), routes).unwrap();
    let programs = vec![
        program(
            "prometheus-alertmanager",
            at,
            &[
                "--config.file=alertmanager.yaml".to_owned(),
                "--storage.path=alertmanager".to_owned(),
                "--cluster.listen-address=".to_owned(),
                format!("--web.listen-address=127.0.0.1:{alertmanager}"),
            ],
        ),
        program(
            "prometheus",
            at,
            &[
                "--config.file=prometheus.yaml".to_owned(),
                "--storage.tsdb.path=prometheus".to_owned(),
                "--rules.alert.resend-delay=1s".to_owned(),
                format!("--web.listen-address=127.0.0.1:{prometheus}"),
            ],
        ),
    ];
    Chain { orderly, directory, _programs: programs, _exporting: stop.drop_guard() }
}

impl Chain {
    /// Waits until the policy's newest incident is in the state; what the API says of it.
    async fn until(&mut self, policy: &str, state: &str) -> Value {
        let what = format!("incident of {policy} in state {state}");
        let url = format!("{}/api/v1/incidents", self.orderly.api);
        self.orderly
            .until(&what, async |_: &Serving| {
                let list: Value = Client::new().get(&url).send().await.ok()?.json().await.ok()?;
                let all = list["incidents"].as_array()?;
                let of_policy = all.iter().find(|it| it["policy"] == policy)?;
                (of_policy["state"] == state).then(|| of_policy.clone())
            })
            .await
    }

    /// The command line, against this service.
    fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_orderly"))
            .args(arguments)
            .env("ORDERLY_SERVER", &self.orderly.api)
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_metric_that_goes_bad_to_an_alert_that_resolves() {
    tokio::task::spawn_blocking(populate).await.unwrap();
    let mut chain = chain(&[
        ("high-error-rate", "approval"),
        ("agent-down-production", "auto"),
        ("pod-restarting-frequently", "dry-run"),
    ])
    .await;

    let asking = chain.until("high-error-rate", "waiting-for-approval").await;
    let id = asking["id"].as_str().unwrap();
    let said = chain.cli(&["approve", id, "--yes", "--reason", "the release is bad"]);
    assert!(said.contains("from revision 3 to revision 2"), "{said}");

    let mut ended = BTreeMap::new();
    for policy in ["high-error-rate", "agent-down-production", "pod-restarting-frequently"] {
        let closed = chain.until(policy, "closed").await;
        ended.insert(policy, closed["outcome"].as_str().unwrap().to_owned());
    }
    let told = ended.iter().map(|(policy, outcome)| format!("{policy}: {outcome}"));
    let told: Vec<_> = told.collect();
    assert_eq!(
        told,
        [
            "agent-down-production: fixed",
            "high-error-rate: fixed",
            "pod-restarting-frequently: dryRun"
        ],
        "{}",
        chain.cli(&["audit"])
    );

    let container = "jsonpath={.spec.template.spec.containers[0]";
    let of = |namespace: &str, name: &str, path: &str| {
        kubectl(&[
            "-n",
            namespace,
            "get",
            "deployment",
            name,
            "-o",
            &format!("{container}{path}}}"),
        ])
    };
    let image = of("ai-agents", "support-agent-deployment", ".image");
    assert!(image.ends_with(":v1.4.1"), "{image}");
    let limit = of("production-agents", "agent-deployment", ".resources.limits.memory");
    assert_eq!(limit, "512Mi");
    let delay = of("ai-agents", "research-agent-deployment", ".livenessProbe.initialDelaySeconds");
    assert_eq!(delay, "5", "a dry run changes nothing");

    // The witness: one change each, and none of what only was planned.
    let mut changed: Vec<String> = Vec::new();
    for namespace in NAMESPACES {
        for entry in audited(namespace).iter().filter(|entry| changes(entry)) {
            changed.push(format!("{} {}", entry["verb"], entry["objectRef"]["name"]));
        }
    }
    assert_eq!(
        changed,
        ["\"patch\" \"support-agent-deployment\"", "\"patch\" \"agent-deployment\""]
    );
    let sound = chain.cli(&["audit", "verify", "orderly.db"]);
    assert!(sound.contains("is sound"), "{sound}");
    drop(chain);
    for namespace in NAMESPACES {
        kubectl(&["delete", "namespace", namespace, "--wait=false"]);
    }
}
