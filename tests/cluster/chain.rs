//! The whole chain, no shortcut: a metric goes bad, the shipped rule fires, Alertmanager delivers by
//! the shipped routes, the shipped policies act, pods change, the metric recovers, the alert
//! resolves, the incident closes. Every runbook in every mode, all at once: each pair has a workload
//! of its own and a copy of the shipped policy that answers for that workload alone.
//!
//! Only times and names are other than shipped: a runbook's minutes are seconds here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use regex::Regex;
use reqwest::Client;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::exporter::export;
use crate::plane::{self, audited, kubectl, try_kubectl};
use crate::programs::{Program, free_port, program};
use crate::serving::Serving;
use crate::witness::changes;

const NAMESPACES: [&str; 2] = ["ai-agents", "production-agents"];
const TOKEN: &str = "chain-token-3c9d";
const MODES: [&str; 3] = ["dry-run", "approval", "auto"];

/// A shipped policy and the workload that gives it something to do.
struct Runbook {
    policy: &'static str,
    /// The agent whose alert it answers, before the mode is added.
    agent: &'static str,
    /// A file of the demo with the workload, and the agent's name there.
    seed: (&'static str, &'static str),
    /// The shipped matcher that is narrowed down to the agent, and to what.
    narrowed: (&'static str, &'static str),
}

const RUNBOOKS: [Runbook; 3] = [
    Runbook {
        policy: "high-error-rate",
        agent: "support-agent",
        seed: ("workloads", "support-agent"),
        narrowed: (r#"agent_id!="""#, r#"agent_id="AGENT""#),
    },
    Runbook {
        policy: "agent-down",
        agent: "voice-agent",
        seed: ("trouble", "production-agent"),
        narrowed: (r#"agent_id!="""#, r#"agent_id="AGENT""#),
    },
    Runbook {
        policy: "pod-restarting-frequently",
        agent: "research-agent",
        seed: ("trouble", "research-agent"),
        narrowed: (r#"pod!="""#, r#"pod=~"AGENT-.+""#),
    },
];

impl Runbook {
    fn agent(&self, mode: &str) -> String {
        format!("{}-{mode}", self.agent)
    }

    fn policy(&self, mode: &str) -> String {
        format!("{}-{mode}", self.policy)
    }

    /// The demo's workload under the agent's name, in the namespace of the agents.
    fn manifest(&self, mode: &str) -> String {
        let (file, named) = self.seed;
        let agent = self.agent(mode);
        let seed = shipped(&format!("src/sandbox/seed/{file}.yaml"));
        let of_agent = format!("{{app: {named}, role: agent}}");
        let found = seed.split("\n---\n").find(|document| document.contains(&of_agent));
        let found = found.unwrap_or_else(|| panic!("no `{named}` in {file}.yaml"));
        let found = found.replace("namespace: production-agents", "namespace: ai-agents");
        let found = found.replace(named, &agent);
        let name = Regex::new(r"(?m)^  name: .*deployment$").unwrap();
        name.replace(&found, format!("  name: {agent}-deployment")).into_owned()
    }
}

fn shipped(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn apply(text: &str) {
    let (success, said) = try_kubectl(&["apply", "-f", "-"], text);
    assert!(success, "{said}\n{text}");
}

/// A workload for each pair, and the production agent's; the releases' history is lived through in
/// seconds.
fn populate() {
    let seed = |name: &str| shipped(&format!("src/sandbox/seed/{name}.yaml"));
    apply(&seed("namespaces"));
    for namespace in NAMESPACES {
        plane::until("service account", || {
            try_kubectl(&["-n", namespace, "get", "serviceaccount", "default"], "").0.then_some(())
        });
    }
    let production = seed("trouble");
    apply(production.split("\n---\n").next().unwrap());
    for (runbook, mode) in pairs() {
        apply(&runbook.manifest(mode));
    }
    let agent = ["-n", "ai-agents"];
    let run = |arguments: &[&str]| kubectl(&[&agent[..], arguments].concat());
    let object = |mode: &str| format!("deployment/{}-deployment", RUNBOOKS[0].agent(mode));
    let rolled_out = || {
        for mode in MODES {
            run(&["rollout", "status", &object(mode), "--timeout=90s"]);
        }
    };
    rolled_out();
    let release = |version: &str| {
        for mode in MODES {
            let image = RUNBOOKS[0].agent(mode);
            let image = format!("agent=registry.example.com/agents/{image}:{version}");
            run(&["set", "image", &object(mode), &image]);
        }
        rolled_out();
    };
    release("v1.4.1");
    // In service for longer than `servedFor`, so that its successor's errors are not its own.
    std::thread::sleep(Duration::from_secs(6));
    release("v1.5.0");
}

fn pairs() -> impl Iterator<Item = (&'static Runbook, &'static str)> {
    RUNBOOKS.iter().flat_map(|runbook| MODES.map(|mode| (runbook, mode)))
}

/// A shipped policy in this mode, its minutes as seconds.
fn policy(name: &str, mode: &str) -> String {
    let minutes = Regex::new(r"\b(within|for|stableFor|cooldown): (\d+)m\b").unwrap();
    let text = shipped(&format!("policies/{name}.yaml"));
    let text = minutes.replace_all(&text, "$1: ${2}s").replace("within: 10s", "within: 60s");
    text.replace("within: 25s", "within: 75s")
        .replace("within: 45s", "within: 120s")
        .replace("stableFor: 30s", "stableFor: 10s")
        .replace("[5m]", "[15s]")
        .replace("- rollback: {}", "- rollback: {servedFor: 5s}")
        .replace("mode: dry-run", &format!("mode: {mode}"))
}

/// The copy that answers for one workload.
fn policy_of(runbook: &Runbook, mode: &str) -> String {
    let (matcher, narrowed) = runbook.narrowed;
    let name = format!("  name: {}\n", runbook.policy);
    let text = policy(runbook.policy, mode);
    assert!(text.contains(matcher) && text.contains(&name), "{text}");
    text.replace(matcher, &narrowed.replace("AGENT", &runbook.agent(mode)))
        .replace(&name, &format!("  name: {}\n", runbook.policy(mode)))
}

struct Chain {
    orderly: Serving,
    directory: tempfile::TempDir,
    _programs: Vec<Program>,
    _exporting: DropGuard,
}

async fn chain() -> Chain {
    let stop = CancellationToken::new();
    let exporter = export(&NAMESPACES, stop.clone()).await;
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let (prometheus, alertmanager) = (free_port(), free_port());

    // The rules as they are shipped, in seconds.
    let rules = shipped("deploy/prometheus/agents.rules.yaml");
    let rules = rules.replace("[5m]", "[15s]").replace("[15m]", "[45s]");
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
    let file = |name: &str| at.join(format!("policies/{name}.yaml"));
    for (runbook, mode) in pairs() {
        std::fs::write(file(&runbook.policy(mode)), policy_of(runbook, mode)).unwrap();
    }
    let production = "agent-down-production";
    std::fs::write(file(production), policy(production, "auto")).unwrap();
    let config = [
        "policies: [policies]".to_owned(),
        "journal: {path: orderly.db}".to_owned(),
        format!("kubernetes: {{kubeconfig: '{}'}}", plane::kubeconfig().display()),
        "webhook: {auth: {bearerTokenFile: token}}".to_owned(),
        format!("prometheus: {{url: 'http://127.0.0.1:{prometheus}'}}"),
        format!("alertmanager: {{urls: ['http://127.0.0.1:{alertmanager}']}}"),
        "receivers: {oncall: {log: {}}, leads: {log: {}}}".to_owned(),
        "rails:".to_owned(),
        "  budget: {targets: 20, namespacePercent: 100}".to_owned(),
        "  storm: {incidents: 100}".to_owned(),
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
    /// Waits until the policy's incident is in the state; what the API says of it. The alert of a
    /// second pod opens an incident, too, and joins the first.
    async fn until(&mut self, policy: &str, state: &str) -> Value {
        let what = format!("incident of {policy} in state {state}");
        let url = format!("{}/api/v1/incidents", self.orderly.api);
        self.orderly
            .until(&what, async |_: &Serving| {
                let list: Value = Client::new().get(&url).send().await.ok()?.json().await.ok()?;
                let mut all = list["incidents"].as_array()?.iter();
                let found = all.find(|it| {
                    it["policy"] == policy && it["state"] == state && it["outcome"] != "joined"
                });
                found.cloned()
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

fn container_of(namespace: &str, deployment: &str, path: &str) -> String {
    let path = format!("jsonpath={{.spec.template.spec.containers[0]{path}}}");
    kubectl(&["-n", namespace, "get", "deployment", deployment, "-o", &path])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_metric_that_goes_bad_to_an_alert_that_resolves() {
    tokio::task::spawn_blocking(populate).await.unwrap();
    let mut chain = chain().await;

    for runbook in &RUNBOOKS {
        let asking = chain.until(&runbook.policy("approval"), "waiting-for-approval").await;
        let id = asking["id"].as_str().unwrap();
        let said = chain.cli(&["approve", id, "--yes", "--reason", "seen"]);
        if runbook.policy == "high-error-rate" {
            assert!(said.contains("from revision 3 to revision 2"), "{said}");
        }
    }
    let mut ended = BTreeMap::new();
    let all: Vec<_> = pairs().map(|(runbook, mode)| runbook.policy(mode)).collect();
    for policy in all.iter().map(String::as_str).chain(["agent-down-production"]) {
        let closed = chain.until(policy, "closed").await;
        ended.insert(policy, closed["outcome"].as_str().unwrap().to_owned());
    }
    let told: Vec<_> =
        ended.iter().map(|(policy, outcome)| format!("{policy}: {outcome}")).collect();
    assert_eq!(
        told,
        [
            "agent-down-approval: fixed",
            "agent-down-auto: fixed",
            "agent-down-dry-run: dryRun",
            "agent-down-production: fixed",
            "high-error-rate-approval: fixed",
            "high-error-rate-auto: fixed",
            "high-error-rate-dry-run: dryRun",
            "pod-restarting-frequently-approval: fixed",
            "pod-restarting-frequently-auto: fixed",
            "pod-restarting-frequently-dry-run: dryRun",
        ],
        "{}",
        chain.cli(&["audit"])
    );

    for mode in MODES {
        let of = |runbook: &Runbook, path: &str| {
            container_of("ai-agents", &format!("{}-deployment", runbook.agent(mode)), path)
        };
        let image = of(&RUNBOOKS[0], ".image");
        let limit = of(&RUNBOOKS[1], ".resources.limits.memory");
        let delay = of(&RUNBOOKS[2], ".livenessProbe.initialDelaySeconds");
        let version = image.rsplit(':').next().unwrap_or_default();
        let now = (version, limit.as_str(), delay.as_str());
        let expected =
            if mode == "dry-run" { ("v1.5.0", "256Mi", "5") } else { ("v1.4.1", "512Mi", "60") };
        assert_eq!(now, expected, "in mode {mode}");
    }
    let limit = container_of("production-agents", "agent-deployment", ".resources.limits.memory");
    assert_eq!(limit, "512Mi");

    // The witness: one change each, and none of what only was planned.
    let mut changed: Vec<String> = Vec::new();
    for namespace in NAMESPACES {
        for entry in audited(namespace).iter().filter(|entry| changes(entry)) {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            changed.push(format!("{} {}", word(&entry["verb"]), word(&entry["objectRef"]["name"])));
        }
    }
    changed.sort();
    let expected = ["research-agent", "support-agent", "voice-agent"].iter().flat_map(|agent| {
        ["approval", "auto"].map(|mode| format!("patch {agent}-{mode}-deployment"))
    });
    let expected: Vec<_> =
        ["patch agent-deployment".to_owned()].into_iter().chain(expected).collect();
    assert_eq!(changed, expected);
    let sound = chain.cli(&["audit", "verify", "orderly.db"]);
    assert!(sound.contains("is sound"), "{sound}");
    drop(chain);
    for namespace in NAMESPACES {
        kubectl(&["delete", "namespace", namespace, "--wait=false"]);
    }
}
