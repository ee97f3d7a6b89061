//! Asking Prometheus and Alertmanager over HTTP, against the sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use orderly::alertmanager::{AlertState, Alertmanager};
use orderly::clock::ManualClock;
use orderly::outbound::Service;
use orderly::prometheus::{Prometheus, QueryOutcome};
use orderly::sandbox::{
    Fault, FaultMatch, FaultOutcome, Options, QueryAnswer, QueryMatch, Sandbox,
};

const LIMIT: Duration = Duration::from_secs(10);

async fn sandbox() -> (Sandbox, Arc<ManualClock>, Timestamp) {
    let now: Timestamp = "2026-03-02T09:00:00Z".parse().expect("a time");
    let clock = Arc::new(ManualClock::new(now));
    let sandbox = Sandbox::start(Options::new(clock.clone())).await.expect("a sandbox");
    (sandbox, clock, now)
}

fn at(url: String) -> Service {
    Service { url, ..Service::default() }
}

#[tokio::test]
async fn a_query_gives_numbers_nothing_a_warning_or_a_failure() {
    let (sandbox, _, _) = sandbox().await;
    let prometheus = Prometheus::new(&at(sandbox.prometheus_url())).expect("an address");
    let expr = "sum(rate(errors_total{agent=\"a+b&c\"}[5m]))";
    let answer = |answer: QueryAnswer| {
        sandbox.set_query(QueryMatch::Exact(expr.to_owned()), move |_| answer.clone());
    };
    answer(QueryAnswer::value(0.25));
    let QueryOutcome::Samples(samples) = prometheus.query(expr, LIMIT).await else {
        panic!("no samples")
    };
    assert!((samples[0].value - 0.25).abs() < f64::EPSILON);
    answer(QueryAnswer::empty());
    assert_eq!(prometheus.query(expr, LIMIT).await, QueryOutcome::Empty);
    let warnings = vec!["a store is missing".to_owned()];
    answer(QueryAnswer::Partial { samples: Vec::new(), warnings: warnings.clone() });
    assert_eq!(prometheus.query(expr, LIMIT).await, QueryOutcome::Warned { warnings });
    for bad in [
        QueryAnswer::value(f64::NAN),
        QueryAnswer::PlainText { code: 200, body: "<html>".to_owned() },
        QueryAnswer::Error { code: 503, kind: "timeout".to_owned(), message: "slow".to_owned() },
    ] {
        answer(bad.clone());
        let outcome = prometheus.query(expr, LIMIT).await;
        assert!(matches!(outcome, QueryOutcome::Failed { .. }), "{bad:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_alert_is_firing_silenced_inhibited_or_gone_and_a_dead_replica_proves_nothing() {
    let (sandbox, clock, now) = sandbox().await;
    let hour = SignedDuration::from_hours(1);
    let one = Alertmanager::new(&[at(sandbox.alertmanager_url())], clock.clone()).expect("made");
    let labels: BTreeMap<String, String> = [("alertname", "AgentDown"), ("agent_id", "a\"b\\c")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let peer = sandbox.alertmanager();
    let id = peer.fire(labels.clone(), BTreeMap::new(), now - hour);
    let fingerprint = id.parse().expect("a fingerprint");
    assert_eq!(one.state(&labels, fingerprint).await, AlertState::Firing);

    peer.inhibit(&id, Some("00000000000000ff"));
    let state = one.state(&labels, fingerprint).await;
    assert!(matches!(state, AlertState::Inhibited { .. }), "{state:?}");
    peer.inhibit(&id, None);

    let silence = peer.silence(&labels, now - hour, now + hour);
    let state = one.state(&labels, fingerprint).await;
    assert_eq!(state, AlertState::Silenced { by: vec![silence] });

    peer.resolve(&id);
    assert_eq!(one.state(&labels, fingerprint).await, AlertState::NotFound);
    let dead = at("http://127.0.0.1:1".to_owned());
    let both = [at(sandbox.alertmanager_url()), dead];
    let both = Alertmanager::new(&both, clock).expect("made");
    let state = both.state(&labels, fingerprint).await;
    assert!(matches!(state, AlertState::Unknown { .. }), "{state:?}");

    let broken = FaultOutcome::Status { code: 503, message: String::new(), retry_after: None };
    sandbox.fault(Fault::always(FaultMatch::path("/alertmanager/"), broken));
    let state = one.state(&labels, fingerprint).await;
    assert!(matches!(state, AlertState::Unknown { .. }), "{state:?}");
}
