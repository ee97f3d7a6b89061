//! The cluster under both identities, and its clock.

use jiff::SignedDuration;

use super::{Finding, rights};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::policy::choice::PolicySet;
use crate::kubernetes::connection::{ReadConnection, WriteConnection};
use crate::service::policy_resources::kinds;
use crate::service::{reading_identity, writing_identity};

/// The answer's date has whole seconds and the answer takes time: less than this is no difference.
const SKEW_NOTICED: SignedDuration = SignedDuration::from_secs(5);
/// From here on ages of rollouts and windows of freezes are visibly wrong.
const SKEW_ALLOWED: SignedDuration = SignedDuration::from_secs(60);

/// Looks at the cluster.
pub async fn examine(config: &Config, clock: &SharedClock, policies: &PolicySet) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reader = match ReadConnection::connect(&reading_identity(config), clock.clone()).await {
        Ok(reader) => reader,
        Err(error) => {
            findings.push(Finding::fail("cluster", error.to_string(), ""));
            return findings;
        }
    };
    match reader.get("/version").await {
        Ok(version) => {
            let version = version["gitVersion"].as_str().unwrap_or("of an unknown version");
            findings.push(Finding::ok("cluster", format!("the API server answers ({version})")));
        }
        Err(error) => {
            let advice = "check `--kubeconfig` and `--read-context`; `kubectl version` must work";
            findings.push(Finding::fail("cluster", error.to_string(), advice));
            return findings;
        }
    }
    findings.push(skew(&reader, clock).await);
    if config.kubernetes.write_context.is_none() && config.kubernetes.write_token_file.is_none() {
        findings.push(Finding::warn(
            "identities",
            "one identity reads and writes",
            "give writing its own account with `--write-context` or `kubernetes.writeTokenFile`",
        ));
    }
    let resources = kinds(config);
    findings.extend(rights::of_reader(&reader, policies, &resources).await);
    match WriteConnection::connect(&writing_identity(config), clock.clone()).await {
        Ok(writer) => {
            let ceiling = config.rails.mode;
            findings.extend(rights::of_writer(&writer, policies, ceiling, &resources).await);
        }
        Err(error) => findings.push(Finding::fail("writing identity", error.to_string(), "")),
    }
    findings
}

async fn skew(reader: &ReadConnection, clock: &SharedClock) -> Finding {
    const SUBJECT: &str = "clock";
    let there = match reader.server_time().await {
        Ok(Some(there)) => there,
        Ok(None) => {
            return Finding::warn(SUBJECT, "the API server does not say what time it is", "");
        }
        Err(error) => return Finding::warn(SUBJECT, error.to_string(), ""),
    };
    let skew = clock.now().duration_since(there);
    judged(skew)
}

fn judged(skew: SignedDuration) -> Finding {
    const SUBJECT: &str = "clock";
    let direction = if skew.is_negative() { "behind" } else { "ahead of" };
    let seen = format!("{} s {direction} the API server's", skew.abs().as_secs());
    let advice = "let both machines keep time with NTP: ages and windows are computed from it";
    if skew.abs() < SKEW_NOTICED {
        Finding::ok(SUBJECT, "the same as the API server's")
    } else if skew.abs() < SKEW_ALLOWED {
        Finding::warn(SUBJECT, seen, advice)
    } else {
        Finding::fail(SUBJECT, seen, advice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_fails() {
        let level = |seconds| judged(SignedDuration::from_secs(seconds)).level;
        assert_eq!([0, 4, -4].map(level), [Level::Ok; 3]);
        assert_eq!([6, -59].map(level), [Level::Warn; 2]);
        assert_eq!(judged(SignedDuration::from_secs(-90)).seen, "90 s behind the API server's");
        assert_eq!(level(-90), Level::Fail);
    }
}
