//! The parser against what Alertmanager sends and against what it never would.

use super::*;
use crate::domain::alert::AlertStatus;

fn alert(extra: &str) -> String {
    format!(
        r#"{{"status":"firing","labels":{{"alertname":"A","pod":"p-1"}},
            "startsAt":"2026-01-31T09:30:00.123456789Z"{extra}}}"#
    )
}

fn body(alerts: &str) -> String {
    format!(r#"{{"version":"4","groupKey":"{{}}:{{}}","receiver":"r","alerts":[{alerts}]}}"#)
}

fn refused(body: impl AsRef<[u8]>) -> (String, String) {
    let error = parse(body.as_ref()).unwrap_err();
    (error.pointer, error.message)
}

const FROM_ALERTMANAGER_034: &str = r#"{"receiver":"team\\.a\\+b","status":"firing",
"alerts":[
 {"status":"firing","labels":{"alertname":"KubePodCrashLooping","namespace":"prod"},
  "annotations":{"summary":"a \u003cb\u003e"},"startsAt":"2026-01-31T09:30:00.5+01:00",
  "endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus/graph?g0.expr=up",
  "fingerprint":"94ccc772702cdf8b"},
 {"status":"resolved","labels":{"alertname":"B"},"annotations":{},
  "startsAt":"2026-01-31T08:00:00Z","endsAt":"2026-01-31T09:00:00Z","generatorURL":"",
  "fingerprint":"0000000000000000"}],
"groupLabels":{},"commonLabels":{},"commonAnnotations":{},"routeLabels":{"x":"y"},
"externalURL":"http://am-0:9093","version":"4","groupKey":"{}:{}","truncatedAlerts":7,
"notification_reason":"new alerts added"}
"#;

#[test]
fn what_alertmanager_sends_is_read_whole() {
    let Payload { delivery, alerts, repairs } = parse(FROM_ALERTMANAGER_034.as_bytes()).unwrap();
    assert_eq!(delivery.receiver, "team.a+b");
    assert_eq!(delivery.truncated_alerts, 7);
    assert_eq!(delivery.reason.as_deref(), Some("new alerts added"));
    assert_eq!(delivery.external_url, "http://am-0:9093");
    assert_eq!(delivery.group, hex::encode(Sha256::digest("{}:{}")));
    let [firing, resolved] = alerts.as_slice() else { panic!("two alerts") };
    assert_eq!(firing.status, AlertStatus::Firing);
    assert_eq!(firing.name(), "KubePodCrashLooping");
    assert_eq!(firing.annotations["summary"], "a <b>");
    assert_eq!(firing.starts_at.to_string(), "2026-01-31T08:30:00.5Z");
    assert_eq!(firing.ends_at, None);
    assert_eq!(firing.fingerprint.to_string(), "94ccc772702cdf8b");
    assert_eq!(resolved.status, AlertStatus::Resolved);
    assert_eq!(resolved.ends_at.unwrap().to_string(), "2026-01-31T09:00:00Z");
    // The second fingerprint was not the one of its labels.
    assert_ne!(resolved.fingerprint.0, 0);
    assert_eq!(repairs, Repairs { fingerprints: 1, texts: 0 });
}

#[test]
fn what_older_versions_leave_out_may_be_missing() {
    let payload = parse(body(&alert("")).as_bytes()).unwrap();
    assert_eq!(payload.alerts.len(), 1);
    assert_eq!(payload.delivery.reason, None);
    let bare = format!(r#"{{"alerts":[{}]}}"#, alert(r#","annotations":null,"generatorURL":null"#));
    let payload = parse(bare.as_bytes()).unwrap();
    assert_eq!(
        payload.alerts[0].fingerprint,
        Fingerprint::of([("alertname", "A"), ("pod", "p-1")])
    );
    assert!(parse(br#"{"alerts":[]}"#).unwrap().alerts.is_empty());
}

use crate::domain::id::Fingerprint;

#[test]
fn a_firing_alert_never_has_an_end() {
    let future = alert(r#","endsAt":"2036-01-31T09:30:00Z""#);
    assert_eq!(parse(body(&future).as_bytes()).unwrap().alerts[0].ends_at, None);
}

#[test]
fn an_error_says_which_field_it_is_in() {
    let good = alert("");
    let cases = [
        (body(&format!("{good},{good},{}", r#"{"status":"on"}"#)), "/alerts/2/status"),
        (body(&good).replace("2026-01-31T09:30:00.123456789Z", "yesterday"), "/alerts/0/startsAt"),
        (body(&good).replace("2026-01-31", "99999-01-31"), "/alerts/0/startsAt"),
        (
            body(&good).replace("2026-01-31T09:30:00.123456789Z", "0001-01-01T00:00:00Z"),
            "/alerts/0/startsAt",
        ),
        (body(&good).replace(r#""p-1""#, "17"), "/alerts/0/labels/pod"),
        (body(&good).replace(r#""p-1""#, "null"), "/alerts/0/labels/pod"),
        (
            body(&good).replace(r#""pod""#, r#""a/b~c""#).replace(r#""p-1""#, "[]"),
            "/alerts/0/labels/a~1b~0c",
        ),
        (body(&good).replace(r#""pod""#, r#""alertname""#), "/alerts/0/labels/alertname"),
        (body(&alert(r#","annotations":{"x":{}}"#)), "/alerts/0/annotations/x"),
        (body(&alert(r#","annotations":"x""#)), "/alerts/0/annotations"),
        (body(&alert(r#","status":"firing""#)), "/alerts/0/status"),
        (body(r#"{"status":"firing"}"#), "/alerts/0/labels"),
        (body(r#"{"status":"firing","labels":{}}"#), "/alerts/0/labels"),
        (body(r#"{"status":"firing","labels":{"a":"b"}}"#), "/alerts/0/startsAt"),
        (body(r#"{"labels":{"a":"b"}}"#), "/alerts/0/status"),
        (body("7"), "/alerts/0"),
        (body(&good).replace(r#""version":"4""#, r#""version":"5""#), "/version"),
        (body(&good).replace(r#""version":"4""#, r#""version":4"#), "/version"),
        (body(&good).replace(r#""version":"4""#, r#""truncatedAlerts":-1"#), "/truncatedAlerts"),
        (
            body(&good).replace(r#""version":"4""#, r#""truncatedAlerts":18446744073709551616"#),
            "/truncatedAlerts",
        ),
        (r#"{"version":"4"}"#.to_owned(), "/alerts"),
        (r#"{"alerts":{}}"#.to_owned(), "/alerts"),
        (r#"{"alerts":[],"alerts":[]}"#.to_owned(), "/alerts"),
        ("[]".to_owned(), ""),
        (String::new(), ""),
        ("null".to_owned(), ""),
        (body(&good) + "{}", ""),
    ];
    let mut texts = String::new();
    for (body, pointer) in cases {
        let (found, message) = refused(&body);
        assert_eq!(found, pointer, "{body}: {message}");
        texts += &format!("{}: {message}\n", if found.is_empty() { "(body)" } else { &found });
    }
    insta::assert_snapshot!(texts);
}

#[test]
fn a_body_that_ends_anywhere_is_refused() {
    let whole = FROM_ALERTMANAGER_034.trim_end().as_bytes();
    for end in 0..whole.len() {
        let (_, message) = refused(&whole[..end]);
        assert!(message.contains("too early") || message.contains("empty"), "{end}: {message}");
    }
}

#[test]
fn hostile_bodies_are_refused_or_taken_as_plain_data() {
    let deep = format!(r#"{{"alerts":{}"#, "[".repeat(1_000_000));
    assert_eq!(refused(deep).0, "/alerts/0");
    let deep_elsewhere =
        format!(r#"{{"x":{}{},"alerts":[]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    // A field that nobody reads is skipped without recursion, however deep.
    assert!(parse(deep_elsewhere.as_bytes()).is_ok());

    let labels: Vec<_> = (0..100_000).map(|n| format!(r#""l{n}":"v""#)).collect();
    let many = body(&alert("").replace(r#""pod":"p-1""#, &labels.join(",")));
    let (pointer, message) = refused(many);
    assert_eq!(pointer, "/alerts/0/labels");
    assert!(message.contains("256"), "{message}");

    let mut invalid = body(&alert("")).into_bytes();
    let at = invalid.windows(3).position(|w| w == b"p-1").unwrap();
    invalid[at] = 0xff;
    assert_eq!(refused(invalid).0, "/alerts/0/labels/pod");
    let lone_surrogate = body(&alert("")).replace("p-1", r"\ud800");
    assert_eq!(refused(lone_surrogate).0, "/alerts/0/labels/pod");
    let raw_nul = body(&alert("")).replace("p-1", "\0");
    assert_eq!(refused(raw_nul).0, "/alerts/0/labels/pod");

    for value in [
        "../../kube-system",
        "{{ labels.namespace }}",
        "${jndi:ldap://x}",
        "'; DROP TABLE x",
        "pods.exists(p, true)",
        "a\u{0}b",
        "\u{1b}[2J",
        "\u{202e}gnp.exe",
    ] {
        let text = serde_json::to_string(value).unwrap();
        let payload = parse(body(&alert("")).replace(r#""p-1""#, &text).as_bytes()).unwrap();
        assert_eq!(payload.alerts[0].labels["pod"], value);
    }
}

#[test]
fn a_long_annotation_is_cut_and_a_long_label_refused() {
    let long = "ä".repeat(20_000);
    let many: Vec<_> = (0..100).map(|n| format!(r#""a{n:03}":"x""#)).collect();
    let text = alert(&format!(r#","annotations":{{"long":"{long}",{}}}"#, many.join(",")));
    let Payload { alerts, repairs, .. } = parse(body(&text).as_bytes()).unwrap();
    let annotations = &alerts[0].annotations;
    assert_eq!(annotations.len(), MAX_ANNOTATIONS);
    assert!(annotations["long"].len() <= MAX_ANNOTATION_BYTES + '…'.len_utf8());
    assert!(annotations["long"].ends_with("ä…"));
    assert_eq!(repairs.texts, 1 + 37);
    assert_eq!(refused(body(&alert("")).replace("p-1", &long)).0, "/alerts/0/labels/pod");
    assert_eq!(refused(body(&alert("")).replace("pod", &long)).0, "/alerts/0/labels");
}

#[test]
fn groups_of_thousands_are_taken_and_more_than_the_limit_is_not() {
    let one = alert("");
    let group = |count: usize| body(&vec![one.as_str(); count].join(","));
    assert_eq!(parse(group(MAX_ALERTS).as_bytes()).unwrap().alerts.len(), MAX_ALERTS);
    let (pointer, message) = refused(group(MAX_ALERTS + 1));
    assert_eq!(pointer, "/alerts");
    assert!(message.contains("max_alerts"), "{message}");
}

#[test]
fn quoting_of_receivers_is_undone() {
    for (quoted, name) in [
        (r"team\.x", "team.x"),
        (r"a\\b", r"a\b"),
        (r"\[\]\{\}\^\$\|\?\*\(\)", "[]{}^$|?*()"),
        ("plain", "plain"),
        (r"trailing\", r"trailing\"),
        (r"\n", r"\n"),
    ] {
        assert_eq!(unquote_meta(quoted), name);
    }
}
