//! Kubernetes quantities (`512Mi`, `0.5`, `100m`), exact to a thousandth.
//!
//! Source of the grammar: the Kubernetes API concept "Quantity". Values are kept in thousandths so
//! that CPU in millicores and memory in bytes both fit without rounding.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of a resource. Compares by value: `1Gi` equals `1024Mi`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "QuantityText", into = "String")]
pub struct Quantity {
    thousandths: i128,
}

/// A quantity may be written as text or as a plain number.
#[derive(Deserialize)]
#[serde(untagged)]
enum QuantityText {
    Text(String),
    Integer(i64),
    Float(f64),
}

/// Larger than any real cluster, small enough that arithmetic on two of them cannot overflow.
const LARGEST: i128 = 1 << 100;

const BINARY: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
/// Parts of a thousandth, which are rounded up to one.
const SMALLER: [(&str, i128); 2] = [("u", 1_000), ("n", 1_000_000)];
const DECIMAL: [(&str, i128); 6] = [
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

impl Quantity {
    /// The amount in thousandths of the unit (millicores, thousandths of a byte).
    pub const fn thousandths(self) -> i128 {
        self.thousandths
    }

    /// This amount, rounded up to a whole multiple of `unit`; as it is where `unit` is nothing.
    pub fn rounded_up_to(self, unit: Self) -> Self {
        match unit.thousandths {
            ..=0 => self,
            unit => {
                let units = self.thousandths / unit + i128::from(self.thousandths % unit != 0);
                Self { thousandths: units.saturating_mul(unit) }
            }
        }
    }

    /// So many units.
    pub const fn whole(units: i64) -> Self {
        Self { thousandths: units as i128 * 1_000 }
    }

    /// So many thousandths of the unit; nothing below none.
    pub fn of_thousandths(thousandths: i128) -> Self {
        Self { thousandths: thousandths.clamp(0, LARGEST) }
    }

    /// This amount and `other` together.
    pub fn plus(self, other: Self) -> Self {
        Self { thousandths: (self.thousandths + other.thousandths).min(LARGEST) }
    }

    /// This amount times `factor` (at least 0), rounded up to a thousandth of the unit.
    pub fn times(self, factor: f64) -> Self {
        let scaled = (self.thousandths as f64 * factor.max(0.0)).ceil();
        Self { thousandths: (scaled as i128).min(LARGEST) }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.thousandths;
        if value % 1_000 != 0 {
            return write!(f, "{value}m");
        }
        let units = value / 1_000;
        for (suffix, shift) in BINARY.iter().rev() {
            if units != 0 && units % (1 << shift) == 0 {
                return write!(f, "{}{suffix}", units >> shift);
            }
        }
        write!(f, "{units}")
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a quantity: write for example `512Mi`, `2Gi`, `500m` or `2`")]
pub struct ParseQuantityError(String);

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseQuantityError(text.chars().take(40).collect());
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // 18 digits each keep every product below `LARGEST` times ten and inside an i128.
        if whole.len() + fraction.len() == 0 || whole.len() > 18 || fraction.len() > 9 {
            return Err(error());
        }
        let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| error())?;
        let mut divisor = 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| error())?);
        let multiplier = if suffix.is_empty() {
            1_000
        } else if suffix == "m" {
            1
        } else if let Some((_, part)) = SMALLER.iter().find(|(name, _)| *name == suffix) {
            divisor *= part;
            1
        } else if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            1_000 << shift
        } else if let Some((_, factor)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            1_000 * factor
        } else {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or_else(error)?;
            let exponent: u32 = exponent.parse().map_err(|_| error())?;
            let factor = Some(exponent).filter(|it| *it <= 18).map(|it| 10_i128.pow(it));
            1_000 * factor.ok_or_else(error)?
        };
        let product = digits.checked_mul(multiplier).ok_or_else(error)?;
        let thousandths = product.div_euclid(divisor) + i128::from(product % divisor != 0);
        if thousandths > LARGEST { Err(error()) } else { Ok(Self { thousandths }) }
    }
}

impl TryFrom<QuantityText> for Quantity {
    type Error = ParseQuantityError;

    fn try_from(text: QuantityText) -> Result<Self, Self::Error> {
        match text {
            QuantityText::Text(text) => text.parse(),
            QuantityText::Integer(number) => number.to_string().parse(),
            QuantityText::Float(number) => number.to_string().parse(),
        }
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.to_string()
    }
}

impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "description": "A Kubernetes quantity: 512Mi, 2Gi, 500m, 2.",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect("a quantity")
    }

    #[test]
    fn the_same_amount_is_equal_however_written() {
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert_eq!(quantity("0.5"), quantity("500m"));
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert_eq!(quantity("1.5Gi").to_string(), "1536Mi");
        assert_eq!(quantity("512Mi").times(2.0).to_string(), "1Gi");
        assert!(quantity("4Gi") > quantity("4G"));
        assert_eq!(quantity("1500u"), quantity("2m"));
        assert_eq!(quantity("1n"), quantity("1m"));
        let mebibyte = quantity("1Mi");
        assert_eq!(quantity("563.2Mi").rounded_up_to(mebibyte), quantity("564Mi"));
        assert_eq!(quantity("564Mi").rounded_up_to(mebibyte), quantity("564Mi"));
        assert_eq!(quantity("7m").rounded_up_to(Quantity::whole(0)), quantity("7m"));
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for text in
            ["", "Mi", "-1", "1.2.3", "1 Gi", "1gi", "NaN", "999999999999999999999Ei", "1e19"]
        {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(thousandths in 0i128..1_000_000_000_000_000) {
            let quantity = Quantity { thousandths };
            prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity));
        }

        #[test]
        fn any_text_is_an_answer_not_a_panic(text in ".*") {
            let _answer = text.parse::<Quantity>();
        }
    }
}
