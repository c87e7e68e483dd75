//! pkt-lines (gitprotocol-common), push commands and report-status (gitprotocol-pack): pure parsers and writers.

/// The longest pkt-line, its length included.
pub(crate) const MAX: usize = 65520;

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// `0002`
    End,
    /// Anything longer.
    Data(&'a [u8]),
}

/// A stream that is not made of pkt-lines, or not of those that were expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a packet length is not four hexadecimal digits")]
    Length,
    #[error("a packet is longer than allowed")]
    TooLong,
    #[error("a push command is not OLD NEW REF")]
    Command,
    #[error("a push has too many commands")]
    TooMany,
}

/// The first packet of `bytes` and how many bytes it takes; `None` when more bytes are needed.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, Malformed> {
    let Some(head) = bytes.get(..4) else { return Ok(None) };
    if !head.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed::Length);
    }
    let length = std::str::from_utf8(head)
        .ok()
        .and_then(|text| usize::from_str_radix(text, 16).ok())
        .ok_or(Malformed::Length)?;
    match length {
        0 => Ok(Some((Packet::Flush, 4))),
        1 => Ok(Some((Packet::Delimiter, 4))),
        2 => Ok(Some((Packet::End, 4))),
        3 => Err(Malformed::Length),
        _ if length > MAX => Err(Malformed::TooLong),
        _ => Ok(bytes.get(4..length).map(|data| (Packet::Data(data), length))),
    }
}

/// One packet of data; must fit.
pub(crate) fn line(data: &[u8]) -> Vec<u8> {
    debug_assert!(data.len() + 4 <= MAX, "a packet fits its length");
    let mut out = format!("{:04x}", data.len() + 4).into_bytes();
    out.extend_from_slice(data);
    out
}

/// Data on a side band, in as many packets as it takes. `small` is for clients that have only `side-band`.
pub(crate) fn band(number: u8, data: &[u8], small: bool) -> Vec<u8> {
    let most = if small { 999 - 4 - 1 } else { MAX - 4 - 1 };
    let mut out = Vec::with_capacity(data.len() + 16);
    for chunk in data.chunks(most) {
        out.extend_from_slice(format!("{:04x}", chunk.len() + 5).as_bytes());
        out.push(number);
        out.extend_from_slice(chunk);
    }
    out
}

/// One ref update, as pushed. Zeros stand for "absent".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    /// The full ref name.
    pub name: String,
    /// Where it was.
    pub old: String,
    /// Where it is to be.
    pub new: String,
}

/// The commands at the start of a push, and the capabilities that came with the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    pub changes: Vec<RefChange>,
    pub capabilities: Vec<String>,
}

impl Commands {
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|have| have == capability)
    }

    /// Parses commands up to their flush: `Ok(None)` when more bytes are needed, else the commands and the bytes they took.
    pub fn parse(bytes: &[u8], most: usize) -> Result<Option<(Self, usize)>, Malformed> {
        let mut commands = Self::default();
        let mut at = 0;
        loop {
            let Some((packet, taken)) = next(&bytes[at..])? else { return Ok(None) };
            at += taken;
            match packet {
                Packet::Flush => return Ok(Some((commands, at))),
                Packet::Data(data) if data.starts_with(b"shallow ") => {}
                Packet::Data(data) => {
                    if commands.changes.len() == most {
                        return Err(Malformed::TooMany);
                    }
                    let first = commands.changes.is_empty();
                    let change = command(data, first.then_some(&mut commands.capabilities))?;
                    commands.changes.push(change);
                }
                Packet::Delimiter | Packet::End => return Err(Malformed::Command),
            }
        }
    }
}

fn command(data: &[u8], capabilities: Option<&mut Vec<String>>) -> Result<RefChange, Malformed> {
    let mut halves = data.splitn(2, |b| *b == 0);
    let head = halves.next().unwrap_or_default();
    if let (Some(tail), Some(capabilities)) = (halves.next(), capabilities) {
        let text = String::from_utf8_lossy(tail);
        capabilities.extend(text.split_ascii_whitespace().map(str::to_owned));
    }
    let text = std::str::from_utf8(head).map_err(|_| Malformed::Command)?.trim_end_matches('\n');
    let mut words = text.splitn(3, ' ');
    let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
        return Err(Malformed::Command);
    };
    if !git::is_oid(old) || !git::is_oid(new) || name.is_empty() {
        return Err(Malformed::Command);
    }
    Ok(RefChange { name: name.to_owned(), old: old.to_owned(), new: new.to_owned() })
}

/// What the server said of a push: which refs were accepted. Lines that are not understood are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub unpacked: bool,
    pub accepted: Vec<String>,
    pub refused: Vec<(String, String)>,
}

impl Report {
    pub fn parse(bytes: &[u8]) -> Self {
        let mut report = Self::default();
        let mut at = 0;
        while let Ok(Some((packet, taken))) = next(&bytes[at..]) {
            at += taken;
            let Packet::Data(data) = packet else { continue };
            let text = String::from_utf8_lossy(data);
            let text = text.trim_end_matches('\n');
            if let Some(result) = text.strip_prefix("unpack ") {
                report.unpacked = result == "ok";
            } else if let Some(name) = text.strip_prefix("ok ") {
                report.accepted.push(name.to_owned());
            } else if let Some(refused) = text.strip_prefix("ng ") {
                let (name, reason) = refused.split_once(' ').unwrap_or((refused, ""));
                report.refused.push((name.to_owned(), reason.to_owned()));
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn packets() {
        assert_eq!(next(b"000"), Ok(None));
        assert_eq!(next(b"0000rest"), Ok(Some((Packet::Flush, 4))));
        assert_eq!(next(b"0001"), Ok(Some((Packet::Delimiter, 4))));
        assert_eq!(next(b"0002"), Ok(Some((Packet::End, 4))));
        assert_eq!(next(b"0003"), Err(Malformed::Length));
        assert_eq!(next(b"0004"), Ok(Some((Packet::Data(b""), 4))));
        assert_eq!(next(b"0006ab"), Ok(Some((Packet::Data(b"ab"), 6))));
        assert_eq!(next(b"0006a"), Ok(None));
        assert_eq!(next(b"fff1"), Err(Malformed::TooLong));
        assert_eq!(next(b"+123"), Err(Malformed::Length));
        assert_eq!(next(b"PACK"), Err(Malformed::Length));
    }

    #[test]
    fn commands_and_capabilities() {
        let zero = git::ZERO;
        let mut bytes = line(format!("shallow {A}").as_bytes());
        bytes.extend(line(format!("{zero} {A} refs/heads/main\0report-status side-band-64k agent=git/2").as_bytes()));
        bytes.extend(line(format!("{A} {zero} refs/heads/old\n").as_bytes()));
        let before = bytes.clone();
        bytes.extend_from_slice(b"0000PACK");
        assert_eq!(Commands::parse(&before, 10), Ok(None));
        let (commands, taken) = Commands::parse(&bytes, 10).expect("parses").expect("is whole");
        assert_eq!(&bytes[taken..], b"PACK");
        assert!(commands.has("report-status") && commands.has("side-band-64k") && !commands.has("side-band"));
        let names: Vec<_> = commands.changes.iter().map(|change| change.name.as_str()).collect();
        assert_eq!(names, ["refs/heads/main", "refs/heads/old"]);
        assert_eq!(Commands::parse(&bytes, 1), Err(Malformed::TooMany));
        assert_eq!(Commands::parse(&line(b"nonsense"), 10), Err(Malformed::Command));
    }

    #[test]
    fn reports() {
        let mut bytes = line(b"unpack ok\n");
        bytes.extend(line(b"ok refs/heads/main\n"));
        bytes.extend(line(b"ng refs/heads/x non-fast-forward\n"));
        bytes.extend_from_slice(b"0000");
        let report = Report::parse(&bytes);
        assert!(report.unpacked);
        assert_eq!(report.accepted, ["refs/heads/main"]);
        assert_eq!(report.refused, [("refs/heads/x".to_owned(), "non-fast-forward".to_owned())]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = next(&bytes);
            let _ = Commands::parse(&bytes, 3);
            let _ = Report::parse(&bytes);
        }

        #[test]
        fn bytes_that_look_like_packets_do_not_either(text in "[0-9a-f]{4}[0-9a-f \\x00]{0,200}0000") {
            let _ = Commands::parse(text.as_bytes(), 3);
            let _ = Report::parse(text.as_bytes());
        }

        #[test]
        fn lines_come_back(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let bytes = line(&data);
            prop_assert_eq!(next(&bytes), Ok(Some((Packet::Data(data.as_slice()), bytes.len()))));
        }

    }

    proptest! {
        // Several packets' worth of data each: a few cases suffice.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn bands_come_back(data in proptest::collection::vec(any::<u8>(), 0..70_000), small: bool) {
            let bytes = band(2, &data, small);
            let mut at = 0;
            let mut seen = Vec::new();
            while let Some((Packet::Data(chunk), taken)) = next(&bytes[at..]).expect("packets") {
                prop_assert_eq!(chunk[0], 2);
                prop_assert!(!small || taken <= 1000);
                seen.extend_from_slice(&chunk[1..]);
                at += taken;
            }
            prop_assert_eq!(seen, data);
        }
    }
}
