//! Any text as YAML: read, written, and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Numbers are the same when they are the same float: Go knows no other on this way.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

/// Whether all its texts are ones that go-yaml reads as they are written.
fn readable(value: &Value) -> bool {
    let good = |text: &str| text.chars().all(|c| c == '\n' || c == '\t' || (c >= ' ' && !('\u{7f}'..='\u{9f}').contains(&c) && c != '\u{feff}' && c < '\u{fff0}'));
    match value {
        Value::String(text) => good(text),
        Value::Array(items) => items.iter().all(readable),
        Value::Object(map) => map.iter().all(|(k, v)| good(k) && readable(v)),
        _ => true,
    }
}

fuzz_target!(|text: &str| {
    let _ = goyaml::tree::parse(text);
    let _ = goyaml::documents(text);
    let _ = goyaml::from_str_strict(text);
    let Ok(value) = goyaml::from_str(text) else { return };
    let written = goyaml::to_string(&value);
    if !readable(&value) {
        return;
    }
    match goyaml::from_str(&written) {
        Ok(again) => assert!(same(&value, &again), "{value}\nwritten as\n{written}\nread as\n{again}"),
        Err(error) => panic!("{value}\nwritten as\n{written}\nis refused: {error}"),
    }
});
