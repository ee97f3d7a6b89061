//! The leaves of a payload: texts with a limit, times, the status, a count.

use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

use crate::domain::alert::AlertStatus;

/// Go's zero time: how Alertmanager writes "not known" and "not over".
const GO_ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A text, or `null` where a text may be missing.
pub(super) enum Given {
    /// As it came.
    Whole(String),
    /// Too long, and therefore cut or dropped.
    Shortened(String),
    /// Not given.
    Null,
}

impl Given {
    pub(super) fn given(self) -> Option<String> {
        match self {
            Self::Whole(text) | Self::Shortened(text) => Some(text),
            Self::Null => None,
        }
    }

    pub(super) fn or_empty(self) -> String {
        self.given().unwrap_or_default()
    }
}

/// What happens to a text that is too long, or missing.
#[derive(Clone, Copy)]
enum Misfit {
    Refuse,
    RefuseAlsoNull,
    Cut,
    Drop,
}

/// Reads a text of at most so many bytes.
#[derive(Clone, Copy)]
pub(super) struct Text {
    bytes: usize,
    misfit: Misfit,
}

impl Text {
    /// A longer one is an error.
    pub(super) fn refuse(bytes: usize) -> Self {
        Self { bytes, misfit: Misfit::Refuse }
    }

    /// A longer one is an error, and so is `null`.
    pub(super) fn required(bytes: usize) -> Self {
        Self { bytes, misfit: Misfit::RefuseAlsoNull }
    }

    /// A longer one is cut.
    pub(super) fn cut(bytes: usize) -> Self {
        Self { bytes, misfit: Misfit::Cut }
    }

    /// A longer one is as good as none.
    pub(super) fn drop(bytes: usize) -> Self {
        Self { bytes, misfit: Misfit::Drop }
    }
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Given;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        match self.misfit {
            Misfit::RefuseAlsoNull => deserializer.deserialize_str(self),
            Misfit::Refuse | Misfit::Cut | Misfit::Drop => deserializer.deserialize_any(self),
        }
    }
}

impl Visitor<'_> for Text {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_unit<E: Error>(self) -> Result<Given, E> {
        Ok(Given::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
        if text.len() <= self.bytes {
            return Ok(Given::Whole(text.to_owned()));
        }
        match self.misfit {
            Misfit::Refuse | Misfit::RefuseAlsoNull => Err(E::custom(format_args!(
                "a text of {} bytes, at most {} are taken",
                text.len(),
                self.bytes
            ))),
            Misfit::Cut => {
                let end = text.floor_char_boundary(self.bytes);
                Ok(Given::Shortened(format!("{}…", &text[..end])))
            }
            Misfit::Drop => Ok(Given::Shortened(String::new())),
        }
    }
}

/// Reads a time; Go's zero time and `null` are none.
pub(super) struct TimeSeed;

impl<'de> DeserializeSeed<'de> for TimeSeed {
    type Value = Option<Timestamp>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for TimeSeed {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as `2026-01-31T09:30:00Z`")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == GO_ZERO_TIME {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            let shown: String = text.chars().take(60).collect();
            E::custom(format_args!("`{shown}` is not a time such as `2026-01-31T09:30:00Z`"))
        })
    }
}

/// Reads `firing` or `resolved`.
pub(super) struct StatusSeed;

impl<'de> DeserializeSeed<'de> for StatusSeed {
    type Value = AlertStatus;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AlertStatus, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for StatusSeed {
    type Value = AlertStatus;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`firing` or `resolved`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AlertStatus, E> {
        match text {
            "firing" => Ok(AlertStatus::Firing),
            "resolved" => Ok(AlertStatus::Resolved),
            other => {
                let shown: String = other.chars().take(60).collect();
                Err(E::custom(format_args!("expected `firing` or `resolved`, found `{shown}`")))
            }
        }
    }
}

/// Reads a number of things; `null` is none.
pub(super) struct CountSeed;

impl<'de> DeserializeSeed<'de> for CountSeed {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for CountSeed {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of alerts")
    }

    fn visit_unit<E: Error>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
}
