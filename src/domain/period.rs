//! A length of time as people write it: `15m`, `1h 30m`, `2d`. Never negative.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A length of time, written `90s`, `15m`, `1h 30m`, `2d` (a day is 24 hours).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(try_from = "String", into = "String")]
pub struct Period(SignedDuration);

impl Period {
    /// Nothing at all.
    pub const ZERO: Self = Self(SignedDuration::ZERO);

    /// So many seconds.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(SignedDuration::from_secs(seconds as i64))
    }

    /// So many minutes.
    pub const fn from_mins(minutes: u32) -> Self {
        Self(SignedDuration::from_secs(minutes as i64 * 60))
    }

    /// As a duration to calculate with.
    pub const fn get(self) -> SignedDuration {
        self.0
    }

    /// The period from `earlier` to `later`; nothing when they are the other way round.
    pub fn between(earlier: jiff::Timestamp, later: jiff::Timestamp) -> Self {
        Self(later.duration_since(earlier).max(SignedDuration::ZERO))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        let millis = self.0.subsec_millis();
        if rest == 0 {
            return if millis == 0 { f.write_str("0s") } else { write!(f, "{millis}ms") };
        }
        for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
                if rest > 0 {
                    f.write_str(" ")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time: write for example `90s`, `15m`, `1h 30m` or `2d`")]
pub struct ParsePeriodError(String);

impl FromStr for Period {
    type Err = ParsePeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePeriodError(text.chars().take(40).collect());
        let mut total = SignedDuration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let number: i64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let part = match &rest[..letters] {
                "ms" => SignedDuration::from_millis(number),
                "s" => SignedDuration::from_secs(number),
                "m" => SignedDuration::from_secs(number.checked_mul(60).ok_or_else(error)?),
                "h" => SignedDuration::from_secs(number.checked_mul(3_600).ok_or_else(error)?),
                "d" => SignedDuration::from_secs(number.checked_mul(86_400).ok_or_else(error)?),
                "w" => SignedDuration::from_secs(number.checked_mul(604_800).ok_or_else(error)?),
                _ => return Err(error()),
            };
            total = total.checked_add(part).ok_or_else(error)?;
            rest = rest[letters..].trim_start();
        }
        Ok(Self(total))
    }
}

impl TryFrom<String> for Period {
    type Error = ParsePeriodError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl schemars::JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A length of time: 90s, 15m, 1h 30m, 2d.",
            "pattern": r"^\s*([0-9]+(ms|s|m|h|d|w)\s*)+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 0u32..) {
            let period = Period::from_secs(seconds);
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
        }

        #[test]
        fn any_text_is_an_answer_not_a_panic(text in ".*") {
            let _answer = text.parse::<Period>();
        }
    }

    #[test]
    fn people_write_it_in_several_ways() {
        assert_eq!("1h 30m".parse(), Ok(Period::from_mins(90)));
        assert_eq!("90m".parse::<Period>().map(|p| p.to_string()), Ok("1h 30m".to_owned()));
        assert!("15".parse::<Period>().is_err());
        assert!("-5m".parse::<Period>().is_err());
        assert!("99999999999999999w".parse::<Period>().is_err());
    }
}
