//! Go's `fmt`: `print`, `println`, `printf` with every verb and flag.

mod numbers;
mod syntax;

pub use self::numbers::format_float;
use self::numbers::{complex, float, integer};
use self::syntax::go_syntax;
use super::quote::{quote, quote_ascii};
use super::{IntTy, ListTy, Object, Value, budget, is_unsigned, text};

/// Deepest level that is printed: a map that contains itself ends here.
const MAX_DEPTH: usize = 100;

/// Every pointer's address.
const ADDRESS: i64 = 0xc0_0000_0000;
/// The same, printed.
const ADDRESS_TEXT: &str = "0xc000000000";

fn is_pointer(value: &Value) -> bool {
    matches!(value, Value::Object(_)) && value.type_name().starts_with('*')
}

/// Writes what an action prints: `<no value>` for none.
pub fn print(out: &mut String, value: &Value) {
    match value {
        Value::Str(s) => out.push_str(s),
        Value::Invalid | Value::Nil => out.push_str("<no value>"),
        Value::Object(o) => match o.as_ref() {
            // A pointer is followed before it is printed.
            Object::Struct(s) => match &s.display {
                Some(text) => out.push_str(text),
                None => struct_fields(out, s, 0),
            },
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
                Some(text) if depth == 0 && s.name.starts_with('*') => out.push_str(text),
                _ if s.name.starts_with('*') && depth > 0 => out.push_str(ADDRESS_TEXT),
                _ => {
                    if s.name.starts_with('*') {
                        out.push('&');
                    }
                    struct_fields(out, s, depth);
                }
            },
            Object::Semver(v) => out.push_str(&v.to_string()),
            Object::Error(text) => out.push_str(text),
            Object::Complex(re, im) => complex(out, &Flags::default(), 'v', (*re, *im), value),
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
            if !matches!(value, Value::Map(_) | Value::List(_)) && !is_pointer(value) {
                return bad_verb(out, flags, verb, value);
            }
            return pad(out, flags, ADDRESS_TEXT);
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
            // The method belongs to the pointer.
            Object::Struct(s) if s.name.starts_with('*') => s.display.as_ref().map(|d| d.to_string()),
            Object::Struct(_) => None,
            Object::Semver(v) => Some(v.to_string()),
            Object::Error(text) => Some(text.to_string()),
            Object::Complex(re, im) => return complex(out, flags, verb, (*re, *im), value),
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
        // Inside of something else a pointer is an address.
        Value::Object(_) if depth > 0 && is_pointer(value) => match verb {
            'v' => pad(out, flags, ADDRESS_TEXT),
            'b' | 'o' | 'O' | 'd' | 'x' | 'X' => integer(out, flags, verb, IntTy::Uint64, ADDRESS, value),
            _ => bad_verb(out, flags, verb, value),
        },
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
