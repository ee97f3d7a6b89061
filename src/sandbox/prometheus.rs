//! The Prometheus query API, with series that the scenario scripts.
//!
//! It evaluates no PromQL: an expression is recognised by its normalised text, and its value comes
//! from a provider that may look at the cluster. What nobody scripted is an empty vector, which is
//! also what a real server says about unknown metrics.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::cluster::View;
use super::request::{Request, query_of};

/// One sample of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The labels, without order.
    pub labels: Vec<(String, String)>,
    /// The value; may be NaN or infinite.
    pub value: f64,
}

/// What a query is answered with.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryAnswer {
    /// An instant vector.
    Vector(Vec<Sample>),
    /// A scalar.
    Scalar(f64),
    /// An instant vector that may be incomplete.
    Partial {
        /// The samples that there are.
        samples: Vec<Sample>,
        /// The warnings beside them.
        warnings: Vec<String>,
    },
    /// A refusal.
    Error {
        /// The HTTP code.
        code: u16,
        /// `bad_data`, `execution`, `timeout`, `unavailable`, …
        kind: String,
        /// What is wrong.
        message: String,
    },
    /// Something that is no Prometheus answer at all, as a proxy would send.
    PlainText {
        /// The HTTP code.
        code: u16,
        /// The body.
        body: String,
    },
}

impl QueryAnswer {
    /// A vector with one sample without labels: what an aggregation gives.
    pub fn value(value: f64) -> Self {
        Self::Vector(vec![Sample { labels: Vec::new(), value }])
    }

    /// No data.
    pub fn empty() -> Self {
        Self::Vector(Vec::new())
    }
}

/// Which expressions a provider answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryMatch {
    /// This expression; white space outside of quotes does not count.
    Exact(String),
    /// Every expression that contains all of these texts, white space removed.
    Contains(Vec<String>),
}

impl QueryMatch {
    fn matches(&self, normalised: &str) -> bool {
        match self {
            Self::Exact(expression) => normalise(expression) == normalised,
            Self::Contains(words) => words.iter().all(|word| normalised.contains(&normalise(word))),
        }
    }
}

/// Computes an answer from the cluster as it is. It runs under the cluster's lock and must not call
/// the sandbox.
pub type QueryProvider = Arc<dyn Fn(&View<'_>) -> QueryAnswer + Send + Sync>;

/// The scripted queries; the last one that matches answers.
#[derive(Default)]
pub(super) struct Prometheus {
    queries: Mutex<Vec<(QueryMatch, QueryProvider)>>,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

impl Prometheus {
    pub(super) fn set(&self, on: QueryMatch, provider: QueryProvider) {
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.retain(|(existing, _)| *existing != on);
        queries.push((on, provider));
    }

    /// Answers a path below `/prometheus`.
    pub(super) fn answer(&self, request: &Request, path: &str, view: &View<'_>) -> Answer {
        match path {
            "/-/ready" => Answer::text(200, "Prometheus Server is Ready.\n"),
            "/-/healthy" => Answer::text(200, "Prometheus Server is Healthy.\n"),
            "/api/v1/status/buildinfo" => success(json!({
                "version": "3.14.0", "revision": "sandbox", "branch": "HEAD", "buildUser": "",
                "buildDate": "20260801-00:00:00", "goVersion": "",
            })),
            "/api/v1/query" => self.query(request, view),
            _ => Answer::text(404, "404 page not found\n"),
        }
    }

    fn query(&self, request: &Request, view: &View<'_>) -> Answer {
        let mut parameters = request.query.clone();
        if request.method == http::Method::POST {
            // A form body has the same notation as a query.
            let form = String::from_utf8_lossy(&request.body);
            if let Ok(uri) = format!("/?{form}").parse::<Uri>() {
                parameters.extend(query_of(&uri));
            }
        }
        let expression = normalise(parameters.get("query").map_or("", String::as_str));
        if expression.is_empty() {
            return failure(
                400,
                "bad_data",
                "invalid parameter \"query\": unknown position: parse error: no expression found in input",
            );
        }
        let at = match parameters.get("time") {
            None => view.now,
            Some(given) => match point_in_time(given) {
                Some(at) => at,
                None => {
                    let message = format!(
                        "invalid parameter \"time\": cannot parse \"{given}\" to a valid timestamp"
                    );
                    return failure(400, "bad_data", &message);
                }
            },
        };
        let provider = {
            let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
            queries.iter().rev().find(|(on, _)| on.matches(&expression)).map(|(_, p)| Arc::clone(p))
        };
        let answer = provider.map_or_else(QueryAnswer::empty, |provider| provider(view));
        render(answer, at)
    }
}

fn point_in_time(given: &str) -> Option<Timestamp> {
    if let Ok(seconds) = given.parse::<f64>() {
        let whole = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
        return Timestamp::UNIX_EPOCH.checked_add(whole).ok();
    }
    given.parse().ok()
}

/// An expression without white space outside of quotes.
fn normalise(expression: &str) -> String {
    let (mut text, mut quote) = (String::new(), None);
    for character in expression.chars() {
        match quote {
            Some(open) => {
                text.push(character);
                if character == open {
                    quote = None;
                }
            }
            None if character.is_whitespace() => {}
            None => {
                if matches!(character, '"' | '\'' | '`') {
                    quote = Some(character);
                }
                text.push(character);
            }
        }
    }
    text
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        value if value == f64::INFINITY => "+Inf".into(),
        value if value == f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

fn render(answer: QueryAnswer, at: Timestamp) -> Answer {
    let stamp = json!(at.as_second());
    let vector = |samples: Vec<Sample>| {
        let result: Vec<Value> = samples
            .into_iter()
            .map(|sample| {
                let labels: Map<String, Value> =
                    sample.labels.into_iter().map(|(key, value)| (key, json!(value))).collect();
                json!({"metric": labels, "value": [stamp, number(sample.value)]})
            })
            .collect();
        json!({"resultType": "vector", "result": result})
    };
    match answer {
        QueryAnswer::Vector(samples) => success(vector(samples)),
        QueryAnswer::Scalar(value) => {
            success(json!({"resultType": "scalar", "result": [stamp, number(value)]}))
        }
        QueryAnswer::Partial { samples, warnings } => {
            Answer::ok(json!({"status": "success", "data": vector(samples), "warnings": warnings}))
        }
        QueryAnswer::Error { code, kind, message } => failure(code, &kind, &message),
        QueryAnswer::PlainText { code, body } => Answer::text(code, body),
    }
}

fn success(data: Value) -> Answer {
    Answer::ok(json!({"status": "success", "data": data}))
}

fn failure(code: u16, kind: &str, message: &str) -> Answer {
    let body = json!({"status": "error", "errorType": kind, "error": message});
    Answer::Json { code, body, warnings: Vec::new() }
}
