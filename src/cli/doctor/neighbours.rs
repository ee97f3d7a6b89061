//! Prometheus and each replica of Alertmanager.

use std::time::Duration;

use super::Finding;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::policy::choice::PolicySet;
use crate::prometheus::QueryOutcome;
use crate::service::outbound;

/// A healthy Prometheus answers a constant in milliseconds.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// Looks at both.
pub async fn examine(config: &Config, clock: &SharedClock, policies: &PolicySet) -> Vec<Finding> {
    let mut findings = vec![prometheus(config, policies).await];
    findings.extend(alertmanager(config, clock).await);
    findings
}

async fn prometheus(config: &Config, policies: &PolicySet) -> Finding {
    const SUBJECT: &str = "Prometheus";
    let asking = policies
        .iter()
        .filter(|policy| !policy.spec.queries.is_empty() || policy.spec.verify.query.is_some());
    let mut asking: Vec<_> = asking.map(|policy| policy.name.as_str()).collect();
    if config.rails.monitoring.as_ref().is_some_and(|monitoring| monitoring.query.is_some()) {
        asking.push("`rails.monitoring`");
    }
    let prometheus = match outbound::prometheus(config) {
        Ok(Some(prometheus)) => prometheus,
        Ok(None) if asking.is_empty() => {
            return Finding::ok(SUBJECT, "not configured, and no policy asks it");
        }
        Ok(None) => {
            let seen = format!("not configured, and asked by: {}", asking.join(", "));
            return Finding::fail(SUBJECT, seen, "give its address with `--prometheus-url`");
        }
        Err(error) => return Finding::fail(SUBJECT, error.to_string(), ""),
    };
    let place = prometheus.place();
    match prometheus.query("vector(1)", QUERY_LIMIT).await {
        QueryOutcome::Samples(_) | QueryOutcome::Empty => {
            Finding::ok(SUBJECT, format!("{place} answers queries"))
        }
        QueryOutcome::Warned { warnings } => {
            let seen = format!("{place} warns: {}", warnings.join("; "));
            Finding::warn(SUBJECT, seen, "answers with warnings count as unknown facts")
        }
        QueryOutcome::Failed { why } => {
            let advice = "check `--prometheus-url`, its credentials and `caFile`";
            Finding::fail(SUBJECT, format!("{place}: {why}"), advice)
        }
    }
}

async fn alertmanager(config: &Config, clock: &SharedClock) -> Vec<Finding> {
    const SUBJECT: &str = "Alertmanager";
    let alertmanager = match outbound::alertmanager(config, clock) {
        Ok(Some(alertmanager)) => alertmanager,
        Ok(None) => {
            return vec![Finding::warn(
                SUBJECT,
                "not configured: silences are not seen, and only webhooks tell what fires",
                "give the address of each replica with `--alertmanager-url`",
            )];
        }
        Err(error) => return vec![Finding::fail(SUBJECT, error.to_string(), "")],
    };
    let mut findings = Vec::new();
    for replica in alertmanager.replicas().await {
        let place = &replica.place;
        findings.push(match (replica.version, replica.unsettled) {
            (Ok(version), None) => Finding::ok(SUBJECT, format!("{place} answers ({version})")),
            (Ok(version), Some(why)) => Finding::warn(
                SUBJECT,
                format!("{place} answers ({version}), but {why}"),
                "until then an alert that it does not have may still fire",
            ),
            (Err(why), _) => Finding::fail(
                SUBJECT,
                format!("{place}: {why}"),
                "check `--alertmanager-url`, its credentials and `caFile`",
            ),
        });
    }
    findings
}
