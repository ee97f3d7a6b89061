//! What is counted, for how long, and that a restart counts the same.

use serde_json::json;

use super::*;
use crate::domain::action::{self, Stamp};
use crate::domain::facts::Kind;
use crate::domain::testing::*;

type Noted = (Stream, Timestamp, Event);

fn fold(events: &[Noted]) -> Ledger {
    let mut ledger = Ledger::default();
    for (stream, at, event) in events {
        ledger.note(stream, *at, event);
    }
    ledger
}

fn on(number: u64, seconds: i64, event: Event) -> Noted {
    (Stream::Incident(incident_id(number)), later(seconds), event)
}

fn proposed(written: serde_json::Value) -> Event {
    let mut seen = facts([workload(Kind::Deployment, "agent")]);
    seen.related = vec![workload(Kind::StatefulSet, "db")];
    let steps = action::plan(&[action(written)], &seen, Stamp { time: NOW }).expect("a plan");
    let plan = plan_of(steps);
    Event::PlanProposed { digest: plan.digest(), plan: Box::new(plan), previews: Vec::new() }
}

fn started() -> Event {
    let digest = plan_of(Vec::new()).digest();
    Event::StepStarted { digest, step: 0, attempt: 1 }
}

fn stale() -> Event {
    Event::PlanStale { why: "it changed".to_owned() }
}

fn closed(outcome: Outcome) -> Event {
    Event::IncidentClosed { outcome, reason: "over".to_owned() }
}

fn begun(number: u64, seconds: i64, written: serde_json::Value) -> Vec<Noted> {
    let targets = vec![target(Kind::Deployment, "agent")];
    vec![
        on(number, seconds, opened(number, "agent-down", policy(Vec::new()))),
        on(number, seconds, Event::TargetsFound { targets }),
        on(number, seconds, proposed(written)),
        on(number, seconds, started()),
    ]
}

fn restart() -> serde_json::Value {
    json!({"restart": {}})
}

fn ends(number: u64, outcome: Outcome) -> Vec<Noted> {
    [begun(number, 0, restart()), vec![on(number, 9, closed(outcome))]].concat()
}

#[test]
fn a_change_counts_from_its_first_step_and_once_for_all_tries() {
    let mut events = begun(1, 0, restart());
    let digest = plan_of(Vec::new()).digest();
    events.push(on(1, 5, Event::StepStarted { digest, step: 0, attempt: 2 }));
    events.push(on(1, 6, Event::StepStarted { digest, step: 1, attempt: 1 }));
    let ledger = fold(&events);
    let changes: Vec<_> = ledger.changes_since(NOW).collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].target, target(Kind::Deployment, "agent"));
    assert_eq!(ledger.changes_since(later(1)).count(), 0);
    assert_eq!(ledger.in_hand(), [&target(Kind::Deployment, "agent")].into());
}

#[test]
fn a_stale_plan_uncounts_itself_and_nothing_else() {
    let mut events = begun(1, 0, restart());
    // The fallback of the same incident is stale; another incident came in between.
    events.extend([on(1, 60, proposed(restart())), on(1, 61, started())]);
    events.extend(begun(2, 62, restart()));
    events.push(on(1, 63, stale()));
    let ledger = fold(&events);
    let at: Vec<_> = ledger.changes_since(NOW).map(|change| change.at).collect();
    assert_eq!(at, [NOW, later(62)]);
    // Stale before anything was started: there is nothing to uncount.
    let ledger = fold(&[events, vec![on(1, 64, stale())]].concat());
    assert_eq!(ledger.changes_since(NOW).count(), 2);
    // And what never ran is not in hand.
    let ledger = fold(&[begun(3, 0, restart()), vec![on(3, 1, stale())]].concat());
    assert!(ledger.in_hand().is_empty() && ledger.changes_since(NOW).next().is_none());
}

#[test]
fn a_message_is_no_change() {
    let events = begun(1, 0, json!({"escalate": {"to": "oncall"}}));
    let ledger = fold(&[events, vec![on(1, 1, closed(Outcome::Aborted))]].concat());
    assert_eq!(ledger.changes_since(NOW).count(), 0);
    assert_eq!(ledger.ineffective("agent-down"), 0);
}

#[test]
fn a_fix_of_another_workload_has_it_in_hand_while_it_runs() {
    let db = target(Kind::StatefulSet, "db");
    let events = begun(1, 0, json!({"restart": {"on": {"kind": "StatefulSet", "name": "db"}}}));
    let (one, two) = (incident_id(1), incident_id(2));
    assert_eq!(fold(&events).others_on(&two, &db).collect::<Vec<_>>(), [&one]);
    // Merely planned, it does not bar the way of the incident that is about the database itself.
    assert_eq!(fold(&events[..3]).others_on(&two, &db).count(), 0);
    assert_eq!(fold(&events).others_on(&one, &db).count(), 0);
}

#[test]
fn the_breaker_counts_what_did_not_help_however_it_ended() {
    let missed = Event::ResolutionMissed { progress: Default::default() };
    let then = |outcome| {
        let end = vec![on(1, 1, missed.clone()), on(1, 2, closed(outcome))];
        fold(&[begun(1, 0, restart()), end].concat()).ineffective("agent-down")
    };
    for outcome in Outcome::ALL {
        let counted = match outcome {
            Outcome::NotFixed | Outcome::Failed | Outcome::Aborted => 1,
            _ => 0,
        };
        assert_eq!(fold(&ends(1, outcome)).ineffective("agent-down"), counted, "{outcome:?}");
        // The fallback was denied, refused, impossible: the fix still did not help.
        let expected = u32::from(outcome != Outcome::Fixed);
        assert_eq!(then(outcome), expected, "{outcome:?}");
    }
}

#[test]
fn success_and_a_person_reset_the_breaker() {
    let twice = [ends(1, Outcome::NotFixed), ends(2, Outcome::Failed)].concat();
    assert_eq!(fold(&twice).ineffective("agent-down"), 2);
    assert_eq!(fold(&twice).all_ineffective().collect::<Vec<_>>(), [("agent-down", 2)]);
    let fixed = [twice.clone(), ends(3, Outcome::Fixed)].concat();
    assert_eq!(fold(&fixed).ineffective("agent-down"), 0);
    let (policy, by, reason) = ("agent-down".to_owned(), person("alice"), "mended".to_owned());
    let reset = (Stream::Control, later(10), Event::BreakerReset { policy, by, reason });
    assert_eq!(fold(&[twice, vec![reset]].concat()).ineffective("agent-down"), 0);
}

#[test]
fn the_past_is_forgotten_after_the_horizon_and_what_is_open_is_not() {
    let week = HORIZON.as_secs();
    let mut events = begun(1, 0, restart());
    events.push(on(2, week, opened(2, "other", policy(Vec::new()))));
    assert_eq!(fold(&events).changes_since(Timestamp::MIN).count(), 1);
    events.push(on(3, week + 1, opened(3, "other", policy(Vec::new()))));
    let ledger = fold(&events);
    assert_eq!(ledger.changes_since(Timestamp::MIN).count(), 0);
    assert_eq!(ledger.opened_since(Timestamp::MIN).count(), 2);
    assert_eq!(ledger.in_hand().len(), 1);
}

#[test]
fn a_restart_at_any_point_counts_the_same() {
    let mut events = [ends(1, Outcome::NotFixed), begun(2, 5, restart())].concat();
    let (by, reason) = (person("alice"), "stop".to_owned());
    events.push((Stream::Control, later(6), Event::KillSwitchSet { on: true, by, reason }));
    events.push(on(2, 7, stale()));
    for cut in 0..=events.len() {
        let mut running = fold(&events[..cut]);
        for (stream, at, event) in &events[cut..] {
            running.note(stream, *at, event);
        }
        assert_eq!(format!("{running:?}"), format!("{:?}", fold(&events)));
    }
    let switch = fold(&events).kill_switch().cloned().expect("it is on");
    assert_eq!((switch.by.name.as_str(), switch.since), ("alice", later(6)));
}

#[test]
fn the_watchdog_is_noted_only_when_it_is_watched() {
    let received = |name: &str| {
        let mut one = alert(1);
        one.labels = [("alertname".to_owned(), name.to_owned())].into();
        let delivery = crate::domain::alert::Delivery {
            receiver: "orderly".to_owned(),
            group: String::new(),
            truncated_alerts: 0,
            reason: None,
            external_url: String::new(),
        };
        (Stream::Intake, later(5), Event::AlertsReceived { delivery, alerts: vec![one] })
    };
    let (stream, at, event) = received("Watchdog");
    let mut ledger = Ledger::default();
    ledger.note(&stream, at, &event);
    assert_eq!(ledger.watchdog_seen("Watchdog"), None);
    ledger.watch("Watchdog");
    assert_eq!(ledger.watchdog_seen("Watchdog"), None);
    ledger.note(&stream, at, &event);
    assert_eq!(ledger.watchdog_seen("Watchdog"), Some(later(5)));
}

#[test]
fn whoever_was_asked_first_is_not_hindered_by_whoever_only_looked() {
    let agent = target(Kind::Deployment, "agent");
    let asked = |events: Vec<_>| {
        let digest = plan_of(Vec::new()).digest();
        let question = Event::ApprovalRequested { digest, expires: later(60), quorum: 1 };
        [events, vec![on(1, 2, question)]].concat()
    };
    let both =
        [begun(1, 0, restart())[..3].to_vec(), begun(2, 0, restart())[..3].to_vec()].concat();
    let (one, two) = (incident_id(1), incident_id(2));
    let before = fold(&both);
    assert!(before.others_on(&one, &agent).eq([&two]) && before.others_on(&two, &agent).eq([&one]));
    let after = fold(&asked(both.clone()));
    assert!(after.engaged(&one) && !after.engaged(&two));
    assert_eq!(after.others_on(&one, &agent).count(), 0, "its approval counts");
    assert_eq!(after.others_on(&two, &agent).collect::<Vec<_>>(), [&one], "one hand at a time");
    // Whoever has changed something is never passed over.
    let changed = fold(&asked([both, begun(2, 1, restart())[3..].to_vec()].concat()));
    assert_eq!(changed.others_on(&one, &agent).collect::<Vec<_>>(), [&two]);
}
