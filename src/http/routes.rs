//! Every route of the main listener in one list, each with what it takes to use it. The router is
//! built from this list alone and puts the check before the handler, so that a route without a check
//! cannot be written; a test walks the list.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::{Method, StatusCode, Uri};
use tower_http::catch_panic::CatchPanicLayer;

use super::api::{self, Api};
use super::auth::People;
use super::problem::Problem;
use super::slack::{self, SlackDoor};
use super::webhook::{self, Webhook};
use crate::clock::SharedClock;
use crate::config::Role;

/// One route.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, as axum writes it.
    pub path: &'static str,
    /// What it takes.
    pub access: Access,
    /// What it does.
    pub(super) handler: MethodRouter<Site>,
}

/// What it takes to use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be the Alertmanager; the webhook checks it before it reads the body.
    Webhook,
    /// To be Slack; the door checks its signature over the body.
    Slack,
    /// To be a person with at least this role.
    Person(Role),
}

/// What the routes work with.
#[derive(Clone)]
pub struct Site {
    /// The webhook.
    pub webhook: Arc<Webhook>,
    /// The API.
    pub api: Arc<Api>,
    /// Who may use it.
    pub people: Arc<People>,
    /// Where Slack delivers, when it does so over HTTP.
    pub slack: Option<Arc<SlackDoor>>,
    /// The time.
    pub clock: SharedClock,
}

impl FromRef<Site> for Arc<Webhook> {
    fn from_ref(site: &Site) -> Self {
        Arc::clone(&site.webhook)
    }
}

impl FromRef<Site> for Arc<Api> {
    fn from_ref(site: &Site) -> Self {
        Arc::clone(&site.api)
    }
}

impl FromRef<Site> for Option<Arc<SlackDoor>> {
    fn from_ref(site: &Site) -> Self {
        site.slack.clone()
    }
}

/// Every route.
pub fn routes() -> Vec<Route> {
    webhook::routes().into_iter().chain(slack::routes()).chain(api::routes()).collect()
}

/// The router of the main listener.
pub fn router(site: Site) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let handler = match route.access {
            Access::Webhook | Access::Slack => route.handler,
            Access::Person(role) => {
                route.handler.route_layer(from_fn_with_state((site.clone(), role), recognise))
            }
        };
        router = router.route(route.path, handler);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(site)
}

/// Puts the person's identity beside the request, or refuses.
async fn recognise(
    State((site, role)): State<(Site, Role)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let identity = site.people.recognise(&parts, site.clock.now());
    match identity.and_then(|identity| identity.require(role).map(|()| identity)) {
        Ok(identity) => {
            parts.extensions.insert(identity);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(denied) => Problem::from(denied).into_response(),
    }
}

async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", "Not found")
        .detail(format!("there is nothing at `{path}`"))
        .hint("Alertmanager's webhooks go to `/api/v1/alertmanager`")
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let problem =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            .detail(format!("`{}` does not take {method}", uri.path()));
    if webhook::PATHS.contains(&uri.path()) {
        problem.hint("this is the address for Alertmanager's `webhook_configs`, which sends POST")
    } else {
        problem
    }
}

pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    tracing::error!(panic = text, "a request handler panicked");
    Problem::internal().into_response()
}
