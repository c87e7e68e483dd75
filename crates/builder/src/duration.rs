//! Durations as Go writes them: `1h30m`, `500ms`, `0s`.

use std::time::Duration;

/// Reads a Go duration; `None` when it is not one, or is negative.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += number * unit;
        rest = &rest[letters..];
    }
    (nanos <= i64::MAX as f64).then(|| Duration::from_nanos(nanos as u64))
}

/// Writes a duration as Go prints it.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fraction = |value: f64| {
        let text = format!("{value:.9}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos as f64 / 1e6)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = fraction((nanos % 60_000_000_000) as f64 / 1e9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, m) => format!("{m}m{seconds}s"),
                (h, m) => format!("{h}h{m}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_go_durations() {
        for text in ["0s", "5s", "1m30s", "1h0m0s", "1.5s", "250ms", "3ns", "1.5µs"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        for wrong in ["", "5", "s", "5x", "-1s", "1.2.3s"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
