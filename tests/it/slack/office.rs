//! A cluster in trouble, an Orderly beside it, and the Slack where people decide.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "another process goes by the real time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use orderly::clock::SystemClock;
use orderly::config::{Config, Flags};
use orderly::domain::alert::{Alert, AlertStatus, Delivery};
use orderly::domain::event::{Event, Stream};
use orderly::domain::id::{Fingerprint, IncidentId};
use orderly::engine::Engine;
use orderly::http::intake::Intake as _;
use orderly::journal::codec;
use orderly::sandbox::{Contents, Drive, Options, QueryAnswer, QueryMatch, Sandbox, View};
use orderly::service::{JournalMode, Service};
use serde_json::Value;

use super::workspace::{APP, BOT, CHANNEL, Message, SIGNING, TEAM, Workspace};

/// Within this everything that a test waits for has happened, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// By which way clicks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Http,
    Socket,
}

pub struct Office {
    pub slack: Workspace,
    pub sandbox: Sandbox,
    pub way: Way,
    service: Option<Service>,
    _directory: tempfile::TempDir,
    text: String,
}

/// How a policy wants to be approved, and what else is in the configuration.
#[derive(Clone, Debug)]
pub struct Terms {
    pub approval: String,
    pub mode: &'static str,
    pub more: String,
    /// The receiver `oncall`, and when it is called.
    pub oncall: String,
    pub after: &'static str,
}

impl Terms {
    /// So many people of `sre` must agree.
    pub fn quorum(people: u32) -> Self {
        let approval = format!("{{approvers: [sre], quorum: {people}, expiresAfter: 30m}}");
        Self { approval, ..Self::default() }
    }
}

impl Default for Terms {
    fn default() -> Self {
        let approval = "{approvers: [sre], expiresAfter: 30m}".to_owned();
        let oncall = "{log: {}}".to_owned();
        Self { approval, mode: "approval", more: String::new(), oncall, after: "2h" }
    }
}

fn policy(terms: &Terms) -> String {
    let (mode, approval, after) = (terms.mode, &terms.approval, terms.after);
    format!(
        r#"
apiVersion: orderly.dev/v1alpha1
kind: RemediationPolicy
metadata: {{name: high-error-rate}}
spec:
  summary: Too many requests fail
  runbook: https://runbooks.example.com/high-error-rate
  match: ['alertname="HighErrorRate"']
  target:
    kind: Deployment
    namespaces: [ai-agents]
    name: "{{{{ labels.agent_id }}}}-deployment"
  mode: {mode}
  causes:
    - name: bad-deployment
      when: rollout.age < duration("30m")
      actions: [{{rollback: {{}}}}]
    - name: otherwise
      actions: [{{restart: {{}}}}]
  approval: {approval}
  verify: {{within: 1m, rollout: complete, alert: any, query: {{expr: 'sum(rate(errors[5m]))', below: 0.01}}}}
  escalate: [{{after: {after}, to: oncall}}]
"#
    )
}

impl Office {
    pub async fn open(way: Way) -> Self {
        Self::with(way, &Terms::default()).await
    }

    pub async fn with(way: Way, terms: &Terms) -> Self {
        let slack = Workspace::open().await;
        slack.lock().groups.insert("S0001".to_owned(), ["UCARL".to_owned()].into());
        let options = Options {
            drive: Drive::Clock,
            contents: Contents::Demo,
            ..Options::new(Arc::new(SystemClock))
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        sandbox.set_query(QueryMatch::Contains(vec!["errors".to_owned()]), |view: &View<'_>| {
            let bad = view.serves_image("ai-agents", "support-agent-deployment", "v1.5.0");
            QueryAnswer::value(if bad { 0.14 } else { 0.002 })
        });
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, secret) in [("bot", BOT), ("app", APP), ("signing", SIGNING)] {
            std::fs::write(path(name), secret).unwrap();
        }
        std::fs::create_dir(path("policies")).unwrap();
        std::fs::write(path("policies/p.yaml"), policy(terms)).unwrap();
        std::fs::write(path("kubeconfig"), sandbox.kubeconfig()).unwrap();
        let transport = match way {
            Way::Http => format!("signingSecretFile: {}", path("signing").display()),
            Way::Socket => format!("appTokenFile: {}", path("app").display()),
        };
        let at = directory.path().display();
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\npolicies: [{at}/policies]\njournal: \
             {{path: {at}/orderly.db}}\nkubernetes: {{kubeconfig: {at}/kubeconfig}}\nprometheus: {{url: \
             '{}'}}\nreceivers: {{oncall: {}}}\nlinks: {{alertmanager: \
             'https://alertmanager.example.com'}}\npeople:\n  - \
             {{name: alice, groups: [sre], role: approver, slackUser: UALICE}}\nslack:\n  apiUrl: '{}'\n  \
             botTokenFile: {at}/bot\n  {transport}\n  workspace: {TEAM}\n  channels: [{{channel: \
             {CHANNEL}}}]\n  groups:\n    sre: {{users: [UBOB], userGroups: [S0001]}}\n    platform: \
             {{users: [UPAULA], role: admin}}\n    readers: {{users: [URITA], role: viewer}}\n{}\n",
            sandbox.prometheus_url(),
            terms.oncall,
            slack.url,
            terms.more,
        );
        let mut office = Self { slack, sandbox, way, service: None, _directory: directory, text };
        office.start().await;
        office
    }

    /// The configuration that it runs with.
    pub fn config(&self) -> Config {
        let config = Config::from_text(None, &self.text, &Flags::default());
        config.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn start(&mut self) {
        let config = self.config();
        let clock = Arc::new(SystemClock);
        let service = Service::start(&config, clock, JournalMode::CreateIfMissing).await;
        self.service = Some(service.unwrap_or_else(|error| panic!("{error:?}")));
        if self.way == Way::Socket {
            self.until("two connections", |office| (office.slack.connections() >= 2).then_some(()))
                .await;
        }
    }

    /// Stops Orderly.
    pub async fn close(&mut self) {
        self.service.take().unwrap().stop().await.unwrap();
    }

    /// Starts it again on the same journal.
    pub async fn reopen(&mut self) {
        self.start().await;
    }

    pub fn engine(&self) -> &Engine {
        &self.service.as_ref().unwrap().engine
    }

    pub fn api(&self) -> String {
        format!("http://{}", self.service.as_ref().unwrap().address)
    }

    pub fn metrics(&self) -> String {
        self.service.as_ref().unwrap().metrics.render()
    }

    /// Waits until `seen` gives something.
    pub async fn until<T>(&self, what: &str, seen: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = seen(self) {
                return found;
            }
            if began.elapsed() > PATIENCE {
                let shown: Vec<_> = self.slack.messages().iter().map(Message::read).collect();
                let calls = self.slack.lock().calls.clone();
                panic!("waited in vain for {what}; Slack shows {shown:#?} after {calls:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An alert about the demo's bad deployment.
    pub async fn fire(&self, labels: &[(&str, &str)]) -> IncidentId {
        let mut all = vec![
            ("alertname", "HighErrorRate"),
            ("namespace", "ai-agents"),
            ("agent_id", "support-agent"),
            ("severity", "critical"),
        ];
        all.retain(|(name, _)| !labels.iter().any(|(other, _)| other == name));
        all.extend(labels);
        let labels = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let alert = Alert {
            status: AlertStatus::Firing,
            labels: labels.collect(),
            annotations: [(
                "summary".to_owned(),
                "14 % of support-agent's requests fail".to_owned(),
            )]
            .into(),
            starts_at: jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1),
            ends_at: None,
            generator_url: "https://prometheus.example.com/graph?g0.expr=errors&g0.tab=1"
                .to_owned(),
            fingerprint: Fingerprint::of(all.iter().copied()),
        };
        self.deliver(vec![alert.clone()]).await;
        IncidentId::of(alert.episode())
    }

    pub async fn deliver(&self, alerts: Vec<Alert>) {
        let delivery = Delivery {
            receiver: "orderly".to_owned(),
            group: "test".to_owned(),
            truncated_alerts: 0,
            reason: None,
            external_url: String::new(),
        };
        self.engine().accept(delivery, alerts).await.unwrap();
    }

    /// The message about the incident, once it says this.
    pub async fn message(&self, id: &IncidentId, says: &str) -> Message {
        self.until(says, |office| {
            let about = |message: &Message| message.read().contains(&format!("incident `{id}`"));
            let found = office.slack.messages().into_iter().find(about)?;
            found.read().contains(says).then_some(found)
        })
        .await
    }

    /// Delivers a click, and expects it to be taken.
    pub async fn deliver_click(&self, payload: &Value) -> Option<Value> {
        match self.way {
            Way::Http => {
                let (status, body) = self.slack.post(&self.api(), payload).await;
                assert_eq!(status, StatusCode::OK, "{body}");
                serde_json::from_str(&body).ok()
            }
            Way::Socket => self.slack.send(payload).await.expect("acknowledged in time").into(),
        }
    }

    /// Presses what stands in the message now.
    pub async fn press(&self, user: &str, message: &Message, action: &str) {
        self.deliver_click(&self.slack.press(user, message, action)).await;
    }

    /// What was whispered to somebody, once it says this.
    pub async fn whisper(&self, user: &str, says: &str) -> String {
        self.until(&format!("a whisper to {user} that says {says}"), |office| {
            office.slack.whispers(user).into_iter().find(|text| text.contains(says))
        })
        .await
    }

    /// The events of an incident.
    pub async fn events(&self, id: &IncidentId) -> Vec<Event> {
        let stream = codec::stream_id(&Stream::Incident(id.clone()));
        let entries = self.engine().journal().read_stream(&stream).await.unwrap();
        entries.iter().map(|entry| codec::decode(entry).unwrap().event).collect()
    }

    /// How often events of this kind are in the incident's stream.
    pub async fn count(&self, id: &IncidentId, kind: &str) -> usize {
        self.events(id).await.iter().filter(|event| event.kind() == kind).count()
    }

    /// Nothing was sent that Slack would not take.
    pub fn clean(&self) {
        assert_eq!(self.slack.violations(), Vec::<String>::new());
    }
}
