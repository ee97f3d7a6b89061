//! The floors: what an HTTP server of the same make does that parses the webhook, and one that
//! also appends it to a file and syncs before it answers. No less can be done by who keeps promise 3.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::payload::PATH;

/// The first argument with which this program is a floor.
pub const WORD: &str = "floor";
/// The floor that parses.
pub const BARE: &str = "bare";
/// The floor that also syncs.
pub const DURABLE: &str = "durable";
/// Deliveries written at once.
const GROUP: usize = 4096;

/// What a receiver needs of a webhook.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "parsed to be paid for")]
struct Webhook {
    version: String,
    group_key: String,
    receiver: String,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "parsed to be paid for")]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    fingerprint: String,
}

type Delivery = (Bytes, oneshot::Sender<()>);

/// Serves until killed; says on standard output where.
pub fn run(kind: &str, folder: &Path) -> anyhow::Result<()> {
    let writer = match kind {
        DURABLE => Some(writer(folder)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new().route(PATH, post(receive)).with_state(writer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn receive(State(writer): State<Option<mpsc::Sender<Delivery>>>, body: Bytes) -> StatusCode {
    let parsed: Result<Webhook, _> = serde_json::from_slice(&body);
    if !std::hint::black_box(&parsed).is_ok() {
        return StatusCode::BAD_REQUEST;
    }
    let Some(writer) = writer else { return StatusCode::ACCEPTED };
    let (done, durable) = oneshot::channel();
    if writer.send((body, done)).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match durable.await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn writer(folder: &Path) -> anyhow::Result<mpsc::Sender<Delivery>> {
    let mut file = File::create(folder.join("floor.log"))?;
    let (sender, waiting) = mpsc::channel::<Delivery>();
    std::thread::spawn(move || {
        while let Ok(first) = waiting.recv() {
            let group: Vec<_> =
                std::iter::once(first).chain(waiting.try_iter().take(GROUP)).collect();
            let bytes = group.iter().map(|(body, _)| &body[..]).collect::<Vec<_>>().concat();
            file.write_all(&bytes).and_then(|()| file.sync_data()).unwrap();
            for (_, done) in group {
                let _gone = done.send(());
            }
        }
    });
    Ok(sender)
}
