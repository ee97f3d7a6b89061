//! A webhook receiver that misbehaves: what is tried again, for how long, and what is never shown.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::{SignedDuration, Timestamp};
use orderly::clock::{Clock as _, ManualClock};
use orderly::domain::alert::{Alert, AlertStatus};
use orderly::domain::conversation::Stage;
use orderly::domain::event::{Event, PolicySnapshot};
use orderly::domain::id::{Digest, Fingerprint, IncidentId};
use orderly::domain::incident::Incident;
use orderly::notify::delivery::{Address, Delivery};
use orderly::notify::message::Message;
use orderly::notify::places::Places;
use orderly::notify::{NotifyError, Receiver, Receivers};
use serde_json::Value;

/// Answers with each code in turn, the last for ever, and keeps what it was sent.
#[derive(Clone, Default)]
struct Peer {
    answers: Arc<Mutex<Vec<u16>>>,
    received: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

async fn receive(State(peer): State<Peer>, headers: HeaderMap, body: String) -> StatusCode {
    let body = serde_json::from_str(&body).expect("JSON");
    peer.received.lock().expect("unpoisoned").push((headers, body));
    let mut answers = peer.answers.lock().expect("unpoisoned");
    let code = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
    StatusCode::from_u16(code).expect("a code")
}

async fn start(answers: &[u16]) -> (Peer, String) {
    let peer = Peer { answers: Arc::new(Mutex::new(answers.to_vec())), ..Peer::default() };
    let router = Router::new().route("/hook/{secret}", post(receive)).with_state(peer.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (peer, format!("http://{address}/hook/SECRET-PATH"))
}

fn message() -> Message {
    let at = Timestamp::UNIX_EPOCH;
    let spec = serde_saphyr::from_str(
        "{summary: x, match: [a], target: {kind: Deployment, namespaces: [prod]}, causes: []}",
    );
    let labels = [("alertname".to_owned(), "AgentDown".to_owned())].into();
    let alert = Alert {
        status: AlertStatus::Firing,
        labels,
        annotations: [].into(),
        starts_at: at,
        ends_at: None,
        generator_url: String::new(),
        fingerprint: Fingerprint(1),
    };
    let id = IncidentId::of(alert.episode());
    let policy = PolicySnapshot {
        name: "agent-down".to_owned(),
        digest: Digest::of("test", &"policy"),
        spec: spec.expect("a policy"),
    };
    let target = Err("nothing is named".to_owned());
    let opened =
        Event::IncidentOpened { alert, policy: Box::new(policy), others: Vec::new(), target };
    let incident = Incident::open(&id, at, &opened).expect("it opens");
    let text = "AgentDown is not remediated".to_owned();
    Receivers::default().about(&incident, Stage::Called, text, at)
}

/// Sends to a peer that gives these answers, moving the clock whenever somebody sleeps; returns how
/// long that took on the clock.
async fn send(answers: &[u16]) -> (Peer, Result<(), NotifyError>, SignedDuration) {
    let (peer, url) = start(answers).await;
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let to = Delivery::new(Address::Given(url.into()), clock.clone());
    let by_name = [("oncall".to_owned(), Receiver::Webhook(to))].into();
    let receivers = Receivers::new(by_name, Places::default());
    let mut sending = tokio::spawn(async move { receivers.send("oncall", &message()).await });
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut sending => break outcome.expect("no panic"),
            () = tokio::task::yield_now() => {
                if let Some(deadline) = clock.next_deadline() {
                    clock.advance(deadline.duration_since(clock.now()));
                }
            }
        }
    };
    (peer, outcome, clock.now().duration_since(Timestamp::UNIX_EPOCH))
}

#[tokio::test]
async fn a_receiver_that_restarts_gets_the_message_and_can_tell_repeats() {
    let (peer, outcome, took) = send(&[503, 429, 200]).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(took, SignedDuration::from_secs(3));
    let received = peer.received.lock().expect("unpoisoned").clone();
    let ids: Vec<_> =
        received.iter().map(|(headers, _)| headers["idempotency-key"].clone()).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(received[0].1["message"]["text"], "AgentDown is not remediated");
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_the_address_is_not_shown() {
    let (peer, outcome, _) = send(&[400]).await;
    let error = outcome.expect_err("refused");
    assert!(matches!(error, NotifyError::Refused { .. }), "{error}");
    assert!(!error.to_string().contains("SECRET"), "{error}");
    assert_eq!(peer.received.lock().expect("unpoisoned").len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (peer, outcome, _) = send(&[307]).await;
    assert!(matches!(outcome, Err(NotifyError::Refused { .. })), "{outcome:?}");
    assert_eq!(peer.received.lock().expect("unpoisoned").len(), 1);
}

#[tokio::test]
async fn a_receiver_that_stays_away_is_given_up() {
    let (_, outcome, took) = send(&[500]).await;
    let error = outcome.expect_err("given up");
    assert!(error.to_string().contains("not reached in 5 tries: HTTP 500"), "{error}");
    assert!(took < SignedDuration::from_mins(1), "{took:?}");
}

#[tokio::test]
async fn an_unknown_receiver_is_an_error_that_names_the_known_ones() {
    let receivers = Receivers::new([("log".to_owned(), Receiver::Log)].into(), Places::default());
    let error = receivers.send("oncal", &message()).await.expect_err("nobody");
    assert_eq!(error.to_string(), "no receiver is called `oncal`: the configuration has `log`");
    assert_eq!(receivers.send("log", &message()).await, Ok(()));
}
