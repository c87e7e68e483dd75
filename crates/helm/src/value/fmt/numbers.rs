//! Numbers in every form that `printf` knows.

use super::super::quote::quote_with;
use super::super::{IntTy, Value, is_unsigned};
use super::{Flags, bad_verb, pad};

pub(super) fn integer(out: &mut String, flags: &Flags, verb: char, ty: IntTy, n: i64, value: &Value) {
    let negative = n < 0 && !is_unsigned(ty);
    let magnitude = if negative { n.unsigned_abs() } else { n as u64 };
    let digits = match verb {
        'd' | 'v' => magnitude.to_string(),
        'b' => format!("{magnitude:b}"),
        'o' | 'O' => format!("{magnitude:o}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        'c' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            return pad(out, flags, &c.to_string());
        }
        'q' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            return pad(out, flags, &quote_with(&c.to_string(), '\'', flags.plus));
        }
        'U' => {
            let mut text = format!("U+{:0width$X}", n as u64, width = flags.precision.unwrap_or(4).max(4));
            if flags.sharp
                && let Some(c) = u32::try_from(n).ok().and_then(char::from_u32)
                && super::super::quote::is_print(c)
            {
                text.push_str(&format!(" '{c}'"));
            }
            return pad(out, flags, &text);
        }
        _ => return bad_verb(out, flags, verb, value),
    };
    let sign = if negative {
        "-"
    } else if flags.plus {
        "+"
    } else if flags.space {
        " "
    } else {
        ""
    };
    let prefix = match verb {
        'x' if flags.sharp => "0x",
        'X' if flags.sharp => "0X",
        'b' if flags.sharp => "0b",
        'o' if flags.sharp && !digits.starts_with('0') => "0",
        'O' => "0o",
        _ => "",
    };
    let mut least = flags.precision.unwrap_or(0);
    if flags.precision == Some(0) && n == 0 {
        let mut quiet = flags.clone();
        quiet.zero = false;
        return pad(out, &quiet, "");
    }
    if flags.precision.is_none()
        && flags.zero
        && !flags.minus
        && let Some(width) = flags.width
    {
        least = width.saturating_sub(sign.len());
        // Go counts the prefix inside the width only by its sign.
        let _ = prefix;
    }
    let zeros = "0".repeat(least.saturating_sub(digits.len()));
    let mut quiet = flags.clone();
    quiet.zero = false;
    pad(out, &quiet, &format!("{sign}{prefix}{zeros}{digits}"));
}

fn exponent_form(text: &str, upper: bool) -> String {
    // Rust: 1.5e3, Go: 1.5e+03.
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(d) => ('-', d),
        None => ('+', exponent),
    };
    let e = if upper { 'E' } else { 'e' };
    format!("{mantissa}{e}{sign}{digits:0>2}")
}

/// `strconv.FormatFloat` of a finite magnitude.
pub fn format_float(f: f64, form: char, precision: Option<usize>) -> String {
    match (form, precision) {
        ('f' | 'F', Some(p)) => format!("{f:.p$}"),
        ('f' | 'F', None) => format!("{f}"),
        ('e', Some(p)) => exponent_form(&format!("{f:.p$e}"), false),
        ('E', Some(p)) => exponent_form(&format!("{f:.p$e}"), true),
        ('e', None) => exponent_form(&format!("{f:e}"), false),
        ('E', None) => exponent_form(&format!("{f:e}"), true),
        (_, None) => {
            let text = goyaml::format_float(f);
            if form == 'G' { text.replace('e', "E") } else { text }
        }
        (_, Some(p)) => {
            let p = p.max(1);
            if f == 0.0 {
                return "0".to_owned();
            }
            let text = format!("{f:.*e}", p - 1);
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let trimmed =
                if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
            let digits = trimmed.bytes().filter(u8::is_ascii_digit).count() as i32;
            let mut threshold = p as i32;
            if threshold > digits && digits > exponent {
                threshold = digits;
            }
            if exponent < -4 || exponent >= threshold {
                return exponent_form(&format!("{trimmed}e{exponent}"), form == 'G');
            }
            let decimals = (digits - 1 - exponent).max(0) as usize;
            format!("{f:.decimals$}")
        }
    }
}

pub(super) fn float(out: &mut String, flags: &Flags, verb: char, f: f64, value: &Value) {
    let (form, precision) = match verb {
        'v' => ('g', flags.precision),
        'e' | 'E' | 'f' | 'F' => (verb, Some(flags.precision.unwrap_or(6))),
        'g' | 'G' | 'x' | 'X' | 'b' => (verb, flags.precision),
        _ => return bad_verb(out, flags, verb, value),
    };
    let body = if f.is_nan() {
        "NaN".to_owned()
    } else if f.is_infinite() {
        "Inf".to_owned()
    } else {
        match form {
            'b' => binary_form(f.abs()),
            'x' => hex_form(f.abs(), precision),
            'X' => hex_form(f.abs(), precision).to_uppercase(),
            _ => format_float(f.abs(), form, precision),
        }
    };
    let negative = f.is_sign_negative() && !f.is_nan();
    let sign = if negative {
        "-"
    } else if flags.plus || (f.is_infinite()) {
        "+"
    } else if flags.space {
        " "
    } else {
        ""
    };
    if flags.zero
        && f.is_finite()
        && let Some(width) = flags.width
    {
        let zeros = "0".repeat(width.saturating_sub(body.len() + sign.len()));
        out.push_str(&format!("{sign}{zeros}{body}"));
        return;
    }
    let mut quiet = flags.clone();
    quiet.zero = false;
    pad(out, &quiet, &format!("{sign}{body}"));
}

/// Digits of a float without its exponent, and the exponent of the last of them.
fn parts(f: f64) -> (u64, i32) {
    const FRACTION: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = f.to_bits();
    let (exponent, fraction) = ((bits >> FRACTION) & 0x7ff, bits & ((1 << FRACTION) - 1));
    let (digits, exponent) = if exponent == 0 { (fraction, 1) } else { (fraction | 1 << FRACTION, exponent as i32) };
    (digits, exponent - 1023 - FRACTION as i32)
}

/// `%b`: `6755399441055744p-52`.
fn binary_form(f: f64) -> String {
    let (digits, exponent) = parts(f);
    format!("{digits}p{exponent:+}")
}

/// `%x`: `0x1.8p+00`.
fn hex_form(f: f64, precision: Option<usize>) -> String {
    const FRACTION: u32 = f64::MANTISSA_DIGITS - 1;
    let (mut digits, mut exponent) = parts(f);
    if digits == 0 {
        let zeros = precision.filter(|&p| p > 0).map_or_else(String::new, |p| format!(".{}", "0".repeat(p)));
        return format!("0x0{zeros}p+00");
    }
    while digits >> FRACTION == 0 {
        digits <<= 1;
        exponent -= 1;
    }
    if let Some(p) = precision.filter(|&p| p < 13) {
        // Rounded to even.
        let cut = FRACTION - 4 * p as u32;
        let (half, rest) = (1u64 << (cut - 1), digits & ((1 << cut) - 1));
        digits -= rest;
        if rest > half || (rest == half && digits >> cut & 1 == 1) {
            digits += 1 << cut;
        }
        if digits >> (FRACTION + 1) != 0 {
            digits >>= 1;
            exponent += 1;
        }
    }
    let fraction = format!("{:013x}", digits & ((1 << FRACTION) - 1));
    let fraction = match precision {
        None => fraction.trim_end_matches('0').to_owned(),
        Some(p) => format!("{fraction:0<p$}").chars().take(p).collect(),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let exponent = exponent + FRACTION as i32;
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x1{point}{fraction}p{sign}{:02}", exponent.abs())
}

/// A complex number: both parts with the same flags, the second with its sign.
pub(super) fn complex(out: &mut String, flags: &Flags, verb: char, (re, im): (f64, f64), value: &Value) {
    if !matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') {
        return bad_verb(out, flags, verb, value);
    }
    out.push('(');
    float(out, flags, verb, re, value);
    let signed = Flags { plus: true, ..flags.clone() };
    float(out, &signed, verb, im, value);
    out.push_str("i)");
}
