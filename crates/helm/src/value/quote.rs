//! Go's `strconv.Quote` and its inverse.

use super::text;

pub use goyaml::quote::is_print;

/// `strconv.Quote`
pub fn quote(s: &str) -> String {
    quote_with(s, '"', false)
}

/// `strconv.QuoteToASCII`
pub fn quote_ascii(s: &str) -> String {
    quote_with(s, '"', true)
}

/// Quotes with a delimiter, as `%q` does for texts (`"`) and characters (`'`).
pub fn quote_with(s: &str, delimiter: char, ascii: bool) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push(delimiter);
    for c in s.chars() {
        let n = c as u32;
        if (0x0010_FF80..=0x0010_FFFF).contains(&n) {
            // One byte that is not UTF-8.
            out.push_str(&format!("\\x{:02x}", n - 0x0010_FF00));
            continue;
        }
        goyaml::quote::push(&mut out, c, delimiter, ascii);
    }
    out.push(delimiter);
    out
}

/// `strconv.Unquote` for `"..."` and `` `...` ``; `None` is Go's "invalid syntax".
pub fn unquote(s: &str) -> Option<String> {
    let mut chars = s.chars();
    let quote = chars.next()?;
    if s.len() < 2 || !s.ends_with(quote) {
        return None;
    }
    let inner = &s[1..s.len() - 1];
    match quote {
        '`' => (!inner.contains('`')).then(|| inner.replace('\r', "")),
        '"' => {
            if inner.contains('\n') {
                return None;
            }
            if !inner.contains('\\') && !inner.contains('"') {
                return Some(inner.to_owned());
            }
            let mut out: Vec<u8> = Vec::with_capacity(inner.len());
            let mut rest = inner;
            while !rest.is_empty() {
                if rest.starts_with('"') {
                    return None;
                }
                let (piece, after) = unquote_char(rest, '"')?;
                match piece {
                    Piece::Char(c) => {
                        let mut buffer = [0; 4];
                        out.extend_from_slice(&text::to_bytes(c.encode_utf8(&mut buffer)));
                    }
                    Piece::Byte(b) => out.push(b),
                }
                rest = after;
            }
            Some(text::from_bytes(&out).into_owned())
        }
        _ => None,
    }
}

/// What one escape stands for.
pub enum Piece {
    /// A character.
    Char(char),
    /// A byte (`\x80`, `\200`).
    Byte(u8),
}

/// `strconv.UnquoteChar`: the first character of `s` and what follows it.
pub fn unquote_char(s: &str, quote: char) -> Option<(Piece, &str)> {
    let mut chars = s.chars();
    let c = chars.next()?;
    if c == quote && (quote == '\'' || quote == '"') {
        return None;
    }
    if c != '\\' {
        return Some((Piece::Char(c), chars.as_str()));
    }
    let e = chars.next()?;
    let simple = match e {
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        '\\' => Some('\\'),
        '\'' | '"' if e == quote => Some(e),
        '\'' | '"' => return None,
        _ => None,
    };
    if let Some(c) = simple {
        return Some((Piece::Char(c), chars.as_str()));
    }
    let rest = chars.as_str();
    match e {
        'x' | 'u' | 'U' => {
            let n = match e {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let digits = rest.get(..n)?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            let value = u32::from_str_radix(digits, 16).ok()?;
            let after = &rest[n..];
            if e == 'x' {
                let byte = value as u8;
                return Some((if byte < 0x80 { Piece::Char(byte as char) } else { Piece::Byte(byte) }, after));
            }
            Some((Piece::Char(char::from_u32(value)?), after))
        }
        '0'..='7' => {
            let digits = s.get(1..4)?;
            if !digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
                return None;
            }
            let value = u32::from_str_radix(digits, 8).ok()?;
            let byte = u8::try_from(value).ok()?;
            Some((if byte < 0x80 { Piece::Char(byte as char) } else { Piece::Byte(byte) }, &s[4..]))
        }
        _ => None,
    }
}
