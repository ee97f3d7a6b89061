//! `deploy/kubernetes/` applied as a person does: the API server takes every object, the pod is admitted
//! where Pod Security is `restricted`, and with the configuration, the policies and the two tokens that
//! the manifests make, an alert is planned for and then remediated. Nothing is forbidden on the way.

use std::fs;
use std::path::Path;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::plane::{Namespace, audited, kubectl, try_kubectl, until};
use crate::serving::Serving;
use crate::witness::changes;

const TOKEN: &str = "of-the-test";

/// An agent whose container crashes: the shipped policy restarts it.
const AGENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: support-agent-deployment}
spec: {replicas: 1, selector: {matchLabels: {app: support-agent}}, template: {
  metadata: {labels: {app: support-agent}, annotations: {fake/behavior: CrashLoopBackOff}},
  spec: {containers: [{name: agent, image: "registry.example.com/agent:v1"}]}}}
"#;

/// The manifests with other names: whatever has the cluster may have Orderly already.
struct Installed {
    own: Namespace,
    agents: Namespace,
}

impl Drop for Installed {
    fn drop(&mut self) {
        // The rest goes with its namespace.
        for kind in ["clusterrole", "clusterrolebinding"] {
            let _left = try_kubectl(&["delete", kind, &format!("{}-reader", self.own.0)], "");
        }
    }
}

impl Installed {
    fn apply() -> Self {
        let (own, agents) = (Namespace::new("install"), Namespace::new("installed-agents"));
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes");
        let read = |name: &str| fs::read_to_string(deploy.join(name)).unwrap();
        own.kubectl(&[
            "create",
            "secret",
            "generic",
            "orderly-webhook",
            &format!("--from-literal=token={TOKEN}"),
        ]);
        let namespace =
            read("00-namespace.yaml").replace("name: orderly", &format!("name: {}", own.0));
        let manifests = read("orderly.yaml")
            .replace("namespace: orderly\n", &format!("namespace: {}\n", own.0))
            .replace("orderly-reader", &format!("{}-reader", own.0))
            .replace("ai-agents", &agents.0);
        for manifests in [namespace, manifests] {
            let (applied, said) = try_kubectl(&["apply", "-f", "-"], &manifests);
            assert!(applied && !said.contains("PodSecurity"), "{said}");
        }
        Self { own, agents }
    }

    fn decoded(&self, secret: &str, key: &str) -> String {
        let template = format!("-o=go-template={{{{index .data \"{key}\" | base64decode}}}}");
        until("token in the Secret", || {
            let (found, text) = self.own.try_kubectl(&["get", "secret", secret, &template]);
            (found && !text.contains("no value")).then_some(text)
        })
    }

    /// What the pod finds in its volumes, in a directory.
    fn mount(&self, at: &Path) {
        let map = |name: &str| self.own.get(&format!("configmap/{name}"))["data"].clone();
        for directory in ["account", "policies", "reader"] {
            fs::create_dir(at.join(directory)).unwrap();
        }
        for (name, policy) in map("orderly-policies").as_object().unwrap() {
            fs::write(at.join("policies").join(name), policy.as_str().unwrap()).unwrap();
        }
        fs::write(at.join("webhook"), self.decoded("orderly-webhook", "token")).unwrap();
        // The kubelet's part: the token of the pod's account, the authority of the cluster.
        let reader = format!("{}-reader-token", self.own.0);
        fs::write(at.join("reader/token"), self.decoded(&reader, "token")).unwrap();
        let token = self.own.kubectl(&["create", "token", "orderly-writer"]);
        fs::write(at.join("account/token"), token).unwrap();
        fs::write(at.join("account/ca.crt"), self.decoded(&reader, "ca.crt")).unwrap();

        let files = map("orderly");
        let shown =
            kubectl(&["config", "view", "--minify", "-o=jsonpath={.clusters[0].cluster.server}"]);
        let place = |path: &str| at.join(path).display().to_string();
        let kubeconfig = files["kubeconfig"].as_str().unwrap();
        let kubeconfig = kubeconfig
            .replace("https://kubernetes.default.svc", &shown)
            .replace("/var/run/secrets/kubernetes.io/serviceaccount", &place("account"))
            .replace("/etc/orderly/reader", &place("reader"));
        fs::write(at.join("kubeconfig"), kubeconfig).unwrap();
        let config = files["orderly.yaml"].as_str().unwrap();
        let mut config: Value = serde_saphyr::from_str(config).unwrap();
        config["policies"] = json!(["policies"]);
        config["journal"]["path"] = json!("./orderly.db");
        config["kubernetes"]["kubeconfig"] = json!("kubeconfig");
        config["webhook"]["auth"]["bearerTokenFile"] = json!("webhook");
        // Not installed here; without them their gates say so and allow.
        let config_map = config.as_object_mut().unwrap();
        assert!(config_map.remove("prometheus").is_some());
        assert!(config_map.remove("alertmanager").is_some());
        fs::write(at.join("orderly.yaml"), config.to_string()).unwrap();
    }
}

/// Posts AgentDown as Alertmanager does, with the token.
async fn fire(serving: &Serving, namespace: &str, starts_at: &str) -> StatusCode {
    let labels =
        json!({"alertname": "AgentDown", "namespace": namespace, "agent_id": "support-agent"});
    let webhook = json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "orderly", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "", "alerts": [{
            "status": "firing", "labels": labels, "annotations": {}, "generatorURL": "",
            "startsAt": starts_at, "endsAt": "0001-01-01T00:00:00Z",
        }],
    });
    let url = format!("{}/api/v1/alertmanager", serving.api);
    let sent = Client::new().post(url).bearer_auth(TOKEN).json(&webhook).send().await;
    sent.unwrap().status()
}

/// Waits until the newest of so many incidents is in the state.
async fn until_state(serving: &mut Serving, count: usize, state: &str) -> Value {
    let what = format!("incident number {count} in state {state}");
    serving
        .until(&what, async |serving: &Serving| {
            let url = format!("{}/api/v1/incidents", serving.api);
            let list: Value = Client::new().get(&url).send().await.ok()?.json().await.ok()?;
            let incidents = list["incidents"].as_array()?;
            let newest = incidents.first().filter(|_| incidents.len() == count)?;
            (newest["state"] == state).then(|| newest.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_manifests_are_enough() {
    let installed = Installed::apply();
    let (own, agents) = (&installed.own, &installed.agents);
    // The controllers made the pod: admitted under `restricted`, the volume bound, every ConfigMap and
    // Secret there.
    own.rolled_out("statefulset/orderly");
    agents.apply(AGENT);
    until("crash loop", || {
        agents.kubectl(&["get", "pods"]).contains("CrashLoopBackOff").then_some(())
    });

    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    installed.mount(at);
    let mut serving = Serving::start(at, &["--init"]);
    serving.ready().await;

    // As shipped: a dry run, which the server answered.
    assert_eq!(fire(&serving, &agents.0, "2026-11-23T03:00:00Z").await, StatusCode::ACCEPTED);
    let planned = until_state(&mut serving, 1, "closed").await;
    assert_eq!(planned["outcome"], "dryRun", "{planned:#}");
    assert!(!audited(&agents.0).iter().any(changes), "{:#?}", audited(&agents.0));

    // Trusted: the policy is changed where it lies, as the kubelet changes a mounted ConfigMap.
    let file = at.join("policies/agent-down.yaml");
    let policy = fs::read_to_string(&file).unwrap();
    let bolder = policy.replace("\n  mode: dry-run\n", "\n  mode: auto\n");
    assert_ne!(policy, bolder);
    fs::write(file, bolder).unwrap();
    serving
        .until("the policy in mode auto", async |serving: &Serving| {
            let status =
                Client::new().get(format!("{}/status", serving.admin)).send().await.ok()?;
            let status: Value = status.json().await.ok()?;
            status["policies"].as_array()?.iter().any(|it| it["mode"] == "auto").then_some(())
        })
        .await;
    assert_eq!(fire(&serving, &agents.0, "2026-11-23T04:00:00Z").await, StatusCode::ACCEPTED);
    until_state(&mut serving, 2, "verifying").await;

    let seen = audited(&agents.0);
    let done: Vec<_> = seen.iter().filter(|entry| changes(entry)).collect();
    assert!(!done.is_empty(), "{seen:#?}");
    for entry in &seen {
        let user = entry["user"]["username"].as_str().unwrap();
        let verb = entry["verb"].as_str().unwrap();
        let reads = ["get", "list", "watch"].contains(&verb);
        assert!(
            reads || user.ends_with(":orderly-writer"),
            "whoever looks does not act: {entry:#}"
        );
    }
    let metrics = Client::new().get(format!("{}/metrics", serving.admin)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("orderly_kubernetes_requests_total{verb=\"patch\",code=\"200\"}"),
        "{metrics}"
    );
    assert!(!metrics.contains("code=\"403\""), "{metrics}");
    assert!(!metrics.contains("code=\"401\""), "{metrics}");
}
