//! Texts in quotes, as Go's `strconv` writes them.

use std::fmt::Write as _;

/// Whether Go prints a character as it is: letters, marks, numbers, punctuation, symbols, and of spaces only ` `.
pub fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // What the standard library escapes after another character is exactly what is in none of these categories.
    let mut text = [0; 5];
    text[0] = b'a';
    let length = c.encode_utf8(&mut text[1..]).len();
    std::str::from_utf8(&text[..=length]).is_ok_and(|text| !text.escape_debug().nth(1).is_some_and(|c| c == '\\'))
}

/// Writes one character of a text between `delimiter`s; `ascii` escapes everything else.
pub fn push(out: &mut String, c: char, delimiter: char, ascii: bool) {
    if c == delimiter || c == '\\' {
        out.push('\\');
        out.push(c);
        return;
    }
    if (c.is_ascii() || !ascii) && is_print(c) {
        out.push(c);
        return;
    }
    let short = match c {
        '\x07' => 'a',
        '\x08' => 'b',
        '\x0c' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x0b' => 'v',
        _ => {
            // Writing to a text does not fail.
            let _ = match c as u32 {
                n @ (0..0x20 | 0x7f) => write!(out, "\\x{n:02x}"),
                n @ ..0x1_0000 => write!(out, "\\u{n:04x}"),
                n => write!(out, "\\U{n:08x}"),
            };
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

/// `strconv.Quote`
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| push(&mut out, c, '"', false));
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_prints_stays() {
        let text = "a\"\\ \u{e9}\u{301}\u{4e2d}\u{1f600}\u{feff}\u{a0}\u{85}\u{378}\u{e000}\n\x7f\u{e0001}";
        let wanted =
            "\"a\\\"\\\\ \u{e9}\u{301}\u{4e2d}\u{1f600}\\ufeff\\u00a0\\u0085\\u0378\\ue000\\n\\x7f\\U000e0001\"";
        assert_eq!(quote(text), wanted);
        assert!(!is_print('\u{ad}') && !is_print('\u{2028}') && !is_print('\u{200d}') && is_print('\u{300}'));
    }
}
