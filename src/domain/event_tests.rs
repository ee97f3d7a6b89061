//! Every event is read back as it was written, also when a later version wrote more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::domain::action::{self, Stamp};
use crate::domain::diagnosis::{Conclusion, Considered};
use crate::domain::facts::Kind;
use crate::domain::gate::evidence::Evidence;
use crate::domain::gate::{Gate, Stand};
use crate::domain::resolution::{Criterion, CriterionState};
use crate::domain::testing::*;

/// One of each; a variant that is missing here is found by its name.
fn all() -> Vec<Event> {
    let seen = facts([workload(Kind::Deployment, "agent")]);
    let steps = action::plan(&[action(json!({"rollback": {}}))], &seen, Stamp { time: NOW });
    let plan = plan_of(steps.expect("a plan"));
    let digest = plan.digest();
    let by = || person("alice");
    let reason = || "because".to_owned();
    let state = CriterionState {
        criterion: Criterion::Query,
        since: Some(NOW),
        hold: crate::domain::period::Period::from_mins(10),
        evidence: "0.001".to_owned(),
    };
    let progress = || Progress {
        looked: Some(NOW),
        criteria: vec![state.clone()],
        restarts: vec![("uid".to_owned(), 1)],
    };
    let delivery = Delivery {
        receiver: "orderly".to_owned(),
        group: "g".to_owned(),
        truncated_alerts: 2,
        reason: Some("repeat".to_owned()),
        external_url: "http://am".to_owned(),
    };
    let ignored = |why| Ignored { fingerprint: Fingerprint(7), alertname: "X".to_owned(), why };
    let verdict = Verdict {
        gate: Gate::Freeze,
        stand: Stand::Hold { until: NOW },
        evidence: Evidence::Frozen { name: "weekend".to_owned(), until: NOW },
    };
    let considered = Considered { cause: "a".to_owned(), when: None, verdict: "holds".to_owned() };
    let conclusion = Conclusion::Unknown { name: "a".to_owned(), why: reason() };
    let finding = Finding { conclusion, considered: vec![considered] };
    let preview = Preview { diff: "+ a".to_owned(), changes: vec!["a: 1 → 2".to_owned()] };
    let off = IgnoredBecause::PolicyOff { policy: "p".to_owned() };
    vec![
        Event::AlertsReceived { delivery, alerts: vec![alert(1)] },
        Event::AlertsCorrelated {
            through: 9,
            ignored: vec![ignored(off), ignored(IgnoredBecause::NoPolicy)],
            ignored_total: 2,
            duplicates: 1,
        },
        Event::KillSwitchSet { on: true, by: by(), reason: reason() },
        Event::BreakerReset { policy: "p".to_owned(), by: by(), reason: reason() },
        opened(1, "agent-down", policy(vec![action(json!({"scale": {"by": 1, "max": 5}}))])),
        Event::AlertAttached { alert: alert(2) },
        Event::AlertResolved { fingerprint: Fingerprint(2), ended: Some(NOW) },
        Event::TargetsFound { targets: vec![target(Kind::StatefulSet, "db")] },
        Event::TargetNotFound { why: reason() },
        Event::FactsCollected { facts: Box::new(seen) },
        Event::CauseFound { finding },
        Event::PlanProposed { plan: Box::new(plan), digest, previews: vec![preview] },
        Event::PlanImpossible { action: "scale".to_owned(), why: Impossible::Paused },
        Event::GateDecided { digest, ruling: Ruling::Hold { until: NOW }, verdicts: vec![verdict] },
        Event::ApprovalRequested { digest, expires: NOW, quorum: 2 },
        Event::ApprovalGiven { digest, by: by(), reason: Some(reason()) },
        Event::ApprovalRefused { digest, by: by(), reason: reason() },
        Event::DecisionDenied { by: by(), attempt: "approve".to_owned(), why: reason() },
        Event::ApprovalExpired { digest },
        Event::AbortRequested { by: by(), reason: reason() },
        Event::StepStarted { digest, step: 0, attempt: 1 },
        Event::StepFinished {
            step: 0,
            evidence: "200".to_owned(),
            diff: "+ a".to_owned(),
            left: Some(("uid".to_owned(), 4)),
        },
        Event::PlanStale { why: reason() },
        Event::StepFailed { step: 1, why: reason() },
        Event::StepOutcomeUnknown { step: 1, why: reason() },
        Event::StepNotApplied { step: 1, evidence: "generation 3".to_owned() },
        Event::ProgressNoted { progress: progress() },
        Event::ResolutionMet { progress: progress(), healthy: Vec::new() },
        Event::ResolutionMissed { progress: progress() },
        Event::FallbackChosen { index: 1, action: "restart".to_owned() },
        Event::GivenUp { outcome: Outcome::NotFixed, reason: reason() },
        Event::Escalated { to: "oncall".to_owned(), level: Some(0), undelivered: Some(reason()) },
        Event::IncidentClosed { outcome: Outcome::Fixed, reason: reason() },
    ]
}

#[test]
fn every_event_is_read_back_as_it_was_written() {
    let kinds: BTreeSet<_> = all().iter().map(Event::kind).collect();
    assert_eq!(kinds.len(), 33, "an event is missing above");
    for event in all() {
        let text = serde_json::to_string(&event).expect("it is written");
        let read: Event = serde_json::from_str(&text).expect("it is read");
        assert_eq!(read, event);
        // A later version wrote more fields, at every depth of ours.
        let mut more: Value = serde_json::from_str(&text).expect("it is JSON");
        more["inventedLater"] = json!({"deep": [1]});
        assert_eq!(serde_json::from_value::<Event>(more).ok().as_ref(), Some(&event));
    }
}

#[test]
fn nested_reasons_tolerate_more_fields_too() {
    let mut value = json!(all()[13]);
    value["verdicts"][0]["evidence"]["inventedLater"] = json!(1);
    value["verdicts"][0]["inventedLater"] = json!(1);
    assert_eq!(serde_json::from_value::<Event>(value).ok().as_ref(), Some(&all()[13]));
}

#[test]
fn every_ruling_and_impossible_reason_is_read_back() {
    let rulings = [Ruling::Act, Ruling::Ask, Ruling::Preview, Ruling::Deny];
    for ruling in rulings {
        assert_eq!(serde_json::from_value::<Ruling>(json!(ruling)).ok(), Some(ruling));
    }
    let impossible = [
        Impossible::NoTarget,
        Impossible::RelatedNotFound { kind: Kind::DaemonSet, name: "x".to_owned() },
        Impossible::NotScalable { kind: Kind::DaemonSet },
        Impossible::AutoscalerOwns { name: "x".to_owned(), min: 1, max: 2 },
        Impossible::WouldLower {
            resource: "memory limit".to_owned(),
            container: "agent".to_owned(),
            current: quantity("1Gi"),
            wanted: quantity("1Mi"),
        },
        Impossible::Partitioned { partition: 1, replicas: 2 },
        Impossible::QuotaExceeded {
            quota: "house".to_owned(),
            exceeded: vec![crate::domain::action::Exceeded {
                resource: "pods".to_owned(),
                requested: quantity("1"),
                used: quantity("2"),
                limited: quantity("2"),
            }],
        },
        Impossible::NoHealthyRevision { examined: vec!["revision 1 fails".to_owned()] },
    ];
    for why in impossible {
        assert_eq!(serde_json::from_value::<Impossible>(json!(why)).ok(), Some(why));
    }
}

#[test]
fn streams_have_one_name_each() {
    let incident = Stream::Incident(crate::domain::testing::incident_id(1));
    for stream in [Stream::Intake, Stream::Control, Stream::Conversation, incident] {
        assert_eq!(Stream::parse(&stream.name()), Some(stream));
    }
    assert_eq!(Stream::parse("incident/../control"), None);
}
