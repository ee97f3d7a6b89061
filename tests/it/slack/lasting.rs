//! Whatever ends in between (Orderly, Slack, a connection), no click is lost after it was
//! acknowledged, none counts twice, and the message becomes what the incident is.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "another process goes by the real time")]

use orderly::domain::event::Event;
use orderly::journal::{Order, Search, codec};
use orderly::sandbox::{Fault, FaultMatch, FaultOutcome};

use super::office::{Office, Terms, Way};
use super::workspace::{CHANNEL, Mishap};

/// The events of the conversation of this kind.
async fn said(office: &Office, kind: &'static str) -> Vec<Event> {
    let search =
        Search { kinds: codec::kinds(&[kind]), order: Order::OldestFirst, ..Search::default() };
    let page = office.engine().journal().search(search).await.unwrap();
    page.iter().map(|entry| codec::decode(entry).unwrap().event).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_question_and_click_changes_nothing() {
    let mut office = Office::open(Way::Http).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    office.close().await;
    office.reopen().await;
    office.press("UALICE", &asked, "approve").await;
    let fixed = office.message(&id, "Changed, and proven to have helped").await;
    assert_eq!(fixed.ts, asked.ts, "the message from before the restart is still the state");
    assert_eq!(office.slack.messages().len(), 1);
    office
        .until("the end of the story", |office| {
            let thread = office.slack.thread(&fixed);
            thread.iter().any(|it| it.read().contains("whole timeline")).then_some(())
        })
        .await;
    // A further start says nothing again.
    let calls = |office: &Office| {
        let inner = office.slack.lock();
        inner.calls.iter().filter(|call| call.starts_with("chat.")).count()
    };
    let before = calls(&office);
    office.close().await;
    office.reopen().await;
    let other = office.fire(&[("alertname", "HighErrorRate"), ("pod", "x")]).await;
    office.message(&other, "support-agent").await;
    let inner_messages = office.slack.messages().len();
    assert_eq!(inner_messages, 2);
    assert!(calls(&office) > before);
    let of_first = office.slack.messages()[0].edits;
    assert_eq!(of_first, fixed.edits, "what is settled is left alone");
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_that_was_acknowledged_is_carried_out_after_the_next_start() {
    let mut office = Office::open(Way::Socket).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    // The cluster cannot be looked at: the click is taken, and waits.
    office.sandbox.fault(unreachable());
    office.press("UALICE", &asked, "approve").await;
    assert_eq!(said(&office, "ClickReceived").await.len(), 1);
    // Before anything came of it, the service ends: what is in hand is dropped.
    office.close().await;
    office.sandbox.clear_faults();
    office.reopen().await;
    office.message(&id, "Changed, and proven to have helped").await;
    assert_eq!(office.count(&id, "ApprovalGiven").await, 1);
    assert_eq!(office.count(&id, "StepStarted").await, 1);
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_comes_twice_counts_once() {
    let office = Office::with(Way::Socket, &Terms::quorum(2)).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for 2 approvals").await;
    let click = office.slack.press("UALICE", &asked, "approve");
    // Both connections, and again later.
    let (first, second) = tokio::join!(office.slack.send(&click), office.slack.send(&click));
    assert!(first.is_some() && second.is_some(), "both are acknowledged");
    office.message(&id, "1 of 2 approved").await;
    office.slack.send(&click).await.expect("acknowledged");
    assert_eq!(said(&office, "ClickReceived").await.len(), 1);
    assert_eq!(office.count(&id, "ApprovalGiven").await, 1);
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slack_may_be_away_and_is_told_later() {
    let office = Office::open(Way::Http).await;
    office.slack.lock().down = true;
    let id = office.fire(&[]).await;
    let waiting = |office: &Office| {
        let asking = |it: &orderly::engine::Summary| it.phase == "waiting-for-approval";
        office.engine().board(|board| board.open().any(asking))
    };
    office.until("the question", |office| waiting(office).then_some(())).await;
    assert!(office.slack.messages().is_empty());
    // Somebody decides elsewhere.
    let api = reqwest::Client::new();
    let digest = office.engine().incident(&id).await.unwrap().question.unwrap().digest;
    let url = format!("{}/api/v1/incidents/{id}/approve", office.api());
    let answer = api.post(url).json(&serde_json::json!({"digest": digest})).send().await.unwrap();
    // People are configured and nobody of them has a token: the API is closed. By the engine, then.
    assert_eq!(answer.status(), 401);
    let ada = orderly::domain::event::Person {
        name: "alice".to_owned(),
        groups: vec!["sre".to_owned()],
        path: "api/token".to_owned(),
    };
    office.engine().approve(&id, ada, None, None).await.unwrap();
    office
        .until("the end", |office| {
            office.engine().board(|board| board.ended().next().is_some()).then_some(())
        })
        .await;
    office.slack.lock().down = false;
    let shown = office.message(&id, "Changed, and proven to have helped").await;
    assert_eq!(shown.controls(), ["details"]);
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_bucket_is_respected_and_a_lost_message_is_posted_anew() {
    let office = Office::open(Way::Http).await;
    office.slack.mishap("chat.postMessage", Mishap::Down);
    office.slack.mishap("chat.postMessage", Mishap::Limited(2));
    let began = jiff::Timestamp::now();
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    assert!(
        jiff::Timestamp::now().duration_since(began).as_secs() >= 2,
        "Slack asked for two seconds"
    );
    let posts = office.slack.lock().calls.iter().filter(|it| *it == "chat.postMessage").count();
    assert!(posts >= 2);
    // The message is deleted by hand.
    office.slack.lock().messages.retain(|it| it.ts != asked.ts);
    office.press("UBOB", &asked, "snooze").await;
    office
        .until("a second message", |office| {
            let messages = office.slack.messages();
            let new = messages.iter().find(|it| it.ts != asked.ts)?;
            new.read().contains("put it off").then_some(())
        })
        .await;
    // One that Slack does not take as it is goes in plain words.
    office.slack.mishap("chat.update", Mishap::Refused("invalid_blocks"));
    let newest = office.slack.messages().pop().unwrap();
    office.press("UBOB", &newest, "ask-now").await;
    office
        .until("plain words", |office| {
            let newest = office.slack.messages().pop().unwrap();
            (newest.blocks.is_empty() && newest.text.contains("🟠")).then_some(())
        })
        .await;
    let metrics = office.metrics();
    assert!(
        metrics.contains(
            r#"orderly_slack_calls_total{method="chat.postMessage",outcome="limited"} 1"#
        )
    );
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_costs_a_second_message_at_most() {
    let office = Office::open(Way::Http).await;
    office.slack.mishap("chat.postMessage", Mishap::Lost);
    let id = office.fire(&[]).await;
    let both = office.until("the message again", |office| {
        let messages = office.slack.messages();
        (messages.len() == 2).then_some(messages)
    });
    // Nobody can know whether the first stands; the button of either opens the same plan, once.
    for message in both.await {
        office.press("UALICE", &message, "approve").await;
    }
    office
        .until("the end", |office| {
            let newest = office.slack.messages().pop()?;
            newest.read().contains("Changed, and proven to have helped").then_some(())
        })
        .await;
    assert_eq!(office.count(&id, "ApprovalGiven").await, 1);
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_renewed_and_come_back() {
    let office = Office::open(Way::Socket).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    for reason in [Some("refresh_requested"), Some("warning"), None] {
        office.slack.shake(reason);
        office
            .until("two connections again", |office| {
                (office.slack.connections() >= 2).then_some(())
            })
            .await;
    }
    office.press("UALICE", &asked, "approve").await;
    office.message(&id, "Changed, and proven to have helped").await;
    office
        .until("the metric", |office| {
            office.metrics().contains("orderly_slack_connections 2").then_some(())
        })
        .await;
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_one_message_and_its_end_gives_each_its_own() {
    let terms = Terms {
        more: "rails: {storm: {incidents: 5, within: 20s}}".to_owned(),
        ..Terms::default()
    };
    let office = Office::with(Way::Http, &terms).await;
    let mut ids = Vec::new();
    // Of things that are not there: they end at once, each with an incident of its own.
    for number in 0..30 {
        ids.push(office.fire(&[("agent_id", &format!("ghost-{number}"))]).await);
    }
    let asked = office.fire(&[]).await;
    let storm = office.until("the storm", |office| {
        office.slack.messages().into_iter().find(|it| it.read().contains("Storm:"))
    });
    let storm = storm.await;
    assert!(storm.read().contains("Nothing is changed without a person"), "{}", storm.read());
    office
        .until("the question in the storm's message", |office| {
            let storm = office.slack.messages().into_iter().find(|it| it.ts == storm.ts)?;
            storm.read().contains(asked.as_str()).then_some(())
        })
        .await;
    let messages = office.slack.messages().len();
    assert!(messages <= 6, "{messages} messages for 31 incidents");
    // When it is over, what is still open has a message of its own, and it can be decided on.
    let own = office.message(&asked, "Waits for approval").await;
    assert_eq!(own.channel, CHANNEL);
    office
        .until("the end of the storm", |office| {
            let storm = office.slack.messages().into_iter().find(|it| it.ts == storm.ts)?;
            storm.read().contains("The storm is over").then_some(())
        })
        .await;
    assert!(office.slack.messages().len() <= 7);
    office.press("UALICE", &own, "approve").await;
    office.message(&asked, "Changed, and proven to have helped").await;
    office.clean();
}

/// The API server answers nothing.
fn unreachable() -> Fault {
    Fault::always(FaultMatch::default(), FaultOutcome::HoldBefore)
}
