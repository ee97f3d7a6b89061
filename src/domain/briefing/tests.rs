//! What a person is told in each standing, and what is never made of a label.

use super::super::event::Event;
use super::super::incident::Phase;
use super::super::testing::*;
use super::*;

#[test]
fn a_briefing_says_what_where_why_and_what_can_be_done() {
    let briefing = Briefing::of(&asked_incident(1));
    assert_eq!(briefing.headline, "AgentDown on ai-agents/Deployment/agent");
    assert_eq!(briefing.standing, Standing::Waiting);
    assert_eq!(briefing.offers, [Offer::Approve, Offer::Refuse, Offer::Snooze]);
    assert_eq!(briefing.namespace.as_deref(), Some("ai-agents"));
    assert_eq!(briefing.severity.as_deref(), Some("critical"));
    let evidence = briefing.evidence.join("\n");
    for part in [
        "1 of 3 pods ready",
        "`agent`: OOMKilled (exit code 137) in 1 pod, 4 restarts, last 2m ago",
        "logs could not be read: the kubelet does not answer",
    ] {
        assert!(evidence.contains(part), "`{part}` is not in\n{evidence}");
    }
    assert_eq!(briefing.blast_radius, ["replaces 3 pods of agent, a few at a time"]);
    assert_eq!(briefing.concerns.len(), 1, "{:?}", briefing.concerns);
    let question = briefing.question.expect("a question");
    assert_eq!((question.quorum, question.groups), (1, vec!["sre".to_owned()]));
    assert!(
        briefing.next.contains("people are called at 2026-11-22 03:15:00 UTC"),
        "{}",
        briefing.next
    );
}

#[test]
fn only_addresses_of_the_web_are_links() {
    let briefing = Briefing::of(&asked_incident(1));
    let titles: Vec<_> = briefing.links.iter().map(|link| link.title.as_str()).collect();
    assert_eq!(titles, ["Runbook", "Prometheus"], "javascript: is no place to look");
    for wrong in [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://a|b",
        "https://a>b",
        "https://a b",
        "ftp://a",
        "",
        "//evil.example",
    ] {
        assert_eq!(Link::new("x", wrong), None, "{wrong}");
    }
    assert!(Link::new("x", &format!("https://{}", "a".repeat(3000))).is_none());
}

#[test]
fn what_can_be_done_follows_from_where_it_stands() {
    let asked = asked_incident(2);
    let digest = asked.question.as_ref().expect("a question").digest;
    let after = |events: &[Event]| {
        let mut incident = asked.clone();
        events.iter().for_each(|event| incident.apply(later(60), event));
        Briefing::of(&incident)
    };
    let yes = |name| Event::ApprovalGiven { digest, by: person(name), reason: None };
    let half = after(&[yes("alice")]);
    assert!(half.status.contains("1 of 2 approved (alice)"), "{}", half.status);
    let asleep = after(&[Event::Snoozed { by: person("bob"), until: later(900), reason: None }]);
    assert_eq!(asleep.standing, Standing::Snoozed);
    assert_eq!(asleep.offers, [Offer::AskNow, Offer::Abort]);
    assert!(asleep.question.is_none());
    let looked_at = after(&[yes("alice"), yes("bob")]);
    assert_eq!((looked_at.standing, looked_at.offers), (Standing::Looking, Vec::new()));
    let started = after(&[Event::StepStarted { digest, step: 0, attempt: 1 }]);
    assert_eq!((started.standing, started.offers), (Standing::Executing, vec![Offer::Abort]));
    let stopping = after(&[
        Event::StepStarted { digest, step: 0, attempt: 1 },
        Event::AbortRequested { by: person("bob"), reason: "no".to_owned() },
    ]);
    assert_eq!(stopping.offers, [], "it is being stopped already");
    for outcome in Outcome::ALL {
        let reason = "because".to_owned();
        let over = after(&[Event::IncidentClosed { outcome, reason }]);
        assert_eq!((over.standing, over.offers), (Standing::Ended(outcome), Vec::new()));
        assert!(over.status.ends_with(": because"), "{}", over.status);
    }
    assert!(matches!(asked.phase, Phase::Asking));
}
