//! The three stories: what fires, under which policy and mode, how the world behaves, and how it
//! must end.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::domain::event::Outcome;
use crate::domain::id::Fingerprint;
use crate::domain::period::Period;
use crate::domain::policy::spec::{Mode, PolicySpec};
use crate::sandbox::Sandbox;
use crate::sandbox::View;

/// One story.
#[derive(Debug)]
pub struct Story {
    /// Its headline.
    pub title: &'static str,
    /// What a newcomer has to know.
    pub intro: &'static str,
    /// The labels of the alert.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// How it must end.
    pub outcome: Outcome,
    /// When the alert's condition is over.
    pub healed: fn(&View<'_>) -> bool,
    /// The workload that the story is about: namespace, plural, name.
    pub workload: (&'static str, &'static str, &'static str),
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The stories in their order.
pub fn all(sandbox: &Sandbox) -> Vec<Story> {
    let restarting = sandbox
        .pods_of("ai-agents", "research-agent-deployment")
        .first()
        .and_then(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .unwrap_or_default();
    vec![
        Story {
            title: "1. HighErrorRate soon after a deployment (mode: approval)",
            intro: "support-agent was deployed ten minutes ago; since then 14 % of its requests \
                    fail. The runbook says: roll back at once, then watch the error rate.",
            labels: labels(&[
                ("alertname", "HighErrorRate"),
                ("namespace", "ai-agents"),
                ("agent_id", "support-agent"),
                ("severity", "critical"),
            ]),
            annotations: labels(&[("summary", "14 % of support-agent's requests fail")]),
            outcome: Outcome::Fixed,
            healed: |view| !view.serves_image("ai-agents", "support-agent-deployment", "v1.5.0"),
            workload: ("ai-agents", "deployments", "support-agent-deployment"),
        },
        Story {
            title: "2. AgentDown with an OOM-killed container (mode: auto)",
            intro: "agent-deployment is killed for its memory again and again. The runbook says: \
                    raise the limit; the policy caps how far.",
            labels: labels(&[
                ("alertname", "AgentDown"),
                ("namespace", "production-agents"),
                ("severity", "critical"),
            ]),
            annotations: labels(&[("summary", "no agent answers its health check")]),
            outcome: Outcome::Fixed,
            healed: |view| view.ready_pods("production-agents", "agent-deployment") >= 2,
            workload: ("production-agents", "deployments", "agent-deployment"),
        },
        Story {
            title: "3. PodRestartingFrequently (mode: dry-run)",
            intro: "research-agent is restarted by its liveness probe before it has started. In \
                    dry-run mode the plan and its diff go to the audit log; nothing changes.",
            labels: labels(&[
                ("alertname", "PodRestartingFrequently"),
                ("namespace", "ai-agents"),
                ("agent_id", "research-agent"),
                ("pod", &restarting),
                ("severity", "warning"),
            ]),
            annotations: labels(&[("summary", "research-agent restarts too often")]),
            outcome: Outcome::DryRun,
            healed: |_| false,
            workload: ("ai-agents", "deployments", "research-agent-deployment"),
        },
    ]
}

/// The mode in which the demo runs each policy; the others are as shipped.
pub fn modes() -> BTreeMap<&'static str, Mode> {
    BTreeMap::from([
        ("high-error-rate", Mode::Approval),
        ("agent-down-production", Mode::Auto),
        ("pod-restarting-frequently", Mode::DryRun),
    ])
}

/// The demo's hour is a minute: the times of a runbook, made short enough to watch.
pub fn hurry(spec: &mut PolicySpec, mode: Mode) {
    spec.mode = mode;
    spec.verify.within = Period::from_secs(90);
    if spec.verify.stable_for > Period::ZERO {
        spec.verify.stable_for = Period::from_secs(4);
    }
    if let Some(query) = &mut spec.verify.query {
        query.hold = Period::from_secs(5);
    }
}

impl Story {
    /// The webhook that Alertmanager would send, version 4.
    pub fn webhook(&self, starts_at: Timestamp, ends_at: Option<Timestamp>) -> Value {
        let status = if ends_at.is_some() { "resolved" } else { "firing" };
        let ends = ends_at.map_or("0001-01-01T00:00:00Z".to_owned(), |at| at.to_string());
        let pairs = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let alert = json!({
            "status": status,
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": starts_at.to_string(),
            "endsAt": ends,
            "generatorURL": "",
            "fingerprint": Fingerprint::of(pairs).to_string(),
        });
        let name = &self.labels["alertname"];
        json!({
            "version": "4",
            "groupKey": format!("{{}}:{{alertname=\"{name}\"}}"),
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "orderly",
            "groupLabels": {"alertname": name},
            "commonLabels": self.labels,
            "commonAnnotations": self.annotations,
            "externalURL": "http://alertmanager.sandbox",
            "alerts": [alert],
        })
    }

    /// When the alert began to fire: a while ago, as alerts do.
    pub fn starts_at(now: Timestamp) -> Timestamp {
        now.saturating_sub(SignedDuration::from_mins(1)).unwrap_or(now)
    }
}
