//! The parser proper: visitors that build alerts straight from the bytes and keep track of where
//! they are.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Repairs;
use super::error::Place;
use super::limits::{
    MAX_ALERTS, MAX_ANNOTATION_BYTES, MAX_ANNOTATIONS, MAX_GROUP_KEY_BYTES, MAX_LABEL_NAME_BYTES,
    MAX_LABEL_VALUE_BYTES, MAX_LABELS, MAX_NAME_BYTES, MAX_URL_BYTES,
};
use super::text::{CountSeed, Given, StatusSeed, Text, TimeSeed};
use crate::domain::alert::{Alert, AlertStatus, Labels};
use crate::domain::id::Fingerprint;

/// The payload as written.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) version: Option<String>,
    pub(super) receiver: String,
    pub(super) group_key: String,
    pub(super) truncated_alerts: u64,
    pub(super) reason: Option<String>,
    pub(super) external_url: String,
    pub(super) alerts: Option<Vec<Alert>>,
    pub(super) repairs: Repairs,
}

impl Raw {
    pub(super) fn read(body: &[u8], place: &Place) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let raw = deserializer.deserialize_map(PayloadVisitor(place))?;
        place.field.set(None);
        deserializer.end()?;
        Ok(raw)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Version,
    GroupKey,
    TruncatedAlerts,
    Receiver,
    #[serde(rename = "notification_reason")]
    NotificationReason,
    #[serde(rename = "externalURL")]
    ExternalUrl,
    Alerts,
    #[serde(other)]
    Unknown,
}

struct PayloadVisitor<'p>(&'p Place);

impl<'de> Visitor<'de> for PayloadVisitor<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let place = self.0;
        let mut raw = Raw::default();
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Version => {
                    place.field.set(Some("version"));
                    raw.version = map.next_value_seed(Text::cut(MAX_NAME_BYTES))?.given();
                }
                Field::GroupKey => {
                    place.field.set(Some("groupKey"));
                    raw.group_key =
                        map.next_value_seed(Text::refuse(MAX_GROUP_KEY_BYTES))?.or_empty();
                }
                Field::TruncatedAlerts => {
                    place.field.set(Some("truncatedAlerts"));
                    raw.truncated_alerts = map.next_value_seed(CountSeed)?;
                }
                Field::Receiver => {
                    place.field.set(Some("receiver"));
                    raw.receiver = map.next_value_seed(Text::cut(MAX_NAME_BYTES))?.or_empty();
                }
                Field::NotificationReason => {
                    place.field.set(Some("notification_reason"));
                    raw.reason = map.next_value_seed(Text::cut(MAX_NAME_BYTES))?.given();
                }
                Field::ExternalUrl => {
                    place.field.set(Some("externalURL"));
                    raw.external_url = map.next_value_seed(Text::drop(MAX_URL_BYTES))?.or_empty();
                }
                Field::Alerts => {
                    place.field.set(Some("alerts"));
                    if raw.alerts.is_some() {
                        return Err(A::Error::custom("the list of alerts is given twice"));
                    }
                    let repairs = &mut raw.repairs;
                    raw.alerts = Some(map.next_value_seed(AlertsSeed { place, repairs })?);
                    place.alert.set(None);
                }
                Field::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            place.field.set(None);
        }
        Ok(raw)
    }
}

struct AlertsSeed<'p> {
    place: &'p Place,
    repairs: &'p mut Repairs,
}

impl<'de> DeserializeSeed<'de> for AlertsSeed<'_> {
    type Value = Vec<Alert>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Alert>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AlertsSeed<'_> {
    type Value = Vec<Alert>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of alerts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Alert>, A::Error> {
        let mut alerts = Vec::new();
        loop {
            self.place.alert.set(Some(alerts.len()));
            let seed = AlertSeed { place: self.place, repairs: self.repairs };
            let Some(alert) = seq.next_element_seed(seed)? else { return Ok(alerts) };
            if alerts.len() == MAX_ALERTS {
                self.place.alert.set(None);
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_ALERTS} alerts: set `max_alerts` in Alertmanager's \
                     `webhook_config`, or group them by more labels"
                )));
            }
            alerts.push(alert);
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum AlertField {
    Status,
    Labels,
    Annotations,
    StartsAt,
    EndsAt,
    #[serde(rename = "generatorURL")]
    GeneratorUrl,
    Fingerprint,
    #[serde(other)]
    Unknown,
}

struct AlertSeed<'p> {
    place: &'p Place,
    repairs: &'p mut Repairs,
}

impl<'de> DeserializeSeed<'de> for AlertSeed<'_> {
    type Value = Alert;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Alert, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AlertSeed<'_> {
    type Value = Alert;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an alert")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Alert, A::Error> {
        let Self { place, repairs } = self;
        let mut status = None;
        let mut labels = None;
        let mut annotations = Labels::new();
        let mut starts_at = None;
        let mut ends_at = None;
        let mut generator_url = String::new();
        let mut fingerprint = None;
        while let Some(field) = map.next_key::<AlertField>()? {
            match field {
                AlertField::Status => {
                    place.alert_field.set(Some("status"));
                    once(&status)?;
                    status = Some(map.next_value_seed(StatusSeed)?);
                }
                AlertField::Labels => {
                    place.alert_field.set(Some("labels"));
                    once(&labels)?;
                    labels = Some(map.next_value_seed(LabelsSeed(place))?);
                }
                AlertField::Annotations => {
                    place.alert_field.set(Some("annotations"));
                    let cut = &mut repairs.texts;
                    annotations = map.next_value_seed(AnnotationsSeed { place, cut })?;
                }
                AlertField::StartsAt => {
                    place.alert_field.set(Some("startsAt"));
                    once(&starts_at)?;
                    starts_at = map.next_value_seed(TimeSeed)?;
                }
                AlertField::EndsAt => {
                    place.alert_field.set(Some("endsAt"));
                    once(&ends_at)?;
                    ends_at = map.next_value_seed(TimeSeed)?;
                }
                AlertField::GeneratorUrl => {
                    place.alert_field.set(Some("generatorURL"));
                    let url = map.next_value_seed(Text::drop(MAX_URL_BYTES))?;
                    repairs.texts += u64::from(matches!(url, Given::Shortened(_)));
                    generator_url = url.or_empty();
                }
                AlertField::Fingerprint => {
                    place.alert_field.set(Some("fingerprint"));
                    let text = map.next_value_seed(Text::cut(MAX_NAME_BYTES))?.or_empty();
                    fingerprint = text.parse::<Fingerprint>().ok();
                }
                AlertField::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            place.alert_field.set(None);
        }
        let missing = |field: &'static str, what: &str| {
            place.alert_field.set(Some(field));
            A::Error::custom(what)
        };
        let status = status.ok_or_else(|| missing("status", "the status is missing"))?;
        let labels: Labels = labels.ok_or_else(|| missing("labels", "the labels are missing"))?;
        let starts_at =
            starts_at.ok_or_else(|| missing("startsAt", "the start of the alert is missing"))?;
        let computed =
            Fingerprint::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        repairs.fingerprints += u64::from(fingerprint.is_some_and(|given| given != computed));
        let ends_at = match status {
            AlertStatus::Firing => None,
            AlertStatus::Resolved => ends_at,
        };
        let fingerprint = computed;
        Ok(Alert { status, labels, annotations, starts_at, ends_at, generator_url, fingerprint })
    }
}

fn once<T, E: Error>(slot: &Option<T>) -> Result<(), E> {
    match slot {
        None => Ok(()),
        Some(_) => Err(E::custom("given twice")),
    }
}

struct LabelsSeed<'p>(&'p Place);

impl<'de> DeserializeSeed<'de> for LabelsSeed<'_> {
    type Value = Labels;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Labels, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LabelsSeed<'_> {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut entries: Vec<(String, String)> = Vec::new();
        while let Some(name) = map.next_key_seed(Text::refuse(MAX_LABEL_NAME_BYTES))? {
            let name = name.or_empty();
            if entries.len() == MAX_LABELS {
                return Err(A::Error::custom(format_args!("more than {MAX_LABELS} labels")));
            }
            let value = map
                .next_value_seed(Text::required(MAX_LABEL_VALUE_BYTES))
                .map_err(|e| self.0.at_key(&name, e))?;
            entries.push((name, value.or_empty()));
        }
        if entries.is_empty() {
            return Err(A::Error::custom("an alert without labels names nothing"));
        }
        // Go writes maps sorted, so this is one pass over a handful of entries.
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for pair in entries.windows(2) {
            if let [(first, _), (second, _)] = pair
                && first == second
            {
                let error = A::Error::custom("the label is given twice");
                return Err(self.0.at_key(first, error));
            }
        }
        Ok(entries.into_iter().collect())
    }
}

struct AnnotationsSeed<'p> {
    place: &'p Place,
    cut: &'p mut u64,
}

impl<'de> DeserializeSeed<'de> for AnnotationsSeed<'_> {
    type Value = Labels;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Labels, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnnotationsSeed<'_> {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of annotations")
    }

    fn visit_unit<E: Error>(self) -> Result<Labels, E> {
        Ok(Labels::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut entries = Labels::new();
        while let Some(name) = map.next_key_seed(Text::cut(MAX_LABEL_NAME_BYTES))? {
            let name = name.or_empty();
            if entries.len() >= MAX_ANNOTATIONS {
                map.next_value::<IgnoredAny>()?;
                *self.cut += 1;
                continue;
            }
            let value = map
                .next_value_seed(Text::cut(MAX_ANNOTATION_BYTES))
                .map_err(|e| self.place.at_key(&name, e))?;
            *self.cut += u64::from(matches!(value, Given::Shortened(_)));
            entries.insert(name, value.or_empty());
        }
        Ok(entries)
    }
}
