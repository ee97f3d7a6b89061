//! Resource quantities: reading, comparing, and the canonical form in which the server gives them
//! back (`1024Mi` becomes `1Gi`, `0.5` becomes `500m`).

use std::cmp::Ordering;

/// Units of a quantity are counted in billionths, the finest that Kubernetes keeps.
const NANO: i128 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
}

/// An amount of memory, processor time or the like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantity {
    nano: i128,
    format: Format,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.nano.partial_cmp(&other.nano)
    }
}

impl Quantity {
    /// Reads `512Mi`, `1.5`, `250m`, `1e3`; `None` when it is none.
    pub(super) fn parse(input: &str) -> Option<Self> {
        let digits_end = input
            .char_indices()
            .find(|(at, c)| {
                !(c.is_ascii_digit() || *c == '.' || (*at == 0 && (*c == '-' || *c == '+')))
            })
            .map_or(input.len(), |(at, _)| at);
        let (number, suffix) = input.split_at(digits_end);
        let (negative, number) = match number.as_bytes().first()? {
            b'-' => (true, &number[1..]),
            b'+' => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // Longer numbers than this cannot be amounts of anything and would overflow below.
        if whole.len() + fraction.len() == 0 || whole.len() > 18 || fraction.contains('.') {
            return None;
        }
        let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let value = whole * NANO + fraction.parse::<i128>().ok()?;
        let (nano, format) = match suffix {
            "" => (value, Format::Decimal),
            "n" => (value / 1_000_000_000, Format::Decimal),
            "u" => (value / 1_000_000, Format::Decimal),
            "m" => (value / 1000, Format::Decimal),
            "k" => (value.checked_mul(1000)?, Format::Decimal),
            "M" => (value.checked_mul(1000_i128.pow(2))?, Format::Decimal),
            "G" => (value.checked_mul(1000_i128.pow(3))?, Format::Decimal),
            "T" => (value.checked_mul(1000_i128.pow(4))?, Format::Decimal),
            "P" => (value.checked_mul(1000_i128.pow(5))?, Format::Decimal),
            "Ki" => (value.checked_mul(1024)?, Format::Binary),
            "Mi" => (value.checked_mul(1024_i128.pow(2))?, Format::Binary),
            "Gi" => (value.checked_mul(1024_i128.pow(3))?, Format::Binary),
            "Ti" => (value.checked_mul(1024_i128.pow(4))?, Format::Binary),
            "Pi" => (value.checked_mul(1024_i128.pow(5))?, Format::Binary),
            exponent => {
                let power: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
                (value.checked_mul(10_i128.checked_pow(power)?)?, Format::Decimal)
            }
        };
        Some(Self { nano: if negative { -nano } else { nano }, format })
    }

    /// The sum, written as the first of the two that has an amount.
    pub(super) fn plus(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: self.nano.saturating_add(other.nano), format }
    }

    /// So many.
    pub(super) fn whole(units: u32) -> Self {
        Self { nano: i128::from(units) * NANO, format: Format::Decimal }
    }

    pub(super) fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// The canonical text.
    pub(super) fn canonical(self) -> String {
        if self.format == Format::Binary && self.nano.abs() >= 1024 * NANO && self.nano % NANO == 0
        {
            let mut value = self.nano / NANO;
            let mut suffix = "";
            for next in ["Ki", "Mi", "Gi", "Ti", "Pi"] {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = next;
            }
            return format!("{value}{suffix}");
        }
        if self.nano == 0 {
            return "0".into();
        }
        let mut value = self.nano;
        let mut suffix = "n";
        for next in ["u", "m", "", "k", "M", "G", "T", "P"] {
            if value % 1000 != 0 {
                break;
            }
            value /= 1000;
            suffix = next;
        }
        format!("{value}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_come_back_canonical() {
        for (given, canonical) in [
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("128974848", "128974848"),
            ("512Ki", "512Ki"),
            ("0", "0"),
            ("1e3", "1k"),
            ("100n", "100n"),
        ] {
            assert_eq!(Quantity::parse(given).map(Quantity::canonical).as_deref(), Some(canonical));
        }
        for bad in ["", "Mi", "1.2.3", "abc", "1Zi", "1e", "--1"] {
            assert!(Quantity::parse(bad).is_none(), "{bad}");
        }
        assert!(Quantity::parse("256Mi") < Quantity::parse("1Gi"));
    }
}
