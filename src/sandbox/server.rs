//! The HTTP server: faults before and after, the audit log around everything.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use tokio::net::TcpListener;

use super::Shared;
use super::answer::Answer;
use super::api;
use super::audit::AuditEntry;
use super::cluster::View;
use super::connection::{Door, Scissors};
use super::error::ApiError;
use super::faults::{FaultOutcome, Struck};
use super::request::Request;
use super::store::Store;

/// The API server's own limit of a request body (3 MiB).
const BODY_LIMIT: usize = 3 * 1024 * 1024;

pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let stop = shared.stop.clone();
    let router = Router::new()
        .fallback(handle)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(shared)
        .into_make_service_with_connect_info::<Scissors>();
    // Serving ends only with the stop signal; accept errors are retried inside.
    let _ended = axum::serve(Door(listener), router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await;
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request::new(method, &uri, headers, body);
    let mut entry = AuditEntry::new(&request, shared.clock.now());
    let answer = match shared.faults.strike(&request) {
        None => Some(dispatch(&shared, &request, &uri, None)),
        Some(struck) => misbehave(&shared, &request, &uri, struck).await,
    };
    shared.announce();
    entry.code = answer.as_ref().map(Answer::code);
    shared.audit.write(entry);
    match answer {
        Some(answer) => answer.into_response(),
        None => {
            scissors.cut();
            Response::default()
        }
    }
}

/// Does what the fault says; `None` when the connection is to be cut.
async fn misbehave(
    shared: &Arc<Shared>,
    request: &Request,
    uri: &Uri,
    mut struck: Struck,
) -> Option<Answer> {
    match struck.outcome.clone() {
        FaultOutcome::Status { code, message, retry_after } => {
            Some(ApiError::scripted(code, &message, retry_after).into())
        }
        FaultOutcome::PlainText { code, body, retry_after } => {
            Some(Answer::Text { code, body, retry_after })
        }
        FaultOutcome::Answer(body) => Some(Answer::ok(body)),
        FaultOutcome::DropBefore => None,
        FaultOutcome::DropAfter => {
            dispatch(shared, request, uri, None);
            None
        }
        FaultOutcome::HoldBefore => {
            struck.held().await;
            Some(dispatch(shared, request, uri, None))
        }
        FaultOutcome::HoldAfter => {
            let answer = dispatch(shared, request, uri, None);
            shared.announce();
            struck.held().await;
            Some(answer)
        }
        FaultOutcome::Stale => {
            let snapshot = struck.snapshot.clone();
            Some(dispatch(shared, request, uri, snapshot.as_deref()))
        }
    }
}

fn dispatch(shared: &Arc<Shared>, request: &Request, uri: &Uri, past: Option<&Store>) -> Answer {
    let now = shared.clock.now();
    if let Some(path) = below(&request.path, "/prometheus") {
        let cluster = shared.cluster();
        let view = View { store: &cluster.store, now };
        return shared.prometheus.answer(request, path, &view);
    }
    if let Some(path) = below(&request.path, "/alertmanager") {
        return shared.alertmanager.answer(request, path, uri, now);
    }
    api::answer(shared, request, past)
}

/// The rest of a path below `prefix`.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.starts_with('/'))
}
