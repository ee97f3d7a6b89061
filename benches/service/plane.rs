//! Against a real control plane: from the webhook to the PATCH in the API server's own audit log, and
//! how much is durable meanwhile.
//!
//! The floor is the PATCH itself, as long as the API server says that it worked on it, and as long as
//! a plain client waits for one. What is between is reading, deciding, the dry run and the journal.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::http::Connection;
use super::intake;
use super::payload::single;
use super::report::{Table, median, quantile};
use super::site::{Site, deployments};

const DEPLOYMENTS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// So that the rollout before does not take the processor from the next incident.
const BETWEEN: Duration = Duration::from_millis(1_000);

/// What the API server wrote down about a request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Audited {
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: Object,
    response_status: Option<Code>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: u16,
}

impl Audited {
    fn by_orderly(&self) -> bool {
        self.user_agent.starts_with("orderly") && self.verb != "watch"
    }

    fn dry(&self) -> bool {
        self.uri.contains("dryRun=All")
    }

    /// The change of this Deployment, done.
    fn changes(&self, namespace: &str, name: &str) -> bool {
        let object = &self.object_ref;
        let done = self.response_status.as_ref().is_some_and(|status| status.code == 200);
        self.verb == "patch"
            && object.resource == "deployments"
            && object.namespace == namespace
            && object.name == name
            && !self.dry()
            && done
    }

    fn milliseconds(&self) -> f64 {
        milliseconds(self.request_received_timestamp, self.stage_timestamp)
    }
}

/// The end of the audit log, as it grows.
struct AuditLog {
    file: std::fs::File,
    rest: Vec<u8>,
    entries: Vec<Audited>,
}

impl AuditLog {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = std::fs::File::open(path)
            .with_context(|| format!("cannot read the audit log `{}`", path.display()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, rest: Vec::new(), entries: Vec::new() })
    }

    fn look(&mut self) -> anyhow::Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.entries.push(serde_json::from_slice(line)?);
        }
        Ok(())
    }

    /// Waits until the change is in it; gives its place.
    async fn change(&mut self, namespace: &str, name: &str) -> anyhow::Result<usize> {
        let begun = Instant::now();
        loop {
            self.look()?;
            let found = self.entries.iter().position(|entry| entry.changes(namespace, name));
            if let Some(place) = found {
                return Ok(place);
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "no PATCH of `{name}` in the audit log");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Nothing without a control plane.
pub fn measure(site: &Site, runtime: &Runtime, table: &mut Table) -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(kubeconfig), Some(log)) =
        (variable("ORDERLY_TEST_KUBECONFIG"), variable("ORDERLY_TEST_AUDIT_LOG"))
    else {
        let why = "left out: ORDERLY_TEST_KUBECONFIG and ORDERLY_TEST_AUDIT_LOG are not set";
        table.scale("real control plane", why.to_owned());
        return Ok(());
    };
    let namespace = Namespace::make(&kubeconfig)?;
    let policies = [policy(&namespace.name)];
    let configuration = site.configure("plane", &kubeconfig, &policies)?;
    let journal = site.new_journal();
    let orderly = site.orderly_with(&configuration, &journal)?;
    runtime.block_on(async {
        let mut log = AuditLog::open(&log)?;
        reaction(&orderly.address, &namespace.name, &mut log, table).await?;
        bare(&kubeconfig, &namespace.name, &mut log, table).await
    })?;
    orderly.settle();
    intake::elsewhere(site, &orderly, " on the real control plane", table)
}

async fn reaction(
    address: &str,
    namespace: &str,
    log: &mut AuditLog,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut webhooks = Connection::open(address).await?;
    let (mut raw, mut server, mut patch) = (Vec::new(), Vec::new(), Vec::new());
    let (mut requests, mut dry_runs) = (Vec::new(), Vec::new());
    for number in 0..DEPLOYMENTS {
        tokio::time::sleep(BETWEEN).await;
        log.look()?;
        log.entries.clear();
        let deployment = name(number);
        let labels = [
            ("alertname", "BenchPlane"),
            ("deployment", deployment.as_str()),
            ("namespace", namespace),
        ];
        let sent = Timestamp::now();
        let answer = webhooks.exchange(&single("firing", &labels, sent)).await?;
        anyhow::ensure!(answer == 202, "the webhook answered {answer}: {}", webhooks.text());
        let place = log.change(namespace, &deployment).await?;
        let change = &log.entries[place];
        let begun = change.request_received_timestamp;
        raw.push(milliseconds(sent, begun));
        patch.push(change.milliseconds());
        let before = log.entries.iter().filter(|entry| {
            let received = entry.request_received_timestamp;
            entry.by_orderly() && received >= sent && received < begun
        });
        let before: Vec<_> = before.collect();
        requests.push(before.len() as f64);
        dry_runs.push(before.iter().filter(|entry| entry.dry()).count() as f64);
        server.push(union(&before, begun));
    }
    let (requests, dry_runs) = (median(&mut requests), median(&mut dry_runs));
    let own: Vec<f64> = raw.iter().zip(&server).map(|(raw, server)| raw - server).collect();
    row(table, "real control plane: webhook to the PATCH in the audit log", raw.clone());
    let of =
        format!("  of which the API server's own, {requests:.0} requests, {dry_runs:.0} dry runs");
    row(table, &of, server);
    row(table, "  beyond the API server's own", own);
    row(table, "  floor: the PATCH, by the audit log", patch.clone());
    let ratio = median(&mut raw) / median(&mut patch);
    table.scale("  webhook to PATCH, in PATCHes", format!("{ratio:.1}"));
    Ok(())
}

/// The same change by a plain client, to the same Deployments.
async fn bare(
    kubeconfig: &Path,
    namespace: &str,
    log: &mut AuditLog,
    table: &mut Table,
) -> anyhow::Result<()> {
    // Whoever was first has set it.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let client = kube::Client::try_from(config)?;
    let (mut waited, mut patch) = (Vec::new(), Vec::new());
    for number in 0..DEPLOYMENTS {
        tokio::time::sleep(BETWEEN).await;
        log.look()?;
        log.entries.clear();
        let deployment = name(number);
        let now = Timestamp::now();
        let body = serde_json::json!({"spec": {"template": {"metadata": {"annotations":
            {"kubectl.kubernetes.io/restartedAt": now.to_string()}}}}});
        let request = http::Request::patch(format!(
            "/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}?fieldManager=bench"
        ))
        .header("Content-Type", "application/strategic-merge-patch+json")
        .body(body.to_string().into_bytes())?;
        let begun = Instant::now();
        client.request_text(request).await?;
        waited.push(begun.elapsed().as_secs_f64() * 1000.0);
        let place = log.change(namespace, &deployment).await?;
        patch.push(log.entries[place].milliseconds());
    }
    row(table, "  floor: a bare PATCH, as its client waits for it", waited);
    row(table, "    the same by the audit log", patch);
    Ok(())
}

fn row(table: &mut Table, what: &str, times: Vec<f64>) {
    let mut micros: Vec<u32> = times.into_iter().map(|time| (time * 1000.0) as u32).collect();
    micros.sort_unstable();
    let (middle, worst) = (quantile(&micros, 0.5) / 1000.0, quantile(&micros, 0.99) / 1000.0);
    table.scale(&format!("{what}, median (p99)"), format!("{middle:.1} ms ({worst:.1})"));
}

/// How long the API server was at work on at least one of the requests, until `end`.
fn union(requests: &[&Audited], end: Timestamp) -> f64 {
    let mut intervals: Vec<_> = requests
        .iter()
        .map(|it| (it.request_received_timestamp, it.stage_timestamp.min(end)))
        .collect();
    intervals.sort_unstable();
    let mut reached = Timestamp::MIN;
    let mut covered = 0.0;
    for (from, to) in intervals {
        let from = from.max(reached);
        if to > from {
            covered += milliseconds(from, to);
            reached = to;
        }
    }
    covered
}

fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

fn name(number: usize) -> String {
    format!("web-{number:02}")
}

/// A namespace with the Deployments, rolled out; gone when dropped.
struct Namespace {
    kubeconfig: PathBuf,
    name: String,
}

impl Namespace {
    fn make(kubeconfig: &Path) -> anyhow::Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let namespace = Self { kubeconfig: kubeconfig.to_owned(), name };
        let folder = tempfile::tempdir()?;
        let manifests = folder.path().join("deployments.yaml");
        std::fs::write(&manifests, deployments(&namespace.name, (0..DEPLOYMENTS).map(self::name)))?;
        let manifests = manifests.display().to_string();
        namespace.kubectl(&["apply", "-f", &manifests])?;
        let wait = ["wait", "--for=condition=Available", "--timeout=180s", "deployment", "--all"];
        namespace.kubectl(&[&["-n", &namespace.name], &wait[..]].concat())?;
        Ok(namespace)
    }

    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let status = Command::new("kubectl")
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .context("kubectl must be on the path")?;
        anyhow::ensure!(status.success(), "kubectl {}: {status}", arguments.join(" "));
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _left = self.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

fn policy(namespace: &str) -> String {
    format!(
        "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: \
         bench-plane}}\nspec:\n  summary: Something has to be restarted\n  match: \
         ['alertname=\"BenchPlane\"']\n  target: {{kind: Deployment, namespaces: [{namespace}], name: \
         '{{{{ labels.deployment }}}}'}}\n  mode: auto\n  causes: [{{name: otherwise, actions: \
         [{{restart: {{}}}}]}}]\n  gates: {{cooldown: 0s, limit: {{actions: 1000, per: 1h}}}}\n  verify: \
         {{within: 1m, rollout: complete, alert: any}}\n"
    )
}
