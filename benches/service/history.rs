//! Journals with a long past: the courses of two real incidents, repeated with fresh ids.
//!
//! The courses are played once, by Orderly on the sandbox: one that is fixed, one that waits for
//! approval. Their entries are cut where a name, an id or a time stands, and put together again for
//! every repetition; so the journals hold what a service of many months would have written.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use orderly::clock::SystemClock;
use orderly::domain::id::Digest;
use orderly::journal::{Batch, JournalId, sqlite};
use tokio::runtime::Runtime;

use super::course::{Course, Place, Workload};
use super::http::Connection;
use super::payload::single;
use super::site::Site;
use super::tail::Tail;

/// The alerts of the two policies.
const FIXED: &str = "BenchFixed";
const ASKED: &str = "BenchAsked";
/// The workloads that ended incidents are about: each has its hundred in a million events.
const FLEET: u64 = 500;
/// Workloads of open incidents have numbers of their own: two alerts of one would be one incident.
const OPEN_FROM: u64 = 1_000_000;
/// Incidents that are open at the end of a long past, when their number is not what it is about.
pub const A_FEW_OPEN: u64 = 3;
/// From one incident to the next: a million events take about a month.
const BETWEEN: SignedDuration = SignedDuration::from_secs(50);
/// Entries appended at once: well below what a batch may hold.
const AT_ONCE: usize = 4_000;
/// And bytes.
const BYTES_AT_ONCE: usize = 6 * 1024 * 1024;
/// A course is played within a few seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where a journal with a long past is, and what it took to make it.
pub struct Past {
    pub journal: PathBuf,
    pub entries: u64,
    pub made_in: Duration,
}

/// Makes them.
pub struct History<'a> {
    site: &'a Site,
    runtime: &'a Runtime,
    courses: OnceCell<[Course; 2]>,
}

impl<'a> History<'a> {
    pub fn new(site: &'a Site, runtime: &'a Runtime) -> Self {
        Self { site, runtime, courses: OnceCell::new() }
    }

    /// A journal with about so many entries, the last of them of so many open incidents, however many
    /// those take. `ORDERLY_BENCH_JOURNALS` names a folder in which they are kept for the next run.
    pub fn journal(&self, entries: u64, open: u64) -> anyhow::Result<Past> {
        let kept = std::env::var_os("ORDERLY_BENCH_JOURNALS").map(PathBuf::from);
        let folder = kept.unwrap_or_else(|| self.site.folder().to_owned());
        let journal = folder.join(format!("past-{entries}-{open}.db"));
        // Written last: a journal without it was broken off.
        let whole = journal.with_extension("whole");
        if whole.exists() {
            let reader = self.runtime.block_on(sqlite::open_read_only(&journal))?;
            let entries = self.runtime.block_on(reader.head())?.seq;
            return Ok(Past { journal, entries, made_in: Duration::ZERO });
        }
        let [fixed, asked] = self.courses()?;
        let begun = Instant::now();
        for ending in ["db", "db-wal", "db-shm"] {
            let _none = std::fs::remove_file(journal.with_extension(ending));
        }
        let ended = entries.saturating_sub(open * asked.len()) / fixed.len();
        let entries = self.runtime.block_on(write(&journal, (fixed, ended), (asked, open)))?;
        std::fs::write(whole, "")?;
        Ok(Past { journal, entries, made_in: begun.elapsed() })
    }

    /// How many entries an ended incident has.
    pub fn course_entries(&self) -> anyhow::Result<u64> {
        Ok(self.courses()?[0].len())
    }

    fn courses(&self) -> anyhow::Result<&[Course; 2]> {
        if let Some(courses) = self.courses.get() {
            return Ok(courses);
        }
        let courses = self.runtime.block_on(play(self.site))?;
        Ok(self.courses.get_or_init(|| courses))
    }
}

/// Plays both courses.
async fn play(site: &Site) -> anyhow::Result<[Course; 2]> {
    site.sandbox.apply_yaml(&manifests())?;
    let begun = Instant::now();
    // A plan for what is still rolling out would be made twice.
    while !rolled_out(site) {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the workloads do not become available");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let policies = [policy("auto", FIXED), policy("approval", ASKED)];
    let configuration = site.configure("history", &site.kubeconfig, &policies)?;
    let journal = site.new_journal();
    let orderly = tokio::task::block_in_place(|| site.orderly_with(&configuration, &journal))?;
    let mut tail = Tail::at_the_end_of(&journal).await?;
    // No other time in the entries is this one.
    let starts_at = Timestamp::from_second(Timestamp::now().as_second() - 61)?;
    let (fixed, asked) = (Workload::new(FIXED, 0), Workload::new(ASKED, 1));
    // Each on a connection of its own: an idle one is closed long before a course is over.
    let post = async |status: &str, workload: &Workload| -> anyhow::Result<()> {
        let mut webhooks = Connection::open(&orderly.address).await?;
        let answer = webhooks.exchange(&single(status, &workload.labels(), starts_at)).await?;
        anyhow::ensure!(answer == 202, "the webhook answered {answer}: {}", webhooks.text());
        Ok(())
    };
    post("firing", &fixed).await?;
    tail.until(PATIENCE, |tail| tail.steps == 2).await?;
    post("resolved", &fixed).await?;
    tail.until(PATIENCE, |tail| tail.idle_after(2)).await?;
    post("firing", &asked).await?;
    tail.until(PATIENCE, |tail| tail.asked == 1).await?;
    let reader = sqlite::open_read_only(&journal).await?;
    let entries = reader.read(1, 0).await?;
    let until = entries
        .iter()
        .position(|entry| entry.kind.as_str() == "IncidentClosed")
        .context("the first incident ended")?;
    let (first, second) = entries.split_at(until + 1);
    Ok([Course::of(first, fixed, starts_at)?, Course::of(second, asked, starts_at)?])
}

fn rolled_out(site: &Site) -> bool {
    let deployments = site.sandbox.list("deployments", Place::NAMESPACE);
    deployments.iter().all(|it| it["status"]["availableReplicas"] == it["spec"]["replicas"])
}

/// Writes the incidents, the open ones last; gives how many entries there are.
async fn write(path: &Path, ended: (&Course, u64), open: (&Course, u64)) -> anyhow::Result<u64> {
    let now = Timestamp::now();
    let id = JournalId::from_bytes([7; 16]);
    let count = i32::try_from(ended.1 + open.1)?;
    let begun = now - BETWEEN * (count + 1);
    let opened = sqlite::create(path, id, begun, &sqlite::Options::default()).await?;
    let (journal, task) = opened.start(Arc::new(SystemClock));
    let mut known = HashMap::new();
    let (mut drafts, mut bytes, mut seq, mut start) = (Vec::new(), 0, 0, begun);
    let mut appending: Option<tokio::task::JoinHandle<anyhow::Result<()>>> = None;
    let ended = (0..ended.1).map(|number| (ended.0, number % FLEET));
    let open = (0..open.1).map(|number| (open.0, OPEN_FROM + number));
    for (course, workload) in ended.chain(open) {
        start += BETWEEN;
        let known: &mut (Workload, Option<Digest>) =
            known.entry(workload).or_insert_with(|| (course.workload(workload), None));
        for draft in course.again(known, start, seq)? {
            bytes += draft.body.len();
            drafts.push(draft);
            seq += 1;
        }
        if drafts.len() >= AT_ONCE || bytes >= BYTES_AT_ONCE {
            settle(&mut appending).await?;
            appending = Batch::from_drafts(std::mem::take(&mut drafts)).map(|batch| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    journal.append_when_room(batch).await?;
                    Ok(())
                })
            });
            bytes = 0;
        }
    }
    settle(&mut appending).await?;
    if let Some(batch) = Batch::from_drafts(drafts) {
        journal.append_when_room(batch).await?;
    }
    drop(journal);
    task.close().await;
    Ok(seq)
}

async fn settle(
    appending: &mut Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
) -> anyhow::Result<()> {
    match appending.take() {
        Some(appending) => appending.await?,
        None => Ok(()),
    }
}

fn policy(mode: &str, alertname: &str) -> String {
    let name = alertname.to_lowercase();
    // Nobody is told and nothing lapses while a measurement lasts: what is open stays open.
    format!(
        "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         summary: An agent's pods fail their health checks\n  match: ['alertname=\"{alertname}\"']\n  \
         target: {{kind: Deployment, namespaces: [{}], name: '{{{{ labels.deployment }}}}'}}\n  mode: \
         {mode}\n  causes:\n    - name: crash-loop\n      summary: A container crashes again and \
         again\n      when: >-\n        pods.exists(p, p.containers.exists(c, c.waiting.reason == \
         \"CrashLoopBackOff\"))\n      actions: [{{restart: {{}}}}]\n    - name: otherwise\n      \
         actions:\n        - restart: {{}}\n        - setResources: {{limits: {{memory: {{add: 1Mi, \
         max: 4Gi}}}}}}\n  approval: {{expiresAfter: 48h}}\n  gates: {{cooldown: 0s, limit: {{actions: \
         1000, per: 1h}}}}\n  verify: {{within: 1m, rollout: complete, stableFor: 2s, alert: \
         resolved}}\n",
        Place::NAMESPACE
    )
}

/// Two Deployments of a usual size.
fn manifests() -> String {
    let namespace = Place::NAMESPACE;
    let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
    for number in [0, 1] {
        let name = Place::name(number);
        text += &format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: \
             {namespace}\n  labels: {{app: {name}, role: agent}}\n  annotations: \
             {{kubernetes.io/change-cause: release v1.4.0}}\nspec:\n  replicas: 2\n  selector: \
             {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}, role: \
             agent}}}}\n    spec:\n      containers:\n      - name: agent\n        image: \
             registry.example.com/agents/support-agent:v1.4.0\n        ports: [{{containerPort: 8080, \
             name: http}}]\n        env:\n        - {{name: LOG_LEVEL, value: info}}\n        - {{name: \
             MODEL, value: large}}\n        - {{name: DATABASE, value: \
             'postgres://agents.data.svc:5432/agents'}}\n        resources:\n          requests: {{cpu: \
             100m, memory: 256Mi}}\n          limits: {{cpu: '1', memory: 512Mi}}\n        \
             readinessProbe: {{httpGet: {{path: /health, port: 8080}}}}\n        livenessProbe: \
             {{httpGet: {{path: /health, port: 8080}}, initialDelaySeconds: 30}}\n"
        );
    }
    text
}
