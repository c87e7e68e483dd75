//! Sets of completion indexes as a Job's status writes them: `1,3-5,7`. Pure.

use std::collections::BTreeSet;

/// Reads a list of indexes and ranges; what is not one is left out.
pub fn parse(text: &str) -> BTreeSet<i64> {
    let mut set = BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        match part.split_once('-') {
            Some((from, to)) => {
                if let (Ok(from), Ok(to)) = (from.parse::<i64>(), to.parse::<i64>()) {
                    set.extend(from..=to);
                }
            }
            None => set.extend(part.parse::<i64>().ok()),
        }
    }
    set
}

/// Writes indexes, three or more in a row as a range.
pub fn format(set: &BTreeSet<i64>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut run: Option<(i64, i64)> = None;
    let flush = |run: Option<(i64, i64)>, parts: &mut Vec<String>| match run {
        Some((a, b)) if a == b => parts.push(a.to_string()),
        Some((a, b)) if a + 1 == b => parts.extend([a.to_string(), b.to_string()]),
        Some((a, b)) => parts.push(format!("{a}-{b}")),
        None => {}
    };
    for &index in set {
        run = match run {
            Some((a, b)) if b + 1 == index => Some((a, index)),
            other => {
                flush(other, &mut parts);
                Some((index, index))
            }
        };
    }
    flush(run, &mut parts);
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8", "0-9,11"] {
            assert_eq!(format(&parse(text)), text);
        }
        assert_eq!(parse("x,2"), BTreeSet::from([2]));
    }
}
