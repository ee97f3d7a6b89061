//! The two identities that Orderly has in a cluster, and how it calls.
//!
//! Reading and writing are separate clients (invariant 8): a [`ReadConnection`] has no way to send
//! anything but GET and its own access review. Neither client repeats a request by itself: the
//! client library's retry covers every verb for minutes and is switched off. Reads are repeated
//! here, a few times; writes never, since their outcome must be looked at first.
//!
//! Every call has a deadline, every answer a size, every list a length (invariant 9).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use jiff::SignedDuration;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{json, path};
use crate::clock::SharedClock;

/// One read: a healthy API server answers in milliseconds; a list of 500 pods takes a second.
pub const READ_LIMIT: Duration = Duration::from_secs(10);
/// One write: beyond the API server's own 34 seconds for a mutating request, so that its own 504
/// arrives rather than ours being guessed.
pub const WRITE_LIMIT: Duration = Duration::from_secs(40);
/// The largest answer: 500 large pods are about 10 MiB.
pub const BODY_LIMIT: usize = 32 * 1024 * 1024;
/// The largest error answer that is kept.
const ERROR_LIMIT: usize = 64 * 1024;
/// Objects on one page: kubectl's own number.
const PAGE: &str = "500";
/// Pages of one list: 5,000 objects of one kind behind one workload are beyond any real one.
const PAGES: usize = 10;
/// Requests under way at one time on one identity: the client-side budget. Leaves most of an API
/// server's share to others while 20 incidents are diagnosed at once.
const IN_FLIGHT: usize = 16;
/// How often a read is sent at most: a leader change in etcd takes a second or two.
const READ_TRIES: u32 = 3;
/// The first pause between two tries of a read; doubled each time.
const READ_PAUSE: SignedDuration = SignedDuration::from_millis(200);
/// The longest `Retry-After` that a read waits for; longer ones are reported.
const RETRY_AFTER_LIMIT: u64 = 2;

/// What Orderly calls itself; the API server's audit log shows it.
pub const USER_AGENT: &str = concat!("orderly/", env!("CARGO_PKG_VERSION"));

/// Which identity to use. The default is what kubectl would use here, else the pod's own.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// A kubeconfig file instead of the usual one.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it instead of the current one.
    pub context: Option<String>,
    /// A file with a bearer token instead of the kubeconfig's credentials; re-read as it changes.
    pub token_file: Option<PathBuf>,
    /// An API server's address, without any kubeconfig.
    pub server: Option<String>,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No kubeconfig and not in a pod, or unreadable.
    #[error(
        "cannot find out how to reach Kubernetes: {0}: set KUBECONFIG, or run in a pod with a service account"
    )]
    Configuration(String),
    /// The client could not be built.
    #[error("cannot build a Kubernetes client: {0}: check the certificates of the kubeconfig")]
    Client(String),
}

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The HTTP code.
    pub code: u16,
    /// Kubernetes' reason, such as `Conflict`; empty when the answer was not a Status.
    pub reason: String,
    /// Kubernetes' message, or the beginning of the body.
    pub message: String,
    /// Seconds to wait, when the server said.
    pub retry_after: Option<u64>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Why a call brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No whole answer in time.
    #[error("`{path}`: no answer within {}s: is the API server overloaded?", .limit.as_secs())]
    Timeout {
        /// The path.
        path: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection failed, before or after the request was sent.
    #[error("`{path}`: connection failed: {why}: check the address and the certificates")]
    Connection {
        /// The path.
        path: String,
        /// What the client library says.
        why: String,
    },
    /// The server said no.
    #[error("`{path}`: {rejection}")]
    Rejected {
        /// The path.
        path: String,
        /// What it said.
        rejection: Rejection,
    },
    /// A success whose body cannot be used.
    #[error("`{path}`: the answer cannot be used: {why}")]
    Unreadable {
        /// The path.
        path: String,
        /// Why not.
        why: String,
    },
}

impl CallError {
    /// The HTTP code, when there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Rejected { rejection, .. } => Some(rejection.code),
            Self::Timeout { .. } | Self::Connection { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// True when the object (or its whole kind) is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// How long to wait before a read is tried again; nothing when trying again is of no use.
    fn pause(&self, attempt: u32) -> Option<SignedDuration> {
        let own = READ_PAUSE.saturating_mul(2_i32.saturating_pow(attempt));
        match self {
            Self::Connection { .. } => Some(own),
            Self::Rejected { rejection, .. } if matches!(rejection.code, 429 | 503 | 504) => {
                let asked = rejection.retry_after.unwrap_or(0);
                let asked_for = SignedDuration::from_secs(i64::try_from(asked).unwrap_or(i64::MAX));
                (asked <= RETRY_AFTER_LIMIT).then(|| own.max(asked_for))
            }
            Self::Rejected { .. } | Self::Timeout { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// One client with its budget.
#[derive(Clone)]
struct Transport {
    client: kube::Client,
    budget: Arc<Semaphore>,
}

impl Transport {
    async fn connect(identity: &Identity) -> Result<Self, ConnectError> {
        let mut config = configuration(identity).await?;
        config.default_retry = false;
        let agent = http::HeaderValue::from_static(USER_AGENT);
        config.headers.push((http::header::USER_AGENT, agent));
        if let Some(file) = &identity.token_file {
            config.auth_info = kube::config::AuthInfo {
                token_file: Some(file.to_string_lossy().into_owned()),
                ..kube::config::AuthInfo::default()
            };
        }
        let client = kube::Client::try_from(config);
        let client = client.map_err(|error| ConnectError::Client(chain(&error)))?;
        Ok(Self { client, budget: Arc::new(Semaphore::new(IN_FLIGHT)) })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content: Option<(&str, Vec<u8>)>,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let (kind, body) = content.unwrap_or(("application/json", Vec::new()));
        let shown = shown(path);
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, kind);
        }
        let request = request.body(Body::from(body)).map_err(|error| CallError::Unreadable {
            path: shown.clone(),
            why: error.to_string(),
        })?;
        let answer = tokio::time::timeout(limit, self.exchange(request, &shown)).await;
        answer.unwrap_or(Err(CallError::Timeout { path: shown, limit }))
    }

    async fn exchange(&self, request: Request<Body>, path: &str) -> Result<Vec<u8>, CallError> {
        let broken = |why: String| CallError::Connection { path: path.to_owned(), why };
        // The semaphore is never closed.
        let _permit = self.budget.acquire().await.map_err(|error| broken(error.to_string()))?;
        let answer = self.client.send(request).await.map_err(|error| broken(chain(&error)))?;
        let status = answer.status();
        let retry_after = answer.headers().get(http::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let limit = if status.is_success() { BODY_LIMIT } else { ERROR_LIMIT };
        let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), limit).await;
        if status.is_success() {
            let body = body.map_err(|error| broken(chain(&error)))?;
            return Ok(body.to_vec());
        }
        let rejection = rejection(status, &body.unwrap_or_default(), retry_after);
        Err(CallError::Rejected { path: path.to_owned(), rejection })
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        content: Option<(&str, Vec<u8>)>,
        limit: Duration,
    ) -> Result<Value, CallError> {
        let body = self.call(method, path, content, limit).await?;
        serde_json::from_slice(&body).map_err(|error| CallError::Unreadable {
            path: shown(path),
            why: format!("not JSON: {error}"),
        })
    }
}

/// The connection that can only read.
#[derive(Clone)]
pub struct ReadConnection {
    transport: Transport,
    clock: SharedClock,
}

impl fmt::Debug for ReadConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadConnection")
    }
}

impl ReadConnection {
    /// Makes a client with the reading identity; sends nothing yet.
    pub async fn connect(identity: &Identity, clock: SharedClock) -> Result<Self, ConnectError> {
        Ok(Self { transport: Transport::connect(identity).await?, clock })
    }

    /// The clock that pauses are measured with.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// GETs one JSON document.
    pub async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.patiently(|| self.transport.json(Method::GET, path, None, READ_LIMIT)).await
    }

    /// GETs a text, such as a log. Bytes that are not UTF-8 are replaced.
    pub async fn get_text(&self, path: &str) -> Result<String, CallError> {
        let body = self.patiently(|| self.transport.call(Method::GET, path, None, READ_LIMIT));
        Ok(String::from_utf8_lossy(&body.await?).into_owned())
    }

    /// GETs every page of a list. A list that does not end within the limit is an error: half a
    /// list would look like things that are not there.
    pub async fn list(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Value>, CallError> {
        let mut items = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = parameters.to_vec();
            query.push(("limit", PAGE));
            if !token.is_empty() {
                query.push(("continue", &token));
            }
            let mut page = self.get(&format!("{path}{}", path::query(&query))).await?;
            let next = json::owned(&page, &["metadata", "continue"]);
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(mut found)) => items.append(&mut found),
                Some(Value::Null) | None => {}
                Some(_) => {
                    let why = "`items` is not a list".to_owned();
                    return Err(CallError::Unreadable { path: path.to_owned(), why });
                }
            }
            if next.is_empty() {
                return Ok(items);
            }
            token = next;
        }
        let why = format!("more than {} objects", items.len());
        Err(CallError::Unreadable { path: path.to_owned(), why })
    }

    /// Asks what this identity may do (a POST that stores nothing).
    pub async fn review(&self, review: &Value) -> Result<Value, CallError> {
        self.transport.review(review).await
    }

    async fn patiently<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut attempt = 0;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(pause) = error.pause(attempt) else { return Err(error) };
            attempt += 1;
            if attempt >= READ_TRIES {
                return Err(error);
            }
            let deadline = self.clock.now().saturating_add(pause);
            self.clock.sleep_until(deadline.unwrap_or_else(|_| self.clock.now())).await;
        }
    }
}

impl Transport {
    async fn review(&self, review: &Value) -> Result<Value, CallError> {
        let path = path::cluster("authorization.k8s.io/v1", "selfsubjectaccessreviews", None);
        let content = Some(("application/json", review.to_string().into_bytes()));
        self.json(Method::POST, &path, content, READ_LIMIT).await
    }
}

/// The connection that can write; reads only what it needs to look at before and after. Sends
/// nothing twice.
#[derive(Clone)]
pub struct WriteConnection {
    transport: Transport,
    clock: SharedClock,
}

impl fmt::Debug for WriteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteConnection")
    }
}

impl WriteConnection {
    /// Makes a client with the writing identity; sends nothing yet.
    pub async fn connect(identity: &Identity, clock: SharedClock) -> Result<Self, ConnectError> {
        Ok(Self { transport: Transport::connect(identity).await?, clock })
    }

    /// The clock that events are stamped with.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// GETs one JSON document, once.
    pub async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.transport.json(Method::GET, path, None, READ_LIMIT).await
    }

    /// Sends a change, once.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, CallError> {
        let content = Some((content_type, body.to_string().into_bytes()));
        self.transport.json(method, path, content, WRITE_LIMIT).await
    }

    /// Asks what this identity may do (a POST that stores nothing).
    pub async fn review(&self, review: &Value) -> Result<Value, CallError> {
        self.transport.review(review).await
    }
}

async fn configuration(identity: &Identity) -> Result<kube::Config, ConnectError> {
    let wrong = |error: &dyn std::error::Error| ConnectError::Configuration(chain(error));
    if let Some(server) = &identity.server {
        let address = server.parse().map_err(|error: http::uri::InvalidUri| wrong(&error))?;
        return Ok(kube::Config::new(address));
    }
    let options =
        KubeConfigOptions { context: identity.context.clone(), ..KubeConfigOptions::default() };
    if let Some(file) = &identity.kubeconfig {
        let file = Kubeconfig::read_from(file).map_err(|error| wrong(&error))?;
        let config = kube::Config::from_custom_kubeconfig(file, &options).await;
        return config.map_err(|error| wrong(&error));
    }
    if identity.context.is_some() {
        let config = kube::Config::from_kubeconfig(&options).await;
        return config.map_err(|error| wrong(&error));
    }
    kube::Config::infer().await.map_err(|error| wrong(&error))
}

/// The path without its query: enough to know what was asked.
fn shown(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn rejection(status: StatusCode, body: &[u8], retry_after: Option<u64>) -> Rejection {
    let code = status.as_u16();
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    match parsed.filter(|status| json::text(status, &["kind"]) == Some("Status")) {
        Some(status) => Rejection {
            code,
            reason: json::owned(&status, &["reason"]),
            message: json::owned(&status, &["message"]),
            retry_after: retry_after.or_else(|| {
                let seconds = json::number(&status, &["details", "retryAfterSeconds"])?;
                u64::try_from(seconds).ok()
            }),
        },
        // API Priority & Fairness and proxies answer in plain text.
        None => {
            let text = String::from_utf8_lossy(body);
            let message = text.trim().chars().take(200).collect();
            Rejection { code, reason: String::new(), message, retry_after }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_read_from_a_status_and_from_plain_text() {
        let status = br#"{"kind":"Status","reason":"Conflict","message":"the object has been modified","code":409}"#;
        let told = rejection(StatusCode::CONFLICT, status, None);
        assert_eq!(told.to_string(), "409 Conflict: the object has been modified");
        let fairness = rejection(StatusCode::TOO_MANY_REQUESTS, b"Too many requests\n", Some(3));
        assert_eq!(fairness.to_string(), "429: Too many requests");
        assert_eq!(fairness.retry_after, Some(3));
    }

    #[test]
    fn only_passing_trouble_is_tried_again_and_no_long_wait_is_obeyed() {
        let rejected = |code, retry_after| CallError::Rejected {
            path: "/x".to_owned(),
            rejection: Rejection {
                code,
                reason: String::new(),
                message: String::new(),
                retry_after,
            },
        };
        assert_eq!(rejected(503, Some(1)).pause(0), Some(SignedDuration::from_secs(1)));
        assert_eq!(rejected(429, None).pause(1), Some(SignedDuration::from_millis(400)));
        assert_eq!(rejected(429, Some(30)).pause(0), None);
        assert_eq!(rejected(403, None).pause(0), None);
    }
}
