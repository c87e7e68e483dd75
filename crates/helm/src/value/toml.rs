//! `toToml` and `fromToml`.

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
            Value::Float(f) if f.is_nan() => self.out.push_str("nan"),
            Value::Float(f) if f.is_infinite() => self.out.push_str(if *f > 0.0 { "+inf" } else { "-inf" }),
            Value::Float(f) => {
                let text = goyaml::format_float(*f);
                self.out.push_str(&text);
                if !text.contains(['.', 'e']) {
                    self.out.push_str(".0");
                }
            }
            Value::Str(s) => self.out.push_str(&quoted(&text::lossy(s))),
            Value::Time(t) => self.out.push_str(&t.rfc3339_nano()),
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

/// Decodes TOML into a map.
///
/// # Errors
/// What is wrong, with its line.
pub fn decode(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| match diagnose(text) {
        Some(message) => message,
        None => {
            let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
            format!("toml: line {line}: {}", e.message())
        }
    })?;
    Ok(from_toml(&toml::Value::Table(table)))
}

/// What BurntSushi's lexer says of the first thing that is wrong, where that is a key, or a value that is none.
fn diagnose(text: &str) -> Option<String> {
    for (number, line) in text.split('\n').enumerate() {
        let at_end = number == text.matches('\n').count();
        let found = |rest: &str| match rest.chars().next() {
            Some(c) => Some(c),
            None if at_end => None,
            None => Some('\n'),
        };
        let say = |message: String| Some(format!("toml: line {}: {message}", number + 1));
        let mut rest = line.trim_start_matches([' ', '\t']);
        if rest.is_empty() || rest.starts_with(['#', '[', '\r']) {
            continue;
        }
        let mut key = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            match found(rest) {
                None | Some('=') => return say("unexpected '=': key name appears blank".to_owned()),
                Some('.') => return say("unexpected '.': keys cannot start with a '.'".to_owned()),
                Some('"' | '\'') => return None,
                _ => {}
            }
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
            key.push(&rest[..end]);
            rest = rest[end..].trim_start_matches([' ', '\t']);
            match found(rest) {
                Some('=') => break,
                Some('.') => rest = &rest[1..],
                None => return say("unexpected EOF; expected key separator '='".to_owned()),
                Some(c) => return say(format!("expected '.' or '=', but got {} instead", quoted_char(c))),
            }
        }
        let key = key.join(".");
        let bad = |message: String| Some(format!("toml: line {} (last key {key:?}): {message}", number + 1));
        rest = rest[1..].trim_start_matches([' ', '\t']);
        match found(rest) {
            None => return bad("unexpected EOF; expected value".to_owned()),
            Some('.') => return bad("floats must start with a digit, not '.'".to_owned()),
            Some('[' | '{' | '"' | '\'' | '+' | '-') => return None,
            Some(c) if c.is_ascii_digit() => {}
            Some(c) if c.is_alphabetic() => {
                let word = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
                if !matches!(word, "true" | "false" | "inf" | "nan") {
                    return bad(format!("expected value but found {} instead", super::quote::quote(word)));
                }
            }
            Some(c) => return bad(format!("expected value but found {} instead", quoted_char(c))),
        }
        let end = rest.find([' ', '\t', '#', '\r']).unwrap_or(rest.len());
        let after = rest[end..].trim_start_matches([' ', '\t', '\r']);
        let date = rest.as_bytes().get(4) == Some(&b'-');
        if let Some(c) = after.chars().next().filter(|&c| c != '#' && !date) {
            return say(format!(
                "expected a top-level item to end with a newline, comment, or EOF, but got {} instead",
                quoted_char(c)
            ));
        }
    }
    None
}

fn quoted_char(c: char) -> String {
    super::quote::quote_with(&c.to_string(), '\'', false)
}

fn from_toml(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(s) => Value::str(s),
        toml::Value::Integer(n) => Value::int64(*n),
        toml::Value::Float(f) => Value::Float(*f),
        toml::Value::Boolean(b) => Value::Bool(*b),
        toml::Value::Datetime(d) => {
            let text = d.to_string();
            let layouts = ["2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02"];
            layouts
                .iter()
                .find_map(|l| super::time::parse(l, &text, &super::time::Zone::Utc).ok())
                .map_or_else(|| Value::str(&text), |t| Value::Time(std::rc::Rc::new(t)))
        }
        toml::Value::Array(items) => Value::list(items.iter().map(from_toml).collect()),
        toml::Value::Table(table) => Value::map(table.iter().map(|(k, v)| (k.as_str().into(), from_toml(v))).collect()),
    }
}
