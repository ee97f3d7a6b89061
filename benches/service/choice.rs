//! Choosing among ten thousand policies.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use orderly::domain::alert::{Alert, AlertStatus, Labels};
use orderly::domain::id::Fingerprint;
use orderly::domain::policy::choice::PolicySet;
use orderly::domain::policy::compiled::{CompiledPolicy, Names};
use serde_json::json;

use super::report::{Table, Verdict};

const POLICIES: usize = 10_000;
const ALERTS: usize = 1_000;
const TIMES: usize = 100;
const TARGET_MICROSECONDS: f64 = 5.0;

pub fn measure(table: &mut Table) -> anyhow::Result<()> {
    // Each alert has its policy; and as it is with many teams, ten policies for each name.
    for same_name in [1, 10] {
        let set = policies(same_name)?;
        let alerts: Vec<_> = (0..ALERTS).map(|number| alert(number * 7, same_name)).collect();
        assert!(alerts.iter().all(|alert| set.winner(alert).is_some()));
        let winner = time(&alerts, |alert| drop(black_box(set.winner(alert).cloned())));
        let choose = time(&alerts, |alert| drop(black_box(set.choose(alert))));
        let named = match same_name {
            1 => "choosing among 10,000 policies, an alert".to_owned(),
            some => format!("  with {some} policies for each alertname, an alert"),
        };
        table.row(
            &named,
            format!("{choose:.2} µs"),
            "< 5 µs",
            Verdict::when(choose < TARGET_MICROSECONDS),
        );
        table.scale("  the winner only, without the reasons", format!("{winner:.2} µs"));
    }
    Ok(())
}

/// Microseconds for one alert.
fn time(alerts: &[Alert], choose: impl Fn(&Alert)) -> f64 {
    let begun = Instant::now();
    for _ in 0..TIMES {
        alerts.iter().for_each(&choose);
    }
    begun.elapsed().as_secs_f64() * 1e6 / (TIMES * alerts.len()) as f64
}

fn policies(same_name: usize) -> anyhow::Result<PolicySet> {
    let one = |number: usize| -> anyhow::Result<Arc<CompiledPolicy>> {
        let (name, team) = (number / same_name, number % same_name);
        let document = json!({
            "apiVersion": "orderly.dev/v1alpha1",
            "kind": "RemediationPolicy",
            "metadata": {"name": format!("policy-{number}")},
            "spec": {
                "summary": "One of many",
                "match": [format!("alertname=\"Alert{name}\""), format!("team=~\"team-{team}|x\"")],
                "target": {"kind": "Deployment", "namespaces": ["bench"], "name": "web"},
                "causes": [{"name": "otherwise", "actions": [{"restart": {}}]}],
            },
        });
        let policy = CompiledPolicy::compile(serde_json::from_value(document)?, &Names::default());
        let first = |problems: Vec<_>| anyhow::anyhow!("{:?}", problems.first());
        Ok(Arc::new(policy.map_err(first)?))
    };
    let policies: Vec<_> = (0..POLICIES).map(one).collect::<Result<_, _>>()?;
    Ok(PolicySet::new(policies))
}

fn alert(number: usize, same_name: usize) -> Alert {
    let number = number % POLICIES;
    let (name, team) = (number / same_name, number % same_name);
    let labels = [
        ("alertname", format!("Alert{name}")),
        ("team", format!("team-{team}")),
        ("namespace", "bench".to_owned()),
        ("severity", "critical".to_owned()),
        ("pod", format!("web-{number}")),
    ];
    let labels: Labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Alert {
        status: AlertStatus::Firing,
        fingerprint: Fingerprint::of(pairs),
        labels,
        annotations: Labels::new(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
        generator_url: String::new(),
    }
}
