//! `toToml` and `fromToml`.

mod read;
mod scan;

pub use self::read::decode;

use super::time::Zone;
use super::{ListTy, Object, Value, budget, text};

/// Deepest level that is written.
const MAX_DEPTH: usize = 500;

/// Encodes as BurntSushi's encoder does: plain values first, then tables, each in the order of keys.
///
/// # Errors
/// The encoder's message.
pub fn encode(value: &Value) -> Result<String, String> {
    let mut writer = Writer { out: String::new(), key: Vec::new() };
    writer.keyed(value)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    /// The path of what is written, each part as it is shown.
    key: Vec<String>,
}

/// A table, a list of tables, or anything else.
#[derive(PartialEq)]
enum Form {
    Table,
    Tables,
    Plain,
}

fn form(value: &Value) -> Result<Form, String> {
    Ok(match value {
        Value::Map(_) => Form::Table,
        Value::Object(o) if matches!(o.as_ref(), Object::Struct(_)) => Form::Table,
        Value::List(list) if list.ty != ListTy::Bytes && !list.is_empty() => {
            let mut tables = true;
            for item in list.items() {
                if item.is_nil() {
                    return Err(NIL_ELEMENT.to_owned());
                }
                tables &= matches!(item, Value::Map(_));
            }
            if tables { Form::Tables } else { Form::Plain }
        }
        _ => Form::Plain,
    })
}

const NIL_ELEMENT: &str = "toml: cannot encode array with nil element";

/// The entries of a table in the order of their keys, those that are no tables first.
fn entries(value: &Value) -> Result<(Vec<(String, Value)>, usize), String> {
    let all: Vec<(String, Value)> = match value {
        Value::Map(map) if map.is_nil() => Vec::new(),
        Value::Map(map) => map.entries.borrow().iter().map(|(k, v)| (text::lossy(k).into_owned(), v.clone())).collect(),
        Value::Object(o) => match o.as_ref() {
            Object::Struct(s) => s
                .fields
                .iter()
                .filter(|f| f.name.starts_with(|c: char| c.is_ascii_uppercase()))
                .map(|f| (f.name.to_owned(), f.value.clone()))
                .collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let mut plain = Vec::with_capacity(all.len());
    let mut tables = Vec::new();
    for (key, value) in all {
        if form(&value)? == Form::Plain { plain.push((key, value)) } else { tables.push((key, value)) }
    }
    let count = plain.len();
    plain.extend(tables);
    Ok((plain, count))
}

impl Writer {
    fn newline(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self) {
        for _ in 1..self.key.len() {
            self.out.push_str("  ");
        }
    }

    fn goes_on(&self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH || !budget::goes_on(self.out.len()) {
            return Err("toml: nested too deep".to_owned());
        }
        Ok(())
    }

    /// A value under the current key.
    fn keyed(&mut self, value: &Value) -> Result<(), String> {
        self.goes_on(self.key.len())?;
        match form(value)? {
            Form::Plain if value.is_nil() || matches!(value, Value::List(list) if list.nil) => Ok(()),
            Form::Plain => {
                if let Some(last) = self.key.last().cloned() {
                    self.indent();
                    self.out.push_str(&last);
                    self.out.push_str(" = ");
                    self.element(value, 0)?;
                    self.newline();
                    return Ok(());
                }
                self.element(value, 0)
            }
            Form::Tables => {
                if self.key.is_empty() {
                    return Err("toml: top-level values must be Go maps or structs".to_owned());
                }
                let Value::List(list) = value else { return Ok(()) };
                for item in list.items() {
                    self.newline();
                    self.header("[[", "]]");
                    self.table(item)?;
                }
                Ok(())
            }
            Form::Table => {
                if matches!(value, Value::Map(map) if map.is_nil()) {
                    return Ok(());
                }
                if self.key.len() == 1 {
                    self.newline();
                }
                if !self.key.is_empty() {
                    self.header("[", "]");
                }
                self.table(value)
            }
        }
    }

    fn header(&mut self, open: &str, close: &str) {
        self.indent();
        self.out.push_str(open);
        self.out.push_str(&self.key.join("."));
        self.out.push_str(close);
        self.newline();
    }

    fn table(&mut self, value: &Value) -> Result<(), String> {
        for (key, item) in entries(value)?.0 {
            self.key.push(key_text(&key));
            self.keyed(&item)?;
            self.key.pop();
        }
        Ok(())
    }

    fn element(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        self.goes_on(depth)?;
        match value {
            Value::Invalid | Value::Nil => return Err(NIL_ELEMENT.to_owned()),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(ty, n) if super::is_unsigned(*ty) => self.out.push_str(&(*n as u64).to_string()),
            Value::Int(_, n) => self.out.push_str(&n.to_string()),
            Value::Float(f) if f.is_nan() => self.out.push_str(if f.is_sign_negative() { "-nan" } else { "nan" }),
            Value::Float(f) if f.is_infinite() => self.out.push_str(if *f > 0.0 { "inf" } else { "-inf" }),
            Value::Float(f) => {
                let text = goyaml::format_float(*f);
                self.out.push_str(&text);
                if !text.contains(['.', 'e']) {
                    self.out.push_str(".0");
                }
            }
            Value::Str(s) => self.out.push_str(&quoted(&text::lossy(s))),
            Value::Time(t) => {
                // A date or time without a zone is written as it was read.
                let layout = match &t.zone {
                    Zone::Fixed(_, name) => match &**name {
                        "datetime-local" => Some("2006-01-02T15:04:05.999999999"),
                        "date-local" => Some("2006-01-02"),
                        "time-local" => Some("15:04:05.999999999"),
                        _ => None,
                    },
                    _ => None,
                };
                self.out.push_str(&layout.map_or_else(|| t.rfc3339_nano(), |layout| t.format(layout)));
            }
            Value::Duration(n) => self.out.push_str(&quoted(&super::time::duration_string(*n))),
            Value::List(list) => {
                self.out.push('[');
                for (i, item) in list.items().iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(", ");
                    }
                    self.element(item, depth + 1)?;
                }
                self.out.push(']');
            }
            Value::Object(o) if !matches!(o.as_ref(), Object::Struct(_)) => match o.as_ref() {
                Object::Semver(v) => self.out.push_str(&quoted(&v.to_string())),
                Object::Complex(..) => return Err("unsupported type: complex128".to_owned()),
                _ => self.out.push_str("{}"),
            },
            Value::Map(_) | Value::Object(_) => {
                let (all, plain) = entries(value)?;
                let tables = all.len() - plain;
                self.out.push('{');
                for (i, (key, item)) in all.iter().enumerate() {
                    if item.is_nil() {
                        continue;
                    }
                    self.out.push_str(&key_text(key));
                    self.out.push_str(" = ");
                    self.element(item, depth + 1)?;
                    let last = if i < plain { tables == 0 && i + 1 == plain } else { i + 1 == all.len() };
                    if !last {
                        self.out.push_str(", ");
                    }
                }
                self.out.push('}');
            }
        }
        Ok(())
    }
}

fn key_text(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { quoted(key) }
}

fn quoted(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
