//! Go's `fmt`: `print`, `println`, `printf` with every verb and flag.

use super::quote::{quote, quote_ascii, quote_with};
use super::{IntTy, ListTy, Object, Value, budget, is_unsigned, text};

/// Deepest level that is printed: a map that contains itself ends here.
const MAX_DEPTH: usize = 100;

/// Writes what an action prints: `<no value>` for none.
pub fn print(out: &mut String, value: &Value) {
    match value {
        Value::Str(s) => out.push_str(s),
        Value::Invalid | Value::Nil => out.push_str("<no value>"),
        Value::Object(o) => match o.as_ref() {
            // A pointer is followed before it is printed.
            Object::Struct(s) if s.display.is_none() => struct_fields(out, s, 0),
            _ => plain(out, value, 0),
        },
        v => plain(out, v, 0),
    }
}

/// `%v` as a text.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    plain(&mut out, value, 0);
    out
}

fn plain(out: &mut String, value: &Value, depth: usize) {
    use std::fmt::Write;
    if depth > MAX_DEPTH || !budget::goes_on(out.len()) {
        out.push_str("...");
        return;
    }
    match value {
        Value::Invalid | Value::Nil => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(ty, n) => {
            let _ = if is_unsigned(*ty) { write!(out, "{}", *n as u64) } else { write!(out, "{n}") };
        }
        Value::Float(f) => out.push_str(&goyaml::format_float(*f)),
        Value::Str(s) => out.push_str(s),
        Value::List(list) => {
            out.push('[');
            for (i, item) in list.items().iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                plain(out, item, depth + 1);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (i, (key, item)) in map.entries.borrow().iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                plain(out, item, depth + 1);
            }
            out.push(']');
        }
        Value::Time(t) => out.push_str(&t.to_string()),
        Value::Duration(n) => out.push_str(&super::time::duration_string(*n)),
        Value::Object(o) => match o.as_ref() {
            Object::Struct(s) => match &s.display {
                Some(text) if depth == 0 => out.push_str(text),
                _ if s.name.starts_with('*') && depth > 0 => out.push_str("0xc000000000"),
                _ => {
                    if s.name.starts_with('*') {
                        out.push('&');
                    }
                    struct_fields(out, s, depth);
                }
            },
            Object::Semver(v) => out.push_str(&v.to_string()),
            Object::Error(text) => out.push_str(text),
        },
    }
}

fn struct_fields(out: &mut String, s: &super::Struct, depth: usize) {
    out.push('{');
    for (i, field) in s.fields.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        plain(out, &field.value, depth + 1);
    }
    out.push('}');
}

/// `fmt.Sprint`: a space between operands when neither is a text.
pub fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    let mut previous_text = true;
    for (i, arg) in args.iter().enumerate() {
        let is_text = matches!(arg, Value::Str(_));
        if i > 0 && !is_text && !previous_text {
            out.push(' ');
        }
        plain(&mut out, arg, 0);
        previous_text = is_text;
    }
    out
}

/// `fmt.Sprintln`
pub fn sprintln(args: &[Value]) -> String {
    let mut out = args.iter().map(to_string).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

#[derive(Default, Clone)]
struct Flags {
    plus: bool,
    names: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Widest field that is padded to; Go's own bound.
const MAX_WIDTH: i64 = 1_000_000;

/// `fmt.Sprintf`
pub fn sprintf(format: &str, args: &[Value]) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let bytes = format.as_bytes();
    let mut i = 0;
    let mut arg = 0;
    let mut reordered = false;
    while i < bytes.len() {
        match bytes[i..].iter().position(|&b| b == b'%') {
            None => {
                out.push_str(&format[i..]);
                break;
            }
            Some(n) => {
                out.push_str(&format[i..i + n]);
                i += n + 1;
            }
        }
        let mut flags = Flags::default();
        let mut after_index = false;
        let mut good_index = true;
        while let Some(&b) = bytes.get(i) {
            match b {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            i += 1;
        }
        let index = |i: &mut usize, arg: &mut usize, good: &mut bool, reordered: &mut bool| -> bool {
            if bytes.get(*i) != Some(&b'[') {
                return false;
            }
            *reordered = true;
            let Some(close) = format[*i..].find(']') else {
                *good = false;
                *i += 1;
                return false;
            };
            let number: Option<usize> = format[*i + 1..*i + close].parse().ok();
            *i += close + 1;
            match number {
                Some(n) if n >= 1 && n <= args.len() => {
                    *arg = n - 1;
                    true
                }
                _ => {
                    *good = false;
                    true
                }
            }
        };
        after_index |= index(&mut i, &mut arg, &mut good_index, &mut reordered);
        // Width.
        if bytes.get(i) == Some(&b'*') {
            i += 1;
            match args.get(arg) {
                Some(Value::Int(_, n)) if n.abs() <= MAX_WIDTH => {
                    if *n < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                    flags.width = Some(n.unsigned_abs() as usize);
                }
                _ => out.push_str("%!(BADWIDTH)"),
            }
            arg += 1;
            after_index = false;
        } else {
            let (n, next) = number(bytes, i);
            if next > i && after_index {
                good_index = false;
            }
            flags.width = n;
            i = next;
        }
        // Precision.
        if bytes.get(i) == Some(&b'.') {
            i += 1;
            if after_index {
                good_index = false;
            }
            after_index = index(&mut i, &mut arg, &mut good_index, &mut reordered);
            if bytes.get(i) == Some(&b'*') {
                i += 1;
                match args.get(arg) {
                    Some(Value::Int(_, n)) if (0..=MAX_WIDTH).contains(n) => flags.precision = Some(*n as usize),
                    Some(Value::Int(_, n)) if *n < 0 => flags.precision = None,
                    _ => out.push_str("%!(BADPREC)"),
                }
                arg += 1;
                after_index = false;
            } else {
                let (n, next) = number(bytes, i);
                flags.precision = Some(n.unwrap_or(0));
                i = next;
            }
        }
        if !after_index {
            index(&mut i, &mut arg, &mut good_index, &mut reordered);
        }
        let Some(verb) = format[i..].chars().next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        i += verb.len_utf8();
        if verb == '%' {
            out.push('%');
        } else if !good_index {
            out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if arg >= args.len() {
            out.push_str(&format!("%!{verb}(MISSING)"));
        } else {
            if flags.minus {
                flags.zero = false;
            }
            if verb == 'v' {
                // For %v the sign means field names, and only that.
                flags.names = std::mem::take(&mut flags.plus);
            }
            verb_value(&mut out, &flags, verb, &args[arg], 0);
            arg += 1;
        }
    }
    if !reordered && arg < args.len() {
        out.push_str("%!(EXTRA ");
        for (n, value) in args[arg..].iter().enumerate() {
            if n > 0 {
                out.push_str(", ");
            }
            if value.is_nil() {
                out.push_str("<nil>");
            } else {
                out.push_str(value.type_name());
                out.push('=');
                plain(&mut out, value, 0);
            }
        }
        out.push(')');
    }
    out
}

fn number(bytes: &[u8], mut i: usize) -> (Option<usize>, usize) {
    let from = i;
    let mut n: i64 = 0;
    while let Some(b) = bytes.get(i)
        && b.is_ascii_digit()
    {
        if n > MAX_WIDTH {
            return (None, i);
        }
        n = n * 10 + i64::from(b - b'0');
        i += 1;
    }
    (if i > from { Some(n as usize) } else { None }, i)
}

fn pad(out: &mut String, flags: &Flags, text: &str) {
    let Some(width) = flags.width else {
        out.push_str(text);
        return;
    };
    let length = text.chars().count();
    let fill = width.saturating_sub(length);
    if flags.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', fill));
    } else {
        // Go pads texts with zeros too when asked.
        out.extend(std::iter::repeat_n(if flags.zero { '0' } else { ' ' }, fill));
        out.push_str(text);
    }
}

fn bad_verb(out: &mut String, flags: &Flags, verb: char, value: &Value) {
    if value.is_nil() {
        out.push_str(&format!("%!{verb}(<nil>)"));
    } else {
        out.push_str(&format!("%!{verb}({}=", value.type_name()));
        // Width and padding still count.
        verb_value(out, flags, 'v', value, 0);
        out.push(')');
    }
}

/// An item of a container.
fn verb_item(out: &mut String, flags: &Flags, verb: char, value: &Value, depth: usize) {
    if value.is_nil() && !matches!(verb, 'T' | 'p') {
        out.push_str("<nil>")
    } else {
        verb_value(out, flags, verb, value, depth)
    }
}

fn verb_value(out: &mut String, flags: &Flags, verb: char, value: &Value, depth: usize) {
    if depth > MAX_DEPTH || !budget::goes_on(out.len() + value.shallow_size() + flags.width.unwrap_or(0)) {
        out.push_str("...");
        return;
    }
    match verb {
        'T' => return pad(out, flags, value.type_name()),
        'p' => {
            if !matches!(value, Value::Map(_) | Value::List(_)) {
                return bad_verb(out, flags, verb, value);
            }
            return pad(out, flags, "0xc000000000");
        }
        _ => {}
    }
    if verb == 'v' && flags.sharp {
        let text = go_syntax(value, depth);
        return pad(out, flags, &text);
    }
    // Methods: what has String() prints as that text for the verbs of texts.
    let text_method = match value {
        Value::Duration(n) => Some(super::time::duration_string(*n)),
        Value::Time(t) => Some(t.to_string()),
        Value::Object(o) => match o.as_ref() {
            Object::Struct(s) => s.display.as_ref().map(|d| d.to_string()),
            Object::Semver(v) => Some(v.to_string()),
            Object::Error(text) => Some(text.to_string()),
        },
        _ => None,
    };
    if let Some(text) = text_method
        && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
    {
        return string(out, flags, verb, &text, value);
    }
    match value {
        Value::Invalid | Value::Nil => match verb {
            'v' => pad(out, flags, "<nil>"),
            _ => bad_verb(out, flags, verb, value),
        },
        Value::Bool(b) => match verb {
            't' | 'v' => pad(out, flags, if *b { "true" } else { "false" }),
            _ => bad_verb(out, flags, verb, value),
        },
        Value::Int(ty, n) => integer(out, flags, verb, *ty, *n, value),
        Value::Duration(n) => integer(out, flags, verb, IntTy::Int64, *n, value),
        Value::Float(f) => float(out, flags, verb, *f, value),
        Value::Str(s) => string(out, flags, verb, s, value),
        Value::List(list) => {
            if list.ty == ListTy::Bytes && matches!(verb, 's' | 'q' | 'x' | 'X') {
                let bytes = list.bytes().unwrap_or_default();
                return string(out, flags, verb, &text::from_bytes(&bytes), value);
            }
            out.push('[');
            for (i, item) in list.items().iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                verb_item(out, flags, verb, item, depth + 1);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (i, (key, item)) in map.entries.borrow().iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                verb_value(out, flags, verb, &Value::Str(key.clone()), depth + 1);
                out.push(':');
                verb_item(out, flags, verb, item, depth + 1);
            }
            out.push(']');
        }
        Value::Time(_) => bad_verb(out, flags, verb, value),
        Value::Object(o) => match o.as_ref() {
            Object::Struct(s) => {
                out.push_str(if s.name.starts_with('*') { "&{" } else { "{" });
                for (i, field) in s.fields.iter().enumerate() {
                    if i > 0 {
                        out.push(' ');
                    }
                    if flags.names {
                        out.push_str(field.name);
                        out.push(':');
                    }
                    verb_value(out, flags, verb, &field.value, depth + 1);
                }
                out.push('}');
            }
            _ => bad_verb(out, flags, verb, value),
        },
    }
}

fn string(out: &mut String, flags: &Flags, verb: char, s: &str, value: &Value) {
    let cut: String;
    let s = match flags.precision {
        Some(n) if matches!(verb, 'v' | 's' | 'q') => {
            cut = s.chars().take(n).collect();
            cut.as_str()
        }
        _ => s,
    };
    match verb {
        'v' | 's' => pad(out, flags, s),
        'q' => {
            let text =
                if flags.sharp && !s.contains(['`', '\u{feff}']) && s.chars().all(|c| c == '\t' || !c.is_control()) {
                    format!("`{s}`")
                } else if flags.plus {
                    quote_ascii(s)
                } else {
                    quote(s)
                };
            pad(out, flags, &text);
        }
        'x' | 'X' => {
            let bytes = text::to_bytes(s);
            let bytes = match flags.precision {
                Some(n) if n < bytes.len() => &bytes[..n],
                _ => &bytes,
            };
            let mut text = String::new();
            for (i, b) in bytes.iter().enumerate() {
                if flags.space && i > 0 {
                    text.push(' ');
                }
                if flags.sharp && (flags.space || i == 0) {
                    text.push_str(if verb == 'x' { "0x" } else { "0X" });
                }
                text.push_str(&if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") });
            }
            pad(out, flags, &text);
        }
        _ => bad_verb(out, flags, verb, value),
    }
}

fn integer(out: &mut String, flags: &Flags, verb: char, ty: IntTy, n: i64, value: &Value) {
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
            let mut text = format!("U+{:0width$X}", magnitude, width = flags.precision.unwrap_or(4).max(4));
            if flags.sharp
                && let Some(c) = u32::try_from(n).ok().and_then(char::from_u32)
                && super::quote::is_print(c)
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

fn float(out: &mut String, flags: &Flags, verb: char, f: f64, value: &Value) {
    let (form, precision) = match verb {
        'v' => ('g', flags.precision),
        'e' | 'E' | 'f' | 'F' => (verb, Some(flags.precision.unwrap_or(6))),
        'g' | 'G' => (verb, flags.precision),
        'x' | 'X' | 'b' => return pad(out, flags, &goyaml::format_float(f)),
        _ => return bad_verb(out, flags, verb, value),
    };
    let body = if f.is_nan() {
        "NaN".to_owned()
    } else if f.is_infinite() {
        "Inf".to_owned()
    } else {
        format_float(f.abs(), form, precision)
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

/// `%#v`
fn go_syntax(value: &Value, depth: usize) -> String {
    if depth > MAX_DEPTH || !budget::goes_on(value.shallow_size()) {
        return "...".to_owned();
    }
    let inner = |v: &Value| {
        if v.is_nil() { "interface {}(nil)".to_owned() } else { go_syntax(v, depth + 1) }
    };
    match value {
        Value::Invalid | Value::Nil => "<nil>".to_owned(),
        Value::Str(s) => quote(s),
        Value::Int(ty, n) if is_unsigned(*ty) => format!("0x{n:x}"),
        Value::List(list) if list.ty == ListTy::Bytes => {
            let bytes: Vec<String> = list.bytes().unwrap_or_default().iter().map(|b| format!("0x{b:x}")).collect();
            format!("[]byte{{{}}}", bytes.join(", "))
        }
        Value::List(list) if list.nil => format!("{}(nil)", value.type_name()),
        Value::List(list) => {
            let items: Vec<String> = list.items().iter().map(inner).collect();
            format!("{}{{{}}}", value.type_name(), items.join(", "))
        }
        Value::Map(map) => {
            let items: Vec<String> =
                map.entries.borrow().iter().map(|(k, v)| format!("{}:{}", quote(k), inner(v))).collect();
            format!("{}{{{}}}", value.type_name(), items.join(", "))
        }
        Value::Duration(n) => n.to_string(),
        v => to_string(v),
    }
}
