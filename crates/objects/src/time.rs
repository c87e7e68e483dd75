//! Times as Kubernetes writes them.

use jiff::{SignedDuration, Timestamp, Unit};

/// Now, as `metav1.Time` has it: RFC 3339, whole seconds, `Z`.
pub fn now() -> String {
    format(Timestamp::now())
}

/// Now, as `metav1.MicroTime` has it: RFC 3339, six digits, `Z`.
pub fn now_micro() -> String {
    format_micro(Timestamp::now())
}

/// A timestamp as `metav1.Time`.
pub fn format(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A timestamp as `metav1.MicroTime`.
pub fn format_micro(at: Timestamp) -> String {
    let at = at.round(Unit::Microsecond).unwrap_or(at);
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// A time in seconds since the Unix epoch as `metav1.Time`; the epoch itself when it is out of range.
pub fn from_seconds(seconds: i64) -> String {
    format(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Reads an RFC 3339 time.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The time since `text` (RFC 3339); zero when it does not parse or lies ahead.
pub fn since(text: &str) -> SignedDuration {
    parse(text).map_or(SignedDuration::ZERO, |at| Timestamp::now().duration_since(at).max(SignedDuration::ZERO))
}

/// A duration as kubectl prints ages: `5s`, `2m30s`, `3h4m`, `2d`, `1y3d`.
pub fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < 0 {
        return if seconds < -1 { "<invalid>".into() } else { "0s".into() };
    }
    let pair = |a: i64, ua: &str, b: i64, ub: &str| if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua}{b}{ub}") };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10800 => format!("{minutes}m"),
        10800..28800 => pair(hours, "h", minutes % 60, "m"),
        28800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, want) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (10800, "3h"),
            (10860, "3h1m"),
            (28800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), want);
        }
    }

    #[test]
    fn formats() {
        let at: Timestamp = "2026-01-02T03:04:05.6789Z".parse().unwrap();
        assert_eq!(format(at), "2026-01-02T03:04:05Z");
        assert_eq!(format_micro(at), "2026-01-02T03:04:05.678900Z");
    }
}
