//! Answers, before they become HTTP.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::error::ApiError;

/// An answer.
pub(super) enum Answer {
    Json { code: u16, body: Value, warnings: Vec<String> },
    Text { code: u16, body: String, retry_after: Option<u32> },
    Stream(Body),
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self::Json { code: 200, body, warnings: Vec::new() }
    }

    pub(super) fn text(code: u16, body: impl Into<String>) -> Self {
        Self::Text { code, body: body.into(), retry_after: None }
    }

    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Json { code, .. } | Self::Text { code, .. } => *code,
            Self::Stream(_) => 200,
        }
    }

    pub(super) fn into_response(self) -> Response {
        match self {
            Self::Json { code, body, warnings } => {
                let retry = body.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
                let mut response = respond(code, "application/json", Body::from(body.to_string()));
                for warning in warnings {
                    let text = format!("299 - \"{}\"", warning.replace('"', "\\\""));
                    if let Ok(value) = HeaderValue::from_str(&text) {
                        response.headers_mut().append(header::WARNING, value);
                    }
                }
                with_retry(response, retry)
            }
            Self::Text { code, body, retry_after } => {
                let response = respond(code, "text/plain; charset=utf-8", Body::from(body));
                with_retry(response, retry_after.map(u64::from))
            }
            Self::Stream(body) => respond(200, "application/json", body),
        }
    }
}

fn respond(code: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn with_retry(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Self::Json { code: error.code, body: error.to_status(), warnings: Vec::new() }
    }
}
