//! Two Alertmanagers, in touch, out of touch, and in touch again: repeats, groups that grow, silences
//! and inhibitions made while people are asked, and one half that is killed and comes back.

use std::collections::BTreeMap;

use serde_json::json;

use crate::alertmanagers::Pair;
use crate::crashes::journal;
use crate::remedy::web;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_halves_repeats_and_a_group_that_grows_are_one_remediation() {
    let namespace = web("pair");
    // Out of touch, both deliver everything.
    let mut pair = Pair::start(false, &namespace).await;
    pair.post("one", None).await;
    let asking = pair.until_state("waiting-for-approval").await;
    pair.post("two", None).await;
    let before = pair.webhooks().await;
    pair.look("repeats", async || (pair.webhooks().await >= before + 6.0).then_some(())).await;
    // The second alert of the group opened an incident of its own and joined the first.
    let open = pair.open().await;
    assert_eq!(open.len(), 1, "{open:#?}");

    let id = asking["id"].as_str().unwrap().to_owned();
    pair.decide(&id, "approve", json!({})).await;
    pair.until_state("verifying").await;
    pair.post("one", Some(jiff::Timestamp::now())).await;
    pair.post("two", Some(jiff::Timestamp::now())).await;
    let id = id.parse().unwrap();
    pair.remedy.until_over(&id, "fixed").await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_made_on_one_half_while_people_are_asked_holds_the_change() {
    let namespace = web("silence");
    let mut pair = Pair::start(true, &namespace).await;
    pair.post("one", None).await;
    let asking = pair.until_state("waiting-for-approval").await;
    let id = asking["id"].as_str().unwrap().to_owned();

    let silence = pair.silence().await;
    pair.until_silences(1, 1).await;
    pair.decide(&id, "approve", json!({})).await;
    let held = pair.until_state("held").await;
    assert!(held["standing"].as_str().is_some_and(|it| it.contains("silence")), "{held:#}");
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 1);

    // The end of the silence lets it through: the approval still stands for the same plan.
    pair.unsilence(0, &silence).await;
    pair.through(&id, &["one"]).await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}

/// Cut off from each other, both halves deliver, and what one is told the other does not know. Orderly
/// asks both: it goes by the more cautious answer, before and after they have found each other again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_heals_costs_no_second_change_and_hides_no_silence() {
    let namespace = web("partition");
    let mut pair = Pair::start(true, &namespace).await;
    pair.post("one", None).await;
    let asking = pair.until_state("waiting-for-approval").await;
    let id = asking["id"].as_str().unwrap().to_owned();

    pair.in_touch(false).await;
    let before = pair.webhooks().await;
    pair.post("two", None).await;
    pair.look("repeats of both", async || (pair.webhooks().await >= before + 6.0).then_some(()))
        .await;
    assert_eq!(pair.open().await.len(), 1, "{:#?}", pair.open().await);
    let silence = pair.silence().await;
    pair.decide(&id, "approve", json!({})).await;
    let held = pair.until_state("held").await;
    assert!(held["standing"].as_str().is_some_and(|it| it.contains("silence")), "{held:#}");
    assert_eq!(pair.silences(1).await, 0, "they are apart: the other half knows of none");

    pair.in_touch(true).await;
    pair.until_silences(1, 1).await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 1);
    // Taken back where it was not made.
    pair.unsilence(1, &silence).await;
    pair.until_silences(0, 0).await;
    pair.through(&id, &["one", "two"]).await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inhibition_that_begins_while_people_are_asked_holds_the_change() {
    let namespace = web("inhibition");
    let mut pair = Pair::start(true, &namespace).await;
    pair.post("one", None).await;
    let asking = pair.until_state("waiting-for-approval").await;
    let id = asking["id"].as_str().unwrap().to_owned();

    // Not resolved, only no longer told: the node under it is down.
    let node = json!({"alertname": "NodeDown"});
    pair.post_alert(node.clone(), None).await;
    pair.decide(&id, "approve", json!({})).await;
    let held = pair.until_state("held").await;
    assert!(held["standing"].as_str().is_some_and(|it| it.contains("inhibit")), "{held:#}");
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 1);

    pair.post_alert(node, Some(jiff::Timestamp::now())).await;
    pair.through(&id, &["one"]).await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}

/// Killed and started again, a half has no alerts and no memory of what it delivered: it answers "not
/// found" where the other answers "firing", and delivers everything once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_half_that_is_killed_and_comes_back_changes_nothing() {
    let namespace = web("restarted");
    let mut pair = Pair::start(true, &namespace).await;
    pair.post("one", None).await;
    let asking = pair.until_state("waiting-for-approval").await;
    let id = asking["id"].as_str().unwrap().to_owned();

    pair.kill(0);
    let before = pair.webhooks().await;
    pair.look("a repeat of the half that is left", async || {
        (pair.webhooks().await > before).then_some(())
    })
    .await;
    pair.up(0);
    pair.up_and_ready(0).await;
    pair.until_peers(2).await;
    // Prometheus sends again what fires; here only after it was decided without.
    pair.decide(&id, "approve", json!({})).await;
    pair.until_state("verifying").await;
    pair.post("one", None).await;
    let before = pair.webhooks().await;
    pair.look("more repeats", async || (pair.webhooks().await >= before + 2.0).then_some(())).await;
    assert_eq!(pair.incidents().await.len(), 1, "{:#?}", pair.incidents().await);
    pair.through(&id, &["one"]).await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}

/// Killed in the middle of deliveries, again and again: what was acknowledged comes once more, what was
/// not comes at last, and neither makes a second incident of an alert.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_during_deliveries_no_alert_is_lost_and_none_counts_twice() {
    const ALERTS: usize = 40;

    let namespace = web("deliveries");
    let mut pair = Pair::start(false, &namespace).await;
    let instances: Vec<_> = (0..ALERTS).map(|number| number.to_string()).collect();
    for (number, instance) in instances.iter().enumerate() {
        pair.post(instance, None).await;
        let half = number / 10 % 2;
        match number % 10 {
            // Groups that have grown are told after a second: some of this burst are on their way.
            3 => {
                let before = pair.webhooks().await;
                pair.look("a delivery", async || (pair.webhooks().await > before).then_some(()))
                    .await;
                pair.kill(half);
            }
            7 => {
                pair.up(half);
                pair.up_and_ready(half).await;
            }
            _ => {}
        }
    }
    for instance in &instances {
        pair.post(instance, None).await;
    }
    let at = pair.remedy.directory.path().to_owned();
    let taken = || {
        let mut taken = BTreeMap::new();
        for event in journal(&at) {
            let alert = match event["kind"].as_str() {
                Some("IncidentOpened" | "AlertAttached") => &event["event"]["alert"],
                _ => continue,
            };
            let instance = alert["labels"]["instance"].as_str().unwrap().to_owned();
            *taken.entry(instance).or_insert(0) += 1;
        }
        taken
    };
    pair.look("every alert", async || (taken().len() == ALERTS).then_some(())).await;
    assert!(taken().values().all(|times| *times == 1), "{:#?}", taken());
    let asking = pair.until_state("waiting-for-approval").await;
    let id = asking["id"].as_str().unwrap().to_owned();
    assert_eq!(pair.incidents().await.len(), 1, "{:#?}", pair.incidents().await);
    let instances: Vec<_> = instances.iter().map(String::as_str).collect();
    pair.through(&id, &instances).await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}
