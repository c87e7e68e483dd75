//! What a plain scalar means: YAML 1.1 as go-yaml v2 has it.

/// The meaning of a scalar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// Looks like a timestamp; read as text, but quoted on the way out.
    Timestamp,
    Str,
}

impl Resolved {
    pub(crate) fn short_tag(&self) -> &'static str {
        match self {
            Resolved::Null => "!!null",
            Resolved::Bool(_) => "!!bool",
            Resolved::Int(_) | Resolved::Uint(_) => "!!int",
            Resolved::Float(_) => "!!float",
            Resolved::Timestamp => "!!timestamp",
            Resolved::Str => "!!str",
        }
    }
}

/// Resolves an untagged plain scalar.
pub(crate) fn resolve(text: &str) -> Resolved {
    let Some(&first) = text.as_bytes().first() else { return Resolved::Null };
    match first {
        b'~' | b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => {
            if text.len() > 5 {
                Resolved::Str
            } else {
                word(text)
            }
        }
        b'.' => match special_float(text) {
            Some(f) => Resolved::Float(f),
            None => parse_float(text).map_or(Resolved::Str, Resolved::Float),
        },
        b'+' | b'-' | b'0'..=b'9' => {
            if let Some(f) = special_float(text) {
                return Resolved::Float(f);
            }
            if is_timestamp(text) {
                return Resolved::Timestamp;
            }
            number(text)
        }
        _ => Resolved::Str,
    }
}

fn word(text: &str) -> Resolved {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Resolved::Bool(false),
        "~" | "null" | "Null" | "NULL" => Resolved::Null,
        _ => Resolved::Str,
    }
}

fn special_float(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn number(text: &str) -> Resolved {
    let cleaned;
    let plain = if text.contains('_') {
        cleaned = text.replace('_', "");
        cleaned.as_str()
    } else {
        text
    };
    if let Some(i) = parse_int(plain) {
        return Resolved::Int(i);
    }
    if let Some(u) = parse_uint(plain) {
        return Resolved::Uint(u);
    }
    if yaml_float(plain) {
        return match plain.parse::<f64>() {
            Ok(f) if f.is_finite() => Resolved::Float(f),
            _ => Resolved::Str,
        };
    }
    Resolved::Str
}

fn digits_and_radix(text: &str) -> (&str, u32) {
    let b = text.as_bytes();
    match b {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    }
}

/// Go's `strconv.ParseInt(s, 0, 64)` without underscores.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = digits_and_radix(rest);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        if value <= 1 << 63 { Some((value as i64).wrapping_neg()) } else { None }
    } else {
        i64::try_from(value).ok()
    }
}

fn parse_uint(text: &str) -> Option<u64> {
    let (digits, radix) = digits_and_radix(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn yaml_float(text: &str) -> bool {
    let b = text.as_bytes();
    let digits = |mut i: usize| {
        let from = i;
        while b.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        (i, i - from)
    };
    let mut i = usize::from(matches!(b.first(), Some(b'-' | b'+')));
    let (next, n) = digits(i);
    i = next;
    if n == 0 {
        if b.get(i) != Some(&b'.') {
            return false;
        }
        let (next, n) = digits(i + 1);
        if n == 0 {
            return false;
        }
        i = next;
    } else if b.get(i) == Some(&b'.') {
        i = digits(i + 1).0;
    }
    if matches!(b.get(i), Some(b'e' | b'E')) {
        i += 1;
        if matches!(b.get(i), Some(b'-' | b'+')) {
            i += 1;
        }
        let (next, n) = digits(i);
        if n == 0 {
            return false;
        }
        i = next;
    }
    i == b.len()
}

/// `.5`, `.5e3`: what Go's `ParseFloat` accepts after a point.
fn parse_float(text: &str) -> Option<f64> {
    if !yaml_float(text) {
        return None;
    }
    text.parse::<f64>().ok().filter(|f| f.is_finite())
}

/// Whether go-yaml's timestamp formats accept the text.
fn is_timestamp(text: &str) -> bool {
    let b = text.as_bytes();
    if b.len() < 8 || !b[..4].iter().all(u8::is_ascii_digit) || b[4] != b'-' {
        return false;
    }
    let mut at = 5;
    let one_or_two = |at: &mut usize| -> Option<u32> {
        let mut value = None;
        for _ in 0..2 {
            match b.get(*at) {
                Some(c) if c.is_ascii_digit() => {
                    value = Some(value.unwrap_or(0) * 10 + u32::from(c - b'0'));
                    *at += 1;
                }
                _ => break,
            }
        }
        value
    };
    let year: u32 = text[..4].parse().unwrap_or(0);
    let Some(month) = one_or_two(&mut at) else { return false };
    if b.get(at) != Some(&b'-') {
        return false;
    }
    at += 1;
    let Some(day) = one_or_two(&mut at) else { return false };
    let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    if day == 0 || day > days {
        return false;
    }
    let separator = match b.get(at) {
        None => return true,
        Some(c @ (b'T' | b't' | b' ')) => *c,
        _ => return false,
    };
    at += 1;
    let Some(hour) = one_or_two(&mut at) else { return false };
    if hour > 23 || b.get(at) != Some(&b':') {
        return false;
    }
    at += 1;
    let Some(minute) = one_or_two(&mut at) else { return false };
    if minute > 59 || b.get(at) != Some(&b':') {
        return false;
    }
    at += 1;
    let Some(second) = one_or_two(&mut at) else { return false };
    if second > 59 {
        return false;
    }
    if matches!(b.get(at), Some(b'.' | b',')) && b.get(at + 1).is_some_and(u8::is_ascii_digit) {
        at += 1;
        while b.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
    }
    if separator == b' ' {
        return at == b.len();
    }
    match &b[at..] {
        [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|c| c.is_ascii_digit()),
        _ => false,
    }
}

/// `^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`: quoted on the way out for other readers' sake.
pub(crate) fn is_base60_float(text: &str) -> bool {
    let b = text.as_bytes();
    if !matches!(b.first(), Some(b'+' | b'-' | b'0'..=b'9')) || !text.contains(':') {
        return false;
    }
    let mut i = usize::from(matches!(b[0], b'+' | b'-'));
    if !b.get(i).is_some_and(u8::is_ascii_digit) {
        return false;
    }
    while b.get(i).is_some_and(|c| c.is_ascii_digit() || *c == b'_') {
        i += 1;
    }
    let mut groups = 0;
    while b.get(i) == Some(&b':') {
        let two = matches!(b.get(i + 1), Some(b'0'..=b'5')) && b.get(i + 2).is_some_and(u8::is_ascii_digit);
        if two {
            i += 3;
        } else if b.get(i + 1).is_some_and(u8::is_ascii_digit) {
            i += 2;
        } else {
            return false;
        }
        groups += 1;
    }
    if groups == 0 {
        return false;
    }
    if b.get(i) == Some(&b'.') {
        i += 1;
        while b.get(i).is_some_and(|c| c.is_ascii_digit() || *c == b'_') {
            i += 1;
        }
    }
    i == b.len()
}
