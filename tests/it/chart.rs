//! What is shipped in `deploy/` says what the program says: rights, configuration, metrics. That the
//! committed manifests are what the chart renders is checked by `deploy/helm/check`, with Helm.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use orderly::config::{Config, Flags, PolicyResources};
use orderly::domain::gate::Gate;
use orderly::domain::incident::Phase;
use orderly::kubernetes::access::{self, Access};
use orderly::metrics::{Metrics, Repair, WebhookOutcome};
use orderly::policies::resource::{GROUP, ResourceKind};
use orderly::service::policy_resources::kinds;
use serde_json::{Value, json};

/// Every rendering of the chart that is committed.
const RENDERED: [&str; 5] = [
    "kubernetes/orderly.yaml",
    "helm/golden/minimal.yaml",
    "helm/golden/own.yaml",
    "helm/golden/resources.yaml",
    "helm/golden/all.yaml",
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

fn manifests(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The only object of a kind whose name ends so.
fn the<'m>(manifests: &'m [Value], kind: &str, end: &str) -> Option<&'m Value> {
    let mut found = manifests
        .iter()
        .filter(|it| text(it, "/kind") == kind && text(it, "/metadata/name").ends_with(end));
    let one = found.next();
    assert!(found.next().is_none(), "more than one {kind} {end}");
    one
}

/// What of a role or binding decides who may do what, but for the policies in the cluster.
fn rights(manifests: &[Value]) -> BTreeSet<String> {
    let of_rights = manifests.iter().filter(|it| text(it, "/apiVersion").starts_with("rbac."));
    of_rights
        .filter(|it| !text(it, "/metadata/name").ends_with("-policies"))
        .map(|it| {
            let name = [text(it, "/metadata/namespace"), text(it, "/metadata/name")];
            json!([it["kind"], name, it["rules"], it["roleRef"], it["subjects"]]).to_string()
        })
        .collect()
}

/// What an account may do in the whole cluster.
fn everywhere(manifests: &[Value], account: &Value) -> BTreeSet<String> {
    let [name, namespace] = ["/metadata/name", "/metadata/namespace"].map(|it| text(account, it));
    let has = |binding: &&Value| {
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
        text(binding, "/kind") == "ClusterRoleBinding" && binding["subjects"] == json!([subject])
    };
    let mut found = BTreeSet::new();
    for binding in manifests.iter().filter(has) {
        let is_role = |it: &&Value| {
            text(it, "/kind") == "ClusterRole"
                && text(it, "/metadata/name") == text(binding, "/roleRef/name")
        };
        for rule in manifests.iter().find(is_role).unwrap()["rules"].as_array().unwrap() {
            let [groups, resources, verbs] =
                ["apiGroups", "resources", "verbs"].map(|it| rule[it].as_array().unwrap());
            for (group, resource) in
                groups.iter().flat_map(|it| resources.iter().map(move |to| (it, to)))
            {
                found.extend(verbs.iter().map(|verb| json!([verb, group, resource]).to_string()));
            }
        }
    }
    found
}

/// The same of a list of rights.
fn written(rights: impl IntoIterator<Item = Access>) -> BTreeSet<String> {
    let written = rights.into_iter().map(|it| {
        assert_eq!(it.namespace, None, "{it}");
        let part = it.subresource.map_or(String::new(), |part| format!("/{part}"));
        json!([it.verb, it.group, format!("{}{part}", it.resource)]).to_string()
    });
    written.collect()
}

/// The configuration that the chart mounts.
fn configuration(path: &str, manifests: &[Value]) -> (Config, Value) {
    let maps = manifests.iter().filter(|it| it.pointer("/data/orderly.yaml").is_some());
    let [map] = maps.collect::<Vec<_>>()[..] else { panic!("{path}: one configuration") };
    let flags = Serve::try_parse_from(["orderly"]).unwrap().flags;
    let at = Path::new("/etc/orderly/config/orderly.yaml");
    let config = Config::from_text(Some(at), text(map, "/data/orderly.yaml"), &flags);
    (config.unwrap_or_else(|error| panic!("{path}: {error}")), map.clone())
}

/// The policies that the chart mounts, in a directory.
fn policies(manifests: &[Value]) -> Option<tempfile::TempDir> {
    let mounted = the(manifests, "ConfigMap", "-policies")?["data"].as_object()?;
    let directory = tempfile::tempdir().unwrap();
    for (name, policy) in mounted {
        fs::write(directory.path().join(name), policy.as_str().unwrap()).unwrap();
    }
    Some(directory)
}

fn printed(policies: &Path, arguments: &[&str]) -> Value {
    let printed = Command::new(env!("CARGO_BIN_EXE_orderly"))
        .arg("rbac")
        .arg(policies)
        .args(["--format", "json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    serde_json::from_slice(&printed.stdout).unwrap()
}

#[test]
fn the_charts_rights_are_those_that_its_policies_need() {
    for path in RENDERED {
        let manifests = manifests(path);
        let Some(policies) = policies(&manifests) else {
            let somewhere = manifests.iter().any(|it| text(it, "/kind") == "Role");
            assert!(!somewhere, "{path}: rights for unknown policies");
            continue;
        };
        let reader = text(the(&manifests, "ServiceAccount", "-reader").unwrap(), "/metadata/name");
        let writer = the(&manifests, "ServiceAccount", "-writer").unwrap();
        let namespace = text(writer, "/metadata/namespace");
        let names = ["--namespace", namespace, "--reader", reader];
        let names = [&names[..], &["--writer", text(writer, "/metadata/name")]].concat();
        let needed = printed(policies.path(), &names);
        assert_eq!(rights(&manifests), rights(needed["items"].as_array().unwrap()), "{path}");
    }
    // What the chart makes them from, so that a new release is one command.
    let kept: Value = serde_json::from_str(&read("helm/orderly/files/rbac.json")).unwrap();
    assert_eq!(
        kept,
        printed(&deploy("helm/orderly/files/policies"), &[]),
        "cd deploy/helm/orderly/files && orderly rbac policies --format json > rbac.json"
    );
}

#[test]
fn what_the_chart_lets_follow_in_the_cluster_is_what_its_configuration_asks_for() {
    for (path, asked) in [
        ("kubernetes/orderly.yaml", PolicyResources::None),
        ("helm/golden/minimal.yaml", PolicyResources::None),
        ("helm/golden/resources.yaml", PolicyResources::All),
        // Its rights were printed for both kinds: the value decides.
        ("helm/golden/all.yaml", PolicyResources::Namespaced),
    ] {
        let manifests = manifests(path);
        let (config, _) = configuration(path, &manifests);
        assert_eq!(config.policy_resources.unwrap_or_default(), asked, "{path}");
        let plurals: Vec<_> = kinds(&config).into_iter().map(ResourceKind::plural).collect();
        let followed = plurals.iter().flat_map(|it| access::following(GROUP, it));
        let looks = access::reading(&[]).into_iter().chain(followed);
        let tells = plurals.iter().map(|it| access::telling(GROUP, it));
        let account = |part| the(&manifests, "ServiceAccount", part).unwrap();
        assert_eq!(everywhere(&manifests, account("-reader")), written(looks), "{path}");
        assert_eq!(everywhere(&manifests, account("-writer")), written(tells), "{path}");
    }
    // Somebody else gives the rights.
    assert!(rights(&manifests("helm/golden/own.yaml")).is_empty());
    // Without files nothing is known of where policies act.
    let (config, _) = configuration("", &manifests("helm/golden/resources.yaml"));
    assert!(config.policies.is_empty());
    let printed = read("helm/cases/all.rbac.json");
    for kind in ResourceKind::ALL {
        assert!(printed.contains(&format!("\"{}\"", kind.plural())), "{}", kind.plural());
    }
}

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    flags: Flags,
}

#[test]
fn the_charts_configuration_is_one() {
    for path in RENDERED {
        let manifests = manifests(path);
        let (config, map) = configuration(path, &manifests);
        assert!(config.webhook.auth.is_configured() && !config.listen.is_loopback(), "{path}");

        // What it names is mounted, or comes from Kubernetes.
        let pod = &the(&manifests, "StatefulSet", "").unwrap()["spec"]["template"]["spec"];
        let mounts: Vec<_> =
            pod["containers"][0]["volumeMounts"].as_array().unwrap().iter().collect();
        let volumes: BTreeSet<_> =
            pod["volumes"].as_array().unwrap().iter().map(|it| text(it, "/name")).collect();
        assert!(mounts.iter().all(|it| volumes.contains(text(it, "/name"))), "{path}");
        assert_eq!(volumes.len(), mounts.len(), "{path}");
        let files =
            format!("{}{}", text(&map, "/data/orderly.yaml"), text(&map, "/data/kubeconfig"));
        let named = files.split(|c: char| c.is_whitespace() || "{}\"'".contains(c));
        for file in named.filter(|it| it.starts_with("/etc/") || it.starts_with("/var/lib/")) {
            let mounted = mounts.iter().any(|it| file.starts_with(text(it, "/mountPath")));
            assert!(mounted, "{path}: nothing is mounted for `{file}`");
        }
    }
}

/// Everything that is measured, after each thing happened once.
fn measured() -> String {
    let metrics = Metrics::new(Timestamp::UNIX_EPOCH);
    metrics.expect(&["cooldown"], &["executing"], &["fixed"], &["agent-down"]);
    let took = Duration::from_secs(1);
    metrics.webhook(WebhookOutcome::Accepted);
    metrics.repaired(Repair::Text, 1);
    metrics.approval("approved", took);
    metrics.step("restart", "done", took);
    metrics.verification("met", took);
    metrics.queue_depth("journal", 1);
    metrics.kubernetes_request("get", 200);
    metrics.slack_call("chat.update", "ok");
    metrics.slack_click("noted");
    metrics.render()
}

/// The names and labels that a query uses of Orderly's metrics.
fn used(query: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query.split(|c: char| !word(c));
    words.filter(|it| it.starts_with("orderly_") && it.len() > 8).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_ask_for_what_is_measured() {
    let measured = measured();
    let series: BTreeSet<_> =
        measured.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let states: BTreeSet<_> = Phase::NAMES.into_iter().collect();
    let gates: BTreeSet<_> = Gate::ALL.iter().map(|gate| gate.name()).collect();
    let outcomes: BTreeSet<_> = WebhookOutcome::ALL.iter().map(|it| it.as_str()).collect();
    let mut seen = BTreeSet::new();
    for path in ["prometheus/orderly.rules.yaml", "grafana/orderly.json"] {
        let written = read(path).replace("\\\"", "\"");
        for name in used(&written) {
            assert!(
                series.contains(name.as_str()),
                "{path}: `{name}` is not measured:\n{measured}"
            );
            seen.insert(name);
        }
        for (label, known) in [("state=", &states), ("gate=", &gates), ("outcome=~", &outcomes)] {
            for asked in written.split(label).skip(1) {
                let values = asked.split('"').nth(1).unwrap();
                let unknown: Vec<_> = values.split('|').filter(|it| !known.contains(it)).collect();
                assert!(unknown.is_empty(), "{path}: {label}{unknown:?}");
            }
        }
    }
    // A dashboard that forgets what was added later says nothing about it.
    let families = measured.lines().filter_map(|line| line.strip_prefix("# TYPE orderly_"));
    let forgotten: Vec<_> = families
        .filter_map(|line| line.split(' ').next())
        .filter(|family| !seen.iter().any(|it| it.starts_with(&format!("orderly_{family}"))))
        .collect();
    assert_eq!(
        forgotten,
        [
            "alerts_repaired",
            "journal_batch_entries",
            "policies_last_load_success_timestamp_seconds"
        ],
        "decide whether the dashboard shows it"
    );
}

/// The values of a chart that are not maps of values, or empty ones, by their path.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => map.iter().for_each(|(key, it)| leaves(it, &format!("{path}/{key}"), found)),
        None => found.push((path.to_owned(), value.clone())),
    }
}

#[test]
fn every_value_of_the_chart_is_tried_and_every_case_is_rendered() {
    let yaml = |path: &str| serde_saphyr::from_str::<Value>(&read(path)).unwrap();
    let cases: Vec<_> = ["minimal", "plain", "own", "resources", "all"]
        .map(|case| yaml(&format!("helm/cases/{case}.yaml")))
        .into();
    assert_eq!(cases.len(), RENDERED.len());
    let mut defaults = Vec::new();
    leaves(&yaml("helm/orderly/values.yaml"), "", &mut defaults);
    // Given with --set-file: cases/all.rbac.json.
    defaults.retain(|(path, _)| path != "/rbac/generated");
    assert!(defaults.len() > 30, "{defaults:?}");
    let untried: Vec<_> = defaults
        .iter()
        .filter(|(path, default)| {
            !cases.iter().any(|case| case.pointer(path).is_some_and(|given| given != default))
        })
        .collect();
    assert!(untried.is_empty(), "no case gives these another value: {untried:?}");
}
