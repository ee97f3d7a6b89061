//! Slack's deliveries over HTTP: believed when Slack signed them, within five minutes, and once; taken
//! over and answered 200 only when what was clicked cannot be lost any more.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::request::Parts;
use http::{Method, StatusCode};

use super::body::{BodyRefused, Buffer};
use super::problem::Problem;
use super::routes::{Access, Route};
use crate::clock::SharedClock;
use crate::secret::SecretFile;
use crate::slack::incoming::{self, Incoming, Unreadable};
use crate::slack::listener::{Listener, Reply};
use crate::slack::signature::{self, Forged, Replays};

/// Buttons and dialogues.
pub const INTERACTIONS: &str = "/slack/interactions";
/// `/orderly`.
pub const COMMANDS: &str = "/slack/commands";
/// A delivery holds the whole message it is about: a tenth of this.
const LARGEST: usize = 1024 * 1024;
/// All that may be in memory at once.
const ALL: usize = 16 * LARGEST;
/// Slack gives up after three seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// Whoever presses again does so after a moment.
const RETRY_AFTER_SECONDS: u64 = 2;

/// Where Slack delivers.
pub struct SlackDoor {
    secret: SecretFile,
    replays: Replays,
    buffer: Arc<Buffer>,
    listener: Arc<dyn Listener>,
    clock: SharedClock,
}

impl SlackDoor {
    /// What is signed with this secret goes to `listener`.
    pub fn new(secret: SecretFile, listener: Arc<dyn Listener>, clock: SharedClock) -> Self {
        let buffer = Buffer::new(LARGEST, ALL, PATIENCE);
        Self { secret, replays: Replays::default(), buffer, listener, clock }
    }

    async fn receive(
        &self,
        parts: &Parts,
        body: Body,
        read: fn(&[u8]) -> Result<Incoming, Unreadable>,
    ) -> Result<Response, Refused> {
        let body = self.buffer.read(&parts.headers, body).await.map_err(Refused::Body)?;
        let now = self.clock.now();
        let secret = self.secret.current(now).map_err(|_| Refused::Secret)?;
        let text = |name| parts.headers.get(name).and_then(|it| it.to_str().ok());
        let signature = text(signature::SIGNATURE);
        signature::verify(&secret, text(signature::TIMESTAMP), signature, body.as_ref(), now)
            .map_err(Refused::Forged)?;
        let incoming = read(body.as_ref()).map_err(Refused::Delivery)?;
        self.replays.note(signature.unwrap_or_default(), now).map_err(Refused::Forged)?;
        match self.listener.hear(incoming).await {
            Some(Reply::Heard) => Ok(StatusCode::OK.into_response()),
            Some(Reply::Answer(answer)) => Ok(Json(answer).into_response()),
            None => Err(Refused::NotTaken),
        }
    }
}

/// Why a delivery is not taken.
enum Refused {
    NotConfigured,
    Body(BodyRefused),
    Secret,
    Forged(Forged),
    Delivery(Unreadable),
    /// It could not be made durable.
    NotTaken,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Body(BodyRefused::TooLarge { limit }) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large")
                    .detail(format!("a delivery of Slack has at most {limit} bytes"))
            }
            Refused::Body(BodyRefused::TooManyAtOnce | BodyRefused::TooSlow) => {
                Self::unavailable("overloaded", "Overloaded", RETRY_AFTER_SECONDS)
            }
            Refused::Body(BodyRefused::Broken) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid-delivery", "Body broken off")
            }
            Refused::Secret => Self::unavailable(
                "authentication-unavailable",
                "Authentication unavailable",
                RETRY_AFTER_SECONDS,
            )
            .detail("the signing secret cannot be read; the service's log says why"),
            Refused::Forged(why) => {
                Self::new(StatusCode::UNAUTHORIZED, "not-from-slack", "Not believed")
                    .detail(why.to_string())
            }
            Refused::Delivery(error) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid-delivery", "Invalid delivery")
                    .detail(error.to_string())
            }
            Refused::NotTaken => {
                Self::unavailable("journal-unavailable", "Not recorded", RETRY_AFTER_SECONDS)
                    .detail("what was clicked could not be recorded, so it does not count")
            }
            Refused::NotConfigured => {
                Self::new(StatusCode::NOT_FOUND, "no-such-route", "Not configured")
                    .detail("no signing secret of Slack is configured")
                    .hint("set `slack.signingSecretFile`, or use Socket Mode")
            }
        }
    }
}

async fn take(
    door: Option<Arc<SlackDoor>>,
    request: Request,
    read: fn(&[u8]) -> Result<Incoming, Unreadable>,
) -> Response {
    let (parts, body) = request.into_parts();
    let taken = match &door {
        Some(door) => door.receive(&parts, body, read).await,
        None => Err(Refused::NotConfigured),
    };
    taken.unwrap_or_else(|refused| {
        let problem = Problem::from(refused);
        tracing::warn!(detail = problem.detail, "a delivery that says it is Slack's was refused");
        problem.into_response()
    })
}

async fn interactions(State(door): State<Option<Arc<SlackDoor>>>, request: Request) -> Response {
    take(door, request, incoming::interaction_form).await
}

async fn commands(State(door): State<Option<Arc<SlackDoor>>>, request: Request) -> Response {
    take(door, request, incoming::command_form).await
}

/// Slack's routes.
pub(super) fn routes() -> Vec<Route> {
    let route =
        |path, handler| Route { method: Method::POST, path, access: Access::Slack, handler };
    vec![route(INTERACTIONS, post(interactions)), route(COMMANDS, post(commands))]
}
