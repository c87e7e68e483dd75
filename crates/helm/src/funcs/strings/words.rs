//! Words in other cases, and wrapped lines.

use super::single;
use crate::value::text;

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

fn is_punct(c: char) -> bool {
    c.is_ascii_punctuation() && !matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~')
        || matches!(
            c,
            '\u{a1}' | '\u{a7}' | '\u{ab}' | '\u{b6}' | '\u{b7}' | '\u{bb}' | '\u{bf}' | '\u{2010}'..='\u{2027}'
        )
}

/// xstrings' `ToCamelCase`: `some_words` to `SomeWords`; capitals after the first of a word are lowered.
pub(super) fn camelcase(t: &str) -> String {
    let mut out = String::new();
    let mut chars = t.chars();
    let mut first_upper = false;
    let mut r0 = None;
    for c in chars.by_ref() {
        if !is_connector(c) {
            first_upper = c.is_uppercase();
            r0 = Some(single(c, c.to_uppercase()));
            break;
        }
        out.push(c);
    }
    let Some(mut r0) = r0 else { return out };
    let mut single_rune = true;
    for c in chars {
        single_rune = false;
        let r1 = r0;
        r0 = c;
        if is_connector(r0) && is_connector(r1) {
            out.push(r1);
            continue;
        }
        if is_connector(r1) {
            first_upper = r0.is_uppercase();
            r0 = single(r0, r0.to_uppercase());
        } else {
            if first_upper {
                if r0.is_uppercase() {
                    r0 = single(r0, r0.to_lowercase());
                } else {
                    first_upper = false;
                }
            }
            out.push(r1);
        }
    }
    if !single_rune && first_upper && !is_connector(r0) {
        r0 = single(r0, r0.to_lowercase());
    }
    out.push(r0);
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Invalid,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punct,
    Other,
}

/// The next word of a text, and what remains.
fn next_word(t: &str) -> (Word, &str, &str) {
    let Some(r) = t.chars().next() else { return (Word::Invalid, "", "") };
    let from = r.len_utf8();
    let take = |from: usize, keep: &dyn Fn(char) -> bool| {
        from + t[from..].chars().take_while(|&c| keep(c)).map(char::len_utf8).sum::<usize>()
    };
    let lower_letter = |c: char| c.is_alphabetic() && !c.is_uppercase();
    let (kind, end) = if is_connector(r) {
        (Word::Connector, take(from, &is_connector))
    } else if is_punct(r) {
        (Word::Punct, take(from, &is_punct))
    } else if r.is_uppercase() {
        match t[from..].chars().next() {
            Some(c) if c.is_uppercase() => {
                let end = take(from, &char::is_uppercase);
                // In HTTPStatus the S belongs to what follows.
                match t[end..].chars().next() {
                    Some(c) if c.is_alphabetic() => {
                        let last = t[..end].chars().next_back().map_or(0, char::len_utf8);
                        (Word::Upper, end - last)
                    }
                    _ => (Word::Upper, end),
                }
            }
            Some(c) if c.is_alphabetic() => (Word::Upper, take(from, &lower_letter)),
            _ => (Word::Upper, from),
        }
    } else if r.is_alphabetic() {
        (Word::Alphabet, take(from, &lower_letter))
    } else if r.is_numeric() {
        (Word::Number, take(from, &char::is_numeric))
    } else {
        let other = |c: char| !(is_connector(c) || c.is_alphabetic() || c.is_numeric() || is_punct(c));
        (Word::Other, take(from, &other))
    };
    (kind, &t[..end], &t[end..])
}

/// xstrings' `ToSnakeCase` and `ToKebabCase`: words in lower case between connectors.
pub(super) fn camel_to_lower(t: &str, connector: char) -> String {
    let mut out = String::with_capacity(t.len() + 8);
    let put = |out: &mut String, kind: Word, word: &str| {
        if !matches!(kind, Word::Upper | Word::Connector) {
            out.push_str(word);
            return;
        }
        out.extend(word.chars().map(|c| if is_connector(c) { connector } else { single(c, c.to_lowercase()) }));
    };
    let glued = |kind: Word| matches!(kind, Word::Connector | Word::Punct);
    let (mut kind, mut word, mut rest) = next_word(t);
    while !rest.is_empty() {
        if kind != Word::Connector {
            put(&mut out, kind, word);
        }
        let (previous, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match previous {
            Word::Number => {
                while matches!(kind, Word::Alphabet | Word::Number) {
                    put(&mut out, kind, word);
                    (kind, word, rest) = next_word(rest);
                }
                if kind != Word::Invalid && !glued(kind) {
                    out.push(connector);
                }
            }
            Word::Connector => put(&mut out, previous, last),
            Word::Punct => {}
            _ => {
                if kind != Word::Number {
                    if !glued(kind) {
                        out.push(connector);
                    }
                    continue;
                }
                if rest.is_empty() {
                    continue;
                }
                let number = word;
                (kind, word, rest) = next_word(rest);
                if kind != Word::Alphabet {
                    // A number belongs to the word before it: Bld4Floor.
                    put(&mut out, Word::Number, number);
                    if !glued(kind) {
                        out.push(connector);
                    }
                    continue;
                }
                // Unless small letters follow: HTTP2xx.
                out.push(connector);
                put(&mut out, Word::Number, number);
                while matches!(kind, Word::Alphabet | Word::Number) {
                    put(&mut out, kind, word);
                    (kind, word, rest) = next_word(rest);
                }
                if kind != Word::Invalid && !glued(kind) {
                    out.push(connector);
                }
            }
        }
    }
    put(&mut out, kind, word);
    out
}

/// goutils' `WrapCustom`.
pub(super) fn wrap(t: &str, width: i64, newline: &str, wrap_long: bool) -> String {
    let newline = if newline.is_empty() { "\n" } else { newline };
    let width = width.max(1) as usize;
    let bytes = text::to_bytes(t).into_owned();
    let length = bytes.len();
    let mut offset = 0;
    let mut out: Vec<u8> = Vec::with_capacity(length + 32);
    while length.saturating_sub(offset) > width {
        if bytes[offset] == b' ' {
            offset += 1;
            continue;
        }
        let end = offset + width;
        let space = bytes[offset..=end].iter().rposition(|&b| b == b' ').map(|at| at + offset);
        match space {
            Some(at) if at >= offset => {
                out.extend_from_slice(&bytes[offset..at]);
                out.extend_from_slice(newline.as_bytes());
                offset = at + 1;
            }
            _ if wrap_long => {
                out.extend_from_slice(&bytes[offset..end]);
                out.extend_from_slice(newline.as_bytes());
                offset = end;
            }
            _ => match bytes[end..].iter().position(|&b| b == b' ') {
                Some(at) => {
                    out.extend_from_slice(&bytes[offset..end + at]);
                    out.extend_from_slice(newline.as_bytes());
                    offset = end + at + 1;
                }
                None => {
                    out.extend_from_slice(&bytes[offset..]);
                    offset = length;
                }
            },
        }
    }
    out.extend_from_slice(&bytes[offset..]);
    text::from_bytes(&out).into_owned()
}
