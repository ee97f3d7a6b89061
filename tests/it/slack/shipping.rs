//! What ships for Slack: manifests with the scopes that the code uses, a doctor that finds what is
//! wrong, and signatures that Slack's own library judges the same.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use orderly::slack::signature;
use serde::Deserialize;
use serde_json::Value;

use super::office::{Office, Way};
use super::workspace::Mishap;

fn shipped(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn both_manifests_ask_for_the_scopes_that_are_used_and_no_more() {
    // Each with the methods that need it.
    let used = ["chat:write", "commands", "usergroups:read", "channels:read", "groups:read"];
    let used: BTreeSet<_> = used.into_iter().collect();
    for (file, socket) in [("app-socket-mode.yaml", true), ("app-http.yaml", false)] {
        let manifest: Value =
            serde_saphyr::from_str(&shipped(&format!("deploy/slack/{file}"))).unwrap();
        let scopes = manifest["oauth_config"]["scopes"]["bot"].as_array().unwrap();
        let scopes: BTreeSet<_> = scopes.iter().map(|scope| scope.as_str().unwrap()).collect();
        assert_eq!(scopes, used, "{file}");
        assert_eq!(manifest["settings"]["socket_mode_enabled"], socket, "{file}");
        assert_eq!(manifest["settings"]["interactivity"]["is_enabled"], true, "{file}");
        let url = &manifest["settings"]["interactivity"]["request_url"];
        let command = &manifest["features"]["slash_commands"][0];
        assert_eq!(command["command"], "/orderly", "{file}");
        if socket {
            assert!(url.is_null() && command["url"].is_null(), "{file}");
        } else {
            assert!(url.as_str().unwrap().ends_with(orderly::http::slack::INTERACTIONS), "{file}");
            let command = command["url"].as_str().unwrap();
            assert!(command.ends_with(orderly::http::slack::COMMANDS), "{file}");
        }
    }
}

#[derive(Deserialize)]
struct Case {
    why: String,
    secret: String,
    now: i64,
    timestamp: String,
    body: String,
    signature: String,
    valid: bool,
}

/// `tests/slack/run` holds the same cases against `slack_sdk`.
#[test]
fn signatures_are_judged_as_slacks_own_library_does() {
    let cases: Vec<Case> = serde_json::from_str(&shipped("tests/slack/signatures.json")).unwrap();
    assert!(
        cases.len() >= 8 && cases.iter().any(|it| it.valid) && cases.iter().any(|it| !it.valid)
    );
    for case in cases {
        let now = Timestamp::from_second(case.now).unwrap();
        let (timestamp, signature) = (Some(case.timestamp.as_str()), Some(case.signature.as_str()));
        let secret = case.secret.as_str().into();
        let judged = signature::verify(&secret, timestamp, signature, case.body.as_bytes(), now);
        assert_eq!(judged.is_ok(), case.valid, "{}: {judged:?}", case.why);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_what_is_wrong_with_slack() {
    let office = Office::open(Way::Socket).await;
    let told = |findings: &[orderly::cli::doctor::Finding]| {
        let lines: Vec<_> =
            findings.iter().map(|it| format!("{:?} {}", it.level, it.seen)).collect();
        lines.join("\n")
    };
    let config = office.config();
    let good = told(&orderly::cli::doctor::slack::examine(&config).await);
    assert!(!good.contains("Fail") && !good.contains("Warn"), "{good}");
    for part in
        ["the bot is UBOT in Example", "is in channel #ops", "S0001 has 1 members", "Socket Mode"]
    {
        assert!(good.contains(part), "`{part}` is not in\n{good}");
    }
    let mut other = config.clone();
    let slack = other.slack.as_mut().unwrap();
    slack.workspace = "T9999".to_owned();
    slack.channels[0].channel = "C9999".to_owned();
    slack.groups.get_mut("sre").unwrap().user_groups.insert("S9999".to_owned());
    office.slack.mishap("apps.connections.open", Mishap::Refused("not_allowed_token_type"));
    let bad = told(&orderly::cli::doctor::slack::examine(&other).await);
    for part in [
        "Fail the token is of workspace T0001, not of T9999",
        "Fail channel C9999",
        "Fail user group S9999",
        "not_allowed_token_type",
    ] {
        assert!(bad.contains(part), "`{part}` is not in\n{bad}");
    }
}
