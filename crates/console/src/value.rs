//! Reading JSON that others shaped.

use serde_json::Value;

/// The text at a pointer, `""` when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The list at a pointer, empty when there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The number at a pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The time at a pointer, in milliseconds since the Unix epoch.
pub(crate) fn time(value: &Value, pointer: &str) -> Option<i64> {
    text(value, pointer).parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond())
}

/// An object as YAML, for reading: keys in their order, no references, text quoted where it could be taken for something else.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

fn write(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                pad(out, indent);
                out.push_str(&scalar(&Value::String(key.clone())));
                out.push(':');
                nested(out, value, indent + 2, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                pad(out, indent);
                out.push('-');
                if let Value::Object(map) = item
                    && !map.is_empty()
                {
                    let mut inner = String::new();
                    write(&mut inner, item, indent + 2);
                    out.push(' ');
                    out.push_str(inner.trim_start());
                } else {
                    nested(out, item, indent + 2, indent + 2);
                }
            }
        }
        other => {
            pad(out, indent);
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn nested(out: &mut String, value: &Value, indent: usize, list_indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            write(out, value, indent);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            write(out, value, list_indent);
        }
        Value::String(text) if text.contains('\n') => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.lines() {
                pad(out, indent);
                out.push_str(line);
                out.push('\n');
            }
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && !matches!(text.as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n")
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
        && !text.contains(['\n', '\t', '"', '\\']);
    if plain { text.clone() } else { Value::String(text.clone()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_read_as_yaml() {
        let value = json!({
            "kind": "X", "tag": "1234567", "count": 3, "none": null, "empty": {}, "on": "yes",
            "list": [{"a": 1, "b": [1, 2]}, "text"], "data": {"file": "one\ntwo\n"},
        });
        let expected = "data:\n  file: |\n    one\n    two\nempty: {}\nkind: X\nlist:\n- a: 1\n  b:\n  - 1\n  - 2\n- text\n\
                        count: 3\nnone: null\n\"on\": \"yes\"\ntag: \"1234567\"\n";
        let mut lines: Vec<&str> = expected.lines().collect();
        let text = yaml(&value);
        let mut seen: Vec<&str> = text.lines().collect();
        // The order of keys is the map's own.
        lines.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, lines);
    }
}
