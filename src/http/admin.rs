//! The operator's listener: is it alive, is it ready, what does it measure, how does it stand.
//! Changes nothing; the same routes are not on the main listener, so that a probe needs no token
//! and the internet sees no metrics.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{StatusCode, Uri};
use serde::Deserialize;
use tower_http::catch_panic::CatchPanicLayer;

use super::problem::Problem;
use super::routes::panicked;
use super::status::{Check, Health, Readiness, Status};
use crate::metrics::{CONTENT_TYPE as OPENMETRICS, Metrics};

/// What the operator is answered with.
#[derive(Clone)]
struct Admin {
    health: Arc<dyn Health>,
    metrics: Arc<Metrics>,
}

/// The router of the admin listener.
pub fn router(health: Arc<dyn Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/status", get(status))
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(Admin { health, metrics })
}

#[derive(Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

async fn readyz(State(admin): State<Admin>, Query(query): Query<Verbose>) -> Response {
    let readiness = admin.health.readiness().await;
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match query.verbose {
        Some(_) => (code, Json(readiness)).into_response(),
        None => (code, lines(&readiness)).into_response(),
    }
}

/// For people and for the events that the kubelet writes: each bad check in a line.
fn lines(readiness: &Readiness) -> String {
    let bad: String = readiness
        .checks()
        .iter()
        .filter_map(|(name, check)| match check {
            Check::Good { .. } => None,
            Check::Bad { reason } => Some(format!("{name}: {reason}\n")),
        })
        .collect();
    if bad.is_empty() { "ok\n".to_owned() } else { bad }
}

async fn metrics_text(State(admin): State<Admin>) -> Response {
    ([(CONTENT_TYPE, OPENMETRICS)], admin.metrics.render()).into_response()
}

async fn status(State(admin): State<Admin>) -> Json<Status> {
    Json(admin.health.status().await)
}

async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", "Not found")
        .detail(format!("there is nothing at `{path}`"))
        .hint("here are `/livez`, `/readyz`, `/metrics` and `/status`; webhooks and the API are on the other listener")
}
