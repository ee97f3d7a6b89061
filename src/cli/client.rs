//! The command line's side of the API: sends what a person decided, and says in words what came
//! back. Knows nothing of how things are shown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{Clock as _, SystemClock};
use crate::config::Endpoint;
use crate::domain::id::IncidentId;
use crate::http::api::{
    AbortRequest, ApproveRequest, AuditEntry, AuditFilter, Decided, IncidentDetail, IncidentFilter,
    IncidentList, KillSwitch, KillSwitchRequest, RefuseRequest, ResetRequest, SnoozeRequest,
};
use crate::http::problem::Problem;
use crate::http::status::Status;
use crate::secret::{SecretError, SecretFile};

/// Where a service listens when nobody says otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
/// Longer than the service's own limit for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// An answer that is not a stream is never larger.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// One entry of the journal is never longer.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Which service, and as whom.
#[derive(Args, Clone, Debug)]
pub struct ServerFlags {
    /// The service
    #[arg(long, value_name = "URL", env = "ORDERLY_SERVER", default_value = DEFAULT_SERVER)]
    pub server: Endpoint,
    /// A file with your token
    #[arg(long, value_name = "FILE", env = "ORDERLY_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with the certificate authority of the service's certificate
    #[arg(long, value_name = "FILE", env = "ORDERLY_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What keeps a command from being done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] SecretError),
    /// The client cannot be built.
    #[error("cannot connect to `{server}`: {why}")]
    Setup {
        /// Where to.
        server: Url,
        /// Why not.
        why: String,
    },
    /// Nobody answered.
    #[error(
        "no answer from `{server}`: {why}; is `orderly serve` running there? Name another \
        address with `--server` or `ORDERLY_SERVER`"
    )]
    Unreachable {
        /// Where.
        server: Url,
        /// Why not.
        why: String,
    },
    /// Somebody answered who is not Orderly.
    #[error("`{server}` answered {status}, but not as Orderly does; check `--server`")]
    NotOrderly {
        /// Where.
        server: Url,
        /// With what.
        status: u16,
    },
    /// The service said no.
    #[error("{}", refusal(.0))]
    Refused(Box<Problem>),
    /// The stream of entries broke off.
    #[error("the answer of `{server}` broke off: {why}; what was printed is not all")]
    BrokenOff {
        /// Where.
        server: Url,
        /// Why.
        why: String,
    },
}

/// A refusal in words.
fn refusal(problem: &Problem) -> String {
    let detail = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    let hint = match (problem.status, &problem.hint) {
        (401, None) => "; give your token with `--token-file` or `ORDERLY_TOKEN_FILE`",
        (_, Some(hint)) => return format!("{detail}; {hint}"),
        (_, None) => "",
    };
    format!("{detail}{hint}")
}

/// A running service.
#[derive(Debug)]
pub struct Client {
    server: Url,
    token: Option<SecretString>,
    http: reqwest::Client,
}

impl Client {
    /// As the flags say. Sends nothing yet.
    pub fn new(flags: &ServerFlags) -> Result<Self, ClientError> {
        let server = flags.server.url().clone();
        let token = flags.token_file.as_deref().map(token).transpose()?;
        let http = crate::outbound::client(&server, flags.ca_file.as_deref()).map_err(|error| {
            ClientError::Setup { server: server.clone(), why: error.to_string() }
        })?;
        Ok(Self { server, token, http })
    }

    /// Incidents, the newest first.
    pub async fn incidents(&self, filter: &IncidentFilter) -> Result<IncidentList, ClientError> {
        self.ask(self.request(Method::GET, &["incidents"]).query(filter)).await
    }

    /// One incident.
    pub async fn incident(&self, id: &IncidentId) -> Result<IncidentDetail, ClientError> {
        self.ask(self.request(Method::GET, &["incidents", id.as_str()])).await
    }

    /// Agrees with a plan.
    pub async fn approve(
        &self,
        id: &IncidentId,
        request: &ApproveRequest,
    ) -> Result<Decided, ClientError> {
        self.post(&["incidents", id.as_str(), "approve"], request).await
    }

    /// Says no.
    pub async fn refuse(
        &self,
        id: &IncidentId,
        request: &RefuseRequest,
    ) -> Result<Decided, ClientError> {
        self.post(&["incidents", id.as_str(), "refuse"], request).await
    }

    /// Puts a question off.
    pub async fn snooze(
        &self,
        id: &IncidentId,
        request: &SnoozeRequest,
    ) -> Result<Decided, ClientError> {
        self.post(&["incidents", id.as_str(), "snooze"], request).await
    }

    /// Stops an incident.
    pub async fn abort(
        &self,
        id: &IncidentId,
        request: &AbortRequest,
    ) -> Result<Decided, ClientError> {
        self.post(&["incidents", id.as_str(), "abort"], request).await
    }

    /// Whether the kill switch is on.
    pub async fn kill_switch(&self) -> Result<KillSwitch, ClientError> {
        self.ask(self.request(Method::GET, &["kill-switch"])).await
    }

    /// Turns the kill switch.
    pub async fn set_kill_switch(
        &self,
        request: &KillSwitchRequest,
    ) -> Result<KillSwitch, ClientError> {
        self.post(&["kill-switch"], request).await
    }

    /// Trusts a policy again.
    pub async fn reset_breaker(
        &self,
        policy: &str,
        request: &ResetRequest,
    ) -> Result<(), ClientError> {
        self.post(&["policies", policy, "breaker", "reset"], request).await
    }

    /// How the service stands.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(self.request(Method::GET, &["status"])).await
    }

    /// The journal's entries that fit, each handed to `each` as it comes; an error of `each` ends
    /// it.
    pub async fn audit<E: From<ClientError>>(
        &self,
        filter: &AuditFilter,
        mut each: impl FnMut(AuditEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let request = self.request(Method::GET, &["audit"]).query(filter);
        let mut response = self.send(request).await?;
        let broken = |why: String| ClientError::BrokenOff { server: self.server.clone(), why };
        let mut rest = Vec::new();
        loop {
            let chunk = tokio::time::timeout(ANSWER_TIMEOUT, response.chunk()).await;
            let chunk = chunk
                .map_err(|_| broken("nothing came any more".to_owned()))?
                .map_err(|error| broken(error.without_url().to_string()))?;
            let Some(chunk) = chunk else { break };
            rest.extend_from_slice(&chunk);
            let mut begin = 0;
            while let Some(length) = rest[begin..].iter().position(|byte| *byte == b'\n') {
                each(entry(&rest[begin..begin + length], &broken)?)?;
                begin += length + 1;
            }
            rest.drain(..begin);
            if rest.len() > MAX_LINE_BYTES {
                return Err(broken("an entry is too long".to_owned()).into());
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(broken("in the middle of an entry".to_owned()).into())
        }
    }

    async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<T, ClientError> {
        self.ask(self.request(Method::POST, path).json(body)).await
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.server.clone();
        // An http(s) URL always has a path to add to.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let unreachable =
            |why: String| ClientError::Unreachable { server: self.server.clone(), why };
        let sending = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await;
        let response = sending
            .map_err(|_| unreachable(format!("nothing within {} s", ANSWER_TIMEOUT.as_secs())))?
            .map_err(|error| unreachable(innermost(&error.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.whole(response).await?;
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
            Err(_) => Err(self.not_orderly(status.as_u16())),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let body = self.whole(response).await?;
        serde_json::from_slice(&body).map_err(|_| self.not_orderly(status))
    }

    async fn whole(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let broken = |why: String| ClientError::BrokenOff { server: self.server.clone(), why };
        let mut body = Vec::new();
        loop {
            let chunk = tokio::time::timeout(ANSWER_TIMEOUT, response.chunk()).await;
            let chunk = chunk
                .map_err(|_| broken("nothing came any more".to_owned()))?
                .map_err(|error| broken(error.without_url().to_string()))?;
            let Some(chunk) = chunk else { return Ok(body) };
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(broken("it is too long".to_owned()));
            }
        }
    }

    fn not_orderly(&self, status: u16) -> ClientError {
        ClientError::NotOrderly { server: self.server.clone(), status }
    }
}

fn token(path: &Path) -> Result<SecretString, SecretError> {
    let now = SystemClock.now();
    SecretFile::open(path, now)?.current(now).map(|secret| secret.as_ref().clone())
}

/// A line of the journal, or the problem that ends it.
fn entry(line: &[u8], broken: &impl Fn(String) -> ClientError) -> Result<AuditEntry, ClientError> {
    #[derive(serde::Deserialize)]
    struct Last {
        problem: Problem,
    }
    serde_json::from_slice(line).map_err(|error| match serde_json::from_slice::<Last>(line) {
        Ok(last) => broken(refusal(&last.problem)),
        Err(_) => broken(error.to_string()),
    })
}

/// The innermost cause: `connection refused` rather than `error sending request`.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
