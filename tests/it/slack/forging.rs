//! What is not Slack's, not this plan's, not this cluster's or not for this person opens nothing. Each
//! of these fails when the defence that it is about is taken away.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use http::StatusCode;
use serde_json::json;

use super::office::{Office, Terms, Way};
use super::workspace::{SIGNING, form, now, signed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_slack_is_believed_and_each_request_once() {
    let office = Office::open(Way::Http).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    let click = office.slack.press("UALICE", &asked, "approve");
    let (path, body) = form(&click);
    let at = now().to_string();
    let send = async |at: &str, body: &str, signature: &str| {
        office.slack.post_signed(&office.api(), path, body, at, signature).await
    };
    let right = signed(SIGNING, &at, &body);
    let old = (now() - 301).to_string();
    let ahead = (now() + 302).to_string();
    let other = body.replace("UALICE", "UBOB");
    for (why, at, body, signature) in [
        ("another secret", &at, &body, signed("guessed", &at, &body)),
        ("no signature", &at, &body, String::new()),
        ("another body", &at, &other, right.clone()),
        ("too old", &old, &body, signed(SIGNING, &old, &body)),
        ("from the future", &ahead, &body, signed(SIGNING, &ahead, &body)),
        ("another time", &(now() - 1).to_string(), &body, right.clone()),
    ] {
        let (status, said) = send(at, body, &signature).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{why}: {said}");
    }
    assert_eq!(office.count(&id, "ApprovalGiven").await, 0);
    assert_eq!(send(&at, &body, &right).await.0, StatusCode::OK);
    let (status, said) = send(&at, &body, &right).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(said.contains("came before"), "{said}");
    // The same with the letters of the signature in another case is the same.
    let shouted = right.replace("v0=", "").to_ascii_uppercase();
    let (status, _) = send(&at, &body, &format!("v0={shouted}")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    office.message(&id, "Changed, and proven to have helped").await;
    assert_eq!(office.count(&id, "ApprovalGiven").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_signing_secret_there_is_no_door() {
    let office = Office::open(Way::Socket).await;
    let (status, said) = office.slack.post(&office.api(), &json!({"type": "block_actions"})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(said.contains("signingSecretFile"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_is_for_its_own_action_plan_incident_and_cluster() {
    let office = Office::open(Way::Http).await;
    let elsewhere = Office::open(Way::Http).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    let there = elsewhere.fire(&[]).await;
    let foreign = elsewhere.message(&there, "Waits for approval").await;
    let value = |message: &super::workspace::Message, action: &str| {
        message.control(action).unwrap()["value"].as_str().unwrap().to_owned()
    };
    let approve = value(&asked, "approve");
    let mut parts: Vec<_> = approve.split('.').map(str::to_owned).collect();
    let other_incident = {
        let mut parts = parts.clone();
        parts[0] = "0123456789ab".to_owned();
        parts.join(".")
    };
    let longer = {
        parts[2] = (now() + 1_000_000).to_string();
        parts.join(".")
    };
    let made_up = [
        ("another action's", value(&asked, "refuse")),
        ("another cluster's", value(&foreign, "approve")),
        ("another incident", other_incident),
        ("a longer life", longer),
        ("a bare id", id.to_string()),
        ("nothing", String::new()),
    ];
    let refused = "does not belong to this Orderly";
    for (count, (why, value)) in made_up.iter().enumerate() {
        let click = office.slack.press_value("UALICE", &asked, "approve", &json!(value));
        office.deliver_click(&click).await;
        office
            .until(why, |office| {
                let told = office.slack.whispers("UALICE");
                (told.iter().filter(|it| it.contains(refused)).count() > count).then_some(())
            })
            .await;
    }
    assert_eq!(office.count(&id, "ApprovalGiven").await, 0);
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_words_call_nobody_and_lead_nowhere() {
    let office = Office::open(Way::Http).await;
    let evil =
        "<!channel> <@UALICE> <!subteam^S0001> <https://evil.example|Runbook> `x` *bold* @here";
    let id = office.fire(&[("severity", evil), ("note", evil)]).await;
    let asked = office.message(&id, "Waits for approval").await;
    assert!(asked.read().contains("&lt;!channel&gt;"), "{}", asked.read());
    office.press("UALICE", &asked, "details").await;
    let details =
        office.until("the details", |office| office.slack.lock().views.first().cloned()).await;
    assert!(details.to_string().contains("&lt;!subteam^S0001&gt;"), "{details}");
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_clicks_decides_nothing_twice_and_keeps_its_bounds() {
    let office = Office::with(Way::Http, &Terms::quorum(2)).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for 2 approvals").await;
    let presses = (0..200).map(|number| {
        let user = if number % 2 == 0 { "UALICE" } else { "UMALLORY" };
        let click = office.slack.press(user, &asked, "approve");
        let (slack, api) = (office.slack.clone(), office.api());
        async move { slack.post(&api, &click).await.0 }
    });
    let answers = futures::future::join_all(presses).await;
    let odd =
        answers.iter().filter(|it| ![StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(it));
    assert_eq!(odd.count(), 0);
    office.message(&id, "1 of 2 approved").await;
    assert_eq!(office.count(&id, "ApprovalGiven").await, 1);
    assert_eq!(office.count(&id, "StepStarted").await, 0);
    office.clean();
}
