//! Asks Alertmanager whether an alert still fires, and whether people have silenced it. Read-only.
//!
//! Nothing in Alertmanager's API is transactional: the answer narrows the window between looking
//! and acting, it does not close it.

use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::clock::SharedClock;
use crate::domain::alert::Labels;
use crate::domain::id::Fingerprint;
use crate::outbound::{Endpoint, OutboundError, Service};

/// One answer; Alertmanager keeps its alerts in memory.
const LIMIT: Duration = Duration::from_secs(5);
/// An answer's size: filters leave one alert or few, but a label set may be common.
const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// Filters of one request: they keep the answer small and need not be complete, since fingerprints
/// are compared afterwards.
const FILTERS: usize = 16;
/// Bytes of all filters: addresses beyond 8 KiB are refused by common proxies; encoding triples.
const FILTER_BYTES: usize = 2_000;
/// A replica that started later than this may not have heard of every alert yet: Prometheus sends
/// again after about a minute and a quarter, evaluation interval included two.
const SETTLING: SignedDuration = SignedDuration::from_mins(3);

/// What is known of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// It fires and people hear of it.
    Firing,
    /// Somebody silenced it, or it is muted by a time interval.
    Silenced {
        /// The ids of the silences.
        by: Vec<String>,
    },
    /// Another alert inhibits it.
    Inhibited {
        /// The fingerprints of those.
        by: Vec<String>,
    },
    /// No replica that can know has it.
    NotFound,
    /// It could not be found out.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// All replicas of one Alertmanager.
#[derive(Clone)]
pub struct Alertmanager {
    replicas: Vec<Endpoint>,
    clock: SharedClock,
}

impl fmt::Debug for Alertmanager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alertmanager").field("replicas", &self.replicas).finish()
    }
}

#[derive(Deserialize)]
struct Listed {
    fingerprint: String,
    status: ListedStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedStatus {
    state: String,
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
    #[serde(default)]
    muted_by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    uptime: Timestamp,
    #[serde(default)]
    cluster: Cluster,
    #[serde(default)]
    version_info: VersionInfo,
}

#[derive(Deserialize, Default)]
struct VersionInfo {
    #[serde(default)]
    version: String,
}

/// How one replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Where it is, for people.
    pub place: String,
    /// Its version; empty when it does not say. Or why it does not answer.
    pub version: Result<String, String>,
    /// Why its not having an alert means nothing yet.
    pub unsettled: Option<String>,
}

#[derive(Deserialize, Default)]
struct Cluster {
    #[serde(default)]
    status: String,
}

impl Alertmanager {
    /// Prepares a client for each replica; sends nothing.
    pub fn new(replicas: &[Service], clock: SharedClock) -> Result<Self, OutboundError> {
        let replicas = replicas.iter().map(Endpoint::new).collect::<Result<_, _>>()?;
        Ok(Self { replicas, clock })
    }

    /// Asks every replica at the same time about the alert with these labels.
    pub async fn state(&self, labels: &Labels, fingerprint: Fingerprint) -> AlertState {
        let asked = self.replicas.iter().map(|replica| self.ask(replica, labels, fingerprint));
        combine(join_all(asked).await)
    }

    /// Asks every replica at the same time how it stands.
    pub async fn replicas(&self) -> Vec<Replica> {
        join_all(self.replicas.iter().map(|replica| async move {
            let place = replica.to_string();
            match get::<Status>(replica, replica.at("/api/v2/status")).await {
                Ok(status) => {
                    let unsettled = settled(&status, self.clock.now()).err();
                    Replica { place, version: Ok(status.version_info.version), unsettled }
                }
                Err(why) => Replica { place, version: Err(why), unsettled: None },
            }
        }))
        .await
    }

    async fn ask(&self, replica: &Endpoint, labels: &Labels, wanted: Fingerprint) -> AlertState {
        let mut url = replica.at("/api/v2/alerts");
        for class in ["active", "silenced", "inhibited", "unprocessed"] {
            url.query_pairs_mut().append_pair(class, "true");
        }
        for filter in filters(labels) {
            url.query_pairs_mut().append_pair("filter", &filter);
        }
        let unknown = |why: String| AlertState::Unknown { why: format!("`{replica}`: {why}") };
        let listed: Vec<Listed> = match get(replica, url).await {
            Ok(listed) => listed,
            Err(why) => return unknown(why),
        };
        if let Some(state) = found(&listed, wanted) {
            return state;
        }
        // Absence counts only from a replica that has had the time to hear of everything.
        match get::<Status>(replica, replica.at("/api/v2/status")).await {
            Ok(status) => match settled(&status, self.clock.now()) {
                Ok(()) => AlertState::NotFound,
                Err(why) => unknown(why),
            },
            Err(why) => unknown(why),
        }
    }
}

async fn get<T: for<'de> Deserialize<'de>>(
    replica: &Endpoint,
    url: reqwest::Url,
) -> Result<T, String> {
    let answer = replica.send(replica.get(url), LIMIT, BODY_LIMIT).await?;
    if !answer.status.is_success() {
        return Err(format!("HTTP {}", answer.status.as_u16()));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| format!("not Alertmanager's JSON: {error}"))
}

fn found(listed: &[Listed], wanted: Fingerprint) -> Option<AlertState> {
    let wanted = wanted.to_string();
    let status = &listed.iter().find(|alert| alert.fingerprint == wanted)?.status;
    if !status.silenced_by.is_empty() || !status.muted_by.is_empty() {
        let by = status.silenced_by.iter().chain(&status.muted_by).cloned().collect();
        return Some(AlertState::Silenced { by });
    }
    if !status.inhibited_by.is_empty() || status.state == "suppressed" {
        return Some(AlertState::Inhibited { by: status.inhibited_by.clone() });
    }
    Some(AlertState::Firing)
}

fn settled(status: &Status, now: Timestamp) -> Result<(), String> {
    let up = now.duration_since(status.uptime);
    if up < SETTLING {
        return Err(format!("started {}s ago, may not have heard of it yet", up.as_secs().max(0)));
    }
    if status.cluster.status == "settling" {
        return Err("its cluster is settling".to_owned());
    }
    Ok(())
}

/// A silence that any replica knows of counts, since silences spread with a delay and acting under
/// one is the bolder mistake. Otherwise firing anywhere is firing, and not found must be the answer
/// of all.
fn combine(states: Vec<AlertState>) -> AlertState {
    let rank = |state: &AlertState| match state {
        AlertState::Silenced { .. } => 0,
        AlertState::Firing => 1,
        AlertState::Inhibited { .. } => 2,
        AlertState::Unknown { .. } => 3,
        AlertState::NotFound => 4,
    };
    let first = states.into_iter().min_by_key(rank);
    first.unwrap_or_else(|| AlertState::Unknown { why: "no Alertmanager is configured".to_owned() })
}

/// Matchers that the alert surely passes, the alert's name first.
fn filters(labels: &Labels) -> Vec<String> {
    let mut sorted: Vec<_> = labels.iter().collect();
    sorted.sort_by_key(|(name, _)| *name != "alertname");
    let mut room = FILTER_BYTES;
    let mut filters = Vec::new();
    for (name, value) in sorted.into_iter().take(FILTERS) {
        let filter = format!("{}={}", matcher_name(name), quoted(value));
        if filter.len() <= room {
            room -= filter.len();
            filters.push(filter);
        }
    }
    filters
}

/// Names beyond the classic letters are quoted, as Alertmanager's UTF-8 matchers want it.
fn matcher_name(name: &str) -> String {
    let classic = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let digit = name.bytes().next().is_none_or(|byte| byte.is_ascii_digit());
    if classic && !digit { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(status: serde_json::Value) -> Option<AlertState> {
        let listed = json!([{"fingerprint": "00000000000000ff", "status": status}]);
        found(&serde_json::from_value::<Vec<Listed>>(listed).expect("a list"), Fingerprint(255))
    }

    #[test]
    fn the_state_of_an_alert_is_told_by_its_fingerprint() {
        assert_eq!(listed(json!({"state": "active"})), Some(AlertState::Firing));
        assert_eq!(listed(json!({"state": "unprocessed"})), Some(AlertState::Firing));
        let silenced =
            listed(json!({"state": "suppressed", "silencedBy": ["s1"], "inhibitedBy": []}));
        assert_eq!(silenced, Some(AlertState::Silenced { by: vec!["s1".into()] }));
        assert!(found(&[], Fingerprint(255)).is_none());
    }

    #[test]
    fn firing_anywhere_is_firing_and_one_that_is_silent_about_it_proves_nothing() {
        let unknown = || AlertState::Unknown { why: "x".into() };
        let both = |a, b| combine(vec![a, b]);
        assert_eq!(both(AlertState::NotFound, AlertState::Firing), AlertState::Firing);
        assert_eq!(both(AlertState::NotFound, unknown()), unknown());
        assert_eq!(both(AlertState::NotFound, AlertState::NotFound), AlertState::NotFound);
        let silenced = AlertState::Silenced { by: vec![] };
        assert_eq!(both(AlertState::Firing, silenced.clone()), silenced);
        assert!(matches!(combine(vec![]), AlertState::Unknown { .. }));
    }

    #[test]
    fn a_replica_that_has_just_started_cannot_say_that_nothing_fires() {
        let now = Timestamp::from_second(10_000).expect("a time");
        let status = |ago: i64, cluster: &str| {
            let uptime = Timestamp::from_second(10_000 - ago).expect("a time").to_string();
            let status = json!({"uptime": uptime, "cluster": {"status": cluster}});
            settled(&serde_json::from_value(status).expect("a status"), now)
        };
        assert!(status(60, "ready").is_err());
        assert!(status(3600, "settling").is_err());
        assert_eq!(status(3600, "ready"), Ok(()));
        assert_eq!(status(3600, "disabled"), Ok(()));
    }

    #[test]
    fn values_in_filters_are_quoted() {
        let labels = Labels::from([
            ("alertname".to_owned(), "Agent\"Down\\".to_owned()),
            ("a.b".to_owned(), "x".to_owned()),
        ]);
        assert_eq!(filters(&labels), [r#"alertname="Agent\"Down\\""#, r#""a.b"="x""#]);
    }
}
