//! The main listener's router over a recorder in place of the journal.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use jiff::Timestamp;
use orderly::clock::{ManualClock, SharedClock};
use orderly::config::{Config, Flags};
use orderly::domain::alert::{Alert, Delivery};
use orderly::http::api::Api;
use orderly::http::auth::{People, WebhookAuth};
use orderly::http::intake::{Accepted, Intake, IntakeRefused};
use orderly::http::problem::Problem;
use orderly::http::routes::{Site, router};
use orderly::http::slack::SlackDoor;
use orderly::http::webhook::Webhook;
use orderly::metrics::Metrics;
use orderly::secret::SecretFile;
use orderly::slack::incoming::Incoming;
use orderly::slack::listener::{Listener, Reply};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::house::House;

/// Takes everything, unless told otherwise.
#[derive(Default)]
pub struct Recorder {
    pub taken: Mutex<Vec<(Delivery, Vec<Alert>)>>,
    pub refuse: Mutex<Option<IntakeRefused>>,
    /// When set: taken only when released; `reached` tells that one waits.
    pub hold: Mutex<Option<Arc<Notify>>>,
    pub reached: Notify,
}

impl Intake for Recorder {
    fn accept(
        &self,
        delivery: Delivery,
        alerts: Vec<Alert>,
    ) -> BoxFuture<'_, Result<Accepted, IntakeRefused>> {
        Box::pin(async move {
            let hold = self.hold.lock().unwrap().clone();
            if let Some(hold) = hold {
                self.reached.notify_one();
                hold.notified().await;
            }
            if let Some(refused) = self.refuse.lock().unwrap().clone() {
                return Err(refused);
            }
            let accepted = Accepted { alerts: alerts.len() };
            self.taken.lock().unwrap().push((delivery, alerts));
            Ok(accepted)
        })
    }
}

/// Hears nothing: what gets so far was believed to be Slack's.
struct Deaf;

impl Listener for Deaf {
    fn hear(&self, _incoming: Incoming) -> BoxFuture<'_, Option<Reply>> {
        Box::pin(async { None })
    }
}

/// A site on a manual clock.
pub struct Fixture {
    pub recorder: Arc<Recorder>,
    pub house: Arc<House>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<ManualClock>,
    pub router: Router,
    _signing_secret: tempfile::NamedTempFile,
}

/// With this configuration file.
pub fn with_config(yaml: &str) -> Fixture {
    with_patience(yaml, Duration::from_secs(10))
}

/// The same, with another patience for bodies.
pub fn with_patience(yaml: &str, patience: Duration) -> Fixture {
    let text = format!("policies: [policies]\n{yaml}");
    let config = Config::from_text(None, &text, &Flags::default()).unwrap();
    let now: Timestamp = "2026-01-31T09:30:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::new(now));
    let recorder = Arc::new(Recorder::default());
    let metrics = Arc::new(Metrics::new(now));
    let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
    let webhook = Webhook::new(
        WebhookAuth::new(&config, now).unwrap(),
        Arc::<Recorder>::clone(&recorder),
        config.limits.body_bytes,
        patience,
        Arc::clone(&metrics),
        Arc::clone(&shared),
    );
    let people = Arc::new(People::new(&config, now).unwrap());
    let house = Arc::new(House::default());
    let api = Api::new(Arc::<House>::clone(&house), Arc::<House>::clone(&house));
    let signing_secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(signing_secret.path(), "signing").unwrap();
    let secret = SecretFile::open(signing_secret.path(), now).unwrap();
    let slack = Some(Arc::new(SlackDoor::new(secret, Arc::new(Deaf), Arc::clone(&shared))));
    let router = router(Site { webhook, api, people, slack, clock: shared });
    Fixture { recorder, house, metrics, clock, router, _signing_secret: signing_secret }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn problem(&self) -> Problem {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.body);
        let problem: Problem = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        problem
    }

    /// For snapshots: what an operator would see of a refusal.
    pub fn shown(&self) -> String {
        let problem = self.problem();
        let mut text = format!("{} {}: {}", self.status.as_u16(), problem.title, problem.detail);
        for (name, value) in [("at", &problem.pointer), ("hint", &problem.hint)] {
            if let Some(value) = value {
                text += &format!("\n  {name}: {value}");
            }
        }
        for name in ["www-authenticate", "retry-after", "allow"] {
            for value in self.headers.get_all(name) {
                text += &format!("\n  {name}: {}", value.to_str().unwrap());
            }
        }
        text + "\n"
    }
}

impl Fixture {
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 * 1024 * 1024).await.unwrap();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::post(path).body(body.into()).unwrap()).await
    }

    pub fn taken(&self) -> usize {
        self.recorder.taken.lock().unwrap().len()
    }

    pub fn metric(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|found| found == line)
    }
}

/// A webhook with one alert.
pub fn webhook_body() -> String {
    r#"{"version":"4","groupKey":"{}:{alertname=\"A\"}","truncatedAlerts":0,"status":"firing",
        "receiver":"orderly","groupLabels":{},"commonLabels":{},"commonAnnotations":{},
        "externalURL":"http://am:9093","alerts":[{"status":"firing","labels":{"alertname":"A"},
        "annotations":{},"startsAt":"2026-01-31T09:29:00Z","endsAt":"0001-01-01T00:00:00Z",
        "generatorURL":"","fingerprint":"0"}]}"#
        .to_owned()
}
