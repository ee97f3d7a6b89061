//! The two identities that Orderly has in a cluster, and how it calls.
//!
//! Reading and writing are separate clients (invariant 8): a [`ReadConnection`] has no way to send
//! anything but GET and its own access review. Neither client repeats a request by itself: the
//! client library's retry covers every verb for minutes and is switched off. Reads are repeated
//! here, a few times; writes never, since their outcome must be looked at first.
//!
//! Every call has a deadline, every answer a size, every list a length, every identity a budget
//! (invariant 9).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use jiff::Timestamp;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use super::budget::Budget;
pub use super::failure::{CallError, Rejection};
use super::failure::{chain, rejection};
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
/// How often a read is sent at most: a leader change in etcd takes a second or two.
const READ_TRIES: u32 = 3;

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

/// Hears of every request. Called when its answer is known: count, do not wait.
pub trait Observer: Send + Sync + 'static {
    /// A request of this verb was answered with this code; 0 when there was no answer.
    fn requested(&self, verb: &'static str, code: u16);
}

/// One client with its budget.
#[derive(Clone)]
struct Transport {
    client: kube::Client,
    budget: Arc<Budget>,
    observer: Option<Arc<dyn Observer>>,
}

impl Transport {
    async fn connect(identity: &Identity, clock: SharedClock) -> Result<Self, ConnectError> {
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
        Ok(Self { client, budget: Budget::new(clock), observer: None })
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
        let verb = verb(&method);
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, kind);
        }
        let request = request.body(Body::from(body)).map_err(|error| CallError::Unreadable {
            path: shown.clone(),
            why: error.to_string(),
        })?;
        let _permit = self.budget.enter(&shown).await?;
        let answer = tokio::time::timeout(limit, self.exchange(request, &shown)).await;
        let answer = answer.unwrap_or(Err(CallError::Timeout { path: shown, limit }));
        if let Err(error) = &answer {
            self.budget.heed(error);
        }
        if let Some(observer) = &self.observer {
            let code = answer.as_ref().map_or_else(|error| error.code().unwrap_or(0), |_| 200);
            observer.requested(verb, code);
        }
        answer
    }

    async fn exchange(&self, request: Request<Body>, path: &str) -> Result<Vec<u8>, CallError> {
        let broken = |why: String| CallError::Connection { path: path.to_owned(), why };
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
        Ok(Self { transport: Transport::connect(identity, clock.clone()).await?, clock })
    }

    /// Tells `observer` of every request.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.transport.observer = Some(observer);
        self
    }

    /// The clock that pauses are measured with.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The client itself, for the watches of [`super::follow`]: they stay open, so they do not count
    /// in the budget.
    pub(super) fn client(&self) -> kube::Client {
        self.transport.client.clone()
    }

    /// GETs one JSON document.
    pub async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.patiently(|| self.transport.json(Method::GET, path, None, READ_LIMIT)).await
    }

    /// The API server's clock, to the second, by the `Date` of an answer; nothing when it has none.
    pub async fn server_time(&self) -> Result<Option<Timestamp>, CallError> {
        self.transport.server_time().await
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
    async fn server_time(&self) -> Result<Option<Timestamp>, CallError> {
        let path = "/version".to_owned();
        let broken = |why: String| CallError::Connection { path: path.clone(), why };
        let request = Request::get(&path).body(Body::empty());
        let request = request.map_err(|error| broken(error.to_string()))?;
        let answer = tokio::time::timeout(READ_LIMIT, self.client.send(request)).await;
        let answer = answer
            .map_err(|_| CallError::Timeout { path: path.clone(), limit: READ_LIMIT })?
            .map_err(|error| broken(chain(&error)))?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        // HTTP writes dates as mail does.
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(date.map(|date| date.timestamp()))
    }

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
    limit: Duration,
}

impl fmt::Debug for WriteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteConnection")
    }
}

impl WriteConnection {
    /// Makes a client with the writing identity; sends nothing yet.
    pub async fn connect(identity: &Identity, clock: SharedClock) -> Result<Self, ConnectError> {
        Ok(Self {
            transport: Transport::connect(identity, clock.clone()).await?,
            clock,
            limit: WRITE_LIMIT,
        })
    }

    /// Waits at most so long for the answer to a change, instead of [`WRITE_LIMIT`].
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Tells `observer` of every request.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.transport.observer = Some(observer);
        self
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
        self.transport.json(method, path, content, self.limit).await
    }

    /// Asks what this identity may do (a POST that stores nothing).
    pub async fn review(&self, review: &Value) -> Result<Value, CallError> {
        self.transport.review(review).await
    }
}

/// The name of a method in metrics: a fixed set.
fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "POST" => "create",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
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
