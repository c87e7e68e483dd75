//! Go's `encoding/json`: encoding with sorted keys and HTML escapes, decoding with its messages.

use super::{Entries, ListTy, Object, Str, Value, budget, is_unsigned, text};

/// Deepest level that is encoded or decoded. Go's bound for decoding is 10,000.
const MAX_DEPTH: usize = 1000;

/// How to encode.
#[derive(Clone, Copy)]
pub struct Style {
    /// `<`, `>`, `&` as `\u003c` and so on.
    pub html: bool,
    /// Two spaces for each level.
    pub pretty: bool,
}

/// Encodes a value.
///
/// # Errors
/// Numbers that JSON does not have, and values that contain themselves.
pub fn encode(value: &Value, style: Style) -> Result<String, String> {
    let mut out = String::new();
    write(&mut out, value, style, 0)?;
    Ok(out)
}

fn newline(out: &mut String, style: Style, depth: usize) {
    if style.pretty {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn write(out: &mut String, value: &Value, style: Style, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("json: unsupported value: encountered a cycle via map[string]interface {}".to_owned());
    }
    if !budget::goes_on(out.len()) {
        return Err("json: too much memory".to_owned());
    }
    match value {
        Value::Invalid | Value::Nil => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(ty, n) if is_unsigned(*ty) => out.push_str(&(*n as u64).to_string()),
        Value::Int(_, n) | Value::Duration(n) => out.push_str(&n.to_string()),
        Value::Float(f) => {
            if !f.is_finite() {
                return Err(format!("json: unsupported value: {}", goyaml::format_float(*f)));
            }
            out.push_str(&goyaml::json_float(*f));
        }
        Value::Str(s) => write_string(out, s, style.html),
        Value::List(list) if list.ty == ListTy::Bytes => {
            write_string(out, &crate::funcs::encoding::base64(&list.bytes().unwrap_or_default()), style.html);
        }
        Value::List(list) => {
            if list.is_empty() {
                out.push_str(if list.nil { "null" } else { "[]" });
                return Ok(());
            }
            out.push('[');
            for (i, item) in list.items().iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                newline(out, style, depth + 1);
                write(out, item, style, depth + 1)?;
            }
            newline(out, style, depth);
            out.push(']');
        }
        Value::Map(map) if map.is_nil() => out.push_str("null"),
        Value::Map(map) => {
            let entries = map.entries.borrow();
            if entries.is_empty() {
                out.push_str("{}");
                return Ok(());
            }
            out.push('{');
            for (i, (key, item)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                newline(out, style, depth + 1);
                write_string(out, key, style.html);
                out.push(':');
                if style.pretty {
                    out.push(' ');
                }
                write(out, item, style, depth + 1)?;
            }
            newline(out, style, depth);
            out.push('}');
        }
        Value::Time(t) => write_string(out, &t.rfc3339_nano(), style.html),
        Value::Object(o) => match o.as_ref() {
            Object::Semver(v) => write_string(out, &v.to_string(), style.html),
            Object::Error(_) => out.push_str("{}"),
            Object::Complex(..) => return Err("json: unsupported type: complex128".to_owned()),
            Object::Struct(s) => {
                let fields: Vec<_> =
                    s.fields.iter().filter(|f| f.json.is_some() && !(f.omit_empty && !f.value.truth())).collect();
                out.push('{');
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    newline(out, style, depth + 1);
                    write_string(out, field.json.unwrap_or(""), style.html);
                    out.push(':');
                    if style.pretty {
                        out.push(' ');
                    }
                    write(out, &field.value, style, depth + 1)?;
                }
                if !fields.is_empty() {
                    newline(out, style, depth);
                }
                out.push('}');
            }
        },
    }
    Ok(())
}

fn write_string(out: &mut String, s: &str, html: bool) {
    out.push('"');
    let s = text::lossy(s);
    let plain = s.bytes().all(|b| (0x20..0x7f).contains(&b) && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&'));
    if plain {
        out.push_str(&s);
    } else {
        for c in s.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                '<' | '>' | '&' if html => out.push_str(&format!("\\u{:04x}", c as u32)),
                c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
                '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
    }
    out.push('"');
}

/// Decodes JSON into values: numbers are floats.
///
/// # Errors
/// Go's messages.
pub fn decode(text: &str) -> Result<Value, String> {
    match decode_all(text)? {
        (_, Some(message)) => Err(message),
        (value, None) => Ok(value),
    }
}

/// As [`decode`], but goes on after a number that is no float, as Go does: its place holds nothing, and the message comes
/// with the value.
///
/// # Errors
/// Go's messages.
pub fn decode_all(text: &str) -> Result<(Value, Option<String>), String> {
    let mut decoder = Decoder { bytes: text.as_bytes(), text, at: 0, saved: None };
    decoder.space();
    let value = decoder.value(0)?;
    decoder.space();
    if decoder.at < decoder.bytes.len() {
        return Err(decoder.invalid("after top-level value"));
    }
    Ok((value, decoder.saved))
}

struct Decoder<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    saved: Option<String>,
}

impl Decoder<'_> {
    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn invalid(&self, context: &str) -> String {
        // At the end Go reads a space: it is wrong inside of a word or a number, and skipped elsewhere.
        let inside = context.contains("literal") && !context.contains("string literal") || context.contains("escape");
        if self.at >= self.bytes.len() && !inside {
            return "unexpected end of JSON input".to_owned();
        }
        // Go looks at bytes.
        let byte = self.bytes.get(self.at).copied().unwrap_or(b' ');
        let shown = match byte {
            b'\'' => "'\\''".to_owned(),
            b'"' => "'\"'".to_owned(),
            b => {
                let c = char::from(b);
                super::quote::quote_with(&c.to_string(), '\'', false)
            }
        };
        format!("invalid character {shown} {context}")
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        match self.bytes.get(self.at) {
            Some(b'{') => {
                self.at += 1;
                let mut entries = Entries::new();
                self.space();
                if self.bytes.get(self.at) == Some(&b'}') {
                    self.at += 1;
                    return Ok(Value::map(entries));
                }
                loop {
                    self.space();
                    if self.bytes.get(self.at) != Some(&b'"') {
                        return Err(self.invalid("looking for beginning of object key string"));
                    }
                    let key = self.string()?;
                    self.space();
                    if self.bytes.get(self.at) != Some(&b':') {
                        return Err(self.invalid("after object key"));
                    }
                    self.at += 1;
                    self.space();
                    let value = self.value(depth + 1)?;
                    entries.insert(Str::from(key), value);
                    self.space();
                    match self.bytes.get(self.at) {
                        Some(b',') => self.at += 1,
                        Some(b'}') => {
                            self.at += 1;
                            return Ok(Value::map(entries));
                        }
                        _ => return Err(self.invalid("after object key:value pair")),
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                self.space();
                if self.bytes.get(self.at) == Some(&b']') {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                loop {
                    self.space();
                    items.push(self.value(depth + 1)?);
                    self.space();
                    match self.bytes.get(self.at) {
                        Some(b',') => self.at += 1,
                        Some(b']') => {
                            self.at += 1;
                            return Ok(Value::list(items));
                        }
                        _ => return Err(self.invalid("after array element")),
                    }
                }
            }
            Some(b'"') => Ok(Value::str(self.string()?)),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Nil),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.invalid("looking for beginning of value")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for (i, b) in word.bytes().enumerate() {
            if self.bytes.get(self.at) != Some(&b) {
                return Err(self.invalid(&format!("in literal {word} (expecting {})", quoted(word.as_bytes()[i]))));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, String> {
        let from = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.invalid("in numeric literal")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
                return Err(self.invalid("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
                return Err(self.invalid("in exponent of numeric literal"));
            }
            self.digits();
        }
        let text = &self.text[from..self.at];
        match text.parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(Value::Float(f)),
            _ => {
                let message = format!("json: cannot unmarshal number {text} into Go value of type float64");
                self.saved.get_or_insert(message);
                Ok(Value::Nil)
            }
        }
    }

    fn digits(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let from = self.at;
            while self.bytes.get(self.at).is_some_and(|&b| b >= 0x20 && b != b'"' && b != b'\\') {
                self.at += 1;
            }
            out.push_str(&self.text[from..self.at]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.bytes.get(self.at) {
                        Some(b'"') => out.push('"'),
                        Some(b'\\') => out.push('\\'),
                        Some(b'/') => out.push('/'),
                        Some(b'b') => out.push('\x08'),
                        Some(b'f') => out.push('\x0c'),
                        Some(b'n') => out.push('\n'),
                        Some(b'r') => out.push('\r'),
                        Some(b't') => out.push('\t'),
                        Some(b'u') => {
                            let first = self.hex()?;
                            let c = if (0xD800..0xDC00).contains(&first)
                                && self.bytes.get(self.at + 1) == Some(&b'\\')
                                && self.bytes.get(self.at + 2) == Some(&b'u')
                            {
                                let saved = self.at;
                                self.at += 2;
                                let second = self.hex()?;
                                if (0xDC00..0xE000).contains(&second) {
                                    char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
                                } else {
                                    self.at = saved;
                                    None
                                }
                            } else {
                                char::from_u32(first)
                            };
                            out.push(c.unwrap_or('\u{fffd}'));
                        }
                        _ => return Err(self.invalid("in string escape code")),
                    }
                    self.at += 1;
                }
                _ => return Err(self.invalid("in string literal")),
            }
        }
    }

    /// Four digits after `u`; stops at the last one.
    fn hex(&mut self) -> Result<u32, String> {
        let mut n = 0;
        for _ in 0..4 {
            self.at += 1;
            match self.bytes.get(self.at).and_then(|&b| (b as char).to_digit(16)) {
                Some(d) => n = n * 16 + d,
                None => return Err(self.invalid("in \\u hexadecimal character escape")),
            }
        }
        Ok(n)
    }
}

fn quoted(b: u8) -> String {
    super::quote::quote_with(&char::from(b).to_string(), '\'', false)
}

/// What Go's decoder calls the type of a value in its messages.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Str(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
        _ => "number",
    }
}

/// A value as JSON. What is nested too deep, or beyond the rendering's bound of memory, becomes null.
pub fn to_serde(value: &Value) -> serde_json::Value {
    serde_at(value, 0, &mut 0)
}

/// About what a JSON value takes besides its texts.
const JSON_VALUE: usize = 80;

fn serde_at(value: &Value, depth: usize, made: &mut usize) -> serde_json::Value {
    *made += JSON_VALUE + value.as_str().map_or(0, str::len);
    if depth > MAX_DEPTH || !budget::goes_on(*made) {
        return serde_json::Value::Null;
    }
    match value {
        Value::Invalid | Value::Nil => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(_, n) | Value::Duration(n) => (*n).into(),
        Value::Float(f) => (*f).into(),
        Value::Str(s) => text::lossy(s).into_owned().into(),
        Value::List(list) if list.ty == ListTy::Bytes => {
            crate::funcs::encoding::base64(&list.bytes().unwrap_or_default()).into()
        }
        Value::List(list) if list.nil => serde_json::Value::Null,
        Value::List(list) => list.items().iter().map(|item| serde_at(item, depth + 1, made)).collect(),
        Value::Map(map) if map.is_nil() => serde_json::Value::Null,
        Value::Map(map) => serde_json::Value::Object(
            map.entries.borrow().iter().map(|(k, v)| (k.to_string(), serde_at(v, depth + 1, made))).collect(),
        ),
        Value::Time(t) => t.rfc3339_nano().into(),
        Value::Object(o) => match o.as_ref() {
            Object::Semver(v) => v.to_string().into(),
            Object::Error(_) => serde_json::Value::Object(serde_json::Map::new()),
            Object::Complex(..) => serde_json::Value::Null,
            Object::Struct(s) => serde_json::Value::Object(
                s.fields
                    .iter()
                    .filter(|f| !(f.omit_empty && !f.value.truth()))
                    .filter_map(|f| Some((f.json?.to_owned(), serde_at(&f.value, depth + 1, made))))
                    .collect(),
            ),
        },
    }
}

/// From JSON: every number is a float.
pub fn from_serde(value: &serde_json::Value) -> Value {
    from_json(value, false)
}

/// From JSON as Kubernetes' clients read it: whole numbers are `int64`, others floats.
pub fn from_object(value: &serde_json::Value) -> Value {
    from_json(value, true)
}

fn from_json(value: &serde_json::Value, whole: bool) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(n) if whole => Value::int64(n),
            _ => Value::Float(n.as_f64().unwrap_or(0.0)),
        },
        serde_json::Value::String(s) => Value::str(s),
        serde_json::Value::Array(items) => Value::list(items.iter().map(|v| from_json(v, whole)).collect()),
        serde_json::Value::Object(map) => {
            Value::map(map.iter().map(|(k, v)| (Str::from(k.as_str()), from_json(v, whole))).collect())
        }
    }
}

/// Whether two values are the same shared map.
pub fn same_map(a: &Value, b: &Value) -> bool {
    matches!((a, b), (Value::Map(a), Value::Map(b)) if a.same(b))
}
