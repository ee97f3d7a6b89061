//! Who was called hears when a person has it in hand and when it is over: PagerDuty by one key, once
//! each, also across a restart and when it is away for a while.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "another process goes by the real time")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use orderly::domain::event::Person;
use serde_json::Value;

use crate::slack::office::{Office, Terms, Way};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A PagerDuty that takes what its documentation says, and keeps it.
#[derive(Clone, Default)]
struct Pager {
    events: Arc<Mutex<Vec<Value>>>,
    refused: Arc<Mutex<Vec<Value>>>,
}

async fn enqueue(State(pager): State<Pager>, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).unwrap();
    let action = event["event_action"].as_str().unwrap_or("").to_owned();
    let payload = &event["payload"];
    let summary = payload["summary"].as_str().unwrap_or("");
    let severity = payload["severity"].as_str().unwrap_or("");
    let valid = event["routing_key"] == KEY
        && ["trigger", "acknowledge", "resolve"].contains(&action.as_str())
        && event["dedup_key"].as_str().is_some_and(|key| !key.is_empty() && key.len() <= 255)
        && (action != "trigger"
            || (!summary.is_empty()
                && summary.chars().count() <= 1024
                && payload["source"].is_string()
                && ["critical", "error", "warning", "info"].contains(&severity)));
    let kept = if valid { &pager.events } else { &pager.refused };
    kept.lock().unwrap().push(event);
    if valid { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST }
}

impl Pager {
    fn actions(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| event["event_action"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pagerduty_is_triggered_acknowledged_and_resolved_once_each() {
    let pager = Pager::default();
    let router = Router::new().route("/v2/enqueue", post(enqueue)).with_state(pager.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v2/enqueue", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    let terms = Terms {
        oncall: format!("{{pagerDuty: {{routingKeyFile: '{}', url: '{url}'}}}}", key.display()),
        after: "1s",
        ..Terms::default()
    };
    let mut office = Office::with(Way::Http, &terms).await;
    let id = office.fire(&[]).await;
    office.until("the call", |_| (pager.actions() == ["trigger"]).then_some(())).await;
    // A restart calls nobody again.
    office.close().await;
    office.reopen().await;
    let ada = Person {
        name: "ada".to_owned(),
        groups: vec!["sre".to_owned()],
        path: "api/token".to_owned(),
    };
    office.engine().approve(&id, ada, None, None).await.unwrap();
    office.until("the end", |_| (pager.actions().len() >= 3).then_some(())).await;
    assert_eq!(pager.actions(), ["trigger", "acknowledge", "resolve"]);
    office.close().await;
    office.reopen().await;
    let other = office.fire(&[("pod", "another")]).await;
    office.until("another call", |_| (pager.actions().len() >= 4).then_some(())).await;
    let events = pager.events.lock().unwrap().clone();
    let keys: Vec<_> = events.iter().map(|event| event["dedup_key"].as_str().unwrap()).collect();
    assert_eq!(keys[..3], [format!("orderly-{id}").as_str(); 3]);
    assert_eq!(keys[3], format!("orderly-{other}"));
    assert_eq!(pager.actions()[3], "trigger");
    assert_eq!(*pager.refused.lock().unwrap(), Vec::<Value>::new());
    assert_eq!(events[0]["client"], "Orderly");
    assert!(events.iter().skip(1).take(2).all(|event| event["payload"].is_null()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_ends_at_once_in_the_midst_of_work() {
    for _ in 0..5 {
        let mut office = Office::with(Way::Http, &Terms { mode: "auto", ..Terms::default() }).await;
        let id = office.fire(&[]).await;
        // Anywhere between the alert and the verification.
        let work = std::time::Duration::from_millis(u64::from(id.as_str().as_bytes()[0]) * 7 % 400);
        tokio::time::sleep(work).await;
        let engine = office.engine().clone();
        let began = jiff::Timestamp::now();
        office.close().await;
        let took = jiff::Timestamp::now().duration_since(began);
        assert!(took < jiff::SignedDuration::from_secs(20), "it was cut off after {took:?}");
        // Who still asks is not kept waiting.
        let waiting = engine.caught_up(u64::MAX - 1);
        tokio::time::timeout(std::time::Duration::from_secs(5), waiting).await.expect("at once");
    }
}
