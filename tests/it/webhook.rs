//! The webhook as Alertmanager, a curious person and an attacker see it.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use orderly::http::intake::IntakeRefused;
use orderly::http::server::Listener;
use orderly::http::webhook::PATHS;
use tokio_util::sync::CancellationToken;

use crate::site::{Fixture, webhook_body, with_config, with_patience};

#[tokio::test]
async fn every_guessed_address_takes_a_webhook() {
    let site = with_config("");
    for path in PATHS {
        let answer = site.post(path, webhook_body()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {}", answer.body);
        assert_eq!(answer.body, "{\"alerts\":1}\n");
    }
    assert_eq!(site.taken(), PATHS.len());
    assert!(site.metric(r#"orderly_webhooks_total{outcome="accepted"} 8"#));
    assert!(site.metric(r#"orderly_alerts_received_total{status="firing"} 8"#));
    assert!(site.metric(r#"orderly_alerts_repaired_total{repair="fingerprint"} 0"#));
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_what_to_do() {
    let site = with_config("limits: {bodyBytes: 65536}");
    let mut shown = String::new();
    let bad_time = webhook_body().replace("2026-01-31T09:29:00Z", "soon");
    for (what, path, body) in [
        ("a bad time", "/webhook", bad_time),
        ("not JSON", "/webhook", "alerts=1".to_owned()),
        ("JSON that breaks", "/webhook", r#"{"alerts":[}"#.to_owned()),
        ("empty", "/webhook", String::new()),
        ("from Prometheus", "/api/v1/alerts", "[{\"labels\":{}}]".to_owned()),
        ("too large", "/webhook", " ".repeat(65_537)),
        ("another version", "/webhook", webhook_body().replace(r#":"4""#, r#":"3""#)),
        ("another address", "/api/v2/alerts", webhook_body()),
    ] {
        shown += &format!("# {what}\n{}", site.post(path, body).await.shown());
    }
    let get = Request::get("/api/v1/alertmanager").body(Body::empty()).unwrap();
    shown += &format!("# GET\n{}", site.send(get).await.shown());
    let gzip = Request::post("/webhook").header("content-encoding", "gzip");
    let answer = site.send(gzip.body(Body::from("\x1f")).unwrap()).await;
    shown += &format!("# compressed\n{}", answer.shown());
    for refused in [
        IntakeRefused::Full { retry_after: Duration::from_millis(2500) },
        IntakeRefused::TooLarge { index: 3, bytes: 1_200_000, limit: 1_048_576 },
        IntakeRefused::Unavailable { why: "the disk of `orderly.db` is full".to_owned() },
    ] {
        *site.recorder.refuse.lock().unwrap() = Some(refused);
        shown += &format!("# refused\n{}", site.post("/webhook", webhook_body()).await.shown());
    }
    assert_eq!(site.taken(), 0);
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn no_answer_is_ever_429() {
    let site = with_config("");
    *site.recorder.refuse.lock().unwrap() =
        Some(IntakeRefused::Full { retry_after: Duration::ZERO });
    let answer = site.post("/webhook", webhook_body()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(site.metric(r#"orderly_webhooks_total{outcome="shed"} 1"#));
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_use_an_open_loopback_webhook() {
    let site = with_config("");
    let request = Request::post("/webhook").header("origin", "http://evil.example");
    let answer = site.send(request.body(Body::from(webhook_body())).unwrap()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(site.taken(), 0);
}

/// A site on a real socket.
async fn served(site: Fixture) -> (SocketAddr, CancellationToken, Fixture) {
    let stop = CancellationToken::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, "webhooks and the API", "--listen").unwrap();
    let address = listener.address();
    tokio::spawn(listener.serve(site.router.clone(), None, stop.clone()));
    (address, stop, site)
}

async fn raw(address: SocketAddr, request: Vec<u8>, close: bool) -> String {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&request).unwrap();
        if close {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        answer
    })
    .await
    .unwrap()
}

fn head(length: &str) -> String {
    format!("POST /webhook HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{length}\r\n\r\n")
}

#[tokio::test]
async fn bodies_that_lie_about_their_length_or_dawdle_are_not_taken() {
    let site = with_patience("", Duration::from_millis(200));
    let (address, stop, site) = served(site).await;
    let body = webhook_body();

    let good = format!("{}{body}", head(&format!("content-length: {}", body.len())));
    let answer = raw(address, good.into_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(site.taken(), 1);

    // Shorter than announced, and then nothing more.
    let dawdling = format!("{}{body}", head(&format!("content-length: {}", body.len() + 9)));
    let answer = raw(address, dawdling.clone().into_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after"), "{answer}");

    // Shorter than announced, and the connection ends.
    let answer = raw(address, dawdling.into_bytes(), true).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");

    // Longer than announced: what was announced ends too early.
    let cut = format!("{}{body}", head(&format!("content-length: {}", body.len() - 9)));
    let answer = raw(address, cut.into_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    // A length beyond the limit is refused before the body is read; one that is no number is
    // refused by the HTTP parser.
    let answer = raw(address, head("content-length: 99999999999").into_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = raw(address, head("content-length: -1").into_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    // Chunked, without a length.
    let chunked =
        format!("{}{:x}\r\n{body}\r\n0\r\n\r\n", head("transfer-encoding: chunked"), body.len());
    let answer = raw(address, chunked.into_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(site.taken(), 2);
    stop.cancel();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = Listener::bind(any, "webhooks and the API", "--listen").unwrap();
    let error = Listener::bind(first.address(), "webhooks and the API", "--listen").unwrap_err();
    let text = error.to_string().replace(&first.address().port().to_string(), "PORT");
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_request_in_hand_is_finished_when_the_process_stops() {
    let site = with_config("");
    let hold = std::sync::Arc::new(tokio::sync::Notify::new());
    *site.recorder.hold.lock().unwrap() = Some(std::sync::Arc::clone(&hold));
    let stop = CancellationToken::new();
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), "webhooks", "--listen").unwrap();
    let address = listener.address();
    let serving = tokio::spawn(listener.serve(site.router.clone(), None, stop.clone()));
    let body = webhook_body();
    let request = format!("{}{body}", head(&format!("content-length: {}", body.len())));
    let asking = tokio::spawn(raw(address, request.into_bytes(), false));
    site.recorder.reached.notified().await;
    stop.cancel();
    while TcpStream::connect(address).is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!serving.is_finished());
    hold.notify_one();
    let answer = asking.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    serving.await.unwrap().unwrap();
    assert_eq!(site.taken(), 1);
}
