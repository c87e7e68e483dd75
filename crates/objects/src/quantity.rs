//! Resource quantities: `100m`, `1.5Gi`, `2e3`. Exact to a billionth, as in Kubernetes; what is finer rounds away from zero.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use serde_json::Value;

const NANO: i128 = 1_000_000_000;
/// The largest magnitude, as Kubernetes caps it.
const MAX: i128 = (i64::MAX as i128) * NANO;

/// An exact quantity, and the notation that it was written in. Comparison ignores the notation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The notation of a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `m`, `k`, `M`, ...
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, ...
    BinarySi,
    /// `e3`, `E6`.
    DecimalExponent,
}

/// A text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': {0:?}")]
pub struct ParseError(pub String);

impl Quantity {
    /// Zero.
    pub const ZERO: Quantity = Quantity { nanos: 0, format: Format::DecimalSi };

    /// Parses one.
    ///
    /// # Errors
    /// The text is no quantity.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse(text).ok_or_else(|| ParseError(text.chars().take(64).collect()))
    }

    /// From JSON: a string or a number.
    ///
    /// # Errors
    /// The value is neither, or no quantity.
    pub fn from_value(value: &Value) -> Result<Self, ParseError> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            other => Err(ParseError(other.to_string().chars().take(64).collect())),
        }
    }

    /// A whole number of units.
    pub const fn from_units(units: i64) -> Self {
        Self { nanos: units as i128 * NANO, format: Format::DecimalSi }
    }

    /// A number of thousandths (millicores).
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis as i128 * 1_000_000, format: Format::DecimalSi }
    }

    /// A number of billionths (nanocores).
    pub const fn from_nanos(nanos: i128) -> Self {
        Self { nanos, format: Format::DecimalSi }
    }

    /// A number of bytes, written with binary suffixes.
    pub const fn from_bytes(bytes: i64) -> Self {
        Self { nanos: bytes as i128 * NANO, format: Format::BinarySi }
    }

    /// Whole units, rounded up.
    pub fn units(&self) -> i64 {
        clamp(ceil_div(self.nanos, NANO))
    }

    /// Thousandths, rounded up.
    pub fn millis(&self) -> i64 {
        clamp(ceil_div(self.nanos, 1_000_000))
    }

    /// Billionths.
    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// The notation.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The same amount in another notation.
    pub fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn ceil_div(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

fn parse(text: &str) -> Option<Quantity> {
    if text.len() > 128 {
        return None;
    }
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (format, binary, exponent) = match suffix {
        "" => (Format::DecimalSi, 0, 0),
        "n" => (Format::DecimalSi, 0, -9),
        "u" => (Format::DecimalSi, 0, -6),
        "m" => (Format::DecimalSi, 0, -3),
        "k" => (Format::DecimalSi, 0, 3),
        "M" => (Format::DecimalSi, 0, 6),
        "G" => (Format::DecimalSi, 0, 9),
        "T" => (Format::DecimalSi, 0, 12),
        "P" => (Format::DecimalSi, 0, 15),
        "E" => (Format::DecimalSi, 0, 18),
        "Ki" => (Format::BinarySi, 10, 0),
        "Mi" => (Format::BinarySi, 20, 0),
        "Gi" => (Format::BinarySi, 30, 0),
        "Ti" => (Format::BinarySi, 40, 0),
        "Pi" => (Format::BinarySi, 50, 0),
        "Ei" => (Format::BinarySi, 60, 0),
        _ => {
            let digits = suffix.strip_prefix(['e', 'E'])?;
            let plain = digits.strip_prefix('+').unwrap_or(digits);
            if plain.is_empty() || !plain.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (Format::DecimalExponent, 0, plain.parse::<i32>().ok()?)
        }
    };
    let magnitude = scale(whole, fraction, binary, exponent);
    Some(Quantity { nanos: if negative { -magnitude } else { magnitude }, format })
}

/// `whole.fraction * 2^binary * 10^exponent` in billionths, rounded up, capped.
fn scale(whole: &str, fraction: &str, binary: u32, exponent: i32) -> i128 {
    // Digits beyond what fits are folded: leading zeros go, and more than 37 significant digits cannot matter
    // except for rounding up.
    let digits: String = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    if digits.is_empty() {
        return 0;
    }
    let mut power = i64::from(exponent) - fraction.len() as i64 + 9;
    let mut sticky = false;
    let kept = if digits.len() > 27 {
        let cut = digits.len() - 27;
        sticky = digits[27..].bytes().any(|b| b != b'0');
        power += cut as i64;
        &digits[..27]
    } else {
        &digits
    };
    let mut value: i128 = kept.parse().unwrap_or(MAX);
    let mut shift = binary;
    while power < 0 {
        // Take the binary factor first where it fits, so that 0.5Gi is exact.
        while shift > 0 && value < i128::MAX / 4 {
            value *= 2;
            shift -= 1;
        }
        sticky |= value % 10 != 0;
        value /= 10;
        power += 1;
        if value == 0 {
            return 1;
        }
    }
    while power > 0 {
        value = value.saturating_mul(10);
        power -= 1;
        if value > MAX {
            return MAX;
        }
    }
    for _ in 0..shift {
        value = value.saturating_mul(2);
        if value > MAX {
            return MAX;
        }
    }
    (value + i128::from(sticky)).min(MAX)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small {
            let mut value = if self.nanos < 0 { -ceil_div(-self.nanos, NANO) } else { ceil_div(self.nanos, NANO) };
            let suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            let mut at = 0;
            while value % 1024 == 0 && at + 1 < suffixes.len() {
                value /= 1024;
                at += 1;
            }
            return write!(f, "{value}{}", suffixes[at]);
        }
        let (mut value, mut exponent) = (self.nanos, -9i32);
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 { write!(f, "{value}") } else { write!(f, "{value}e{exponent}") };
        }
        let suffix = match exponent {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            0 => "",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            _ => "E",
        };
        write!(f, "{value}{suffix}")
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nanos: -self.nanos, ..self }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text() {
        for (text, want, millis) in [
            ("0", "0", 0),
            ("100m", "100m", 100),
            ("1000m", "1", 1000),
            ("0.5", "500m", 500),
            ("1.5", "1500m", 1500),
            ("100Mi", "100Mi", 104_857_600_000),
            ("1.5Gi", "1536Mi", 1_610_612_736_000),
            ("0.5Gi", "512Mi", 536_870_912_000),
            ("1024", "1024", 1_024_000),
            ("1000", "1k", 1_000_000),
            ("512Ki", "512Ki", 524_288_000),
            ("1e3", "1e3", 1_000_000),
            ("2E6", "2e6", 2_000_000_000),
            ("1E", "1E", i64::MAX),
            ("-1", "-1", -1000),
            ("+1", "1", 1000),
            (".5", "500m", 500),
            ("5.", "5", 5000),
            ("1n", "1n", 1),
            ("0.0000000001", "1n", 1),
            ("100u", "100u", 1),
            ("1Ki", "1Ki", 1_024_000),
            ("0.1Ki", "102400m", 102_400),
        ] {
            let q = Quantity::parse(text).unwrap();
            assert_eq!(q.to_string(), want, "{text}");
            assert_eq!(q.millis(), millis, "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in ["", "a", "1x", "1.2.3", "1e", "e3", "1 Gi", "--1", "1kk", ".", "1e3.5", "ki", "1e--3"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn caps_and_orders() {
        assert_eq!(Quantity::parse("999999Ei").unwrap().units(), i64::MAX);
        assert_eq!(Quantity::parse(&"9".repeat(100)).unwrap().units(), i64::MAX);
        assert_eq!(Quantity::parse("1e99999").unwrap().units(), i64::MAX);
        assert_eq!(Quantity::parse("1e-99999").unwrap().nanos(), 1);
        assert!(Quantity::parse("1Gi").unwrap() > Quantity::parse("1G").unwrap());
        let sum: Quantity = ["100m", "0.4"].iter().map(|t| Quantity::parse(t).unwrap()).sum();
        assert_eq!(sum.to_string(), "500m");
    }
}
