//! `kill -9` at any time: what was acknowledged is in the journal, no step was carried out twice, the
//! chain of hashes holds, and every incident ends with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::plane::{self, Namespace, audited};
use crate::serving::Serving;
use crate::witness::changes;

/// Rounds; a long run sets `ORDERLY_TEST_CRASHES`.
const ROUNDS: u64 = 20;
/// Workloads, so that several incidents are under way when the process dies.
const WORKLOADS: u64 = 4;
/// How long after an acknowledgement the process is killed: from before anything was done to after
/// everything was.
const LONGEST: u64 = 3_000;

pub fn workload(number: u64) -> String {
    let name = format!("web-{number}");
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: 1, \
         selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: \
         {name}}}}}, spec: {{containers: [{{name: app, image: registry.example.com/app:v1, resources: \
         {{limits: {{memory: 64Mi}}}}}}]}}}}}}\n"
    )
}

pub fn configure(at: &Path, namespace: &str, kubeconfig: &Path) {
    std::fs::create_dir(at.join("policies")).unwrap();
    let policy = format!(
        "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: \
         crash}}\nspec:\n  summary: Of the test\n  match: ['alertname=\"Test\"']\n  target: {{kind: \
         Deployment, namespaces: [{namespace}], name: '{{{{ labels.workload }}}}'}}\n  mode: \
         auto\n  causes: [{{name: always, actions: [{{restart: {{}}}}, {{setResources: {{limits: \
         {{memory: {{add: 1Mi, max: 1Gi}}}}}}}}]}}]\n  gates: {{cooldown: 0s, limit: {{actions: 1000, \
         per: 1h}}}}\n  verify: {{within: 60s, rollout: complete, alert: any}}\n"
    );
    std::fs::write(at.join("policies/crash.yaml"), policy).unwrap();
    let config = format!(
        "policies: [policies]\njournal: {{path: orderly.db}}\nkubernetes: {{kubeconfig: \
         '{}'}}\nrails: {{budget: {{targets: 1000, namespacePercent: 100}}, storm: {{incidents: \
         1000}}}}\n",
        kubeconfig.display()
    );
    std::fs::write(at.join("orderly.yaml"), config).unwrap();
}

pub fn alert(round: u64, name: &str) -> Value {
    json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "orderly", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "", "alerts": [{
            "status": "firing", "annotations": {}, "generatorURL": "",
            "labels": {"alertname": "Test", "workload": name, "round": round.to_string()},
            "startsAt": "2026-11-23T03:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
        }],
    })
}

/// Every event in the journal's file, as `orderly audit` tells it.
pub fn journal(at: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_orderly"))
        .args(["audit", "--journal", "orderly.db", "--format", "jsonl"])
        .current_dir(at)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_time_nothing_is_lost_and_nothing_is_done_twice() {
    let namespace = Namespace::new("crashes");
    for number in 0..WORKLOADS {
        namespace.apply(&workload(number));
    }
    for number in 0..WORKLOADS {
        namespace.rolled_out(&format!("deployment/web-{number}"));
    }
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    configure(at, &namespace.0, &plane::kubeconfig());

    let rounds = std::env::var("ORDERLY_TEST_CRASHES").ok().and_then(|it| it.parse().ok());
    let rounds: u64 = rounds.unwrap_or(ROUNDS);
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let mut serving = Serving::start(at, if round == 0 { &["--init"] } else { &[] });
        serving.ready().await;
        let name = format!("web-{}", round % WORKLOADS);
        let sent =
            Client::new().post(format!("{}/webhook", serving.api)).json(&alert(round, &name));
        assert_eq!(sent.send().await.unwrap().status(), StatusCode::ACCEPTED);
        acknowledged.insert(round.to_string());
        // The whole span is covered evenly, in an order that leaves no pattern.
        let pause = LONGEST * ((round * 7) % rounds) / rounds;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        serving.kill();
    }

    // Left alone, everything comes to an end.
    let mut serving = Serving::start(at, &[]);
    serving.patience = Duration::from_secs(240);
    serving.ready().await;
    serving
        .until("end of every incident", async |serving: &Serving| {
            let url = format!("{}/api/v1/incidents?state=open", serving.api);
            let list: Value = Client::new().get(url).send().await.ok()?.json().await.ok()?;
            list["incidents"].as_array()?.is_empty().then_some(())
        })
        .await;
    serving.terminate();
    assert!(serving.ended().await.success());

    let events = journal(at);
    let of = |kind: &str| {
        let kind = kind.to_owned();
        events.iter().filter(move |entry| entry["kind"] == kind.as_str())
    };
    let stored: BTreeSet<_> = of("AlertsReceived")
        .flat_map(|entry| entry["event"]["alerts"].as_array().unwrap())
        .map(|alert| alert["labels"]["round"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(stored, acknowledged);

    // Each change that the API server carried out belongs to one step. Where the client died while
    // waiting, the server may have stored the change and still answered nobody: the code is open then.
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for entry in audited(&namespace.0).iter().filter(|entry| changes(entry)) {
        let name = entry["objectRef"]["name"].as_str().unwrap().to_owned();
        match entry["responseStatus"]["code"].as_u64() {
            Some(200) => *done.entry(name).or_default() += 1,
            Some(409) => {}
            code => {
                println!("a client died while it waited: {code:?}");
                *open.entry(name).or_default() += 1;
            }
        }
    }
    let mut claimed: BTreeMap<String, usize> = BTreeMap::new();
    for entry in of("StepFinished") {
        let target = entry["target"].as_str().unwrap();
        let name = target.rsplit('/').next().unwrap();
        *claimed.entry(name.to_owned()).or_default() += 1;
    }
    for number in 0..WORKLOADS {
        let name = format!("web-{number}");
        let of = |counted: &BTreeMap<String, usize>| counted.get(&name).copied().unwrap_or(0);
        // The object decides: each change made one generation, and a second application of a step
        // would have made one more.
        let object = namespace.get(&format!("deployment/{name}"));
        assert_eq!(object["metadata"]["generation"], 1 + of(&claimed), "{name}");
        let possible = of(&done)..=of(&done) + of(&open);
        assert!(possible.contains(&of(&claimed)), "{name}: {possible:?}, {}", of(&claimed));
    }
    for entry in of("IncidentClosed") {
        assert!(entry["event"]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{entry}");
    }
    let opened = of("IncidentOpened").count();
    assert_eq!(of("IncidentClosed").count(), opened);
    assert!(opened > 0 && !claimed.is_empty());

    let verified = Command::new(env!("CARGO_BIN_EXE_orderly"))
        .args(["audit", "verify", "orderly.db"])
        .current_dir(at)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    println!("{rounds} kills, {opened} incidents, {} changes", claimed.values().sum::<usize>());
}
