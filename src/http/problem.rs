//! What goes wrong, as RFC 9457 problem details: the same type is written here and read by the
//! command line's client.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// RFC 9457, section 3.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Where the kinds of problems are described.
const TYPES: &str = "https://orderly.dev/problems/";

/// A refusal with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem; it does not change.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// The kind in a few words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Which field of the body is wrong (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What else belongs to this kind of problem, such as the new plan.
    #[serde(flatten)]
    pub more: Map<String, Value>,
    /// Headers that go with it.
    #[serde(skip)]
    pub headers: HeaderMap,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl Problem {
    /// A problem of the kind `slug`.
    pub fn new(status: StatusCode, slug: &str, title: &str) -> Self {
        Self {
            kind: format!("{TYPES}{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: String::new(),
            pointer: None,
            hint: None,
            more: Map::new(),
            headers: HeaderMap::new(),
        }
    }

    /// Whether it is of the kind `slug`.
    pub fn is(&self, slug: &str) -> bool {
        self.kind.strip_prefix(TYPES) == Some(slug)
    }

    /// With what happened.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into().into_owned();
        self
    }

    /// With the field that is wrong.
    #[must_use]
    pub fn pointer(mut self, pointer: String) -> Self {
        self.pointer = Some(pointer);
        self
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into().into_owned());
        self
    }

    /// With another member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// 503: come again. Alertmanager does so within seconds.
    pub fn unavailable(slug: &str, title: &str, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, slug, title)
            .header(RETRY_AFTER, HeaderValue::from(retry_after_seconds.max(1)))
    }

    /// 401 with the ways to do better.
    pub fn unauthorized(challenges: &[HeaderValue]) -> Self {
        let mut problem =
            Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication required");
        for challenge in challenges {
            problem = problem.header(WWW_AUTHENTICATE, challenge.clone());
        }
        problem
    }

    /// 500 for what is our own fault; the log has the rest.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error")
            .detail("this request failed inside the service; its log says why")
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = std::mem::take(&mut self.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, headers, body).into_response()
    }
}
