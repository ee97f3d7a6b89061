//! A storm: 10,000 alerts about 500 workloads within a minute. The brake holds, nothing that was
//! acknowledged is lost, memory stays flat, the API server is not hammered, and the end of the alerts
//! empties the queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use orderly::kubernetes::budget::{BURST, REQUESTS_PER_SECOND};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::between::{Between, Fate};
use crate::crashes::{configure, journal};
use crate::plane::{Namespace, audited, kubeconfig, try_kubectl};
use crate::remedy::{Policy, Remedy, firing, web, webhook};
use crate::serving::Serving;
use crate::witness::changes;

const TARGETS: usize = 500;
const ALERTS: usize = 10_000;
/// Alertmanager's deliveries are groups; these are large ones.
const TOGETHER: usize = 50;
/// Deliveries under way at one time: a pair of Alertmanagers with a few receivers each.
const SENDERS: usize = 4;
/// The brake: when so many incidents were opened within its window, `auto` is held.
const BRAKE: usize = 20;
/// The brake's window, as it is shipped. The alerts take a quarter of a minute when nothing else runs.
const WINDOW: Duration = Duration::from_secs(300);
/// What the process may take: about 40 MiB at rest without optimisation, and a hundred times 1 MiB
/// for each of the largest bodies and entries in flight would still fit. What grows with each alert
/// by more than 10 KiB does not.
const MEMORY: u64 = 256 * 1024 * 1024;

fn memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Samples the memory until it is stopped; the most that was seen.
fn watch_memory(pid: u32) -> (Arc<AtomicBool>, std::thread::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        while !stopped.load(Ordering::SeqCst) {
            most = most.max(memory(pid).unwrap_or(0));
            std::thread::sleep(Duration::from_millis(100));
        }
        most
    });
    (stop, watching)
}

fn alert(number: usize, ended: Option<Timestamp>) -> Value {
    let workload = format!("web-{}", number % TARGETS);
    let labels = json!({"alertname": "Test", "workload": workload, "round": number.to_string()});
    let mut alert = firing(labels);
    if let Some(ended) = ended {
        alert["status"] = json!("resolved");
        alert["endsAt"] = json!(ended);
    }
    alert
}

/// Delivers all alerts; a delivery that is shed comes again, as Alertmanager's do. How many were.
async fn deliver(api: &str, ended: Option<Timestamp>) -> usize {
    let (client, url) = (&Client::new(), &format!("{api}/webhook"));
    let deliveries = stream::iter((0..ALERTS).step_by(TOGETHER)).map(|first| async move {
        let alerts: Vec<_> = (first..first + TOGETHER).map(|it| alert(it, ended)).collect();
        let body = webhook(&alerts);
        let mut shed = 0;
        loop {
            match client.post(url).json(&body).send().await.unwrap().status() {
                StatusCode::ACCEPTED => return shed,
                StatusCode::SERVICE_UNAVAILABLE => shed += 1,
                other => panic!("neither taken nor shed: {other}"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    deliveries.buffer_unordered(SENDERS).fold(0, |sum, shed| async move { sum + shed }).await
}

/// How many incidents are in each state, as `/status` counts them.
async fn states(serving: &Serving) -> Option<Value> {
    let url = format!("{}/status", serving.admin);
    let status: Value = Client::new().get(url).send().await.ok()?.json().await.ok()?;
    Some(status["incidents"].clone())
}

/// The most requests of the reading identity that the API server took within so many seconds.
fn most_within(seen: &[Value], seconds: i64) -> usize {
    // What only the reader asks for.
    let read = |entry: &&Value| {
        let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
        entry["verb"] == "list" && resource != "deployments"
    };
    let time = |entry: &Value| -> Timestamp {
        entry["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap()
    };
    let mut times: Vec<_> = seen.iter().filter(read).map(time).collect();
    times.sort();
    let window = jiff::SignedDuration::from_secs(seconds);
    let within = |from: usize| times.partition_point(|it| *it < times[from] + window) - from;
    (0..times.len()).map(within).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_alerts_are_kept_and_change_next_to_nothing() {
    let namespace = Namespace::new("storm");
    // Without pods: what is looked at and what is held is the same, and the cluster of the test has
    // better things to do than to play 500 pods.
    let workload = |number: usize| {
        let name = format!("web-{number}");
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "registry.example.com/app:v1",
                    "resources": {"limits": {"memory": "1Mi"}}}]},
            }},
        })
    };
    let items: Vec<_> = (0..TARGETS).map(workload).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let (made, said) = try_kubectl(&["-n", &namespace.0, "create", "-f", "-"], &list.to_string());
    assert!(made, "{said}");

    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    configure(at, &namespace.0, &kubeconfig());
    let config = std::fs::read_to_string(at.join("orderly.yaml")).unwrap();
    let config =
        config.replace("storm: {incidents: 1000}", &format!("storm: {{incidents: {BRAKE}}}"));
    std::fs::write(at.join("orderly.yaml"), config).unwrap();
    let mut serving = Serving::start(at, &["--init"]);
    serving.ready().await;
    serving.patience = Duration::from_secs(240);
    let at_rest = memory(serving.pid()).unwrap();
    let (stop, watching) = watch_memory(serving.pid());

    let began = Instant::now();
    let shed = deliver(&serving.api, None).await;
    let delivered = began.elapsed();
    assert!(delivered < WINDOW, "that was no storm: {delivered:?}");
    // The brake has been asked by many by then, and has let nobody through but the first.
    serving
        .until("incidents that are held", async |serving: &Serving| {
            states(serving)
                .await
                .filter(|it| it["held"].as_u64() >= Some(3 * BRAKE as u64))
                .map(drop)
        })
        .await;
    let at_height = states(&serving).await.unwrap();
    let changed: BTreeSet<_> = audited(&namespace.0)
        .iter()
        .filter(|entry| changes(entry))
        .map(|entry| entry["objectRef"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(changed.len() < BRAKE, "{changed:?}");

    let ending = Instant::now();
    let shed = shed + deliver(&serving.api, Some(Timestamp::now())).await;
    serving
        .until("empty queue", async |serving: &Serving| {
            let open = format!("{}/api/v1/incidents?state=open", serving.api);
            let open: Value = Client::new().get(open).send().await.ok()?.json().await.ok()?;
            open["incidents"].as_array()?.is_empty().then_some(())
        })
        .await;
    let emptied = ending.elapsed();
    stop.store(true, Ordering::SeqCst);
    let most = watching.join().unwrap();
    serving.terminate();
    assert!(serving.ended().await.success(), "{}", serving.log().join("\n"));

    let events = journal(at);
    let kept = |status: &str| {
        let received = events.iter().filter(|it| it["kind"] == "AlertsReceived");
        let alerts = received.flat_map(|it| it["event"]["alerts"].as_array().unwrap());
        let of_status = alerts.filter(|it| it["status"] == status);
        of_status.map(|it| it["labels"]["round"].as_str().unwrap()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!((kept("firing"), kept("resolved")), (ALERTS, ALERTS), "acknowledged and lost");
    let count = |kind: &str| events.iter().filter(|it| it["kind"] == kind).count();
    assert_eq!(count("IncidentOpened"), TARGETS, "an incident for each target");
    assert_eq!(count("IncidentClosed"), TARGETS);

    let seen = audited(&namespace.0);
    let (second, ten) = (most_within(&seen, 1), most_within(&seen, 10));
    println!(
        "{ALERTS} alerts in {delivered:.1?}, {shed} deliveries shed, {at_height} at the height, {} \
         targets changed; emptied in {emptied:.1?}; memory {} MiB at rest, {} MiB at most; lists of \
         the reader: {second} in the busiest second, {ten} in the busiest ten",
        changed.len(),
        at_rest >> 20,
        most >> 20
    );
    assert!(most < MEMORY, "{most} bytes");
    let allowed = (BURST + 10 * REQUESTS_PER_SECOND) as usize;
    assert!(ten <= allowed, "{ten} requests in ten seconds, {allowed} are allowed");
}

/// Priority and fairness answers with 429 and a time. The time is kept, by everything that this
/// identity would ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_asks_for_a_pause_gets_it() {
    /// Longer than the five seconds after which Orderly asks again by its own rules.
    const PAUSE: u32 = 9;

    let namespace = web("busy");
    let between = Between::start().await;
    let policy = Policy {
        mode: "auto",
        kind: "Deployment",
        name: "web",
        actions: "[{restart: {}}]",
        verify: "{within: 80s, rollout: complete, alert: any}",
    };
    let config = format!("kubernetes: {{kubeconfig: '{}'}}", between.kubeconfig().display());
    let mut remedy = Remedy::start_with(&config, &namespace, &policy).await;
    let mut busy = true;
    between.script(move |_, path| {
        if path.contains("/deployments/web") && std::mem::take(&mut busy) {
            return Fate::Busy(PAUSE);
        }
        Fate::Forward
    });
    let id = remedy.fire().await;
    remedy.until_over(&id, "fixed").await;
    let seen = between.seen();
    let asked = seen.iter().position(|(_, what)| what.contains("/deployments/web")).unwrap();
    let pause = seen[asked + 1].0.duration_since(seen[asked].0);
    assert!(pause >= Duration::from_secs(PAUSE.into()), "{pause:?}: {}", seen[asked + 1].1);
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);
}
