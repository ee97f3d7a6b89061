//! What is shipped for Prometheus and Alertmanager, checked by their own tools.

use std::path::Path;
use std::process::Command;

fn check(program: &str, arguments: &[&str]) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let output = Command::new(program).args(arguments).current_dir(directory).output();
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
