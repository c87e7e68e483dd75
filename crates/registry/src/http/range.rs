//! `Range` and `Content-Range`.

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: no header, or one that is not understood or names several ranges.
    All,
    /// From the first to the last byte, both included.
    Part(u64, u64),
    /// Nothing that there is.
    Unsatisfiable,
}

/// Reads a `Range` header for content of `size` bytes.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return Wanted::All };
    if spec.contains(',') {
        return Wanted::All;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::All };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (first, last) {
        ("", "") => Wanted::All,
        ("", suffix) => match number(suffix) {
            Some(0) => Wanted::Unsatisfiable,
            Some(_) if size == 0 => Wanted::Unsatisfiable,
            Some(n) => Wanted::Part(size - n.min(size), size - 1),
            None => Wanted::All,
        },
        (first, "") => match number(first) {
            Some(first) if first < size => Wanted::Part(first, size - 1),
            Some(_) => Wanted::Unsatisfiable,
            None => Wanted::All,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last && first < size => Wanted::Part(first, last.min(size - 1)),
            (Some(_), Some(_)) => Wanted::Unsatisfiable,
            _ => Wanted::All,
        },
    }
}

/// Reads an upload's `Content-Range`: `first-last`, with or without `bytes ` and `/size`.
pub(crate) fn content_range(header: &str) -> Option<(u64, u64)> {
    let spec = header.trim();
    let spec = spec.strip_prefix("bytes").map_or(spec, |rest| rest.trim_start_matches(['=', ' ']));
    let spec = spec.split('/').next()?;
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        for (header, expected) in [
            ("bytes=500-1499", Wanted::Part(500, 1499)),
            ("bytes=500-", Wanted::Part(500, 2047)),
            ("bytes=-500", Wanted::Part(1548, 2047)),
            ("bytes=-5000", Wanted::Part(0, 2047)),
            ("bytes=2000-5000", Wanted::Part(2000, 2047)),
            ("bytes=500-0", Wanted::Unsatisfiable),
            ("bytes=5000-10000", Wanted::Unsatisfiable),
            ("bytes=2048-", Wanted::Unsatisfiable),
            ("bytes=0-1,4-5", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=a-b", Wanted::All),
        ] {
            assert_eq!(wanted(Some(header), 2048), expected, "{header}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
        assert_eq!(content_range("0-99"), Some((0, 99)));
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9)));
        assert_eq!(content_range("9-5"), None);
    }

    proptest! {
        #[test]
        fn parts_are_inside(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", size in any::<u64>()) {
            if let Wanted::Part(first, last) = wanted(Some(&header), size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
