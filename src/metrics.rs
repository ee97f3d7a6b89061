//! What an operator can measure, in Prometheus' naming. Known label values start at 0, so that a
//! rate over the first failure is seen; no label takes its values from alerts, so that nobody
//! outside can make the number of series grow.

mod labels;
mod process;

pub use labels::{
    DecisionLabels, GateLabels, KubernetesLabels, OutcomeLabels, QueueLabels, Repair, RepairLabels,
    SlackLabels, StateLabels, StatusLabels, StepLabels, WebhookLabels, WebhookOutcome,
};

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::domain::alert::AlertStatus;
use crate::journal::{Commit, Failure, Observer};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a fast disk's fsync to one that is in trouble.
const COMMIT_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// How well group commit works: 1 is not at all.
const BATCH_ENTRIES: [f64; 11] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// From a single call of the API server to a step that reached its time limit.
const STEP_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Rollouts and the windows of resolution criteria.
const VERIFICATION_SECONDS: [f64; 10] =
    [5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];
/// People: from "was looking at it" to "was asleep".
const APPROVAL_SECONDS: [f64; 10] =
    [5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 14400.0];

type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics. Each method is one observation; the fields are not for others to forget.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    webhooks: [Counter; WebhookOutcome::ALL.len()],
    firing: Counter,
    resolved: Counter,
    repairs: [Counter; Repair::ALL.len()],
    decisions: Family<DecisionLabels, Counter>,
    refusals: Family<GateLabels, Counter>,
    approval_wait: HistogramFamily<OutcomeLabels>,
    steps: HistogramFamily<StepLabels>,
    verification: HistogramFamily<OutcomeLabels>,
    queues: Family<QueueLabels, Gauge>,
    commit: Histogram,
    batch: Histogram,
    journal_failures: Counter,
    incidents: Family<StateLabels, Gauge>,
    kubernetes: Family<KubernetesLabels, Counter>,
    policies: Gauge,
    bad_policies: Gauge,
    policies_loaded_at: Gauge<f64, std::sync::atomic::AtomicU64>,
    kill_switch: Gauge,
    slack_calls: Family<SlackLabels, Counter>,
    slack_clicks: Family<OutcomeLabels, Counter>,
    slack_connections: Gauge,
}

impl Metrics {
    /// Everything at 0, for a process that started at `started`.
    pub fn new(started: Timestamp) -> Self {
        let mut registry = Registry::default();
        process::register(&mut registry, started);
        let own = registry.sub_registry_with_prefix("orderly");

        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        own.register("build", "Which Orderly this is", build);

        let webhooks: Family<WebhookLabels, Counter> = Family::default();
        own.register("webhooks", "Webhooks by what became of them", webhooks.clone());
        let alerts: Family<StatusLabels, Counter> = Family::default();
        own.register("alerts_received", "Alerts in accepted webhooks", alerts.clone());
        let repairs: Family<RepairLabels, Counter> = Family::default();
        own.register("alerts_repaired", "What was put right in alerts", repairs.clone());

        let decisions = Family::default();
        own.register("decisions", "Decisions by policy and outcome", Family::clone(&decisions));
        let refusals = Family::default();
        own.register("gate_refusals", "Plans held or denied, by gate", Family::clone(&refusals));
        let approval_wait = family(|| histogram(&APPROVAL_SECONDS));
        own.register(
            "approval_wait_seconds",
            "How long people took to decide, by what they decided",
            approval_wait.clone(),
        );
        let steps = family(|| histogram(&STEP_SECONDS));
        own.register("step_duration_seconds", "Steps by action and outcome", steps.clone());
        let verification = family(|| histogram(&VERIFICATION_SECONDS));
        own.register(
            "verification_duration_seconds",
            "How long it took to see whether it worked",
            verification.clone(),
        );

        let queues = Family::default();
        own.register("queue_depth", "What waits, by queue", Family::clone(&queues));
        let commit = histogram(&COMMIT_SECONDS);
        own.register("journal_commit_seconds", "Until a batch is on disk", commit.clone());
        let batch = histogram(&BATCH_ENTRIES);
        own.register("journal_batch_entries", "Entries in one commit", batch.clone());
        let journal_failures = Counter::default();
        own.register("journal_failures", "Commits that failed", journal_failures.clone());
        let incidents = Family::default();
        own.register("incidents", "Open incidents by state", Family::clone(&incidents));
        let kubernetes = Family::default();
        own.register(
            "kubernetes_requests",
            "Requests to the API server by verb and status code (0: no answer)",
            Family::clone(&kubernetes),
        );

        let policies = Gauge::default();
        own.register("policies", "Policies in force", policies.clone());
        let bad_policies = Gauge::default();
        own.register(
            "policies_bad",
            "Policy files in which something cannot be used; what was in force before stays",
            bad_policies.clone(),
        );
        let policies_loaded_at = Gauge::default();
        own.register(
            "policies_last_load_success_timestamp_seconds",
            "When the policies were last read without any fault",
            Gauge::clone(&policies_loaded_at),
        );
        let kill_switch = Gauge::default();
        own.register("kill_switch", "1 while the kill switch is on", kill_switch.clone());

        let slack_calls = Family::default();
        own.register(
            "slack_calls",
            "Calls of Slack's API by method and outcome",
            Family::clone(&slack_calls),
        );
        let slack_clicks = Family::default();
        own.register(
            "slack_clicks",
            "What people asked for in Slack, by what came of it",
            Family::clone(&slack_clicks),
        );
        let slack_connections = Gauge::default();
        own.register(
            "slack_connections",
            "Socket Mode connections that stand",
            slack_connections.clone(),
        );

        let counter = |outcome| webhooks.get_or_create_owned(&WebhookLabels { outcome });
        let repair = |repair| repairs.get_or_create_owned(&RepairLabels { repair });
        let status = |status| alerts.get_or_create_owned(&StatusLabels { status });
        Self {
            webhooks: WebhookOutcome::ALL.map(counter),
            firing: status("firing"),
            resolved: status("resolved"),
            repairs: Repair::ALL.map(repair),
            registry,
            decisions,
            refusals,
            approval_wait,
            steps,
            verification,
            queues,
            commit,
            batch,
            journal_failures,
            incidents,
            kubernetes,
            policies,
            bad_policies,
            policies_loaded_at,
            kill_switch,
            slack_calls,
            slack_clicks,
            slack_connections,
        }
    }

    /// Lets label values that are known from the start begin at 0.
    pub fn expect(
        &self,
        gates: &[&'static str],
        states: &[&'static str],
        outcomes: &[&'static str],
        policies: &[&str],
    ) {
        for gate in gates {
            for verdict in ["ask", "hold", "deny"] {
                drop(self.refusals.get_or_create(&GateLabels { gate, verdict }));
            }
        }
        for state in states {
            drop(self.incidents.get_or_create(&StateLabels { state }));
        }
        for policy in policies {
            for outcome in outcomes {
                let labels = DecisionLabels { policy: (*policy).to_owned(), outcome };
                drop(self.decisions.get_or_create(&labels));
            }
        }
    }

    /// A webhook was answered.
    pub fn webhook(&self, outcome: WebhookOutcome) {
        self.webhooks[outcome as usize].inc();
    }

    /// Alerts came in.
    pub fn alerts_received(&self, statuses: impl Iterator<Item = AlertStatus>) {
        let (mut firing, mut resolved) = (0, 0);
        for status in statuses {
            match status {
                AlertStatus::Firing => firing += 1,
                AlertStatus::Resolved => resolved += 1,
            }
        }
        self.firing.inc_by(firing);
        self.resolved.inc_by(resolved);
    }

    /// Something in alerts was put right, `times` times.
    pub fn repaired(&self, repair: Repair, times: u64) {
        if times > 0 {
            self.repairs[repair as usize].inc_by(times);
        }
    }

    /// A decision was taken. `policy` is the name of a policy in force, or empty for none.
    pub fn decision(&self, policy: &str, outcome: &'static str) {
        let labels = DecisionLabels { policy: policy.to_owned(), outcome };
        self.decisions.get_or_create(&labels).inc();
    }

    /// A gate held (`hold`) or denied (`deny`) a plan.
    pub fn gate_refusal(&self, gate: &'static str, verdict: &'static str) {
        self.refusals.get_or_create(&GateLabels { gate, verdict }).inc();
    }

    /// An approval was given, refused or expired after `wait`.
    pub fn approval(&self, outcome: &'static str, wait: Duration) {
        self.approval_wait.get_or_create(&OutcomeLabels { outcome }).observe(wait.as_secs_f64());
    }

    /// A step of a plan ended.
    pub fn step(&self, action: &'static str, outcome: &'static str, took: Duration) {
        let labels = StepLabels { action, outcome };
        self.steps.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A verification ended.
    pub fn verification(&self, outcome: &'static str, took: Duration) {
        self.verification.get_or_create(&OutcomeLabels { outcome }).observe(took.as_secs_f64());
    }

    /// So much waits in `queue`.
    pub fn queue_depth(&self, queue: &'static str, depth: usize) {
        self.queues.get_or_create(&QueueLabels { queue }).set(clamp(depth));
    }

    /// So many incidents are in `state`.
    pub fn incidents(&self, state: &'static str, count: usize) {
        self.incidents.get_or_create(&StateLabels { state }).set(clamp(count));
    }

    /// The API server answered with `code`, or did not (0).
    pub fn kubernetes_request(&self, verb: &'static str, code: u16) {
        self.kubernetes.get_or_create(&KubernetesLabels { verb, code }).inc();
    }

    /// The policies were read: so many are in force, so many files cannot be used.
    pub fn policies_loaded(&self, good: usize, bad: usize, now: Timestamp) {
        self.policies.set(clamp(good));
        self.bad_policies.set(clamp(bad));
        if bad == 0 {
            self.policies_loaded_at.set(seconds(now));
        }
    }

    /// The kill switch was turned.
    pub fn kill_switch(&self, on: bool) {
        self.kill_switch.set(i64::from(on));
    }

    /// Slack's API was called.
    pub fn slack_call(&self, method: &'static str, outcome: &'static str) {
        self.slack_calls.get_or_create(&SlackLabels { method, outcome }).inc();
    }

    /// Somebody asked for something in Slack.
    pub fn slack_click(&self, outcome: &'static str) {
        self.slack_clicks.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// So many Socket Mode connections stand.
    pub fn slack_connections(&self, count: usize) {
        self.slack_connections.set(clamp(count));
    }

    /// So many messages and stories are not as they should be yet.
    pub fn slack_behind(&self, count: usize) {
        self.queue_depth("slack", count);
    }

    /// Everything in OpenMetrics' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a `String` cannot fail.
        let _infallible = encode(&mut text, &self.registry);
        text
    }
}

impl crate::kubernetes::connection::Observer for Metrics {
    fn requested(&self, verb: &'static str, code: u16) {
        self.kubernetes_request(verb, code);
    }
}

impl Observer for Metrics {
    fn committed(&self, commit: Commit) {
        self.commit.observe(commit.took.as_secs_f64());
        self.batch.observe(commit.entries as f64);
    }

    fn failed(&self, _failure: &Failure) {
        self.journal_failures.inc();
    }
}

fn histogram(buckets: &[f64]) -> Histogram {
    Histogram::new(buckets.iter().copied())
}

fn family<L: Clone + std::hash::Hash + Eq>(make: fn() -> Histogram) -> HistogramFamily<L> {
    Family::new_with_constructor(make)
}

fn clamp(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_and_known_values_start_at_zero() {
        let metrics = Metrics::new(Timestamp::UNIX_EPOCH);
        metrics.expect(&["cooldown"], &["executing"], &["planned"], &["agent-down"]);
        metrics.webhook(WebhookOutcome::Accepted);
        metrics.step("restart", "succeeded", Duration::from_millis(30));
        let took = Duration::from_millis(2);
        metrics.committed(Commit { entries: 3, batches: 1, took });
        metrics.kubernetes_request("patch", 200);
        let text = metrics.render();
        for line in [
            r#"orderly_webhooks_total{outcome="accepted"} 1"#,
            r#"orderly_webhooks_total{outcome="unauthorized"} 0"#,
            r#"orderly_alerts_received_total{status="resolved"} 0"#,
            r#"orderly_gate_refusals_total{gate="cooldown",verdict="deny"} 0"#,
            r#"orderly_decisions_total{policy="agent-down",outcome="planned"} 0"#,
            r#"orderly_incidents{state="executing"} 0"#,
            r#"orderly_step_duration_seconds_count{action="restart",outcome="succeeded"} 1"#,
            r#"orderly_journal_batch_entries_bucket{le="4.0"} 1"#,
            r#"orderly_kubernetes_requests_total{verb="patch",code="200"} 1"#,
            concat!(r#"orderly_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
            "process_start_time_seconds 0.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }
}
