//! Times as GitHub writes them.

/// Seconds since the Unix epoch, now.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// `2026-11-23T02:52:38Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// With an offset in minutes: `2026-11-23T04:52:38+02:00`.
pub(crate) fn rfc3339_at(seconds: i64, offset_minutes: i32) -> String {
    if offset_minutes == 0 {
        return rfc3339(seconds);
    }
    let local = rfc3339(seconds + i64::from(offset_minutes) * 60);
    let sign = if offset_minutes < 0 { '-' } else { '+' };
    let minutes = offset_minutes.unsigned_abs();
    format!("{}{sign}{:02}:{:02}", local.trim_end_matches('Z'), minutes / 60, minutes % 60)
}

/// Reads what GitHub's clients send: RFC 3339.
pub(crate) fn parse(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(|time| time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_keep_the_instant() {
        for (seconds, offset, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (0, 90, "1970-01-01T01:30:00+01:30"),
            (86_400, -60, "1970-01-01T23:00:00-01:00"),
        ] {
            assert_eq!(rfc3339_at(seconds, offset), text);
            assert_eq!(parse(text), Some(seconds));
        }
    }
}
