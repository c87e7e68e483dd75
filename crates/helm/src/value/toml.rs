//! `toToml` and `fromToml`.

use super::{Value, json};

/// Encodes as BurntSushi's encoder does: plain values first, then tables, each in the order of keys.
///
/// # Errors
/// The encoder's message.
pub fn encode(value: &Value) -> Result<String, String> {
    let json = json::to_serde(value);
    let serde_json::Value::Object(map) = &json else {
        let mut out = String::new();
        inline(&mut out, &json)?;
        return Ok(out);
    };
    let mut out = String::new();
    table(&mut out, map, &[])?;
    Ok(out)
}

type Table = serde_json::Map<String, serde_json::Value>;

fn is_table(v: &serde_json::Value) -> bool {
    match v {
        serde_json::Value::Object(_) => true,
        serde_json::Value::Array(items) => !items.is_empty() && items.iter().all(|i| i.is_object()),
        _ => false,
    }
}

fn table(out: &mut String, map: &Table, path: &[String]) -> Result<(), String> {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    let indent = "  ".repeat(path.len());
    for key in &keys {
        let value = &map[*key];
        if value.is_null() || is_table(value) {
            continue;
        }
        out.push_str(&indent);
        out.push_str(&key_text(key));
        out.push_str(" = ");
        inline(out, value)?;
        out.push('\n');
    }
    for key in keys {
        let value = &map[key];
        if !is_table(value) {
            continue;
        }
        let mut below = path.to_vec();
        below.push(key_text(key));
        match value {
            serde_json::Value::Object(inner) => {
                header(out, &below, "[", "]");
                table(out, inner, &below)?;
            }
            serde_json::Value::Array(items) => {
                for item in items {
                    if let serde_json::Value::Object(inner) = item {
                        header(out, &below, "[[", "]]");
                        table(out, inner, &below)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn header(out: &mut String, path: &[String], open: &str, close: &str) {
    if path.len() == 1 && !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&"  ".repeat(path.len() - 1));
    out.push_str(&format!("{open}{}{close}\n", path.join(".")));
}

fn key_text(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { text(key) }
}

fn text(s: &str) -> String {
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

fn inline(out: &mut String, value: &serde_json::Value) -> Result<(), String> {
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => out.push_str(&i.to_string()),
            (None, Some(u)) => out.push_str(&u.to_string()),
            _ => {
                let f = n.as_f64().unwrap_or(0.0);
                let text = goyaml::format_float(f);
                out.push_str(&text);
                if !text.contains(['.', 'e']) {
                    out.push_str(".0");
                }
            }
        },
        serde_json::Value::String(s) => out.push_str(&text(s)),
        serde_json::Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if item.is_null() {
                    return Err("toml: cannot encode array with nil element".to_owned());
                }
                if i > 0 {
                    out.push_str(", ");
                }
                inline(out, item)?;
            }
            out.push(']');
        }
        serde_json::Value::Object(map) => {
            out.push('{');
            let mut keys: Vec<&String> = map.keys().filter(|k| !map[*k].is_null()).collect();
            keys.sort();
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.push_str(&key_text(key));
                out.push_str(" = ");
                inline(out, &map[key])?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Decodes TOML into a map.
///
/// # Errors
/// What is wrong, with its line.
pub fn decode(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        format!("toml: line {line}: {}", e.message())
    })?;
    Ok(from_toml(&toml::Value::Table(table)))
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
