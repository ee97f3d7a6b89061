//! Traces really arrive at a collector: the usual set-up of the exporter sends nothing and says
//! nothing.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use orderly::config::{LogFormat, LogSpec, OtlpSpec};
use orderly::http::server::Listener;
use orderly::telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

type Received = Arc<Mutex<Vec<u8>>>;

async fn collect(State(received): State<Received>, body: Bytes) {
    received.lock().unwrap().extend_from_slice(&body);
}

#[tokio::test]
async fn spans_are_flushed_to_the_collector_at_shutdown() {
    let received = Received::default();
    let collector =
        Router::new().route("/v1/traces", post(collect)).with_state(Arc::clone(&received));
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), "traces", "--otlp").unwrap();
    let endpoint = format!("http://{}", listener.address()).parse().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(listener.serve(collector, None, stop.clone()));

    let log = LogSpec { format: LogFormat::Text, level: "off".to_owned() };
    let telemetry = Telemetry::install(&log, Some(&OtlpSpec { endpoint })).unwrap();
    tracing::info_span!(target: "orderly::engine", "incident", id = "0123456789ab").in_scope(|| {});
    tracing::info_span!(target: "hyper::client", "not-ours").in_scope(|| {});
    telemetry.shutdown().await;
    let bytes = received.lock().unwrap().clone();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("incident") && holds("0123456789ab") && holds("orderly"));
    assert!(!holds("not-ours"));
    stop.cancel();
}
