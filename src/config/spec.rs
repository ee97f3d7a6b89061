//! The configuration as it is written. Only shapes and defaults; what must hold between them is in
//! `validate`, who overrides what in `flags`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::{Endpoint, ListenAddress, SecretUrl, TokenSha256};
use super::slack::SlackSpec;
use crate::domain::gate::rails::GuardRails;

/// The whole configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(title = "Orderly's configuration")]
pub struct Config {
    /// Where webhooks and the API are served. Default `127.0.0.1:8080`.
    pub listen: ListenAddress,
    /// The operator's own listener.
    pub admin: AdminSpec,
    /// Directories and files with policies; read again when they change.
    pub policies: Vec<PathBuf>,
    /// Which custom resources of the cluster are policies beside the files. Default `none`.
    pub policy_resources: Option<PolicyResources>,
    /// Where everything is recorded.
    pub journal: JournalSpec,
    /// Who may send alerts.
    pub webhook: WebhookSpec,
    /// Accept webhooks from anyone who reaches the listener. Default false.
    pub insecure_webhook: bool,
    /// Serve webhooks and the API over TLS. The files are read again when they change.
    pub tls: Option<TlsSpec>,
    /// How much is taken in.
    pub limits: LimitsSpec,
    /// Which cluster, and as whom.
    pub kubernetes: KubernetesSpec,
    /// Where queries are asked.
    pub prometheus: Option<PrometheusSpec>,
    /// Who is asked whether an alert still fires.
    pub alertmanager: Option<AlertmanagerSpec>,
    /// Who may use the API and the command line. Nobody listed and a loopback listener: whoever is
    /// on this machine is `local`, with the role `admin`. Nobody listed and another listener: the
    /// API is closed.
    pub people: Vec<PersonSpec>,
    /// Whom policies can escalate to, by name.
    pub receivers: BTreeMap<String, ReceiverSpec>,
    /// Messages with buttons.
    pub slack: Option<SlackSpec>,
    /// Addresses under which people reach what messages point at.
    pub links: LinksSpec,
    /// The limits over all policies.
    pub rails: GuardRails,
    /// What is written to standard error.
    pub log: LogSpec,
    /// Where traces go; nowhere when absent.
    pub otlp: Option<OtlpSpec>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenAddress::loopback(8080),
            admin: AdminSpec::default(),
            policies: Vec::new(),
            policy_resources: None,
            journal: JournalSpec::default(),
            webhook: WebhookSpec::default(),
            insecure_webhook: false,
            tls: None,
            limits: LimitsSpec::default(),
            kubernetes: KubernetesSpec::default(),
            prometheus: None,
            alertmanager: None,
            people: Vec::new(),
            receivers: BTreeMap::new(),
            slack: None,
            links: LinksSpec::default(),
            rails: GuardRails::default(),
            log: LogSpec::default(),
            otlp: None,
        }
    }
}

/// The operator's listener: health, metrics, status. It changes nothing and asks for no token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AdminSpec {
    /// Default `127.0.0.1:9090`.
    pub listen: ListenAddress,
}

impl Default for AdminSpec {
    fn default() -> Self {
        Self { listen: ListenAddress::loopback(9090) }
    }
}

/// Which kinds of custom resources are policies.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyResources {
    /// No kind: policies are files.
    #[default]
    None,
    /// `RemediationPolicy`: whoever may write one in a namespace decides for that namespace.
    Namespaced,
    /// `ClusterRemediationPolicy`.
    Cluster,
    /// Both kinds.
    All,
}

/// The journal.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JournalSpec {
    /// Its file. Default `orderly.db`. Created only by `orderly init` or `serve --init`.
    pub path: PathBuf,
}

impl Default for JournalSpec {
    fn default() -> Self {
        Self { path: PathBuf::from("orderly.db") }
    }
}

/// The webhook.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebhookSpec {
    /// Who may send alerts; each way that is configured suffices.
    pub auth: WebhookAuthSpec,
}

/// Ways to prove that one is the Alertmanager.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebhookAuthSpec {
    /// A file with the token of `http_config.authorization.credentials`.
    pub bearer_token_file: Option<PathBuf>,
    /// The user and password of `http_config.basic_auth`.
    pub basic: Option<BasicSpec>,
    /// A client certificate, as `http_config.tls_config` sends it. Needs `tls`.
    pub mutual_tls: Option<MutualTlsSpec>,
}

impl WebhookAuthSpec {
    /// Whether any way is configured.
    pub fn is_configured(&self) -> bool {
        self.bearer_token_file.is_some() || self.basic.is_some() || self.mutual_tls.is_some()
    }
}

/// A user and a file with the password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicSpec {
    /// The user.
    pub username: String,
    /// A file with the password.
    pub password_file: PathBuf,
}

/// Who signs client certificates.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MutualTlsSpec {
    /// A PEM file with the certificate authorities whose clients are let in.
    pub client_ca_file: PathBuf,
}

/// The server's certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// A PEM file: the certificate, then the intermediate ones.
    pub cert_file: PathBuf,
    /// A PEM file with the private key.
    pub key_file: PathBuf,
}

/// How much is taken in before the sender is asked to come again.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// The largest webhook, in bytes. Default 8388608 (8 MiB: about ten thousand alerts).
    pub body_bytes: usize,
    /// How many webhooks wait for the journal at most. Default 4096.
    pub queue: usize,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self { body_bytes: 8 * 1024 * 1024, queue: 4096 }
    }
}

/// The cluster. Without a kubeconfig: `KUBECONFIG`, `~/.kube/config`, or the pod's own account.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesSpec {
    /// The kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// The context that reads. Default: the current one.
    pub read_context: Option<String>,
    /// The context that writes. Default: the one that reads.
    pub write_context: Option<String>,
    /// A file with another account's token for writing, for use in a pod.
    pub write_token_file: Option<PathBuf>,
}

/// Prometheus, or what speaks its query API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// Its base URL, with its path prefix if it has one.
    pub url: Endpoint,
    /// A file with a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// A user and password.
    pub basic: Option<BasicSpec>,
    /// A PEM file with the certificate authority of its certificate.
    pub ca_file: Option<PathBuf>,
}

/// Alertmanager's API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertmanagerSpec {
    /// The base URL of each replica.
    pub urls: Vec<Endpoint>,
    /// A file with a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// A user and password.
    pub basic: Option<BasicSpec>,
    /// A PEM file with the certificate authority of their certificates.
    pub ca_file: Option<PathBuf>,
}

/// Somebody who may use the API and the command line.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersonSpec {
    /// The name that the journal shows.
    pub name: String,
    /// The groups that policies name as approvers.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What they may do at all. Default `viewer`.
    #[serde(default)]
    pub role: Role,
    /// Their user id in Slack: what they decide there and here is decided by one person.
    pub slack_user: Option<String>,
    /// A file with their token. Either this or `tokenSha256`.
    pub token_file: Option<PathBuf>,
    /// The SHA-256 of their token, so that the token itself is nowhere on the server.
    pub token_sha256: Option<TokenSha256>,
}

/// What somebody may do at all; whom a policy accepts as an approver is the policy's matter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look.
    #[default]
    Viewer,
    /// And approve, refuse and abort.
    Approver,
    /// And use the kill switch and reset breakers.
    Admin,
}

impl Role {
    /// The name as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

/// Whom to tell.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ReceiverSpec {
    /// A POST of JSON.
    Webhook(WebhookReceiverSpec),
    /// PagerDuty's Events API v2: an incident there, acknowledged when a person has it in hand and
    /// resolved at its end.
    PagerDuty(PagerDutySpec),
    /// A workflow of Microsoft Teams that takes a webhook: a card at the beginning and at the end.
    Teams(WebhookReceiverSpec),
    /// A line in the log.
    Log {},
}

/// PagerDuty.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PagerDutySpec {
    /// A file with the integration's key (Events API v2), 32 characters.
    pub routing_key_file: PathBuf,
    /// Where events go. Default `https://events.pagerduty.com/v2/enqueue`; the European service region
    /// has `https://events.eu.pagerduty.com/v2/enqueue`.
    pub url: Option<Endpoint>,
}

/// Where to post. Exactly one of the two: the URL may be a secret.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookReceiverSpec {
    /// The URL.
    pub url: Option<SecretUrl>,
    /// A file with the URL.
    pub url_file: Option<PathBuf>,
}

/// Where people look. What is not given is not linked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LinksSpec {
    /// Alertmanager's pages.
    pub alertmanager: Option<Endpoint>,
}

/// The log.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogSpec {
    /// For people or for machines. Default `text`.
    pub format: LogFormat,
    /// How much, as `info` or `info,orderly::http=debug`. Default `info`.
    pub level: String,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where traces go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OtlpSpec {
    /// The base URL of an OTLP/HTTP collector, such as `http://otel-collector:4318`.
    pub endpoint: Endpoint,
}

impl Config {
    /// Makes relative paths start at `directory`, that of the file they were written in.
    pub(super) fn resolve(&mut self, directory: &Path) {
        // The default journal was not written in the file: it stays where the process was started.
        if self.journal.path != JournalSpec::default().path {
            at(directory, &mut self.journal.path);
        }
        self.policies.iter_mut().for_each(|path| at(directory, path));
        let auth = &mut self.webhook.auth;
        let tls = self.tls.iter_mut().flat_map(|tls| [&mut tls.cert_file, &mut tls.key_file]);
        let clients = auth.mutual_tls.iter_mut().map(|tls| &mut tls.client_ca_file);
        let prometheus = self.prometheus.iter_mut().flat_map(|it| {
            optional([&mut it.bearer_token_file, &mut it.ca_file]).chain(password(&mut it.basic))
        });
        let alertmanager = self.alertmanager.iter_mut().flat_map(|it| {
            optional([&mut it.bearer_token_file, &mut it.ca_file]).chain(password(&mut it.basic))
        });
        let kubernetes = &mut self.kubernetes;
        let receivers = self.receivers.values_mut().filter_map(|receiver| match receiver {
            ReceiverSpec::Webhook(webhook) | ReceiverSpec::Teams(webhook) => {
                webhook.url_file.as_mut()
            }
            ReceiverSpec::PagerDuty(pager) => Some(&mut pager.routing_key_file),
            ReceiverSpec::Log {} => None,
        });
        optional([&mut auth.bearer_token_file])
            .chain(password(&mut auth.basic))
            .chain(clients)
            .chain(tls)
            .chain(prometheus)
            .chain(alertmanager)
            .chain(optional([&mut kubernetes.kubeconfig, &mut kubernetes.write_token_file]))
            .chain(self.people.iter_mut().filter_map(|person| person.token_file.as_mut()))
            .chain(receivers)
            .chain(self.slack.iter_mut().flat_map(SlackSpec::files))
            .for_each(|path| at(directory, path));
    }
}

fn optional<const N: usize>(
    paths: [&mut Option<PathBuf>; N],
) -> impl Iterator<Item = &mut PathBuf> {
    paths.into_iter().flatten()
}

fn password(basic: &mut Option<BasicSpec>) -> impl Iterator<Item = &mut PathBuf> {
    basic.iter_mut().map(|basic| &mut basic.password_file)
}

fn at(directory: &Path, path: &mut PathBuf) {
    *path = directory.join(&*path);
}
