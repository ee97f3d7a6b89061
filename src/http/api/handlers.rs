//! The API's routes and what each does: parse, ask the other side, answer.

#![allow(clippy::result_large_err, reason = "a problem is the answer itself, moved once")]

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, body};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http::Method;
use http::header::CONTENT_TYPE;

use super::input::{Body, Filter, MAX_REQUEST_BYTES};
use super::{
    AbortRequest, Api, ApiError, ApproveRequest, AuditFilter, Decided, IncidentDetail,
    IncidentFilter, IncidentList, Incidents, KillSwitch, KillSwitchRequest, RefuseRequest,
    ResetRequest, SnoozeRequest,
};
use crate::config::Role;
use crate::domain::id::IncidentId;
use crate::http::auth::Identity;
use crate::http::problem::Problem;
use crate::http::routes::{Access, Route, Site};
use crate::http::status::Status;

/// Longer than any look into the journal; a decision that takes longer has an unknown outcome, and
/// to repeat it is harmless.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

type Answer<T> = Result<Json<T>, Problem>;

/// The API's routes.
pub(in crate::http) fn routes() -> Vec<Route> {
    let route = |method, path, role, handler: MethodRouter<Site>| Route {
        method,
        path,
        access: Access::Person(role),
        handler: handler.layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES)),
    };
    let (view, decide, rule) = (Role::Viewer, Role::Approver, Role::Admin);
    vec![
        route(Method::GET, "/api/v1/incidents", view, get(list)),
        route(Method::GET, "/api/v1/incidents/{id}", view, get(show)),
        route(Method::POST, "/api/v1/incidents/{id}/approve", decide, post(approve)),
        route(Method::POST, "/api/v1/incidents/{id}/refuse", decide, post(refuse)),
        route(Method::POST, "/api/v1/incidents/{id}/snooze", decide, post(snooze)),
        route(Method::POST, "/api/v1/incidents/{id}/abort", decide, post(abort)),
        route(Method::GET, "/api/v1/kill-switch", view, get(kill_switch)),
        route(Method::POST, "/api/v1/kill-switch", rule, post(set_kill_switch)),
        route(Method::POST, "/api/v1/policies/{name}/breaker/reset", rule, post(reset_breaker)),
        route(Method::GET, "/api/v1/audit", view, get(audit)),
        route(Method::GET, "/api/v1/status", view, get(status)),
    ]
}

async fn answer<T>(asked: BoxFuture<'_, Result<T, ApiError>>) -> Answer<T> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => Ok(Json(answer?)),
        Err(_elapsed) => {
            let late = "no answer in time; look again before you decide otherwise";
            Err(ApiError::Unavailable(late.to_owned()).into())
        }
    }
}

fn incident(id: &str) -> Result<IncidentId, Problem> {
    id.parse().map_err(|_| {
        let name = id.chars().take(40).collect();
        ApiError::NotFound { what: "incident", name }.into()
    })
}

async fn list(
    State(api): State<Arc<Api>>,
    Filter(filter): Filter<IncidentFilter>,
) -> Answer<IncidentList> {
    answer(api.incidents.list(filter)).await
}

async fn show(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer<IncidentDetail> {
    answer(api.incidents.show(incident(&id)?)).await
}

async fn approve(
    State(api): State<Arc<Api>>,
    Extension(by): Extension<Identity>,
    Path(id): Path<String>,
    Body(request): Body<ApproveRequest>,
) -> Answer<Decided> {
    answer(api.incidents.approve(by.person(), incident(&id)?, request)).await
}

async fn refuse(
    State(api): State<Arc<Api>>,
    Extension(by): Extension<Identity>,
    Path(id): Path<String>,
    Body(request): Body<RefuseRequest>,
) -> Answer<Decided> {
    answer(api.incidents.refuse(by.person(), incident(&id)?, request)).await
}

async fn snooze(
    State(api): State<Arc<Api>>,
    Extension(by): Extension<Identity>,
    Path(id): Path<String>,
    Body(request): Body<SnoozeRequest>,
) -> Answer<Decided> {
    answer(api.incidents.snooze(by.person(), incident(&id)?, request)).await
}

async fn abort(
    State(api): State<Arc<Api>>,
    Extension(by): Extension<Identity>,
    Path(id): Path<String>,
    Body(request): Body<AbortRequest>,
) -> Answer<Decided> {
    answer(api.incidents.abort(by.person(), incident(&id)?, request)).await
}

async fn kill_switch(State(api): State<Arc<Api>>) -> Answer<KillSwitch> {
    answer(api.incidents.kill_switch()).await
}

async fn set_kill_switch(
    State(api): State<Arc<Api>>,
    Extension(by): Extension<Identity>,
    Body(request): Body<KillSwitchRequest>,
) -> Answer<KillSwitch> {
    answer(api.incidents.set_kill_switch(by.person(), request)).await
}

async fn reset_breaker(
    State(api): State<Arc<Api>>,
    Extension(by): Extension<Identity>,
    Path(name): Path<String>,
    Body(request): Body<ResetRequest>,
) -> Answer<()> {
    answer(api.incidents.reset_breaker(by.person(), name, request)).await
}

async fn status(State(api): State<Arc<Api>>) -> Json<Status> {
    Json(api.health.status().await)
}

/// The journal as JSON lines, page by page, so that its length does not matter. An error before the
/// first page is a problem as usual; one after it ends the stream with a line `{"problem": ..}`.
async fn audit(
    State(api): State<Arc<Api>>,
    Filter(filter): Filter<AuditFilter>,
) -> Result<Response, Problem> {
    let left = filter.limit.unwrap_or(usize::MAX);
    let (first, more) = page(api.incidents.as_ref(), &filter, 0, left).await?;
    let incidents = Arc::clone(&api.incidents);
    let state = (incidents, filter, Some(Next::Ready(first, more)));
    let lines = stream::unfold(state, |(incidents, filter, next)| async move {
        let (lines, more) = match next? {
            Next::Ready(lines, more) => (lines, more),
            Next::Ask { after, left } => {
                match page(incidents.as_ref(), &filter, after, left).await {
                    Ok(page) => page,
                    Err(problem) => {
                        let line = serde_json::json!({ "problem": problem }).to_string() + "\n";
                        (Bytes::from(line), None)
                    }
                }
            }
        };
        let next = more.map(|(after, left)| Next::Ask { after, left });
        Some((Ok::<_, std::convert::Infallible>(lines), (incidents, filter, next)))
    });
    let headers = [(CONTENT_TYPE, "application/jsonl")];
    Ok((headers, body::Body::from_stream(lines)).into_response())
}

enum Next {
    Ready(Bytes, Option<(u64, usize)>),
    Ask { after: u64, left: usize },
}

/// The lines of one page, and where the next begins with how many are still wanted.
async fn page(
    incidents: &dyn Incidents,
    filter: &AuditFilter,
    after: u64,
    left: usize,
) -> Result<(Bytes, Option<(u64, usize)>), Problem> {
    let Json(page) = answer(incidents.audit(filter.clone(), after)).await?;
    let mut lines = Vec::new();
    let taken = page.entries.len().min(left);
    for entry in page.entries.iter().take(taken) {
        // Writing JSON into memory cannot fail: every key of an entry is a string.
        if serde_json::to_writer(&mut lines, entry).is_ok() {
            lines.push(b'\n');
        }
    }
    let left = left - taken;
    let more = page.next.filter(|next| left > 0 && *next > after).map(|next| (next, left));
    Ok((lines.into(), more))
}
