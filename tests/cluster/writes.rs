//! `kill -9` at each write of a remediation, right before and right after the API server has it: the
//! next process finds out which, and finishes without doing anything twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::between::{Between, Fate};
use crate::crashes::{alert, configure, journal, workload};
use crate::plane::Namespace;
use crate::serving::Serving;

/// Two steps: for each a dry run, the change, and the Event on the object. What a conflict makes it
/// send again comes on top.
const WRITES: u64 = 6;
/// More than that is no remediation of two steps any more.
const TOO_MANY: u64 = 20;

/// How the incident of the workload ended, if it has.
async fn outcome(serving: &Serving, name: &str) -> Option<String> {
    let url = format!("{}/api/v1/incidents", serving.api);
    let list: Value = Client::new().get(url).send().await.ok()?.json().await.ok()?;
    let name = format!("/{name}");
    let mut all = list["incidents"].as_array()?.iter();
    let found = all.find(|it| it["target"].as_str().is_some_and(|target| target.ends_with(&name)));
    found?["outcome"].as_str().map(str::to_owned)
}

/// Dies at the write of that number, if there are so many; else the remediation went through.
fn at_write(namespace: &Namespace, number: u64, fate: Fate, between: &Between) -> Arc<AtomicBool> {
    let (killed, mut left) = (Arc::new(AtomicBool::new(false)), number);
    let (told, place) = (killed.clone(), format!("/namespaces/{}/", namespace.0));
    between.script(move |method, path| {
        let writes = *method != Method::GET && path.contains(&place);
        if !writes || told.load(Ordering::SeqCst) {
            return Fate::Forward;
        }
        if left > 0 {
            left -= 1;
            return Fate::Forward;
        }
        told.store(true, Ordering::SeqCst);
        fate
    });
    killed
}

async fn killed_at_each_write(fate: Fate, test: &str) {
    let namespace = Namespace::new(test);
    let between = Between::start().await;
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    configure(at, &namespace.0, &between.kubeconfig());

    let mut serving = Serving::start(at, &["--init"]);
    serving.ready().await;
    let mut number = 0;
    loop {
        namespace.apply(&workload(number));
        namespace.rolled_out(&format!("deployment/web-{number}"));
        let name = format!("web-{number}");
        between.victim(serving.pid());
        let killed = at_write(&namespace, number, fate, &between);
        let webhook = Client::new().post(format!("{}/webhook", serving.api));
        let sent = webhook.json(&alert(number, &name)).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::ACCEPTED);
        let survived = loop {
            if killed.load(Ordering::SeqCst) {
                assert!(!serving.ended().await.success());
                serving = Serving::start(at, &[]);
                serving.ready().await;
                break false;
            }
            // The flag is set before the process dies: asked in this order, nothing is overlooked.
            if outcome(&serving, &name).await.is_some() {
                break !killed.load(Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let what = format!("end of the incident of {name}");
        let ended = serving.until(&what, async |serving: &Serving| outcome(serving, &name).await);
        let ended = ended.await;
        let log = || serving.log().join("\n");
        assert_eq!(ended, "fixed", "killed at write {number}:\n{}", log());
        // Two steps, two generations: one more would be a step that was carried out twice.
        let object = namespace.get(&format!("deployment/{name}"));
        assert_eq!(object["metadata"]["generation"], 3, "killed at write {number}");
        let container = &object["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["resources"]["limits"]["memory"], "65Mi", "killed at write {number}");
        if survived {
            break;
        }
        number += 1;
        assert!(number < TOO_MANY, "{:#?}", between.seen());
    }
    assert!(number >= WRITES, "it died only {number} times");
    serving.terminate();
    assert!(serving.ended().await.success());
    let finished = journal(at).iter().filter(|it| it["kind"] == "StepFinished").count() as u64;
    assert_eq!(finished, 2 * (number + 1));
    println!("{number} kills, {finished} steps, each done once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_right_before_each_write_nothing_is_missing() {
    killed_at_each_write(Fate::KillBefore, "before-writes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_right_after_each_write_nothing_is_done_twice() {
    killed_at_each_write(Fate::KillAfter, "after-writes").await;
}
