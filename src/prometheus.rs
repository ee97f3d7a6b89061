//! Asks Prometheus (or anything that speaks its query API). Read-only.
//!
//! An answer is only a number when it surely is one: no data, a warning (which means part of the
//! data may be missing) and a value that is not a finite number are each something else.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use crate::outbound::{Endpoint, OutboundError, Service};

/// The answer's size: samples of a policy's query are few; 4 MiB hold some ten thousand.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// Beyond the server's own limit, so that its answer arrives rather than ours being guessed.
const GRACE: Duration = Duration::from_secs(2);
/// Characters of an error text that are kept.
const WHY: usize = 300;

/// One server.
#[derive(Clone, Debug)]
pub struct Prometheus {
    endpoint: Endpoint,
}

/// One series and its value now.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels; none for a scalar.
    pub labels: BTreeMap<String, String>,
    /// Its value, finite.
    pub value: f64,
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryOutcome {
    /// At least one sample, all finite.
    Samples(Vec<Sample>),
    /// No data: not a proof of health.
    Empty,
    /// Prometheus warned: the data may be partial. Treat as unknown.
    Warned {
        /// Its warnings.
        warnings: Vec<String>,
    },
    /// No answer that can be used.
    Failed {
        /// Why not.
        why: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Value,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

impl Prometheus {
    /// Prepares a client; sends nothing.
    pub fn new(service: &Service) -> Result<Self, OutboundError> {
        Ok(Self { endpoint: Endpoint::new(service)? })
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.endpoint.to_string()
    }

    /// Evaluates `expr` now, within `timeout`. POST, since an expression may be longer than an
    /// address.
    pub async fn query(&self, expr: &str, timeout: Duration) -> QueryOutcome {
        let seconds = format!("{}s", timeout.as_secs_f64());
        let parameters = [("query", expr), ("timeout", seconds.as_str())];
        // The library's own encoding of forms, without its feature for sending them.
        let form = Url::parse_with_params("http://form", parameters);
        let form = form.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default();
        let request = self
            .endpoint
            .post(self.endpoint.at("/api/v1/query"))
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        match self.endpoint.send(request, timeout + GRACE, BODY_LIMIT).await {
            Ok(answer) => outcome(answer.status.as_u16(), &answer.body),
            Err(why) => QueryOutcome::Failed { why },
        }
    }
}

/// Decides on the HTTP code and the `status` together: a proxy's page may carry any code.
fn outcome(code: u16, body: &[u8]) -> QueryOutcome {
    let failed = |why: String| QueryOutcome::Failed { why: why.chars().take(WHY).collect() };
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        let start = String::from_utf8_lossy(&body[..body.len().min(WHY)]);
        return failed(format!("HTTP {code} without Prometheus' JSON: {}", start.trim()));
    };
    if code != 200 || envelope.status != "success" {
        let Envelope { error_type, error, .. } = envelope;
        return failed(format!("HTTP {code} {error_type}: {error}"));
    }
    if !envelope.warnings.is_empty() {
        return QueryOutcome::Warned { warnings: envelope.warnings };
    }
    match samples(&envelope.data) {
        Ok(samples) if samples.is_empty() => QueryOutcome::Empty,
        Ok(samples) => QueryOutcome::Samples(samples),
        Err(why) => failed(why),
    }
}

fn samples(data: &Value) -> Result<Vec<Sample>, String> {
    let result = data.get("result").unwrap_or(&Value::Null);
    match data.get("resultType").and_then(Value::as_str) {
        Some("vector") => {
            let items = result.as_array().ok_or("`result` is not a list")?;
            items.iter().map(sample).collect()
        }
        Some("scalar") => Ok(vec![Sample { labels: BTreeMap::new(), value: number(result)? }]),
        Some(other) => {
            Err(format!("the expression gives a {other}: write one that gives one number a series"))
        }
        None => Err("no `resultType`".to_owned()),
    }
}

fn sample(item: &Value) -> Result<Sample, String> {
    let labels = item.get("metric").and_then(Value::as_object).into_iter().flatten();
    let labels: BTreeMap<String, String> = labels
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let value = item.get("value").ok_or("a series without `value`: is it a histogram?")?;
    let value = number(value).map_err(|why| {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{{{}}}: {why}", labels.join(", "))
    })?;
    Ok(Sample { labels, value })
}

/// `[seconds, "text"]`.
fn number(pair: &Value) -> Result<f64, String> {
    let text = pair.get(1).and_then(Value::as_str).ok_or("a value that is not a text")?;
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("the value is {text}: a division by zero?")),
        Err(_) => Err(format!("the value `{text}` is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(code: u16, body: &Value) -> QueryOutcome {
        outcome(code, body.to_string().as_bytes())
    }

    fn vector(value: &str) -> Value {
        json!({"status": "success", "data": {"resultType": "vector",
            "result": [{"metric": {"pod": "a"}, "value": [1767225600.123, value]}]}})
    }

    #[test]
    fn numbers_are_samples_and_nothing_is_not_zero() {
        let QueryOutcome::Samples(samples) = given(200, &vector("0.5")) else {
            panic!("no samples")
        };
        assert_eq!((samples[0].value, samples[0].labels["pod"].as_str()), (0.5, "a"));
        let empty = json!({"status": "success", "data": {"resultType": "vector", "result": []}});
        assert_eq!(given(200, &empty), QueryOutcome::Empty);
        let scalar =
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}});
        assert!(matches!(given(200, &scalar), QueryOutcome::Samples(_)));
    }

    #[test]
    fn what_is_not_a_finite_number_is_no_answer() {
        for value in ["NaN", "+Inf", "-Inf", "text"] {
            let outcome = given(200, &vector(value));
            assert!(matches!(outcome, QueryOutcome::Failed { .. }), "{value}: {outcome:?}");
        }
    }

    #[test]
    fn a_warning_makes_the_answer_unknown() {
        let mut body = vector("0");
        body["warnings"] = json!(["one store was not reached"]);
        assert!(matches!(given(200, &body), QueryOutcome::Warned { .. }));
    }

    #[test]
    fn errors_of_prometheus_and_of_proxies_say_why() {
        let bad = json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
        let QueryOutcome::Failed { why } = given(400, &bad) else { panic!("not failed") };
        assert_eq!(why, "HTTP 400 bad_data: parse error");
        let QueryOutcome::Failed { why } = outcome(200, b"<html>login</html>") else {
            panic!("not failed")
        };
        assert!(why.contains("without Prometheus' JSON: <html>"), "{why}");
        assert!(matches!(given(502, &vector("1")), QueryOutcome::Failed { .. }));
    }
}
