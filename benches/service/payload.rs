//! Webhooks as Alertmanager sends them, every alert a new episode.
//!
//! A request is written once; to make it new, the number in each alert's last label and the
//! fingerprint that follows from it are overwritten in place. So the generator neither formats
//! nor holds a gigabyte of requests.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use orderly::domain::id::Fingerprint;
use serde_json::{Map, json};

use super::http;

/// Where webhooks go, on Orderly and on the floors.
pub const PATH: &str = "/api/v1/alertmanager";
/// The digits of an alert's number.
const DIGITS: usize = 10;
/// The hexadecimal digits of a fingerprint.
const FINGERPRINT: usize = 16;
/// Sorts after all other labels, so that the fingerprint depends on it only at its end.
const LAST_LABEL: &str = "uid";
/// The other labels: of alerts that no policy answers.
const LABELS: [(&str, &str); 6] = [
    ("alertname", "BenchFlood"),
    ("instance", "10.24.7.31:9100"),
    ("job", "node-exporter"),
    ("namespace", "ai-agents"),
    ("pod", "support-agent-7c9d8b6f54-x2x8q"),
    ("severity", "critical"),
];

/// Numbers are given once for the whole run.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// A request that can be made new.
pub struct Webhook {
    bytes: Vec<u8>,
    alerts: Vec<Places>,
    prefix: u64,
}

struct Places {
    number: usize,
    fingerprint: usize,
}

impl Webhook {
    pub fn of(alerts: usize) -> Self {
        let body = body(alerts);
        let bytes = http::send("POST", PATH, "application/json", &body);
        let places = |needle: &str| -> Vec<usize> {
            let text = std::str::from_utf8(&bytes).unwrap();
            text.match_indices(needle).map(|(at, _)| at + needle.len()).collect()
        };
        let numbers = places(&format!("\"{LAST_LABEL}\":\""));
        let fingerprints = places("\"fingerprint\":\"");
        let alerts = numbers.into_iter().zip(fingerprints);
        let alerts =
            alerts.map(|(number, fingerprint)| Places { number, fingerprint }).collect::<Vec<_>>();
        let mut prefix = FNV_OFFSET;
        for (name, value) in LABELS {
            prefix = fnv(fnv(prefix, name.as_bytes()), value.as_bytes());
        }
        prefix = fnv(prefix, LAST_LABEL.as_bytes());
        let webhook = Self { bytes, alerts, prefix };
        webhook.check();
        webhook
    }

    /// The request with alerts that nobody has seen.
    pub fn renewed(&mut self) -> &[u8] {
        let count = self.alerts.len() as u64;
        let first = NUMBERS.fetch_add(count, Ordering::Relaxed);
        for (number, places) in (first..).zip(&self.alerts) {
            let digits = digits(number);
            let fingerprint = fnv(self.prefix, &digits);
            self.bytes[places.number..places.number + DIGITS].copy_from_slice(&digits);
            let hex = &mut self.bytes[places.fingerprint..places.fingerprint + FINGERPRINT];
            for (place, digit) in hex.iter_mut().enumerate() {
                let nibble = (fingerprint >> (60 - 4 * place)) & 0xf;
                *digit = b"0123456789abcdef"[nibble as usize];
            }
        }
        &self.bytes
    }

    /// A wrong fingerprint would be put right by the receiver, which costs it something.
    fn check(&self) {
        let number = String::from_utf8(digits(7).to_vec()).unwrap();
        let labels = LABELS.into_iter().chain([(LAST_LABEL, number.as_str())]);
        let expected = Fingerprint::of(labels).to_string();
        assert_eq!(format!("{:016x}", fnv(self.prefix, number.as_bytes())), expected);
    }
}

/// A webhook with one alert that began or ended now; for what need not be sent quickly.
pub fn single(status: &str, labels: &[(&str, &str)], starts_at: Timestamp) -> Vec<u8> {
    let fingerprint = Fingerprint::of(labels.iter().copied()).to_string();
    let ends_at = match status {
        "resolved" => Timestamp::now().to_string(),
        _ => "0001-01-01T00:00:00Z".to_owned(),
    };
    let labels: Map<_, _> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let body = json!({
        "version": "4", "groupKey": "{}:{}", "status": status, "receiver": "orderly",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "",
        "alerts": [{
            "status": status, "labels": labels, "annotations": {}, "startsAt": starts_at,
            "endsAt": ends_at, "generatorURL": "", "fingerprint": fingerprint,
        }],
    });
    http::send("POST", PATH, "application/json", &body.to_string())
}

fn digits(mut number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// One name or value of a fingerprint.
fn fnv(hash: u64, text: &[u8]) -> u64 {
    text.iter()
        .chain(&[0xff])
        .fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

fn body(alerts: usize) -> String {
    let now = Timestamp::now();
    let common: Vec<_> =
        LABELS.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    let common = common.join(",");
    let annotations = "\"description\":\"Support agent support-agent-7c9d8b6f54-x2x8q answers no \
                       health checks.\",\"runbook_url\":\"https://runbooks.example.com/agent-down\"";
    let mut text = format!(
        "{{\"version\":\"4\",\"groupKey\":\"{{}}:{{alertname=\\\"BenchFlood\\\"}}\",\
         \"truncatedAlerts\":0,\"status\":\"firing\",\"receiver\":\"orderly\",\
         \"groupLabels\":{{\"alertname\":\"BenchFlood\"}},\"commonLabels\":{{{common}}},\
         \"commonAnnotations\":{{{annotations}}},\
         \"externalURL\":\"http://alertmanager.monitoring.svc:9093\",\"alerts\":["
    );
    for alert in 0..alerts {
        let comma = if alert == 0 { "" } else { "," };
        let (number, print) = ("0".repeat(DIGITS), "0".repeat(FINGERPRINT));
        write!(
            text,
            "{comma}{{\"status\":\"firing\",\"labels\":{{{common},\"{LAST_LABEL}\":\"{number}\"}},\
             \"annotations\":{{{annotations}}},\"startsAt\":\"{now:.3}\",\
             \"endsAt\":\"0001-01-01T00:00:00Z\",\"generatorURL\":\
             \"http://prometheus.monitoring.svc:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1\",\
             \"fingerprint\":\"{print}\"}}"
        )
        .unwrap();
    }
    text + "]}"
}
