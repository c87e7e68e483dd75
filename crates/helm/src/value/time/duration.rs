//! Durations as Go writes and reads them.

/// `time.Duration.String`
pub fn duration_string(n: i64) -> String {
    if n == 0 {
        return "0s".to_owned();
    }
    let sign = if n < 0 { "-" } else { "" };
    let u = n.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let whole = value / unit;
        let rest = value % unit;
        if rest == 0 {
            return whole.to_string();
        }
        let width = unit.ilog10() as usize;
        let text = format!("{rest:0width$}");
        format!("{whole}.{}", text.trim_end_matches('0'))
    };
    if u < 1_000 {
        return format!("{sign}{u}ns");
    }
    if u < 1_000_000 {
        return format!("{sign}{}µs", decimal(u, 1_000));
    }
    if u < 1_000_000_000 {
        return format!("{sign}{}ms", decimal(u, 1_000_000));
    }
    let minutes = u / 60_000_000_000;
    let seconds = decimal(u % 60_000_000_000, 1_000_000_000);
    if minutes == 0 {
        return format!("{sign}{seconds}s");
    }
    let hours = minutes / 60;
    if hours == 0 {
        return format!("{sign}{minutes}m{seconds}s");
    }
    format!("{sign}{hours}h{}m{seconds}s", minutes % 60)
}

/// `time.ParseDuration`
///
/// # Errors
/// Go's message.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let q = crate::value::quote::quote;
    let invalid = || format!("time: invalid duration {}", q(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let n = rest.bytes().take_while(u8::is_ascii_digit).count();
        let whole = &rest[..n];
        rest = &rest[n..];
        let mut part = "";
        if rest.starts_with('.') {
            let n = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
            part = &rest[1..1 + n];
            rest = &rest[1 + n..];
        }
        if whole.is_empty() && part.is_empty() {
            return Err(invalid());
        }
        let unit_len = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = &rest[..unit_len];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", q(text)));
        }
        let scale: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {} in duration {}", q(unit), q(text))),
        };
        rest = &rest[unit_len..];
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = total.checked_add(whole.checked_mul(scale).ok_or_else(invalid)?).ok_or_else(invalid)?;
        if !part.is_empty() {
            let f: f64 = format!("0.{part}").parse().unwrap_or(0.0);
            total += (f * scale as f64) as u128;
        }
        if total > 1 << 63 {
            return Err(invalid());
        }
    }
    if negative { Ok((total as i128).wrapping_neg() as i64) } else { i64::try_from(total).map_err(|_| invalid()) }
}
