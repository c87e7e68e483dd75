//! Keeps secrets out of logs: every registered value is replaced by `***`, as written, line by line when it has several
//! lines, in base64 (at each of the three alignments, and in the lines that `base64` and `openssl` make of a long one), URL-encoded,
//! JSON-escaped and shell-quoted.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;

/// The values to hide. Cheap to ask, dearer to extend.
#[derive(Debug, Default, Clone)]
pub struct Masks {
    needles: Vec<String>,
    /// Made when it is asked the first time after a change.
    automaton: OnceLock<Option<AhoCorasick>>,
}

/// What replaces a secret.
pub const STARS: &str = "***";

impl Masks {
    /// Nothing to hide.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a value with all its encodings. Empty and blank values are left alone.
    pub fn add(&mut self, secret: &str) {
        self.add_all([secret]);
    }

    /// Registers several values.
    pub fn add_all<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) {
        let before = self.needles.len();
        for secret in secrets {
            for variant in variants(secret) {
                if !self.needles.contains(&variant) {
                    self.needles.push(variant);
                }
            }
        }
        if self.needles.len() != before {
            self.automaton = OnceLock::new();
        }
    }

    /// The text with every registered value replaced.
    pub fn apply(&self, text: &str) -> String {
        let make = || {
            let mut builder = AhoCorasick::builder();
            // Made for every job: what is made soonest is best.
            builder.match_kind(MatchKind::LeftmostLongest).kind(Some(AhoCorasickKind::ContiguousNFA));
            (!self.needles.is_empty()).then(|| builder.build(&self.needles).ok()).flatten()
        };
        let Some(automaton) = self.automaton.get_or_init(make) else { return text.to_owned() };
        // Overlapping and adjacent occurrences become one: mark what is covered first.
        let mut covered: Vec<(usize, usize)> = Vec::new();
        for found in automaton.find_iter(text) {
            match covered.last_mut() {
                Some((_, end)) if found.start() <= *end => *end = (*end).max(found.end()),
                _ => covered.push((found.start(), found.end())),
            }
        }
        if covered.is_empty() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in covered {
            out.push_str(&text[at..start]);
            out.push_str(STARS);
            at = end;
        }
        out.push_str(&text[at..]);
        out
    }

    /// Whether nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }
}

fn variants(secret: &str) -> Vec<String> {
    let mut plain: Vec<&str> = vec![secret];
    plain.extend(secret.lines());
    let mut out: Vec<String> = Vec::new();
    for (i, value) in plain.into_iter().enumerate() {
        let value = value.trim_matches(['\r', '\n']);
        // A short line of a longer secret (a brace, a dash) is not worth hiding and would blot out the log.
        if value.trim().is_empty() || (i > 0 && value != secret && value.trim().len() < 4) {
            continue;
        }
        out.push(value.to_owned());
        if value.len() < 4 {
            continue;
        }
        for shift in 0..3_usize {
            out.extend(base64_core(value.as_bytes(), shift));
        }
        if i == 0 {
            out.extend(base64_lines(secret));
        }
        out.push(percent(value, false));
        out.push(percent(value, true));
        let json = serde_json::Value::from(value).to_string();
        out.push(json[1..json.len() - 1].to_owned());
        out.push(value.replace('\'', "'\\''"));
        out.push(value.replace('"', "\\\""));
        out.push(html(value));
        // As an expression writes it, and without quotes around it.
        out.push(value.replace('\'', "''"));
        out.extend(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(str::to_owned));
        // PowerShell's errors show a command line in pieces, which end at an ampersand.
        if let Some((front, back)) = value.rsplit_once('&') {
            out.extend([front, back].into_iter().filter(|part| part.len() >= 6).map(str::to_owned));
        }
    }
    out.retain(|variant| !variant.trim().is_empty());
    out
}

/// The part of the base64 of `..value..` that does not depend on the bytes around it, when it starts `shift` bytes into a group.
fn base64_core(value: &[u8], shift: usize) -> Vec<String> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(value);
    let first = if shift == 0 { 0 } else { 4 };
    let whole = padded.len() / 3 * 4;
    if whole <= first + 4 {
        return Vec::new();
    }
    let standard = base64::engine::general_purpose::STANDARD.encode(&padded);
    let core = &standard[first..whole];
    vec![core.to_owned(), core.replace('+', "-").replace('/', "_")]
}

/// The lines of the base64 of a value that is too long for one, as programs cut it: with and without a break at the value's end. The
/// rest that is left for the last line may be too short to be told from other texts.
fn base64_lines(secret: &str) -> Vec<String> {
    const WIDTHS: [usize; 2] = [76, 64];
    const SHORTEST: usize = 8;
    let mut out = Vec::new();
    let value = secret.trim_end_matches(['\r', '\n']);
    for value in [value.to_owned(), format!("{value}\n")] {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value);
        for width in WIDTHS.into_iter().filter(|width| encoded.len() > *width) {
            // Base64 is ASCII: each piece is a text.
            let lines = encoded.as_bytes().chunks(width).filter(|line| line.len() >= SHORTEST);
            out.extend(lines.map(|line| String::from_utf8_lossy(line).into_owned()));
        }
    }
    out
}

fn percent(value: &str, plus: bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' if plus => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn html(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_every_encoding() {
        let mut masks = Masks::new();
        let secret = "s3cr3t p@ss/w\"rd+x";
        masks.add(secret);
        let b64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for shown in [
            secret.to_owned(),
            percent(secret, false),
            percent(secret, true),
            serde_json::json!({"password": secret}).to_string(),
        ] {
            let found = masks.apply(&shown);
            assert!(found.contains(STARS) && !found.contains("s3cr3t"), "{shown} -> {found}");
        }
        for prefix in ["", "u:", "a", "user:"] {
            let encoded = b64(&format!("{prefix}{secret}"));
            let found = masks.apply(&encoded);
            assert!(found.contains(STARS) && found.len() <= STARS.len() + 16, "{encoded} -> {found}");
        }
        assert_eq!(masks.apply("nothing here"), "nothing here");
        masks.add("it's mine");
        masks.add("\"quoted value\"");
        masks.add("first-part&second-part");
        for shown in ["'it''s mine'", "quoted value", "first-part&\u{1b}[0m", "second-part"] {
            assert!(masks.apply(shown).contains(STARS), "{shown}");
        }
    }

    #[test]
    fn long_base64_in_lines() {
        let secret: String = (0..40).map(|i| format!("line {i} of a key\n")).collect();
        let mut masks = Masks::new();
        masks.add(&secret);
        for (value, width) in [(secret.clone(), 76), (secret.trim_end().to_owned(), 76), (secret.clone(), 64)] {
            let encoded = base64::engine::general_purpose::STANDARD.encode(value);
            let lines: Vec<&str> =
                encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let (last, whole) = lines.split_last().unwrap();
            assert!(whole.len() > 5);
            for line in whole {
                assert_eq!(masks.apply(line), STARS);
            }
            assert!(last.len() < 8 || masks.apply(last) == STARS);
        }
    }

    #[test]
    fn lines_and_small_values() {
        let mut masks = Masks::new();
        masks.add("-----BEGIN-----\nabcdefgh\n}\n");
        masks.add("");
        masks.add("  \n");
        masks.add("x1");
        assert_eq!(masks.apply("a abcdefgh } x1"), "a *** } ***");
        masks.add("abc");
        assert_eq!(masks.apply("abcabc abcdefgh"), "*** ***");
    }
}
