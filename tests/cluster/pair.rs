//! Two Alertmanagers, in touch and out of touch: repeats, groups that grow, silences made on one half
//! while people are asked, and ends that only one half tells.

use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::plane::{self, Namespace};
use crate::programs::{Program, free_port, program};
use crate::remedy::{Policy, Remedy, WEB};
use crate::serving::Serving;

/// Both halves, and what Orderly is.
struct Pair {
    halves: [String; 2],
    remedy: Remedy,
    _programs: Vec<Program>,
    _directory: tempfile::TempDir,
}

impl Pair {
    /// `in_touch`: they gossip, and one of them delivers; else each believes to be alone.
    async fn start(in_touch: bool, namespace: &Namespace) -> Self {
        let ports = [free_port(), free_port()];
        let gossip = [free_port(), free_port()];
        let halves = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let policy = Policy {
            mode: "approval",
            kind: "Deployment",
            name: "web",
            actions: "[{restart: {}}]",
            verify: "{within: 80s, rollout: complete, alert: resolved}",
        };
        let config = format!(
            "kubernetes: {{kubeconfig: '{}'}}\nalertmanager: {{urls: ['{}', '{}']}}",
            plane::kubeconfig().display(),
            halves[0],
            halves[1]
        );
        let remedy = Remedy::start_with(&config, namespace, &policy).await;
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let routes = format!(
            "route: {{receiver: orderly, group_by: [alertname], group_wait: 1s, group_interval: 1s, \
             repeat_interval: 2s}}\nreceivers: [{{name: orderly, webhook_configs: [{{url: \
             '{}/api/v1/alertmanager', send_resolved: true}}]}}]\n",
            remedy.serving.api
        );
        std::fs::write(at.join("routes.yaml"), routes).unwrap();
        let programs =
            (0..2).map(|half| half_of(at, half, ports[half], gossip, in_touch)).collect();
        let pair = Self { halves, remedy, _programs: programs, _directory: directory };
        for half in &pair.halves {
            let ready = format!("{half}/-/ready");
            let end = std::time::Instant::now() + Duration::from_secs(60);
            while !Client::new().get(&ready).send().await.is_ok_and(|it| it.status().is_success()) {
                assert!(std::time::Instant::now() < end, "no Alertmanager");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        pair
    }

    /// As Prometheus does: the same to both halves.
    async fn post(&self, instance: &str, ends_at: Option<jiff::Timestamp>) {
        let mut alert = json!({
            "labels": {"alertname": "Test", "instance": instance}, "startsAt": STARTS_AT,
        });
        if let Some(end) = ends_at {
            alert["endsAt"] = json!(end);
        }
        for half in &self.halves {
            let url = format!("{half}/api/v2/alerts");
            let sent = Client::new().post(url).json(&json!([alert])).send().await.unwrap();
            assert!(sent.status().is_success());
        }
    }

    async fn incidents(&self) -> Vec<Value> {
        let url = format!("{}/api/v1/incidents", self.remedy.serving.api);
        let list: Value = Client::new().get(url).send().await.unwrap().json().await.unwrap();
        list["incidents"].as_array().unwrap().clone()
    }

    /// How many webhooks came.
    async fn webhooks(&self) -> f64 {
        let url = format!("{}/metrics", self.remedy.serving.admin);
        let text = Client::new().get(url).send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with("orderly_webhooks_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    async fn until_state(&mut self, state: &str) -> Value {
        let what = format!("an incident in state {state}");
        let url = format!("{}/api/v1/incidents", self.remedy.serving.api);
        let look = async |_: &Serving| {
            let list: Value = Client::new().get(&url).send().await.ok()?.json().await.ok()?;
            let all = list["incidents"].as_array()?.clone();
            all.into_iter().find(|it| it["state"] == state)
        };
        self.remedy.serving.until(&what, look).await
    }

    async fn decide(&self, id: &str, verb: &str, body: Value) {
        let url = format!("{}/api/v1/incidents/{id}/{verb}", self.remedy.serving.api);
        let answer = Client::new().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

const STARTS_AT: &str = "2026-11-23T03:00:00Z";

fn half_of(at: &Path, half: usize, port: u16, gossip: [u16; 2], in_touch: bool) -> Program {
    let mut arguments = vec![
        "--config.file=routes.yaml".to_owned(),
        format!("--storage.path=half-{half}"),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    if in_touch {
        arguments.push(format!("--cluster.listen-address=127.0.0.1:{}", gossip[half]));
        arguments.push(format!("--cluster.peer=127.0.0.1:{}", gossip[1 - half]));
        arguments.push("--cluster.settle-timeout=2s".to_owned());
        arguments.push("--cluster.peer-timeout=1s".to_owned());
    } else {
        arguments.push("--cluster.listen-address=".to_owned());
    }
    program("prometheus-alertmanager", at, &arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_halves_repeats_and_a_group_that_grows_are_one_remediation() {
    let namespace = Namespace::new("pair");
    namespace.apply(WEB);
    namespace.rolled_out("deployment/web");
    // Out of touch, both deliver everything.
    let mut pair = Pair::start(false, &namespace).await;
    pair.post("one", None).await;
    let asking = pair.until_state("waiting-for-approval").await;
    pair.post("two", None).await;
    let before = pair.webhooks().await;
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while pair.webhooks().await < before + 6.0 {
        assert!(std::time::Instant::now() < end, "repeats do not come");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The second alert of the group opened an incident of its own and joined the first.
    let open: Vec<_> =
        pair.incidents().await.into_iter().filter(|it| it["state"] != "closed").collect();
    assert_eq!(open.len(), 1, "{open:#?}");

    let id = asking["id"].as_str().unwrap().to_owned();
    pair.decide(&id, "approve", json!({})).await;
    pair.until_state("verifying").await;
    pair.post("one", Some(jiff::Timestamp::now())).await;
    pair.post("two", Some(jiff::Timestamp::now())).await;
    let id = id.parse().unwrap();
    pair.remedy.until_over(&id, "fixed").await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_made_on_one_half_while_people_are_asked_holds_the_change() {
    let namespace = Namespace::new("silence");
    namespace.apply(WEB);
    namespace.rolled_out("deployment/web");
    let mut pair = Pair::start(true, &namespace).await;
    pair.post("one", None).await;
    let asking = pair.until_state("waiting-for-approval").await;
    let id = asking["id"].as_str().unwrap().to_owned();

    let now = jiff::Timestamp::now();
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Test", "isRegex": false, "isEqual": true}],
        "startsAt": now, "endsAt": now + jiff::SignedDuration::from_hours(1),
        "createdBy": "ada", "comment": "maintenance",
    });
    let url = format!("{}/api/v2/silences", pair.halves[0]);
    let made: Value =
        Client::new().post(url).json(&silence).send().await.unwrap().json().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    pair.decide(&id, "approve", json!({})).await;
    let held = pair.until_state("held").await;
    assert!(held["standing"].as_str().is_some_and(|it| it.contains("silence")), "{held:#}");
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 1);

    // The end of the silence lets it through: the approval still stands for the same plan.
    let url = format!("{}/api/v2/silence/{}", pair.halves[0], made["silenceID"].as_str().unwrap());
    assert!(Client::new().delete(url).send().await.unwrap().status().is_success());
    let end = std::time::Instant::now() + Duration::from_secs(90);
    loop {
        let open = pair.incidents().await;
        match open[0]["state"].as_str() {
            Some("waiting-for-approval") => pair.decide(&id, "approve", json!({})).await,
            Some("verifying") => break,
            _ => {}
        }
        assert!(std::time::Instant::now() < end, "{open:#?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    pair.post("one", Some(jiff::Timestamp::now())).await;
    let id = id.parse().unwrap();
    pair.remedy.until_over(&id, "fixed").await;
}
