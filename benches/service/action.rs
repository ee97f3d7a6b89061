//! From the webhook to the first change of the cluster.
//!
//! Each time a fresh Deployment; the moment of the change is when its PATCH reaches the sandbox.
//! What the sandbox itself took is found by asking it the same things again, one at a time: the
//! requests that Orderly sent at once count only as far as they do not overlap.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use orderly::sandbox::AuditEntry;

use super::http::{self, Connection};
use super::payload::single;
use super::report::{Table, Verdict, median, quantile};
use super::site::{Site, deployments};

const DEPLOYMENTS: usize = 50;
const TARGET_MS: f64 = 5.0;
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// So that the incident before has come to rest.
const BETWEEN: Duration = Duration::from_millis(100);
/// Each request is repeated so often to see what it takes.
const REPEATS: usize = 3;

pub async fn measure(site: &Site, table: &mut Table) -> anyhow::Result<()> {
    let sandbox = &site.sandbox;
    sandbox.apply_yaml(&deployments("bench", (0..DEPLOYMENTS).map(name)))?;
    until(|| sandbox.list("pods", "bench").len() >= DEPLOYMENTS).await?;
    let journal = site.new_journal();
    let orderly = tokio::task::block_in_place(|| site.orderly(&journal))?;
    let mut webhooks = Connection::open(&orderly.address).await?;
    let mut replays = Connection::open(sandbox.url().trim_start_matches("http://")).await?;
    // Half a second of pods that start.
    tokio::time::sleep(Duration::from_millis(500)).await;

    let (mut raw, mut own, mut net) = (Vec::new(), Vec::new(), Vec::new());
    let (mut requests, mut dry_runs) = (Vec::new(), Vec::new());
    for number in 0..DEPLOYMENTS {
        sandbox.clear_audit();
        let request = webhook(number);
        let sent = Timestamp::now();
        let status = webhooks.exchange(&request).await?;
        anyhow::ensure!(status == 202, "the webhook answered {status}: {}", webhooks.text());
        until(|| sandbox.audit().iter().any(is_change)).await?;
        let audit = sandbox.audit();
        let change = audit.iter().find(|entry| is_change(entry)).context("it was there")?.at;
        let before: Vec<_> =
            audit.iter().filter(|entry| is_work(entry) && entry.at < change).collect();
        let took = milliseconds(sent, change);
        let mut intervals = Vec::new();
        for entry in &before {
            let took = replay(&mut replays, entry).await?;
            let begun = milliseconds(sent, entry.at);
            intervals.push((begun, begun + took));
        }
        let busy = union(intervals, took);
        requests.push(before.len() as f64);
        dry_runs.push(before.iter().filter(|entry| entry.dry_run).count() as f64);
        raw.push(took);
        own.push(busy);
        net.push(took - busy);
        tokio::time::sleep(BETWEEN).await;
    }
    report(table, [raw, own, net], median(&mut requests), median(&mut dry_runs));
    Ok(())
}

fn report(table: &mut Table, times: [Vec<f64>; 3], requests: f64, dry_runs: f64) {
    let [raw, own, net] = times.map(|times| {
        let mut micros: Vec<u32> = times.into_iter().map(|it| (it * 1000.0) as u32).collect();
        micros.sort_unstable();
        (quantile(&micros, 0.5) / 1000.0, quantile(&micros, 0.99) / 1000.0)
    });
    table.scale("webhook to first API write, median", format!("{:.2} ms", raw.0));
    table.scale("  p99", format!("{:.2} ms", raw.1));
    table.scale(
        &format!("  of which the API server's own, {requests:.0} requests, {dry_runs:.0} dry runs"),
        format!("{:.2} ms", own.0),
    );
    let met = Verdict::when(net.0 < TARGET_MS);
    table.row("  beyond the API server's own, median", format!("{:.2} ms", net.0), "< 5 ms", met);
    table.scale("  p99", format!("{:.2} ms", net.1));
}

/// The change that the incident is about: Events are not one.
fn is_change(entry: &AuditEntry) -> bool {
    entry.is_write() && entry.verb == "patch" && entry.resource == "deployments"
}

/// What was asked because of the webhook.
fn is_work(entry: &AuditEntry) -> bool {
    entry.verb != "watch" && !entry.resource.is_empty()
}

/// How long the sandbox takes for this request, in milliseconds. What would change something is
/// asked as a dry run, which does the same work.
async fn replay(connection: &mut Connection, entry: &AuditEntry) -> anyhow::Result<f64> {
    let request = match (entry.verb, &entry.body) {
        ("get" | "list", _) => http::get(&entry.path),
        (verb, Some(body)) => {
            let method = match verb {
                "patch" => "PATCH",
                "update" => "PUT",
                _ => "POST",
            };
            let path = format!("{}?dryRun=All&fieldManager=orderly", entry.path);
            http::send(method, &path, &entry.content_type, &body.to_string())
        }
        _ => return Ok(0.0),
    };
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let begun = Instant::now();
        connection.exchange(&request).await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&mut times))
}

/// How long at least one of the intervals lasts, up to `end`.
fn union(mut intervals: Vec<(f64, f64)>, end: f64) -> f64 {
    intervals.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut covered = 0.0;
    let mut reached = 0.0_f64;
    for (from, to) in intervals {
        let (from, to) = (from.max(reached), to.min(end));
        covered += (to - from).max(0.0);
        reached = reached.max(to);
    }
    covered
}

fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

async fn until(condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition() {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "what is waited for did not happen");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("web-{number:03}")
}

fn webhook(number: usize) -> Vec<u8> {
    let deployment = name(number);
    let labels = [
        ("alertname", "BenchRestart"),
        ("deployment", deployment.as_str()),
        ("namespace", "bench"),
        ("severity", "critical"),
    ];
    single("firing", &labels, Timestamp::now())
}
