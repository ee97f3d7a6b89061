//! One or two Alertmanagers that deliver to Orderly, and the cables between them.

use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::plane::{self, Namespace};
use crate::programs::{Program, free_port, program};
use crate::relay::Relay;
use crate::remedy::{Policy, Remedy};
use crate::serving::Serving;

/// How the halves gossip.
enum Gossip {
    /// Not at all: each believes to be alone.
    None,
    /// Through cables that can be cut; then one of them delivers.
    Relayed([Relay; 2]),
}

/// Both halves, and what Orderly is.
pub struct Pair {
    pub halves: [String; 2],
    pub remedy: Remedy,
    gossip: Gossip,
    commands: [Vec<String>; 2],
    programs: [Option<Program>; 2],
    directory: tempfile::TempDir,
}

impl Pair {
    pub async fn start(in_touch: bool, namespace: &Namespace) -> Self {
        let ports = [free_port(), free_port()];
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
             repeat_interval: 2s, routes: [{{matchers: ['alertname=\"NodeDown\"'], receiver: \
             nobody}}]}}\ninhibit_rules: [{{source_matchers: ['alertname=\"NodeDown\"'], \
             target_matchers: ['alertname=\"Test\"']}}]\nreceivers: [{{name: nobody}}, {{name: \
             orderly, webhook_configs: [{{url: '{}/api/v1/alertmanager', send_resolved: true}}]}}]\n",
            remedy.serving.api
        );
        std::fs::write(at.join("routes.yaml"), routes).unwrap();
        let gossip = if in_touch { Some([free_port(), free_port()]) } else { None };
        let relays = match gossip {
            Some(ports) => Gossip::Relayed([Relay::to(ports[0]).await, Relay::to(ports[1]).await]),
            None => Gossip::None,
        };
        let commands = [0, 1].map(|half| half_of(half, ports[half], gossip, &relays));
        let programs = [None, None];
        let mut pair = Self { halves, remedy, gossip: relays, commands, programs, directory };
        for half in 0..2 {
            pair.up(half);
        }
        for half in 0..2 {
            pair.up_and_ready(half).await;
        }
        if in_touch {
            pair.until_peers(2).await;
        }
        pair
    }

    pub fn up(&mut self, half: usize) {
        let at = self.directory.path();
        self.programs[half] = Some(program("prometheus-alertmanager", at, &self.commands[half]));
    }

    pub async fn up_and_ready(&self, half: usize) {
        let ready = format!("{}/-/ready", self.halves[half]);
        self.look("Alertmanager", async || {
            let answer = Client::new().get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// As the kernel does.
    pub fn kill(&mut self, half: usize) {
        self.programs[half] = None;
    }

    /// Cuts or mends the cables, and waits until both halves have noticed.
    pub async fn in_touch(&self, wanted: bool) {
        let Gossip::Relayed(relays) = &self.gossip else { panic!("there is no cable") };
        for relay in relays {
            if wanted { relay.mend() } else { relay.cut() }
        }
        self.until_peers(if wanted { 2 } else { 1 }).await;
    }

    /// Waits until each half knows of so many, itself included.
    pub async fn until_peers(&self, wanted: usize) {
        for half in &self.halves {
            let url = format!("{half}/api/v2/status");
            self.look("peers", async || {
                let status: Value = Client::new().get(&url).send().await.ok()?.json().await.ok()?;
                let peers = status["cluster"]["peers"].as_array().map_or(0, Vec::len);
                (peers == wanted).then_some(())
            })
            .await;
        }
    }

    pub async fn look<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let log = self.remedy.serving.log().join("\n");
            assert!(std::time::Instant::now() < end, "no {what}:\n{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The alerts `Test` of an instance.
    pub async fn post(&self, instance: &str, ends_at: Option<jiff::Timestamp>) {
        self.post_alert(json!({"alertname": "Test", "instance": instance}), ends_at).await;
    }

    /// As Prometheus does: the same to both halves.
    pub async fn post_alert(&self, labels: Value, ends_at: Option<jiff::Timestamp>) {
        let mut alert = json!({"labels": labels, "startsAt": STARTS_AT});
        if let Some(end) = ends_at {
            alert["endsAt"] = json!(end);
        }
        for half in &self.halves {
            let url = format!("{half}/api/v2/alerts");
            // One that is down hears of it when Prometheus sends again.
            if let Ok(sent) = Client::new().post(url).json(&json!([alert])).send().await {
                assert!(sent.status().is_success());
            }
        }
    }

    pub async fn incidents(&self) -> Vec<Value> {
        let url = format!("{}/api/v1/incidents", self.remedy.serving.api);
        let list: Value = Client::new().get(url).send().await.unwrap().json().await.unwrap();
        list["incidents"].as_array().unwrap().clone()
    }

    /// How many webhooks came.
    pub async fn webhooks(&self) -> f64 {
        let url = format!("{}/metrics", self.remedy.serving.admin);
        let text = Client::new().get(url).send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with("orderly_webhooks_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub async fn until_state(&mut self, state: &str) -> Value {
        let what = format!("an incident in state {state}");
        let url = format!("{}/api/v1/incidents", self.remedy.serving.api);
        let look = async |_: &Serving| {
            let list: Value = Client::new().get(&url).send().await.ok()?.json().await.ok()?;
            let all = list["incidents"].as_array()?.clone();
            all.into_iter().find(|it| it["state"] == state)
        };
        self.remedy.serving.until(&what, look).await
    }

    pub async fn open(&self) -> Vec<Value> {
        self.incidents().await.into_iter().filter(|it| it["state"] != "closed").collect()
    }

    /// Silences the alert on the first half; the silence's id.
    pub async fn silence(&self) -> String {
        let now = jiff::Timestamp::now();
        let silence = json!({
            "matchers": [{"name": "alertname", "value": "Test", "isRegex": false, "isEqual": true}],
            "startsAt": now, "endsAt": now + jiff::SignedDuration::from_hours(1),
            "createdBy": "ada", "comment": "maintenance",
        });
        let url = format!("{}/api/v2/silences", self.halves[0]);
        let made = Client::new().post(url).json(&silence).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        made["silenceID"].as_str().unwrap().to_owned()
    }

    pub async fn unsilence(&self, half: usize, silence: &str) {
        let url = format!("{}/api/v2/silence/{silence}", self.halves[half]);
        assert!(Client::new().delete(url).send().await.unwrap().status().is_success());
    }

    /// How many silences a half has in force.
    pub async fn silences(&self, half: usize) -> usize {
        let url = format!("{}/api/v2/silences", self.halves[half]);
        let all: Value = Client::new().get(url).send().await.unwrap().json().await.unwrap();
        let all = all.as_array().unwrap().iter();
        all.filter(|it| it["status"]["state"] != "expired").count()
    }

    pub async fn until_silences(&self, half: usize, wanted: usize) {
        self.look("gossip of the silence", async || {
            (self.silences(half).await == wanted).then_some(())
        })
        .await;
    }

    /// Nothing holds it any more: it is carried out, asked again where need be, and the alerts end.
    pub async fn through(&mut self, id: &str, instances: &[&str]) {
        self.look("verification", async || {
            let open = self.open().await;
            match open[0]["state"].as_str() {
                Some("waiting-for-approval") => self.decide(id, "approve", json!({})).await,
                Some("verifying") => return Some(()),
                _ => {}
            }
            None
        })
        .await;
        for instance in instances {
            self.post(instance, Some(jiff::Timestamp::now())).await;
        }
        let id = id.parse().unwrap();
        self.remedy.until_over(&id, "fixed").await;
    }

    pub async fn decide(&self, id: &str, verb: &str, body: Value) {
        let url = format!("{}/api/v1/incidents/{id}/{verb}", self.remedy.serving.api);
        let answer = Client::new().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

const STARTS_AT: &str = "2026-11-23T03:00:00Z";

fn half_of(half: usize, port: u16, gossip: Option<[u16; 2]>, relays: &Gossip) -> Vec<String> {
    let mut arguments = vec![
        "--config.file=routes.yaml".to_owned(),
        format!("--storage.path=half-{half}"),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let (Some(gossip), Gossip::Relayed(relays)) = (gossip, relays) else {
        arguments.push("--cluster.listen-address=".to_owned());
        return arguments;
    };
    let own = relays[half].port;
    arguments.push(format!("--cluster.listen-address=127.0.0.1:{}", gossip[half]));
    arguments.push(format!("--cluster.advertise-address=127.0.0.1:{own}"));
    arguments.push(format!("--cluster.peer=127.0.0.1:{}", relays[1 - half].port));
    let pace = [
        "settle-timeout=2s",
        "peer-timeout=1s",
        "probe-interval=500ms",
        "probe-timeout=250ms",
        "gossip-interval=100ms",
        "pushpull-interval=1s",
        "reconnect-interval=1s",
    ];
    arguments.extend(pace.map(|it| format!("--cluster.{it}")));
    arguments
}
