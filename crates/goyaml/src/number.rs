//! Floats as Go prints them.

/// Shortest decimal digits of a finite, non-zero float and the place of the point: value = 0.DIGITS * 10^exponent.
fn decimal(value: f64) -> (String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    (digits, exponent + 1)
}

/// A float as Go's `strconv.FormatFloat(f, 'g', -1, 64)` and `%v` give it: with an exponent below -4 and from 6, so that
/// 1000000 is `1e+06`.
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let (digits, point) = decimal(value);
    let sign = if value < 0.0 { "-" } else { "" };
    let exponent = point - 1;
    if (-4..EXPONENT_FROM).contains(&exponent) {
        format!("{sign}{}", plain(&digits, point))
    } else {
        format!("{sign}{}", with_exponent(&digits, exponent))
    }
}

/// A float with the precision of 32 bits, as `sigs.k8s.io/yaml` makes texts of numbers: 1.23456789 is `1.2345679`.
pub fn format_float32(value: f64) -> String {
    format_float(format!("{}", value as f32).parse().unwrap_or(value))
}

/// Go decides the shortest form of `g` as if the precision were 6.
const EXPONENT_FROM: i32 = 6;

fn with_exponent(digits: &str, exponent: i32) -> String {
    let mut out = String::with_capacity(digits.len() + 6);
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    out.push('e');
    out.push(if exponent < 0 { '-' } else { '+' });
    let e = exponent.unsigned_abs();
    if e < 10 {
        out.push('0');
    }
    out.push_str(&e.to_string());
    out
}

fn plain(digits: &str, point: i32) -> String {
    if point <= 0 {
        return format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    }
    let point = point as usize;
    if digits.len() <= point {
        return format!("{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{}.{}", &digits[..point], &digits[point..])
}

/// A float as Go's `encoding/json` writes it.
pub fn json_float(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let (digits, point) = decimal(value);
    let sign = if value < 0.0 { "-" } else { "" };
    let magnitude = value.abs();
    if !(1e-6..1e21).contains(&magnitude) {
        let text = with_exponent(&digits, point - 1);
        // e-09 is written e-9.
        let text = match text.find("e-0") {
            Some(at) => format!("{}e-{}", &text[..at], &text[at + 3..]),
            None => text,
        };
        return format!("{sign}{text}");
    }
    format!("{sign}{}", plain(&digits, point))
}
