//! Alertmanager's webhook: authenticate, read, parse, hand over, and answer 202 only when the alerts
//! are durable (promise 3).
//!
//! The answers follow from what Alertmanager does with them: it retries 5xx within seconds and gives
//! a notification up on any 4xx until the next group interval. So whatever may be better in a moment
//! is 503 (a full queue, a slow network, an unreadable secret), and 4xx is only what will not change.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum_server::tls::TlsInfo;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{Method, StatusCode};

use super::auth::{Denied, WebhookAuth};
use super::body::{BODY_TIMEOUT, BodyRefused, Buffer};
use super::intake::{Accepted, Intake, IntakeRefused};
use super::payload::{self, Payload};
use super::problem::Problem;
use super::routes::{Access, Route, Site};
use crate::clock::SharedClock;
use crate::metrics::{Metrics, Repair, WebhookOutcome};

/// The webhook's address, and those that people guess (each also with a slash at the end).
pub const PATHS: [&str; 8] = [
    "/api/v1/alertmanager",
    "/api/v1/alertmanager/",
    "/alerts",
    "/alerts/",
    "/webhook",
    "/webhook/",
    "/api/v1/alerts",
    "/api/v1/alerts/",
];
/// So many bodies of the largest size may be in memory at once. Usual ones are a thousand times
/// smaller.
const LARGEST_BODIES_AT_ONCE: usize = 4;
/// Alertmanager's budget for all attempts is at least ten seconds; after this it had better come
/// again than wait.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(8);
/// Alertmanager waits by its own rules; others may go by this.
const RETRY_AFTER_SECONDS: u64 = 2;

/// The webhook.
pub struct Webhook {
    auth: WebhookAuth,
    intake: Arc<dyn Intake>,
    buffer: Arc<Buffer>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
}

impl Webhook {
    /// With bodies of at most `body_bytes`, each within `patience` ([`BODY_TIMEOUT`] but in tests).
    pub fn new(
        auth: WebhookAuth,
        intake: Arc<dyn Intake>,
        body_bytes: usize,
        patience: Duration,
        metrics: Arc<Metrics>,
        clock: SharedClock,
    ) -> Arc<Self> {
        let buffer =
            Buffer::new(body_bytes, body_bytes.saturating_mul(LARGEST_BODIES_AT_ONCE), patience);
        Arc::new(Self { auth, intake, buffer, metrics, clock })
    }

    async fn receive(&self, parts: &Parts, body: Body) -> Result<Response, Refused> {
        let tls = parts.extensions.get::<Arc<TlsInfo>>().map(Arc::as_ref);
        self.auth.check(&parts.headers, tls, self.clock.now()).map_err(Refused::Denied)?;
        if let Some(encoding) = parts.headers.get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err(Refused::Encoded);
        }
        let body = self.buffer.read(&parts.headers, body).await.map_err(Refused::Body)?;
        let payload = payload::parse(body.as_ref()).map_err(Refused::Payload)?;
        drop(body);
        let Payload { delivery, alerts, repairs } = payload;
        self.metrics.alerts_received(alerts.iter().map(|alert| alert.status));
        self.metrics.repaired(Repair::Fingerprint, repairs.fingerprints);
        self.metrics.repaired(Repair::Text, repairs.texts);
        let accepting = self.intake.accept(delivery, alerts);
        match tokio::time::timeout(ACCEPT_TIMEOUT, accepting).await {
            Ok(Ok(accepted)) => Ok(accepted_response(accepted)),
            Ok(Err(refused)) => Err(Refused::Intake(refused)),
            Err(_elapsed) => Err(Refused::Unknown),
        }
    }
}

fn accepted_response(accepted: Accepted) -> Response {
    let body = format!("{{\"alerts\":{}}}\n", accepted.alerts);
    (StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Why a webhook is not accepted.
enum Refused {
    Denied(Denied),
    Encoded,
    Body(BodyRefused),
    Payload(payload::PayloadError),
    Intake(IntakeRefused),
    /// It took too long: whether the alerts are durable is not known, and to send them again is
    /// harmless.
    Unknown,
}

impl Refused {
    fn outcome(&self) -> WebhookOutcome {
        match self {
            Self::Denied(Denied::Unreadable(_)) => WebhookOutcome::Unavailable,
            Self::Denied(Denied::Unknown { .. } | Denied::FromABrowser | Denied::Role { .. }) => {
                WebhookOutcome::Unauthorized
            }
            Self::Body(BodyRefused::TooLarge { .. })
            | Self::Intake(IntakeRefused::TooLarge { .. }) => WebhookOutcome::TooLarge,
            Self::Body(BodyRefused::TooManyAtOnce) | Self::Intake(IntakeRefused::Full { .. }) => {
                WebhookOutcome::Shed
            }
            Self::Body(BodyRefused::TooSlow | BodyRefused::Broken) => WebhookOutcome::Broken,
            Self::Encoded | Self::Payload(_) => WebhookOutcome::Invalid,
            Self::Intake(IntakeRefused::Unavailable { .. }) | Self::Unknown => {
                WebhookOutcome::Unavailable
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let invalid = |status, title| Self::new(status, "invalid-webhook", title);
        match refused {
            Refused::Denied(denied) => denied.into(),
            Refused::Encoded => invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Compressed body")
                .detail("the body must not be compressed"),
            Refused::Body(BodyRefused::TooLarge { limit }) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large")
                    .detail(format!("a webhook may have at most {limit} bytes"))
                    .hint(
                        "set `max_alerts` in Alertmanager's `webhook_config`, group by more \
                         labels, or raise `limits.bodyBytes`",
                    )
            }
            Refused::Body(BodyRefused::TooManyAtOnce) => {
                Self::unavailable("overloaded", "Overloaded", RETRY_AFTER_SECONDS)
                    .detail("too many large webhooks arrive at once")
            }
            Refused::Body(BodyRefused::TooSlow) => {
                Self::unavailable("slow-body", "Body too slow", RETRY_AFTER_SECONDS).detail(
                    format!("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs()),
                )
            }
            Refused::Body(BodyRefused::Broken) => {
                invalid(StatusCode::BAD_REQUEST, "Body broken off")
                    .detail("the connection ended before the body was complete")
            }
            Refused::Payload(error) => {
                let problem = invalid(StatusCode::BAD_REQUEST, "Invalid webhook")
                    .pointer(error.pointer)
                    .detail(error.message);
                match error.hint {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
            }
            Refused::Intake(error @ IntakeRefused::TooLarge { index, .. }) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "alert-too-large", "Alert too large")
                    .pointer(format!("/alerts/{index}"))
                    .detail(error.to_string())
                    .hint("shorten its labels and annotations")
            }
            Refused::Intake(error @ IntakeRefused::Full { retry_after }) => {
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                Self::unavailable("overloaded", "Overloaded", seconds).detail(error.to_string())
            }
            Refused::Intake(error @ IntakeRefused::Unavailable { .. }) => {
                Self::unavailable("journal-unavailable", "Journal unavailable", RETRY_AFTER_SECONDS)
                    .detail(error.to_string())
            }
            Refused::Unknown => {
                Self::unavailable("journal-unavailable", "Journal slow", RETRY_AFTER_SECONDS)
                    .detail("the alerts were not recorded in time; to send them again is harmless")
            }
        }
    }
}

async fn receive(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match webhook.receive(&parts, body).await {
        Ok(response) => {
            webhook.metrics.webhook(WebhookOutcome::Accepted);
            response
        }
        Err(refused) => {
            let outcome = refused.outcome();
            webhook.metrics.webhook(outcome);
            let problem = Problem::from(refused);
            tracing::debug!(
                outcome = outcome.as_str(),
                detail = problem.detail,
                pointer = problem.pointer,
                "webhook refused"
            );
            problem.into_response()
        }
    }
}

/// The webhook's routes.
pub(super) fn routes() -> Vec<Route> {
    let route = |path| -> Route {
        let handler: MethodRouter<Site> = post(receive);
        Route { method: Method::POST, path, access: Access::Webhook, handler }
    };
    PATHS.into_iter().map(route).collect()
}
