//! The journal's disk is full: nothing is acknowledged and nothing is done that could not be noted, and
//! with room it goes on by itself.
//!
//! The disk is a tmpfs that only the process under test sees.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::plane;
use crate::remedy::{Policy, Remedy, firing, web, webhook};
use crate::serving::Serving;

/// A few hundred alerts fill it.
const SIZE: &str = "1m";
/// Deliveries of ten alerts after which the disk must be full, whatever a checkpoint made room for.
const DELIVERIES: usize = 400;

fn root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

/// The program with a small disk of its own at `disk`.
fn with_a_small_disk() -> Command {
    let mut command = Command::new("unshare");
    if !root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mount =
        format!("mkdir disk && mount -t tmpfs -o size={SIZE} none disk && exec \"$0\" \"$@\"");
    command.args(["--mount", "sh", "-c", &mount, env!("CARGO_BIN_EXE_orderly")]);
    command
}

/// The command line, where it sees the same disk.
fn beside(serving: &Serving, arguments: &[&str]) -> Output {
    let mut command = Command::new("nsenter");
    if !root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command
        .args(["--mount", "--wd", "--target", &serving.pid().to_string()])
        .arg(env!("CARGO_BIN_EXE_orderly"))
        .args(arguments)
        .output()
        .unwrap()
}

/// What else lies on the disk, as the process sees it.
fn filler(remedy: &Remedy) -> PathBuf {
    let directory = remedy.directory.path().strip_prefix("/").unwrap();
    let process = PathBuf::from(format!("/proc/{}/root", remedy.serving.pid()));
    process.join(directory).join("disk/filler")
}

/// Writes until nothing fits any more.
fn fill(remedy: &Remedy) {
    let mut filler = std::fs::File::create(filler(remedy)).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

async fn deliver(remedy: &Remedy, number: usize) -> StatusCode {
    let alerts: Vec<_> = (0..10)
        .map(|alert| firing(json!({"alertname": "Other", "number": format!("{number}-{alert}")})))
        .collect();
    let url = format!("{}/webhook", remedy.serving.api);
    Client::new().post(url).json(&webhook(&alerts)).send().await.unwrap().status()
}

async fn readiness(remedy: &Remedy) -> (StatusCode, String) {
    let url = format!("{}/readyz", remedy.serving.admin);
    let answer = Client::new().get(url).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_does_nothing_and_room_is_enough_to_go_on() {
    let namespace = web("disk");
    let policy = Policy {
        mode: "approval",
        kind: "Deployment",
        name: "web",
        actions: "[{restart: {}}]",
        verify: "{within: 80s, rollout: complete, alert: any}",
    };
    let kubeconfig = plane::kubeconfig();
    let config = format!(
        "journal: {{path: disk/orderly.db}}\nkubernetes: {{kubeconfig: '{}'}}",
        kubeconfig.display()
    );
    let mut remedy =
        Remedy::start_within(&mut with_a_small_disk(), &config, &namespace, &policy).await;
    let id = remedy.fire().await;
    remedy.until(&id, "waiting-for-approval").await;

    fill(&remedy);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for number in 0..DELIVERIES {
        match deliver(&remedy, number).await {
            StatusCode::ACCEPTED => acknowledged.push(number),
            StatusCode::SERVICE_UNAVAILABLE => {
                refused = number;
                break;
            }
            other => panic!("neither taken nor shed: {other}"),
        }
    }
    assert!(refused > 0 || acknowledged.is_empty(), "the disk never was full");
    let (ready, said) = readiness(&remedy).await;
    assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE, "{said}");
    assert!(said.contains("journal") || said.contains("disk"), "{said}");
    // A yes that cannot be noted is none. A checkpoint may have made room for one in the meantime: then
    // it is noted, and counts.
    let approve = format!("{}/api/v1/incidents/{id}/approve", remedy.serving.api);
    let answer = Client::new().post(&approve).json(&json!({})).send().await.unwrap();
    let noted = answer.status().is_success();
    if !noted {
        assert!(answer.status().is_server_error(), "{}", answer.text().await.unwrap());
        assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 1);
    }

    std::fs::remove_file(filler(&remedy)).unwrap();
    // Alertmanager comes again; nothing else is needed.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while deliver(&remedy, refused).await != StatusCode::ACCEPTED {
        let log = remedy.serving.log().join("\n");
        assert!(std::time::Instant::now() < end, "it does not go on:\n{log}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    acknowledged.push(refused);
    remedy.serving.ready().await;
    if !noted {
        remedy.until(&id, "waiting-for-approval").await;
        let answer = Client::new().post(&approve).json(&json!({})).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
    remedy.until_over(&id, "fixed").await;
    assert_eq!(namespace.get("deployment/web")["metadata"]["generation"], 2);

    let verified = beside(&remedy.serving, &["audit", "verify", "disk/orderly.db"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let audit = ["audit", "--journal", "disk/orderly.db", "--format", "jsonl"];
    let audit = beside(&remedy.serving, &audit);
    let audit = String::from_utf8(audit.stdout).unwrap();
    let events = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let stored: Vec<_> = events
        .filter(|event| event["kind"] == "AlertsReceived")
        .flat_map(|event| event["event"]["alerts"].as_array().cloned().unwrap_or_default())
        .filter_map(|alert| alert["labels"]["number"].as_str().map(str::to_owned))
        .collect();
    assert!(audit.contains("\"ApprovalGiven\""), "the yes that counted is lost");
    for number in &acknowledged {
        for alert in 0..10 {
            let wanted = format!("{number}-{alert}");
            assert!(stored.contains(&wanted), "{wanted} was acknowledged and is lost");
        }
    }
    println!("{} deliveries were taken on a full disk before the first was not", refused);
}
