//! Slack's Web API. Every answer is HTTP 200 with `ok` and `error` inside; a full bucket is 429 with
//! `Retry-After`. Nothing is tried again here: whoever asks knows whether it still matters.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::outbound::{Answer, Endpoint, OutboundError, Service};

/// One call: Slack answers in a second, or not at all.
const LIMIT: Duration = Duration::from_secs(10);
/// An answer: the members of the largest user group fit ten times.
const BODY_LIMIT: usize = 1024 * 1024;
/// When Slack asks for a pause and does not say for how long.
const PAUSE: u64 = 30;
/// Slack's word for what a token may do.
const SCOPES: &str = "x-oauth-scopes";

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlackError {
    /// Too much was asked; ask again after so many seconds.
    #[error("Slack asks for a pause of {seconds} s")]
    Limited {
        /// How many.
        seconds: u64,
    },
    /// Slack says no, in its own word.
    #[error("Slack refuses `{method}`: {code}")]
    Refused {
        /// The method.
        method: String,
        /// Slack's word, such as `not_in_channel`.
        code: String,
    },
    /// It was not reached, or does not answer as Slack does.
    #[error("Slack is not reached: {0}")]
    Unreachable(String),
}

impl SlackError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn passing(&self) -> bool {
        match self {
            Self::Limited { .. } | Self::Unreachable(_) => true,
            Self::Refused { code, .. } => {
                let own = ["internal_error", "fatal_error", "service_unavailable"];
                own.contains(&code.as_str()) || code == "request_timeout" || code == "ratelimited"
            }
        }
    }

    /// Slack's word, when it said no.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Limited { .. } | Self::Unreachable(_) => None,
        }
    }
}

/// Who a token is, as `auth.test` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The bot's user id.
    pub user: String,
    /// The workspace's id.
    pub team: String,
    /// The workspace's name.
    pub workspace: String,
    /// What the token may do.
    pub scopes: Vec<String>,
}

/// A message that stands in a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The channel's id.
    pub channel: String,
    /// Slack's name of the message in it.
    pub ts: String,
}

/// The API under one token.
#[derive(Clone, Debug)]
pub struct Api {
    endpoint: Endpoint,
}

impl Api {
    /// Sends nothing yet. The token is read from its file at every call.
    pub fn new(service: &Service) -> Result<Self, OutboundError> {
        Ok(Self { endpoint: Endpoint::new(service)? })
    }

    /// A method that takes JSON.
    pub async fn post(&self, method: &str, body: &Value) -> Result<Value, SlackError> {
        let url = self.endpoint.at(&format!("/{method}"));
        let request = self.endpoint.post(url).json(body);
        let answer = self.endpoint.send(request, LIMIT, BODY_LIMIT).await;
        read(method, answer).map(|(value, _)| value)
    }

    /// A method that only looks.
    pub async fn get(&self, method: &str, query: &[(&str, &str)]) -> Result<Value, SlackError> {
        self.look(method, query).await.map(|(value, _)| value)
    }

    async fn look(
        &self,
        method: &str,
        query: &[(&str, &str)],
    ) -> Result<(Value, Answer), SlackError> {
        let url = self.endpoint.at(&format!("/{method}"));
        let request = self.endpoint.get(url).query(query);
        read(method, self.endpoint.send(request, LIMIT, BODY_LIMIT).await)
    }

    /// Who the token is.
    pub async fn account(&self) -> Result<Account, SlackError> {
        let (value, answer) = self.look("auth.test", &[]).await?;
        let scopes = answer.headers.get(SCOPES).and_then(|it| it.to_str().ok()).unwrap_or("");
        let scopes = scopes.split(',').map(|scope| scope.trim().to_owned());
        Ok(Account {
            user: text(&value, "user_id"),
            team: text(&value, "team_id"),
            workspace: text(&value, "team"),
            scopes: scopes.filter(|scope| !scope.is_empty()).collect(),
        })
    }

    /// Posts a message.
    pub async fn say(&self, body: &Value) -> Result<Place, SlackError> {
        let answer = self.post("chat.postMessage", body).await?;
        let place = Place { channel: text(&answer, "channel"), ts: text(&answer, "ts") };
        if place.channel.is_empty() || place.ts.is_empty() {
            return Err(SlackError::Unreachable("it did not say where the message is".to_owned()));
        }
        Ok(place)
    }

    /// The members of a user group.
    pub async fn members(&self, group: &str) -> Result<Vec<String>, SlackError> {
        let answer = self.get("usergroups.users.list", &[("usergroup", group)]).await?;
        let users = answer["users"].as_array().cloned().unwrap_or_default();
        Ok(users.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The one-time address of a Socket Mode connection: a secret.
    pub async fn connection(&self) -> Result<String, SlackError> {
        let answer = self.post("apps.connections.open", &Value::Object(Default::default())).await?;
        let url = text(&answer, "url");
        let web = url.starts_with("wss://") || url.starts_with("ws://127.0.0.1:");
        if web {
            Ok(url)
        } else {
            Err(SlackError::Unreachable("it gave no wss address".to_owned()))
        }
    }
}

fn read(method: &str, answer: Result<Answer, String>) -> Result<(Value, Answer), SlackError> {
    let answer = answer.map_err(SlackError::Unreachable)?;
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Err(SlackError::Limited { seconds: answer.retry_after.unwrap_or(PAUSE) });
    }
    let strange = || SlackError::Unreachable(format!("HTTP {}", answer.status.as_u16()));
    if !answer.status.is_success() {
        return Err(strange());
    }
    let value: Value = serde_json::from_slice(&answer.body).map_err(|_| strange())?;
    match value["ok"].as_bool() {
        Some(true) => Ok((value, answer)),
        Some(false) if value["error"] == "ratelimited" => {
            Err(SlackError::Limited { seconds: answer.retry_after.unwrap_or(PAUSE) })
        }
        Some(false) => {
            // Slack's words are of a fixed alphabet; whatever else it is must not reach a log whole.
            let code = value["error"].as_str().unwrap_or("no reason given");
            let code: String = code.chars().filter(|c| !c.is_control()).take(80).collect();
            Err(SlackError::Refused { method: method.to_owned(), code })
        }
        None => Err(strange()),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
