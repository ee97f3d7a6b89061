//! Alerts from a file, in whichever form a person has them at hand: a webhook's body, one alert of
//! it, or what `/api/v2/alerts` (and `amtool alert -o json`) lists.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::domain::alert::{Alert, AlertStatus};
use crate::http::payload;

/// As much as the webhook's largest body that can be configured.
const FILE_BYTES: u64 = 128 * 1024 * 1024;

/// The alerts of the file that fire; at least one.
pub fn read(path: &Path, now: Timestamp) -> anyhow::Result<Vec<Alert>> {
    let (text, shown) = if path == Path::new("-") {
        (all(std::io::stdin().lock()), "standard input".to_owned())
    } else {
        let shown = format!("`{}`", path.display());
        let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
        (all(file), shown)
    };
    let text = text.with_context(|| format!("cannot read {shown}"))?;
    let alerts = parse(&text, now).with_context(|| format!("{shown} holds no alert"))?;
    let firing: Vec<_> =
        alerts.into_iter().filter(|alert| alert.status == AlertStatus::Firing).collect();
    if firing.is_empty() {
        bail!("no alert of {shown} fires: a resolved alert starts nothing");
    }
    Ok(firing)
}

fn all(from: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(FILE_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(std::io::Error::other("it is larger than any webhook"));
    }
    Ok(text)
}

fn parse(text: &[u8], now: Timestamp) -> anyhow::Result<Vec<Alert>> {
    let value: Value = serde_json::from_slice(text).context("it is not JSON")?;
    let listed = match value {
        // A webhook is parsed as the service does, every peculiarity included.
        Value::Object(ref object) if object.contains_key("alerts") => {
            return Ok(payload::parse(text)?.alerts);
        }
        Value::Object(object) => vec![alert(object, now)],
        Value::Array(elements) => {
            let each = elements.into_iter().map(|element| match element {
                Value::Object(object) => Ok(alert(object, now)),
                _ => bail!("the list has something that is not an object"),
            });
            each.collect::<Result<_, _>>()?
        }
        _ => bail!("it is neither an object nor a list"),
    };
    let body = json!({"version": "4", "alerts": listed}).to_string();
    Ok(payload::parse(body.as_bytes())?.alerts)
}

/// As a webhook would bring it. What is left out of an alert written by hand: it fires, since now.
fn alert(mut object: Map<String, Value>, now: Timestamp) -> Value {
    let status = match object.get("status") {
        Some(Value::String(status)) => status.clone(),
        // `/api/v2/alerts` lists those that fire; a silenced one fires too.
        Some(_) | None => "firing".to_owned(),
    };
    object.insert("status".to_owned(), status.into());
    object.entry("startsAt").or_insert_with(|| now.to_string().into());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let alerts = parse(text.as_bytes(), Timestamp::UNIX_EPOCH).expect("alerts");
        alerts.iter().map(|alert| format!("{} {:?}", alert.name(), alert.status)).collect()
    }

    #[test]
    fn every_form_that_people_have_at_hand_is_read() {
        let webhook = r#"{"version":"4","receiver":"x","alerts":[
            {"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-01-01T00:00:00Z"},
            {"status":"resolved","labels":{"alertname":"B"},"startsAt":"2026-01-01T00:00:00Z"}]}"#;
        assert_eq!(names(webhook), ["A Firing", "B Resolved"]);
        assert_eq!(names(r#"{"labels":{"alertname":"A"}}"#), ["A Firing"]);
        let listed = r#"[{"labels":{"alertname":"A"},"startsAt":"2026-01-01T00:00:00.000Z",
            "endsAt":"2026-01-01T00:04:00.000Z","fingerprint":"00","generatorURL":"",
            "receivers":[{"name":"x"}],"updatedAt":"2026-01-01T00:00:00Z",
            "status":{"state":"suppressed","silencedBy":["s"],"inhibitedBy":[],"mutedBy":[]}}]"#;
        assert_eq!(names(listed), ["A Firing"]);
        for wrong in ["", "7", "[7]", "{}", r#"{"labels":{}}"#] {
            assert!(parse(wrong.as_bytes(), Timestamp::UNIX_EPOCH).is_err(), "{wrong}");
        }
    }
}
