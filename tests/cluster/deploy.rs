//! What is shipped for Prometheus and Alertmanager, checked by their own tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn check(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(deploy()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (Debian's package): {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn the_rules_are_sound_and_fire_when_they_should() {
    let said = check("promtool", &["check", "rules", "prometheus/agents.rules.yaml"]);
    assert!(said.contains("4 rules found"), "{said}");
    let said = check("promtool", &["test", "rules", "prometheus/agents.rules.test.yaml"]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn the_rules_about_orderly_itself_fire_when_they_should() {
    let said = check("promtool", &["check", "rules", "prometheus/orderly.rules.yaml"]);
    assert!(said.contains("12 rules found"), "{said}");
    let said = check("promtool", &["test", "rules", "prometheus/orderly.rules.test.yaml"]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn prometheus_understands_the_dashboards_questions() {
    let text = std::fs::read_to_string(deploy().join("grafana/orderly.json")).unwrap();
    // Grafana puts times and names in.
    let text =
        text.replace("$__rate_interval", "5m").replace("$__range", "6h").replace("$job", "orderly");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let asked = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<_> =
        asked.map(|target| json!({"record": "asked", "expr": target["expr"]})).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(file.path(), groups.to_string()).unwrap();
    let said =
        check("promtool", &["check", "rules", "--lint=none", &file.path().display().to_string()]);
    assert!(said.contains(&format!("{} rules found", rules.len())), "{said}");
}

#[test]
fn the_routes_lead_where_they_should() {
    let config = "alertmanager/alertmanager.yaml";
    check("amtool", &["check-config", config]);
    let routes = |labels: &[&str]| {
        let asked = [&["config", "routes", "test", "--config.file", config], labels].concat();
        check("amtool", &asked).trim().to_owned()
    };
    assert_eq!(routes(&["alertname=Watchdog"]), "orderly");
    for name in ["HighErrorRate", "AgentDown", "PodRestartingFrequently"] {
        assert_eq!(
            routes(&[&format!("alertname={name}"), "namespace=ai-agents"]),
            "orderly,people"
        );
    }
    assert_eq!(routes(&["alertname=SomethingElse"]), "people");
}
