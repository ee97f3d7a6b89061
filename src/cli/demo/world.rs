//! The world of the demo: the sandbox cluster, the service beside it, and Alertmanager's part.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::clock::SharedClock;
use crate::config::{Config, Flags, ListenAddress};
use crate::domain::id::IncidentId;
use crate::domain::policy::spec::PolicyDocument;
use crate::sandbox::{Contents, Drive, Options, QueryAnswer, QueryMatch, Sandbox, View};
use crate::service::{JournalMode, Service};

use super::stories::{self, Story};

/// The shipped policies, as they are.
const POLICIES: &[(&str, &str)] = &[
    ("high-error-rate", include_str!("../../../policies/high-error-rate.yaml")),
    (
        "high-error-rate-production",
        include_str!("../../../policies/high-error-rate-production.yaml"),
    ),
    ("agent-down", include_str!("../../../policies/agent-down.yaml")),
    ("agent-down-production", include_str!("../../../policies/agent-down-production.yaml")),
    ("pod-restarting-frequently", include_str!("../../../policies/pod-restarting-frequently.yaml")),
];

/// How often Alertmanager's part looks whether a condition is over.
const LOOK: SignedDuration = SignedDuration::from_millis(250);
/// For how long a condition must be over: what `for` and the evaluation interval are to real rules.
const QUIET: SignedDuration = SignedDuration::from_secs(3);

/// The world.
#[derive(Debug)]
pub struct World {
    /// The cluster.
    pub sandbox: Sandbox,
    /// Where the files are.
    pub directory: PathBuf,
    webhook: String,
    http: reqwest::Client,
    told: Mutex<HashMap<IncidentId, usize>>,
}

impl World {
    /// Starts the cluster and the service.
    pub async fn start(
        directory: Option<PathBuf>,
        clock: &SharedClock,
    ) -> anyhow::Result<(Self, Service)> {
        super::super::install_tls();
        let directory = match directory {
            Some(directory) => directory,
            None => {
                let name = format!("orderly-demo-{}", std::process::id());
                std::env::temp_dir().join(name)
            }
        };
        std::fs::create_dir_all(directory.join("policies"))
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
        let options = Options {
            drive: Drive::Clock,
            contents: Contents::Demo,
            ..Options::new(clock.clone())
        };
        let sandbox = Sandbox::start(options).await?;
        errors_follow_the_bad_version(&sandbox);
        write_policies(&directory.join("policies"))?;
        let kubeconfig = directory.join("kubeconfig");
        std::fs::write(&kubeconfig, sandbox.kubeconfig())?;
        let config = config(&directory, &kubeconfig, &sandbox)?;
        let service = start(config, clock).await?;
        let webhook = format!("http://{}/api/v1/alertmanager", service.address);
        let http = reqwest::Client::new();
        let world = Self { sandbox, directory, webhook, http, told: Mutex::default() };
        Ok((world, service))
    }

    /// The rule fires: Alertmanager has the alert and posts it.
    pub async fn fire(&self, story: &Story, starts_at: Timestamp) -> anyhow::Result<()> {
        let (labels, annotations) = (story.labels.clone(), story.annotations.clone());
        self.sandbox.alertmanager().fire(labels, annotations, starts_at);
        self.post(&story.webhook(starts_at, None)).await
    }

    async fn post(&self, payload: &Value) -> anyhow::Result<()> {
        let answer = self.http.post(&self.webhook).json(payload).send().await?;
        anyhow::ensure!(answer.status().is_success(), "the webhook answered {}", answer.status());
        Ok(())
    }

    /// Waits until the condition has been over for a while; then Alertmanager posts `resolved`.
    pub async fn resolve_when_healed(
        &self,
        story: &Story,
        starts_at: Timestamp,
        clock: &SharedClock,
    ) {
        let mut over_since = None;
        loop {
            let now = clock.now();
            if self.sandbox.view(story.healed) {
                let since = *over_since.get_or_insert(now);
                if now.duration_since(since) >= QUIET {
                    break;
                }
            } else {
                over_since = None;
            }
            clock.sleep_until(now + LOOK).await;
        }
        for fingerprint in self.sandbox.alertmanager().firing() {
            let pairs = story.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            if crate::domain::id::Fingerprint::of(pairs).to_string() == fingerprint {
                self.sandbox.alertmanager().resolve(&fingerprint);
            }
        }
        if let Err(error) = self.post(&story.webhook(starts_at, Some(clock.now()))).await {
            tracing::warn!(%error, "`resolved` was not delivered");
        }
    }

    /// The spec of the workload that a story is about.
    pub fn spec_of(&self, story: &Story) -> Option<Value> {
        let (namespace, resource, name) = story.workload;
        self.sandbox.get(resource, namespace, name).map(|object| object["spec"].clone())
    }

    /// How many events of the incident were told.
    pub fn told(&self, id: &IncidentId) -> usize {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(id).copied().unwrap_or(0)
    }

    /// One more was told.
    pub fn tell_one(&self, id: &IncidentId) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told.entry(id.clone()).or_default() += 1;
    }
}

/// 14 % of the requests fail while any pod of the bad version answers; 0.2 % otherwise.
fn errors_follow_the_bad_version(sandbox: &Sandbox) {
    let expr = QueryMatch::Contains(vec!["agent_errors_total".to_owned()]);
    sandbox.set_query(expr, |view: &View<'_>| {
        let bad = view.serves_image("ai-agents", "support-agent-deployment", "v1.5.0");
        QueryAnswer::value(if bad { 0.14 } else { 0.002 })
    });
}

/// Writes the shipped policies with the demo's modes and with times that can be watched.
fn write_policies(directory: &Path) -> anyhow::Result<()> {
    let modes = stories::modes();
    for (name, text) in POLICIES {
        let mut document: PolicyDocument =
            serde_saphyr::from_str(text).with_context(|| format!("policy `{name}`"))?;
        let mode = modes.get(name).copied().unwrap_or_default();
        stories::hurry(&mut document.spec, mode);
        // JSON is YAML; the file is for machines and for whoever wants to change a number.
        let text = serde_json::to_string_pretty(&document)?;
        std::fs::write(directory.join(format!("{name}.yaml")), text + "\n")?;
    }
    Ok(())
}

fn config(directory: &Path, kubeconfig: &Path, sandbox: &Sandbox) -> anyhow::Result<Config> {
    let text = serde_json::json!({
        "policies": [directory.join("policies")],
        "journal": {"path": directory.join("orderly.db")},
        "kubernetes": {"kubeconfig": kubeconfig},
        "prometheus": {"url": sandbox.prometheus_url()},
        "alertmanager": {"urls": [sandbox.alertmanager_url()]},
        // Three stories in one small namespace would meet the blast-radius budget.
        "rails": {"budget": {"namespacePercent": 60}},
        "receivers": {"oncall": {"log": {}}, "leads": {"log": {}}, "platform": {"log": {}}},
    });
    Ok(Config::from_text(None, &text.to_string(), &Flags::default())?)
}

/// On the usual ports when they are free, so that the command line finds it without being told.
async fn start(mut config: Config, clock: &SharedClock) -> anyhow::Result<Service> {
    match Service::start(&config, clock.clone(), JournalMode::CreateIfMissing).await {
        Ok(service) => Ok(service),
        Err(error) if error.is::<crate::http::server::BindError>() => {
            config.listen = ListenAddress::loopback(0);
            config.admin.listen = ListenAddress::loopback(0);
            Service::start(&config, clock.clone(), JournalMode::CreateIfMissing).await
        }
        Err(error) => Err(error),
    }
}

/// One line of standard input, read by a thread of its own, so that a decision elsewhere need not
/// wait for it.
pub fn read_line() -> oneshot::Receiver<String> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).is_ok() {
            let _decided_elsewhere = send.send(line);
        }
    });
    receive
}
