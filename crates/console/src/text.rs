//! Times, durations and names as people read them. Pure.

/// `340 ms`, `4.2 s`, `1 min 05 s`, `2 h 03 min`, `3 d 4 h`.
pub(crate) fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let seconds = ms / 1000;
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600_000..86_400_000 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `just now`, `3 min ago`, `2 h ago`, `5 d ago`.
pub(crate) fn ago(at_ms: i64, now_ms: i64) -> String {
    let seconds = (now_ms - at_ms).max(0) / 1000;
    match seconds {
        0..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// The first seven characters of a commit id.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// `main` of `refs/heads/main`.
pub(crate) fn branch(reference: &str) -> &str {
    reference.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/")
}

/// An image without its registry and with only its tag, or a short digest.
pub(crate) fn image(reference: &str) -> String {
    let (name, digest) = reference.split_once("@sha256:").unwrap_or((reference, ""));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.contains(':'), digest.get(..12)) {
        (false, Some(digest)) => format!("{last}@{digest}"),
        _ => last.to_owned(),
    }
}

/// The tag of an image, or a short digest; the whole short name when it has neither.
pub(crate) fn version(reference: &str) -> String {
    let short = image(reference);
    short.rsplit_once([':', '@']).map(|(_, version)| version.to_owned()).unwrap_or(short)
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (ms, text) in [
            (-5, "0 ms"),
            (340, "340 ms"),
            (4_250, "4.2 s"),
            (65_000, "1 min 05 s"),
            (7_380_000, "2 h 03 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn moments() {
        for (seconds, text) in
            [(0, "just now"), (12, "12 s ago"), (125, "2 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")]
        {
            assert_eq!(ago(0, seconds * 1000), text);
        }
    }

    #[test]
    fn images() {
        for (reference, text) in [
            ("registry-1.docker.io/acme/p-web:1234567", "p-web:1234567"),
            ("localhost:5000/web@sha256:0123456789abcdef", "web@0123456789ab"),
            ("web", "web"),
        ] {
            assert_eq!(image(reference), text);
        }
    }
}
