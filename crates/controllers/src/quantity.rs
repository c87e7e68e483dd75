//! Quantities as integers in thousandths: what scheduling and autoscaling reckon in.

use serde_json::Value;

/// Thousandths of a quantity, rounded up; `None` when it is not one.
pub fn milli(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => {
            n.as_i64().map(|n| n.saturating_mul(1000)).or_else(|| n.as_f64().map(|f| (f * 1000.0).ceil() as i64))
        }
        Value::String(text) => parse(text),
        _ => None,
    }
}

/// Whole units of a quantity, rounded up; zero when it is not one.
pub fn units(value: &Value) -> i64 {
    let milli = milli(value).unwrap_or(0);
    milli.div_euclid(1000) + i64::from(milli.rem_euclid(1000) > 0)
}

fn parse(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (mantissa, decimals) = match number.split_once('.') {
        Some((whole, fraction)) => (format!("{whole}{fraction}"), u32::try_from(fraction.len()).ok()?),
        None => (number.to_owned(), 0),
    };
    let mantissa: i128 = mantissa.parse().ok()?;
    let (multiply, divide): (i128, i128) = match suffix {
        "" => (1000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1000),
        "m" => (1, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        "Ei" => (1000 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1000, power) } else { (power.checked_mul(1000)?, 1) }
        }
    };
    let divide = divide.checked_mul(10i128.checked_pow(decimals)?)?;
    let product = mantissa.checked_mul(multiply)?;
    let rounded = product.div_euclid(divide) + i128::from(product.rem_euclid(divide) > 0);
    Some(i64::try_from(rounded).unwrap_or(if rounded > 0 { i64::MAX } else { i64::MIN }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn table() {
        let cases = [
            (json!("100m"), Some(100)),
            (json!("1.5"), Some(1500)),
            (json!(2), Some(2000)),
            (json!("128Mi"), Some(128 * 1024 * 1024 * 1000)),
            (json!("1e3"), Some(1_000_000)),
            (json!("1E"), Some(1_000_000_000_000_000_000i64.saturating_mul(1000))),
            (json!("100u"), Some(1)),
            (json!("0.5Gi"), Some(512 * 1024 * 1024 * 1000)),
            (json!("x"), None),
            (json!(null), None),
        ];
        for (value, expected) in cases {
            assert_eq!(milli(&value), expected, "{value}");
        }
        assert_eq!(units(&json!("1500m")), 2);
    }
}
