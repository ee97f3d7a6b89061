//! `orderly serve` as a process: it starts, works, says what it does without a secret, and ends when
//! it is told to.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "another process goes by the real time")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orderly::clock::SystemClock;
use orderly::sandbox::{Contents, Options, Sandbox};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::serving::Serving;

/// What must be found in no line of the log, whatever its level.
const SECRETS: [&str; 4] =
    ["webhook-token-5f1c", "ada-token-77ab", "prometheus-password-0c1d", "receiver-path-9e2f"];
/// How often policies are read again whether or not the file system tells of a change.
const REREAD: Duration = Duration::from_secs(60);

/// A cluster, and a directory with a configuration that holds every kind of secret.
async fn site() -> (Sandbox, tempfile::TempDir) {
    let options = Options { contents: Contents::Demo, ..Options::new(Arc::new(SystemClock)) };
    let sandbox = Sandbox::start(options).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let [webhook, ada, prometheus, receiver] = SECRETS;
    for (name, secret) in [("webhook", webhook), ("ada", ada), ("prometheus", prometheus)] {
        std::fs::write(path(name), secret).unwrap();
    }
    std::fs::write(path("kubeconfig"), sandbox.kubeconfig()).unwrap();
    std::fs::create_dir(path("policies")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/high-error-rate.yaml");
    let policy = std::fs::read_to_string(shipped).unwrap();
    let policy = policy.replace("mode: dry-run", "mode: approval");
    std::fs::write(path("policies/high-error-rate.yaml"), policy).unwrap();
    // Nobody listens at the receiver's address: what cannot be delivered is logged, too.
    let config = format!(
        "policies: [policies]\njournal: {{path: orderly.db}}\nkubernetes: {{kubeconfig: \
         kubeconfig}}\nwebhook: {{auth: {{bearerTokenFile: webhook}}}}\npeople: [{{name: ada, role: \
         admin, tokenFile: ada}}]\nprometheus: {{url: '{}', basic: {{username: orderly, \
         passwordFile: prometheus}}}}\nreceivers:\n  oncall: {{webhook: {{url: \
         'http://127.0.0.1:9/{receiver}'}}}}\n  leads: {{log: {{}}}}\nlog: {{format: json, level: \
         trace}}\n",
        sandbox.prometheus_url()
    );
    std::fs::write(path("orderly.yaml"), config).unwrap();
    (sandbox, directory)
}

fn firing() -> Value {
    json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "orderly", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": [{
            "status": "firing", "annotations": {}, "startsAt": "2026-11-22T03:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
            "labels": {
                "alertname": "HighErrorRate", "namespace": "ai-agents",
                "agent_id": "support-agent",
            },
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_incident_and_target_and_never_a_secret() {
    let (_sandbox, directory) = site().await;
    let mut serving = Serving::start(directory.path(), &["--init"]);
    serving.ready().await;
    let [webhook, ada, ..] = SECRETS;
    let http = Client::new();
    let refused = http.post(format!("{}/webhook", serving.api)).bearer_auth("wrong");
    let refused = refused.json(&firing()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let taken = http.post(format!("{}/webhook", serving.api)).bearer_auth(webhook);
    let taken = taken.json(&firing()).send().await.unwrap();
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    let id = serving
        .until("incident that waits for approval", async |this: &Serving| {
            let list = http.get(format!("{}/api/v1/incidents?state=waiting", this.api));
            let list: Value = list.bearer_auth(ada).send().await.ok()?.json().await.ok()?;
            list["incidents"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
    let refuse = http.post(format!("{}/api/v1/incidents/{id}/refuse", serving.api));
    let refuse = refuse.bearer_auth(ada).json(&json!({"reason": "by the test"}));
    assert_eq!(refuse.send().await.unwrap().status(), StatusCode::OK);
    serving.terminate();
    assert!(serving.ended().await.success(), "{}", serving.log().join("\n"));

    let log = serving.log();
    let lines: Vec<Value> =
        log.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let of_incident: Vec<_> = lines.iter().filter(|line| line["event"].is_string()).collect();
    assert!(of_incident.len() > 4, "{}", log.join("\n"));
    for line in of_incident {
        assert_eq!(line["span"]["incident"], id, "{line}");
        let target = line["span"]["target"].as_str().unwrap();
        assert!(target.contains("support-agent-deployment"), "{line}");
    }
    assert!(lines.iter().any(|line| line["level"] == "TRACE"), "everything is logged here");
    for secret in SECRETS {
        let told = log.iter().find(|line| line.contains(secret));
        assert!(told.is_none(), "`{secret}` is in the log: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_history_is_not_begun_by_a_slip() {
    let (_sandbox, directory) = site().await;
    let mut serving = Serving::start(directory.path(), &[]);
    let status = serving.ended().await;
    assert_eq!(status.code(), Some(1));
    let said = serving.log().join("\n");
    assert!(said.contains("orderly.db") && said.contains("init"), "{said}");
    assert!(!directory.path().join("orderly.db").exists());
}

/// A mounted ConfigMap is changed by turning the link `..data` to another folder.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_config_map_that_is_swapped_is_read_again() {
    use std::os::unix::fs::symlink;

    let (_sandbox, directory) = site().await;
    let mount = directory.path().join("policies");
    let policy = std::fs::read_to_string(mount.join("high-error-rate.yaml")).unwrap();
    std::fs::remove_file(mount.join("high-error-rate.yaml")).unwrap();
    for (version, mode) in [("..1", "mode: approval"), ("..2", "mode: auto")] {
        std::fs::create_dir(mount.join(version)).unwrap();
        let text = policy.replace("mode: approval", mode);
        std::fs::write(mount.join(version).join("high-error-rate.yaml"), text).unwrap();
    }
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/high-error-rate.yaml", mount.join("high-error-rate.yaml")).unwrap();
    let mut serving = Serving::start(directory.path(), &["--init"]);
    serving.ready().await;
    let mode = async |this: &Serving| {
        let status = Client::new().get(format!("{}/status", this.admin)).send().await.ok()?;
        let status: Value = status.json().await.ok()?;
        status["policies"][0]["mode"].as_str().map(str::to_owned)
    };
    assert_eq!(mode(&serving).await.as_deref(), Some("approval"));

    let began = std::time::Instant::now();
    symlink("..2", mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    serving
        .until("policy in its new version", async |this: &Serving| {
            mode(this).await.filter(|mode| mode == "auto").map(drop)
        })
        .await;
    assert!(began.elapsed() < REREAD, "seen only because everything is read again now and then");
}
