//! Numbers as Go writes them.

use crate::template::ast::Number;
use crate::template::lex::Kind;
use crate::value::{Str, quote};

pub(super) fn number(text: &str, kind: Kind) -> Result<Number, String> {
    let mut n = Number { text: Str::from(text), ..Number::default() };
    if kind == Kind::CharConstant {
        let inner = &text[1..];
        let Some((piece, tail)) = quote::unquote_char(inner, '\'') else { return Err("invalid syntax".to_owned()) };
        if tail != "'" {
            return Err(format!("malformed character constant: {text}"));
        }
        let value = match piece {
            quote::Piece::Char(c) => i64::from(c as u32),
            quote::Piece::Byte(b) => i64::from(b),
        };
        n.int = Some(value);
        n.uint = Some(value as u64);
        n.float = Some(value as f64);
        return Ok(n);
    }
    if kind == Kind::Complex || text.ends_with('i') {
        let Some((re, im)) = parse_complex(text) else {
            return Err(format!("bad number syntax: {}", quote::quote(text)));
        };
        n.complex = Some((re, im));
        if im == 0.0 {
            n.float = Some(re);
            n.int = (re.trunc() == re && re.abs() < 9.2e18).then_some(re as i64);
            n.uint = (re.trunc() == re && (0.0..1.8e19).contains(&re)).then_some(re as u64);
        }
        return Ok(n);
    }
    n.uint = parse_uint(text);
    n.int = parse_int(text);
    if n.int == Some(0) {
        n.uint = Some(n.uint.unwrap_or(0));
    }
    if let Some(i) = n.int {
        n.float = Some(i as f64);
    } else if let Some(u) = n.uint {
        n.float = Some(u as f64);
    } else if let Some(f) = parse_float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote::quote(text)));
        }
        n.float = Some(f);
        if f.trunc() == f && f.abs() < 9.2e18 {
            n.int = Some(f as i64);
        }
        if f.trunc() == f && (0.0..1.8e19).contains(&f) {
            n.uint = Some(f as u64);
        }
    }
    if n.int.is_none() && n.uint.is_none() && n.float.is_none() {
        return Err(format!("illegal number syntax: {}", quote::quote(text)));
    }
    Ok(n)
}

/// `2i`, `1.5+2i`.
fn parse_complex(text: &str) -> Option<(f64, f64)> {
    let text = text.strip_suffix('i')?;
    let split = text
        .char_indices()
        .skip(1)
        .filter(|&(at, c)| matches!(c, '+' | '-') && !text[..at].ends_with(['e', 'E', 'p', 'P']))
        .last();
    match split {
        Some((at, _)) => Some((parse_float(&text[..at])?, parse_float(&text[at..])?)),
        None => Some((0.0, parse_float(text)?)),
    }
}

/// Go's rule for underscores: only between digits, or after a base prefix.
fn underscores_ok(text: &str) -> bool {
    let t = text.trim_start_matches(['+', '-']);
    let (body, mut last) = match t.as_bytes() {
        [b'0', b'x' | b'X' | b'b' | b'B' | b'o' | b'O', ..] => (&t[2..], '0'),
        _ => (t, '^'),
    };
    let hex = t.starts_with("0x") || t.starts_with("0X");
    for c in body.chars() {
        if c.is_ascii_digit() || (hex && c.is_ascii_hexdigit()) {
            last = '0';
        } else if c == '_' {
            if last != '0' {
                return false;
            }
            last = '_';
        } else {
            if last == '_' {
                return false;
            }
            last = '!';
        }
    }
    last != '_'
}

fn radix(text: &str) -> (&str, u32) {
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    }
}

/// `strconv.ParseUint(s, 0, 64)`
pub(crate) fn parse_uint(text: &str) -> Option<u64> {
    if text.contains('_') && !underscores_ok(text) {
        return None;
    }
    let (digits, radix) = radix(text);
    let digits = digits.replace('_', "");
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits, radix).ok()
}

/// `strconv.ParseInt(s, 0, 64)`
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let value = parse_uint(rest)?;
    if negative { (value <= 1 << 63).then(|| (value as i64).wrapping_neg()) } else { i64::try_from(value).ok() }
}

/// `strconv.ParseFloat(s, 64)` of what the lexer can give, and of texts in casts.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let body = lower.trim_start_matches(['+', '-']);
    if body.starts_with("0x") {
        return hex_float(&lower);
    }
    if matches!(body, "inf" | "infinity") {
        return Some(if lower.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if body == "nan" {
        return Some(f64::NAN);
    }
    if !body.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-' | b'_')) || body.is_empty() {
        return None;
    }
    if body.contains('_') && !underscores_ok(body) {
        return None;
    }
    let f: f64 = lower.replace('_', "").parse().ok()?;
    f.is_finite().then_some(f)
}

fn hex_float(text: &str) -> Option<f64> {
    let (sign, body) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.trim_start_matches('+')),
    };
    let body = body.strip_prefix("0x")?.replace('_', "");
    let (mantissa, exponent) = body.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0f64;
    for c in whole.chars() {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let mut scale = 1.0 / 16.0;
    for c in fraction.chars() {
        value += f64::from(c.to_digit(16)?) * scale;
        scale /= 16.0;
    }
    let exponent: i32 = exponent.parse().ok()?;
    Some(sign * value * 2f64.powi(exponent))
}
