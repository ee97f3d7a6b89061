//! The flags of `orderly serve` and the environment variables behind them. A flag beats the
//! environment (clap sees to it), both beat the file.
//!
//! No variable is called `ORDERLY_PORT` or `ORDERLY_SERVICE_*`: Kubernetes sets those by itself in
//! every pod beside a Service named `orderly`. For the same reason unknown ones are not an error.

use std::path::PathBuf;

use clap::Args;

use super::address::{Endpoint, ListenAddress};
use super::spec::{
    AlertmanagerSpec, Config, LogFormat, OtlpSpec, PolicyResources, PrometheusSpec, TlsSpec,
};

/// What can be said on the command line or in the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "ORDERLY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directories or files with policies (several: repeat it, or separate with commas)
    #[arg(long, value_name = "DIR", env = "ORDERLY_POLICIES", value_delimiter = ',')]
    pub policies: Vec<PathBuf>,
    /// Which custom resources are policies beside the files [default: none]
    #[arg(long, value_name = "KINDS", env = "ORDERLY_POLICY_RESOURCES")]
    pub policy_resources: Option<PolicyResources>,
    /// Where webhooks and the API are served [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "ORDERLY_LISTEN")]
    pub listen: Option<ListenAddress>,
    /// Where health, metrics and status are served [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS", env = "ORDERLY_ADMIN_LISTEN")]
    pub admin_listen: Option<ListenAddress>,
    /// The journal's file [default: orderly.db]
    #[arg(long, value_name = "FILE", env = "ORDERLY_JOURNAL")]
    pub journal: Option<PathBuf>,
    /// A file with the token that Alertmanager sends
    #[arg(long, value_name = "FILE", env = "ORDERLY_WEBHOOK_TOKEN_FILE")]
    pub webhook_token_file: Option<PathBuf>,
    /// Accept webhooks from anyone who reaches the listener
    #[arg(long, env = "ORDERLY_INSECURE_WEBHOOK")]
    pub insecure_webhook: bool,
    /// The certificate for TLS
    #[arg(long, value_name = "FILE", env = "ORDERLY_TLS_CERT_FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", env = "ORDERLY_TLS_KEY_FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the pod's own account]
    #[arg(long, value_name = "FILE", env = "ORDERLY_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context that reads
    #[arg(long, value_name = "NAME", env = "ORDERLY_READ_CONTEXT")]
    pub read_context: Option<String>,
    /// The kubeconfig's context that writes
    #[arg(long, value_name = "NAME", env = "ORDERLY_WRITE_CONTEXT")]
    pub write_context: Option<String>,
    /// Prometheus
    #[arg(long, value_name = "URL", env = "ORDERLY_PROMETHEUS_URL")]
    pub prometheus_url: Option<Endpoint>,
    /// Alertmanager's API (each replica: repeat it, or separate with commas)
    #[arg(long, value_name = "URL", env = "ORDERLY_ALERTMANAGER_URL", value_delimiter = ',')]
    pub alertmanager_url: Vec<Endpoint>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT", env = "ORDERLY_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// How much is logged, such as `info` or `info,orderly::http=debug` [default: info]
    #[arg(long, value_name = "FILTER", env = "ORDERLY_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// An OTLP/HTTP collector for traces, such as `http://otel-collector:4318`
    #[arg(long, value_name = "URL", env = "ORDERLY_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Endpoint>,
}

impl Flags {
    /// Lays what was given over `config`.
    pub(super) fn apply(&self, config: &mut Config) {
        if !self.policies.is_empty() {
            config.policies.clone_from(&self.policies);
        }
        set_some(&mut config.policy_resources, self.policy_resources.as_ref());
        set(&mut config.listen, self.listen.as_ref());
        set(&mut config.admin.listen, self.admin_listen.as_ref());
        set(&mut config.journal.path, self.journal.as_ref());
        set_some(&mut config.webhook.auth.bearer_token_file, self.webhook_token_file.as_ref());
        config.insecure_webhook |= self.insecure_webhook;
        if let (Some(cert), Some(key)) = (&self.tls_cert_file, &self.tls_key_file) {
            config.tls = Some(TlsSpec { cert_file: cert.clone(), key_file: key.clone() });
        }
        set_some(&mut config.kubernetes.kubeconfig, self.kubeconfig.as_ref());
        set_some(&mut config.kubernetes.read_context, self.read_context.as_ref());
        set_some(&mut config.kubernetes.write_context, self.write_context.as_ref());
        match (&self.prometheus_url, &mut config.prometheus) {
            (Some(url), Some(spec)) => spec.url = url.clone(),
            (Some(url), none @ None) => {
                *none = Some(PrometheusSpec {
                    url: url.clone(),
                    bearer_token_file: None,
                    basic: None,
                    ca_file: None,
                });
            }
            (None, _) => {}
        }
        if !self.alertmanager_url.is_empty() {
            let urls = self.alertmanager_url.clone();
            match &mut config.alertmanager {
                Some(spec) => spec.urls = urls,
                none @ None => {
                    *none = Some(AlertmanagerSpec {
                        urls,
                        bearer_token_file: None,
                        basic: None,
                        ca_file: None,
                    });
                }
            }
        }
        set(&mut config.log.format, self.log_format.as_ref());
        set(&mut config.log.level, self.log_level.as_ref());
        if let Some(endpoint) = &self.otlp_endpoint {
            config.otlp = Some(OtlpSpec { endpoint: endpoint.clone() });
        }
    }
}

fn set<T: Clone>(field: &mut T, given: Option<&T>) {
    if let Some(value) = given {
        field.clone_from(value);
    }
}

fn set_some<T: Clone>(field: &mut Option<T>, given: Option<&T>) {
    if given.is_some() {
        *field = given.cloned();
    }
}
