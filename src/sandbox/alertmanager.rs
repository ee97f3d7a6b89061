//! The Alertmanager v2 API: the alerts that the scenario lets fire, and silences.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Uri;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::{Value, json};

use super::answer::Answer;
use super::object::{flag, hex_word, items, text, time};
use super::request::{Request, pairs_of};

/// How far ahead the `endsAt` of a firing alert lies: Prometheus sends four times its interval.
const FIRING_FOR: SignedDuration = SignedDuration::from_mins(4);
/// FNV-1a, 64 bits: how Prometheus fingerprints label sets.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The fingerprint of a label set, as Prometheus and Alertmanager compute it.
pub fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    let mut sum = FNV_OFFSET;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    };
    for (name, value) in labels {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    format!("{sum:016x}")
}

#[derive(Debug, Clone)]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    inhibited_by: Vec<String>,
}

#[derive(Debug, Clone)]
struct Silence {
    id: String,
    body: Value,
    starts_at: Timestamp,
    ends_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    alerts: BTreeMap<String, Alert>,
    silences: Vec<Silence>,
    made: u64,
}

/// The alerts and silences of the sandbox. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Alertmanager {
    state: Arc<Mutex<State>>,
}

impl Alertmanager {
    /// Lets an alert fire since `starts_at`; returns its fingerprint.
    pub fn fire(
        &self,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        starts_at: Timestamp,
    ) -> String {
        let key = fingerprint(&labels);
        let alert = Alert { labels, annotations, starts_at, inhibited_by: Vec::new() };
        self.lock().alerts.insert(key.clone(), alert);
        key
    }

    /// The alert no longer fires.
    pub fn resolve(&self, fingerprint: &str) {
        self.lock().alerts.remove(fingerprint);
    }

    /// The alert is inhibited by another one, or by none any more.
    pub fn inhibit(&self, fingerprint: &str, by: Option<&str>) {
        if let Some(alert) = self.lock().alerts.get_mut(fingerprint) {
            alert.inhibited_by = by.into_iter().map(str::to_owned).collect();
        }
    }

    /// The fingerprints of the alerts that fire.
    pub fn firing(&self) -> Vec<String> {
        self.lock().alerts.keys().cloned().collect()
    }

    /// Silences what carries exactly these labels; returns the silence's id.
    pub fn silence(
        &self,
        labels: &BTreeMap<String, String>,
        from: Timestamp,
        until: Timestamp,
    ) -> String {
        let matchers: Vec<Value> = labels
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value, "isRegex": false, "isEqual": true}))
            .collect();
        let body = json!({"matchers": matchers, "createdBy": "scenario", "comment": "scripted"});
        self.add_silence(body, from, until, from)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_silence(
        &self,
        body: Value,
        starts_at: Timestamp,
        ends_at: Timestamp,
        now: Timestamp,
    ) -> String {
        let mut state = self.lock();
        state.made += 1;
        let word = hex_word(&format!("silence/{}", state.made), 16);
        let id = format!(
            "{}-{}-4{}-a{}-{}",
            &word[..8],
            &word[8..12],
            &word[13..16],
            &word[17..20],
            &word[20..32]
        );
        state.silences.push(Silence { id: id.clone(), body, starts_at, ends_at, updated_at: now });
        id
    }

    /// Answers a path below `/alertmanager`.
    pub(super) fn answer(
        &self,
        request: &Request,
        path: &str,
        uri: &Uri,
        now: Timestamp,
    ) -> Answer {
        match (request.method.as_str(), path) {
            ("GET", "/-/ready" | "/-/healthy") => Answer::text(200, "OK"),
            ("GET", "/api/v2/status") => Answer::ok(json!({
                "cluster": {"status": "disabled", "peers": []},
                "versionInfo": {
                    "version": "0.34.0", "revision": "sandbox", "branch": "HEAD", "buildUser": "",
                    "buildDate": "", "goVersion": "",
                },
                "config": {"original": ""}, "uptime": "2026-01-01T00:00:00.000Z",
            })),
            ("GET", "/api/v2/alerts") => self.alerts(uri, now),
            ("GET", "/api/v2/silences") => {
                let state = self.lock();
                let list = state.silences.iter().map(|silence| silence.shown(now));
                Answer::ok(list.collect())
            }
            ("POST", "/api/v2/silences") => self.post_silence(request, now),
            ("GET" | "DELETE", path) if path.starts_with("/api/v2/silence/") => {
                let id = path.trim_start_matches("/api/v2/silence/");
                let mut state = self.lock();
                let Some(silence) = state.silences.iter_mut().find(|silence| silence.id == id)
                else {
                    return Answer::text(404, "");
                };
                if request.method == http::Method::DELETE {
                    silence.ends_at = silence.ends_at.min(now);
                    silence.updated_at = now;
                    return Answer::text(200, "");
                }
                Answer::ok(silence.shown(now))
            }
            _ => Answer::text(404, "404 page not found\n"),
        }
    }

    fn alerts(&self, uri: &Uri, now: Timestamp) -> Answer {
        let parameters = pairs_of(uri);
        let mut matchers = Vec::new();
        for (_, filter) in parameters.iter().filter(|(name, _)| name == "filter") {
            match Matcher::parse(filter) {
                Some(matcher) => matchers.push(matcher),
                None => {
                    let body = json!(format!("bad matcher format: {filter}"));
                    return Answer::Json { code: 400, body, warnings: Vec::new() };
                }
            }
        }
        let include =
            |class: &str| !parameters.iter().any(|(name, value)| name == class && value == "false");
        let state = self.lock();
        let shown = state.alerts.iter().filter_map(|(key, alert)| {
            let silenced: Vec<&str> = state
                .silences
                .iter()
                .filter(|silence| silence.is_active(now) && silence.covers(&alert.labels))
                .map(|silence| silence.id.as_str())
                .collect();
            let muted = !silenced.is_empty() || !alert.inhibited_by.is_empty();
            let wanted = (muted || include("active"))
                && (silenced.is_empty() || include("silenced"))
                && (alert.inhibited_by.is_empty() || include("inhibited"))
                && matchers.iter().all(|matcher| matcher.matches(&alert.labels));
            wanted.then(|| {
                json!({
                    "annotations": alert.annotations, "labels": alert.labels, "fingerprint": key,
                    "startsAt": stamp(alert.starts_at), "updatedAt": stamp(now),
                    "endsAt": stamp(now.saturating_add(FIRING_FOR).unwrap_or(now)),
                    "receivers": [{"name": "orderly"}],
                    "generatorURL": "http://prometheus.example/graph",
                    "status": {
                        "state": if muted { "suppressed" } else { "active" },
                        "silencedBy": silenced, "inhibitedBy": alert.inhibited_by, "mutedBy": [],
                    },
                })
            })
        });
        Answer::ok(shown.collect())
    }

    fn post_silence(&self, request: &Request, now: Timestamp) -> Answer {
        let refuse = |why: &str| Answer::Json { code: 400, body: json!(why), warnings: Vec::new() };
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return refuse("the body is no JSON");
        };
        let (starts_at, ends_at) = (time(text(&body, "/startsAt")), time(text(&body, "/endsAt")));
        let (Some(starts_at), Some(ends_at)) = (starts_at, ends_at) else {
            return refuse("startsAt and endsAt are required");
        };
        if ends_at <= now {
            return refuse("silence invalid: end time can't be in the past");
        }
        if items(&body, "/matchers").is_empty() {
            return refuse("silence invalid: at least one matcher required");
        }
        for field in ["createdBy", "comment"] {
            if text(&body, &format!("/{field}")).is_empty() {
                return refuse(&format!("silence invalid: {field} missing"));
            }
        }
        let id = text(&body, "/id").to_owned();
        if !id.is_empty() {
            let mut state = self.lock();
            let Some(old) = state.silences.iter_mut().find(|silence| silence.id == id) else {
                return Answer::Json {
                    code: 404,
                    body: json!("silence not found"),
                    warnings: Vec::new(),
                };
            };
            if old.body["matchers"] == body["matchers"] && old.is_active(now) {
                old.ends_at = ends_at;
                old.updated_at = now;
                return Answer::ok(json!({"silenceID": id}));
            }
            // Other matchers make another silence, under another id.
            old.ends_at = now;
        }
        let id = self.add_silence(body, starts_at.max(now), ends_at, now);
        Answer::ok(json!({"silenceID": id}))
    }
}

impl Silence {
    fn is_active(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    fn covers(&self, labels: &BTreeMap<String, String>) -> bool {
        items(&self.body, "/matchers").iter().all(|matcher| {
            let equal = matcher.get("isEqual").is_none_or(|equal| equal != false);
            let matcher = Matcher {
                name: text(matcher, "/name").into(),
                value: text(matcher, "/value").into(),
                regex: if flag(matcher, "/isRegex") {
                    anchored(text(matcher, "/value"))
                } else {
                    None
                },
                wanted: equal,
            };
            matcher.matches(labels)
        })
    }

    fn shown(&self, now: Timestamp) -> Value {
        let state = match now {
            now if now >= self.ends_at => "expired",
            now if now >= self.starts_at => "active",
            _ => "pending",
        };
        json!({
            "id": self.id, "status": {"state": state}, "updatedAt": stamp(self.updated_at),
            "startsAt": stamp(self.starts_at), "endsAt": stamp(self.ends_at),
            "matchers": self.body["matchers"], "createdBy": self.body["createdBy"],
            "comment": self.body["comment"],
        })
    }
}

/// A matcher of Alertmanager's: `name="value"`, `!=`, `=~`, `!~`.
struct Matcher {
    name: String,
    value: String,
    regex: Option<Regex>,
    wanted: bool,
}

impl Matcher {
    fn parse(input: &str) -> Option<Self> {
        let at = input.find(['=', '!'])?;
        let (name, rest) = input.split_at(at);
        let (operator, value) = ["=~", "!~", "!=", "="].into_iter().find_map(|operator| {
            rest.strip_prefix(operator).map(|value| (operator, value.trim()))
        })?;
        let value = match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
            None => value.to_owned(),
        };
        let regex = if operator.ends_with('~') { Some(anchored(&value)?) } else { None };
        Some(Self { name: name.trim().into(), value, regex, wanted: !operator.starts_with('!') })
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.name).map_or("", String::as_str);
        let fits = match &self.regex {
            Some(regex) => regex.is_match(found),
            None => found == self.value,
        };
        fits == self.wanted
    }
}

fn anchored(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_fnv_over_sorted_labels() {
        // An empty label set has the offset basis itself, as in prometheus/common.
        assert_eq!(fingerprint(&BTreeMap::new()), "cbf29ce484222325");
    }

    #[test]
    fn matchers_read_quotes_and_operators() {
        let labels = BTreeMap::from([("alertname".to_owned(), "Agent\"Down".to_owned())]);
        for (input, expected) in [
            (r#"alertname="Agent\"Down""#, true),
            (r#"alertname!="x""#, true),
            (r#"alertname=~"Agent.*""#, true),
            (r#"alertname=~"Agent""#, false),
            (r#"other="""#, true),
        ] {
            assert_eq!(
                Matcher::parse(input).map(|m| m.matches(&labels)),
                Some(expected),
                "{input}"
            );
        }
        assert!(Matcher::parse("nonsense").is_none());
    }
}
