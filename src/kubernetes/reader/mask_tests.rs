//! Secrets do not get through, whatever stands around them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn known_shapes_are_masked_and_their_surroundings_stay() {
    let cases = [
        ("password=hunter2 user=bob", "password=[masked] user=bob"),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: [masked]"),
        (r#"{"api_key": "abc def", "n": 1}"#, r#"{"api_key": [masked], "n": 1}"#),
        ("Authorization: Bearer abcdef123456", "Authorization: [masked] [masked]"),
        ("got bearer abcdef123456 in header", "got bearer [masked] in header"),
        ("postgres://app:s3cr3t@db:5432/x", "postgres://app:[masked]@db:5432/x"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key [masked] used"),
        ("using sk-proj-abcdefgh12345678", "using [masked]"),
        ("ghp_abcdefghijklmnop1234 failed", "[masked] failed"),
        ("run --token s3cr3t --verbose", "run --token [masked] --verbose"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt [masked] end"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc", "[masked]"),
    ];
    for (before, after) in cases {
        assert_eq!(text(before), after);
    }
}

#[test]
fn ordinary_lines_stay_as_they_are() {
    for line in [
        "java.lang.OutOfMemoryError: Java heap space",
        "connecting to postgres://db:5432/app",
        "image ghcr.io/acme/agent@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "level=info msg=\"listening\" port=8080",
        "",
    ] {
        assert_eq!(text(line), line);
    }
}

#[test]
fn environment_variables_with_secret_names_are_masked_in_objects() {
    let container = json!({"name": "agent", "env": [
        {"name": "DB_PASSWORD", "value": "hunter2"},
        {"name": "LOG_LEVEL", "value": "debug"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "token"}}}]});
    let masked = value(&container);
    assert_eq!(masked["env"][0]["value"], MASK);
    assert_eq!(masked["env"][1], container["env"][1]);
    assert_eq!(masked["env"][2], container["env"][2]);
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "sk-[A-Za-z0-9]{20,48}",
        "AKIA[A-Z0-9]{16}",
        "ghp_[A-Za-z0-9]{36}",
        "xoxb-[0-9]{10,12}-[A-Za-z0-9]{24}",
        "eyJ[A-Za-z0-9_-]{20,40}\\.eyJ[A-Za-z0-9_-]{20,40}\\.[A-Za-z0-9_-]{20,40}",
        "[a-f0-9]{64}",
    ]
}

proptest! {
    #[test]
    fn a_secret_between_any_words_does_not_get_through(
        before in "[ -~]{0,30}", secret in secret(), after in "[ -~]{0,30}"
    ) {
        let line = format!("{before} {secret} {after}");
        prop_assert!(!text(&line).contains(&secret), "{}", text(&line));
    }

    #[test]
    fn the_value_of_a_secret_name_does_not_get_through(
        prefix in "[A-Z]{0,6}", name in "(?i)(password|token|api_key|secret|access-key)",
        equals in "(=|: |:|=\"|\": \")", value in "[A-Za-z0-9]{9,24}"
    ) {
        let line = format!("{prefix}{name}{equals}{value}");
        prop_assert!(!text(&line).contains(&value), "{line} -> {}", text(&line));
    }

    #[test]
    fn any_text_is_an_answer_and_masking_twice_changes_nothing_more(any in "\\PC{0,200}") {
        let once = text(&any);
        prop_assert_eq!(text(&once), once);
    }
}
