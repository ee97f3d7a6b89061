//! Success is proven: what is not success, when a hold starts again, and when it is too late.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::facts::{Kind, Workload};
use crate::domain::testing::*;

fn query(written: serde_json::Value) -> QuerySpec {
    serde_json::from_value(written).expect("a query")
}

fn below() -> QuerySpec {
    query(json!({"expr": "rate", "below": 0.01, "for": "1m"}))
}

fn look(facts: &Facts, now: Timestamp) -> Look<'_> {
    Look { facts, query: None, firing: 0, restarts_before: &[], now }
}

fn healthy() -> Facts {
    facts([workload(Kind::Deployment, "agent")])
}

#[test]
fn what_is_no_data_is_no_success() {
    let above = query(json!({"expr": "up", "above": 0.5}));
    let none = query(json!({"expr": "up"}));
    let values = |values: &[f64]| known(values.to_vec());
    let said = [
        threshold(&below(), Some(&values(&[]))),
        threshold(&below(), Some(&absent())),
        threshold(&below(), Some(&unknown("a warning: results are truncated"))),
        threshold(&below(), None),
        threshold(&below(), Some(&values(&[f64::NAN]))),
        threshold(&below(), Some(&values(&[0.001, f64::NAN]))),
        threshold(&below(), Some(&values(&[0.001, f64::INFINITY]))),
        threshold(&below(), Some(&values(&[0.001, 0.01]))),
        threshold(&below(), Some(&values(&[0.001, 0.002]))),
        threshold(&above, Some(&values(&[0.5]))),
        threshold(&above, Some(&values(&[0.6, 1.0]))),
        threshold(&none, Some(&values(&[1.0]))),
    ];
    let said = said.map(|one| match one {
        Ok(text) => format!("met: {text}"),
        Err(text) => format!("not: {text}"),
    });
    insta::assert_snapshot!(said.join("\n"), @r###"
    not: the query has no data, which is not health
    not: the query has no data, which is not health
    not: the query failed: a warning: results are truncated
    not: the query was not asked: no Prometheus is configured
    not: the query is at NaN, asked for below 0.01
    not: the query is at NaN, asked for below 0.01
    not: the query is at inf, asked for below 0.01
    not: the query is at 0.01, asked for below 0.01
    met: the query is at 0.002, asked for below 0.01
    not: the query is at 0.5, asked for above 0.5
    met: the query is at 0.6, asked for above 0.5
    not: the query has no threshold, so nothing is proven
    "###);
}

#[test]
fn pods_are_stable_only_when_all_of_every_target_are() {
    let spec = VerifySpec { stable_for: Period::from_mins(1), ..VerifySpec::default() };
    let said = |change: fn(&mut Workload)| {
        let mut second = workload(Kind::StatefulSet, "db");
        change(&mut second);
        let seen = facts([workload(Kind::Deployment, "agent"), second]);
        let before = [("uid-of-db-0".to_owned(), 2)];
        let look = Look { restarts_before: &before, ..look(&seen, NOW) };
        let Judgement::Pending { progress, .. } =
            judge(&spec, &Progress::default(), &look, later(9))
        else {
            panic!("it cannot be over");
        };
        progress.criteria[1].to_string()
    };
    fn pods(workload: &mut Workload) -> &mut Vec<Pod> {
        match &mut workload.pods {
            Fact::Known { value, .. } => value,
            Fact::Absent { .. } | Fact::Unknown { .. } => panic!("the pods are known"),
        }
    }
    let said = [
        said(|_| {}),
        // The first target's pods must not stand in for the second's.
        said(|set| pods(set).truncate(1)),
        said(|set| pods(set).clear()),
        said(|set| pods(set)[0].ready = false),
        said(|set| pods(set)[0].containers[0].restarts = 2),
        said(|set| pods(set)[0].containers[0].restarts = 3),
        said(|set| pods(set)[1].containers[0].restarts = 1),
        said(|set| pods(set)[2].terminating = true),
        // An evicted pod stays in the list for hours.
        said(|set| {
            let evicted = Pod { phase: "Failed".to_owned(), ready: false, ..pod("db-old") };
            pods(set).push(evicted);
        }),
        said(|set| set.pods = unknown("403")),
        said(|set| set.pods = absent()),
    ];
    insta::assert_snapshot!(said.join("\n"), @r###"
    stable holds: 6 pods ready
    stable does not hold: 1 of 3 pods of ai-agents/StatefulSet/db exist
    stable does not hold: 0 of 3 pods of ai-agents/StatefulSet/db exist
    stable does not hold: pod db-0 is not ready
    stable holds: 6 pods ready
    stable does not hold: pod db-0 restarted once
    stable does not hold: pod db-1 restarted once
    stable does not hold: 2 of 3 pods of ai-agents/StatefulSet/db exist
    stable holds: 6 pods ready
    stable does not hold: the pods are unknown: 403
    stable does not hold: ai-agents/StatefulSet/db has no pods
    "###);
}

#[test]
fn a_rollout_and_an_alert_are_asked_for_unless_the_policy_says_any() {
    let mut seen = healthy();
    seen.targets[0].rollout.state = RolloutState::Stuck;
    let deadline = later(600);
    let spec = VerifySpec::default();
    let stuck = judge(&spec, &Progress::default(), &look(&seen, NOW), deadline);
    assert!(matches!(stuck, Judgement::Pending { changed: true, .. }), "{stuck:?}");
    let any: VerifySpec = serde_json::from_value(json!({"rollout": "any"})).expect("a spec");
    assert!(matches!(
        judge(&any, &Progress::default(), &look(&seen, NOW), deadline),
        Judgement::Met(_)
    ));
    let firing = Look { firing: 1, ..look(&seen, NOW) };
    assert!(matches!(
        judge(&any, &Progress::default(), &firing, deadline),
        Judgement::Pending { .. }
    ));
    let gone = facts([]);
    let late = judge(&spec, &Progress::default(), &look(&gone, deadline), deadline);
    assert!(matches!(late, Judgement::Missed(_)), "{late:?}");
}

#[test]
fn a_restart_begins_the_time_anew_and_does_not_end_it_for_good() {
    let spec: VerifySpec =
        serde_json::from_value(json!({"rollout": "any", "alert": "any", "stableFor": "30s"}))
            .expect("a spec");
    let (quiet, mut restarted) = (healthy(), healthy());
    let Fact::Known { value: pods, .. } = &mut restarted.targets[0].pods else { panic!("pods") };
    pods[0].containers[0].restarts += 1;
    let mut progress = Progress::default();
    for (seconds, seen, holds_since) in [
        (0, &quiet, Some(0)),
        (15, &quiet, Some(0)),
        (25, &restarted, None),
        (40, &restarted, Some(40)),
        (55, &restarted, Some(40)),
    ] {
        let judged = judge(&spec, &progress, &look(seen, later(seconds)), later(600));
        let Judgement::Pending { progress: now, .. } = judged else { panic!("{judged:?}") };
        assert_eq!(now.criteria[0].since, holds_since.map(later), "after {seconds} s");
        progress = now;
    }
    let judged = judge(&spec, &progress, &look(&restarted, later(70)), later(600));
    assert!(matches!(judged, Judgement::Met(_)), "{judged:?}");
}

#[test]
fn a_clock_that_is_set_back_begins_the_time_anew() {
    let spec: VerifySpec =
        serde_json::from_value(json!({"rollout": "any", "alert": "any", "stableFor": "30s"}))
            .expect("a spec");
    let seen = healthy();
    let first = judge(&spec, &Progress::default(), &look(&seen, later(3_600)), later(4_200));
    let Judgement::Pending { progress, .. } = first else { panic!("too early") };
    let set_back = judge(&spec, &progress, &look(&seen, later(5)), later(4_200));
    let Judgement::Pending { progress, .. } = set_back else { panic!("{set_back:?}") };
    assert_eq!(progress.criteria[0].since, Some(later(5)), "not in an hour");
}

#[test]
fn a_hold_that_is_met_at_the_deadline_is_met() {
    let spec: VerifySpec =
        serde_json::from_value(json!({"rollout": "any", "alert": "any", "stableFor": "30s"}))
            .expect("a spec");
    let seen = healthy();
    let first = judge(&spec, &Progress::default(), &look(&seen, NOW), later(30));
    let Judgement::Pending { progress, .. } = first else { panic!("too early") };
    assert!(matches!(
        judge(&spec, &progress, &look(&seen, later(30)), later(30)),
        Judgement::Met(_)
    ));
}

/// One look: seconds since the one before, and the query's answer.
fn looks() -> impl Strategy<Value = Vec<(i64, u8)>> {
    prop::collection::vec((prop_oneof![Just(15i64), 0i64..130], 0u8..8), 1..60)
}

fn answer(kind: u8) -> Fact<Vec<f64>> {
    match kind {
        0 => known(vec![0.5]),
        1 => unknown("a time-out"),
        2 => known(Vec::new()),
        _ => known(vec![0.001]),
    }
}

proptest! {
    /// Whether the worker keeps what it saw in its hand or finds it again in the journal, a
    /// criterion is met only when every look of its whole time was good and none was missing.
    #[test]
    fn met_means_held_without_a_break_and_without_a_gap(
        looks in looks(),
        folded in any::<bool>(),
    ) {
        let spec = VerifySpec { query: Some(below()), ..VerifySpec::default() };
        let seen = healthy();
        let (mut before, mut now) = (Progress::default(), NOW);
        let mut history: Vec<(Timestamp, bool)> = Vec::new();
        for (seconds, kind) in looks {
            now += SignedDuration::from_secs(seconds);
            let answer = answer(kind);
            history.push((now, kind > 2));
            let look = Look { query: Some(&answer), ..look(&seen, now) };
            match judge(&spec, &before, &look, Timestamp::MAX) {
                Judgement::Pending { progress, changed } => {
                    if changed || !folded { before = progress; }
                }
                Judgement::Met(_) => {
                    let start = now - SignedDuration::from_secs(60);
                    let from = history.iter().rposition(|(at, _)| *at <= start);
                    let span = &history[from.expect("long enough")..];
                    prop_assert!(span.iter().all(|(_, good)| *good), "{span:?}");
                    let gaps = span.windows(2).map(|two| two[1].0.duration_since(two[0].0));
                    prop_assert!(gaps.into_iter().all(|gap| gap <= LONGEST_GAP), "{span:?}");
                    return Ok(());
                }
                Judgement::Missed(_) => prop_assert!(false, "there is no deadline"),
            }
        }
    }

    /// Looked at every fifteen seconds, good answers are enough: nothing waits for ever.
    #[test]
    fn a_healthy_query_is_met_in_its_time(bad in 0usize..20, folded in any::<bool>()) {
        let spec = VerifySpec { query: Some(below()), ..VerifySpec::default() };
        let seen = healthy();
        let mut before = Progress::default();
        for index in 0..60 {
            let now = later(index as i64 * 15);
            let answer = answer(if index < bad { 0 } else { 7 });
            let look = Look { query: Some(&answer), ..look(&seen, now) };
            match judge(&spec, &before, &look, Timestamp::MAX) {
                Judgement::Met(_) => {
                    prop_assert_eq!(index, bad + 4);
                    return Ok(());
                }
                Judgement::Pending { progress, changed } => if changed || !folded { before = progress },
                Judgement::Missed(_) => prop_assert!(false, "there is no deadline"),
            }
        }
        prop_assert!(false, "it is never met");
    }
}
