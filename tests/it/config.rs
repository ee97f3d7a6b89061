//! The configuration: where faults are, what wins, what is never shown.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use clap::Parser;
use orderly::config::{Config, Flags, LogFormat, ReceiverSpec, Role};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    flags: Flags,
}

fn flags(arguments: &[&str]) -> Flags {
    Command::try_parse_from(["orderly"].iter().chain(arguments)).unwrap().flags
}

fn faults(yaml: &str) -> String {
    let path = Path::new("orderly.yaml");
    Config::from_text(Some(path), yaml, &flags(&["--policies", "p"])).unwrap_err().to_string()
}

#[test]
fn policies_alone_suffice() {
    let config = Config::load(&flags(&["--policies", "policies/"])).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.journal.path, PathBuf::from("orderly.db"));
    assert_eq!(config.limits.body_bytes, 8 * 1024 * 1024);
    assert!(config.warnings().is_empty());
    let error = Config::load(&flags(&[])).unwrap_err().to_string();
    assert!(error.contains("--policies"), "{error}");
}

const FULL: &str = r"
listen: 0.0.0.0:8443
admin: {listen: ':9100'}
policies: [policies, /etc/orderly/policies]
journal: {path: data/orderly.db}
webhook:
  auth:
    bearerTokenFile: secrets/webhook
    basic: {username: am, passwordFile: secrets/password}
    mutualTls: {clientCaFile: tls/ca.pem}
tls: {certFile: tls/cert.pem, keyFile: /tls/key.pem}
limits: {bodyBytes: 1048576, queue: 100}
kubernetes: {kubeconfig: kube/config, readContext: reader, writeContext: writer}
prometheus: {url: 'http://prometheus:9090/prom', bearerTokenFile: secrets/prometheus}
alertmanager: {urls: ['http://am-0:9093', 'http://am-1:9093'], caFile: tls/ca.pem}
people:
  - {name: ada, groups: [sre], role: approver, tokenFile: secrets/ada}
  - name: grace
    role: admin
    tokenSha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
receivers:
  oncall: {webhook: {url: 'https://chat.example/hooks/SECRET-IN-PATH'}}
  leads: {webhook: {urlFile: secrets/leads}}
  log: {log: {}}
rails:
  mode: approval
  budget: {targets: 5, per: 30m}
log: {format: json, level: debug}
otlp: {endpoint: 'http://otel:4318'}
";

#[test]
fn every_key_is_read_and_paths_start_at_the_file() {
    let path = Path::new("/etc/orderly/orderly.yaml");
    let config = Config::from_text(Some(path), FULL, &Flags::default()).unwrap();
    assert_eq!(config.admin.listen.to_string(), "[::]:9100");
    let dir = Path::new("/etc/orderly");
    assert_eq!(config.policies, [dir.join("policies"), dir.join("policies")]);
    assert_eq!(config.journal.path, dir.join("data/orderly.db"));
    let auth = &config.webhook.auth;
    assert_eq!(auth.bearer_token_file, Some(dir.join("secrets/webhook")));
    assert_eq!(auth.basic.as_ref().unwrap().password_file, dir.join("secrets/password"));
    assert_eq!(auth.mutual_tls.as_ref().unwrap().client_ca_file, dir.join("tls/ca.pem"));
    let tls = config.tls.as_ref().unwrap();
    assert_eq!(
        (&tls.cert_file, &tls.key_file),
        (&dir.join("tls/cert.pem"), &"/tls/key.pem".into())
    );
    assert_eq!(config.kubernetes.kubeconfig, Some(dir.join("kube/config")));
    assert_eq!(config.people[0].token_file, Some(dir.join("secrets/ada")));
    assert_eq!(config.people[1].role, Role::Admin);
    let ReceiverSpec::Webhook(leads) = &config.receivers["leads"] else { panic!("a webhook") };
    assert_eq!(leads.url_file, Some(dir.join("secrets/leads")));
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn a_flag_beats_the_file_and_says_the_same_things() {
    let flags = flags(&[
        "--listen=localhost:8081",
        "--policies=a,b",
        "--policies=c",
        "--journal=j.db",
        "--log-format=text",
        "--prometheus-url=http://other:9090",
        "--alertmanager-url=http://am:9093",
        "--otlp-endpoint=http://o:4318",
    ]);
    let config = Config::from_text(Some(Path::new("/x/o.yaml")), FULL, &flags).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.policies, ["a", "b", "c"].map(PathBuf::from));
    assert_eq!(config.journal.path, PathBuf::from("j.db"));
    assert_eq!(config.log.format, LogFormat::Text);
    let prometheus = config.prometheus.unwrap();
    assert_eq!(prometheus.url.to_string(), "http://other:9090/");
    assert_eq!(prometheus.bearer_token_file, Some(PathBuf::from("/x/secrets/prometheus")));
    assert_eq!(config.alertmanager.unwrap().urls.len(), 1);
}

#[test]
fn each_flag_has_its_variable_and_none_is_one_that_kubernetes_sets() {
    let command = <Command as clap::CommandFactory>::command();
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        let variable = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(variable.starts_with("ORDERLY_"), "{}", argument.get_id());
        let by_kubernetes = ["ORDERLY_PORT", "ORDERLY_SERVICE_"];
        assert!(!by_kubernetes.iter().any(|taken| variable.starts_with(taken)), "{variable}");
    }
}

#[test]
fn faults_name_their_place_and_the_way_out() {
    let cases = [
        "lisen: 127.0.0.1:8080\n",
        "listen: here\n",
        "admin:\n  listen: 127.0.0.1:8080\n",
        "webhook:\n  auth:\n    bearerToken: abc\n",
        "webhook:\n  auth:\n    mutualTls:\n      clientCaFile: ca.pem\n",
        "listen: 0.0.0.0:8080\n",
        "limits:\n  queue: 0\n  bodyBytes: 1000\n",
        "limits: {queue: many}\n",
        "log: {format: yaml}\n",
        "rails:\n  mode: yolo\n",
        "rails:\n  budget: {per: soon}\n",
        "rails:\n  monitoring: {}\n",
        "rails:\n  monitoring: {query: {expr: up}}\n",
        "rails:\n  budget: {per: 30d, namespacePercent: 130}\n",
        "rails:\n  freeze:\n    - {name: x, starts: sometimes, lasts: 1h, zone: Mars/Olympus}\n",
        "people:\n  - name: ada\n    tokenFile: a\n  - name: ada\n    role: viewer\n",
        "people:\n  - name: ada\n    tokenSha256: hunter2\n",
        "people:\n  - {groups: [sre], tokenFile: a}\n",
        "receivers:\n  oncall: {webhook: {}}\n",
        "receivers:\n  oncall: {webhook: {url: hunter2}}\n",
        "receivers:\n  oncall: {slack: {}}\n",
        "prometheus:\n  url: http://user:hunter2@prometheus\n",
        "prometheus: {url: 'ftp://prometheus'}\n",
        "prometheus:\n  url: http://p\n  bearerTokenFile: t\n  basic: {username: 'a:b', passwordFile: p}\n",
        "alertmanager: {urls: []}\n",
        "kubernetes: {writeContext: w, writeTokenFile: t}\n",
        "log: {level: info}\nlog: {level: debug}\n",
        "insecureWebhook: yes\n",
        "listen: [\n",
        "- a\n",
    ];
    let mut shown = String::new();
    for case in cases {
        let text = faults(case);
        assert!(!text.contains("hunter2"), "{text}");
        shown += &format!("# {}\n{text}\n", case.trim_end().replace('\n', "\n# "));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let error = Config::load(&flags(&["--config", "/nowhere/orderly.yaml"])).unwrap_err();
    insta::assert_snapshot!(error);
}

#[test]
fn an_open_webhook_must_be_wanted_and_is_warned_about() {
    let config = |yaml: &str| Config::from_text(None, yaml, &flags(&["--policies", "p"]));
    assert!(config("listen: ':8080'").is_err());
    let open = config("{listen: ':8080', insecureWebhook: true}").unwrap();
    let closed = config("{listen: ':8080', webhook: {auth: {bearerTokenFile: t}}}").unwrap();
    let warnings = [open.warnings(), closed.warnings()].concat();
    let shown: Vec<_> = warnings.iter().map(|warning| warning.0.as_str()).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn what_may_be_secret_is_not_in_debug() {
    let config = Config::from_text(None, FULL, &Flags::default()).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("SECRET-IN-PATH"), "{shown}");
    assert!(!shown.contains("9f86d081"), "{shown}");
}

#[test]
fn the_schema_describes_every_key_of_the_full_example() {
    let schema = schemars::schema_for!(Config);
    let properties = schema.as_value()["properties"].as_object().unwrap();
    let written: serde_json::Value = serde_saphyr::from_str(FULL).unwrap();
    for key in written.as_object().unwrap().keys() {
        assert!(properties.contains_key(key), "{key}");
    }
    assert_eq!(schema.as_value()["additionalProperties"], false);
}
