//! `toYaml` and `fromYaml` on values, without a detour.

use goyaml::Emitter;

use super::data::BuildValue;
use super::{ListTy, Object, Value, budget, is_unsigned, json, text};

/// Deepest level that is written.
const MAX_DEPTH: usize = 1000;

/// `sigs.k8s.io/yaml.Marshal`, with the line break at its end.
///
/// # Errors
/// What JSON does not have, and characters that go-yaml does not read.
pub fn encode(value: &Value, pretty: bool) -> Result<String, String> {
    let mut emitter = if pretty { Emitter::pretty() } else { Emitter::new() };
    write(&mut emitter, value, pretty, 0)?;
    if emitter.refused() {
        return Err("yaml: control characters are not allowed".to_owned());
    }
    Ok(emitter.finish())
}

/// Writes a value; `straight` is without the detour over JSON that is usual, so that types show which JSON does not have.
fn write(e: &mut Emitter, value: &Value, straight: bool, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("json: unsupported value: encountered a cycle via map[string]interface {}".to_owned());
    }
    if !budget::goes_on(e.written()) {
        return Err("yaml: too much memory".to_owned());
    }
    if straight && let Some(wrote) = write_straight(e, value, depth) {
        return wrote;
    }
    match value {
        Value::Invalid | Value::Nil => e.null(),
        Value::Bool(b) => e.bool(*b),
        Value::Int(ty, n) if is_unsigned(*ty) => e.uint(*n as u64),
        Value::Int(_, n) | Value::Duration(n) => e.int(*n),
        Value::Float(f) => {
            if !f.is_finite() {
                return Err(format!("json: unsupported value: {}", goyaml::format_float(*f)));
            }
            e.float(*f);
        }
        Value::Str(s) => e.string(&text::lossy(s)),
        Value::List(list) if list.ty == ListTy::Bytes => {
            e.string(&crate::funcs::encoding::base64(&list.bytes().unwrap_or_default()));
        }
        Value::List(list) if list.nil => e.null(),
        Value::List(list) => {
            e.begin_sequence(list.len());
            for item in list.items() {
                write(e, item, straight, depth + 1)?;
            }
            if !list.is_empty() {
                e.end();
            }
        }
        Value::Map(map) if map.is_nil() => e.null(),
        Value::Map(map) => {
            let entries = map.entries.borrow();
            e.begin_mapping(entries.len());
            if entries.is_empty() {
                return Ok(());
            }
            let mut pairs: Vec<_> = entries.iter().collect();
            goyaml::sort_keys(&mut pairs, |(k, _)| k.as_ref());
            for (key, item) in pairs {
                if !straight && too_long(key) {
                    return Err("yaml: did not find expected ',' or '}'".to_owned());
                }
                e.key(&text::lossy(key));
                write(e, item, straight, depth + 1)?;
            }
            e.end();
        }
        Value::Time(t) => e.string(&t.rfc3339_nano()),
        Value::Object(o) => match o.as_ref() {
            Object::Semver(v) => e.string(&v.to_string()),
            Object::Complex(..) => return Err("json: unsupported type: complex128".to_owned()),
            Object::Struct(_) | Object::Error(_) => goyaml::emit_json(e, &json::to_serde(value)),
        },
    }
    Ok(())
}

/// What looks otherwise when go-yaml is given the value itself: `None` for what does not.
fn write_straight(e: &mut Emitter, value: &Value, depth: usize) -> Option<Result<(), String>> {
    match value {
        Value::Float(f) if f.is_nan() => e.verbatim(".nan"),
        Value::Float(f) if f.is_infinite() => e.verbatim(if *f > 0.0 { ".inf" } else { "-.inf" }),
        Value::Float(f) => e.verbatim(&goyaml::format_float(*f)),
        Value::Duration(n) => e.string(&super::time::duration_string(*n)),
        Value::Time(t) => e.verbatim(&t.rfc3339_nano()),
        Value::List(list) if list.nil => e.begin_sequence(0),
        Value::List(list) if list.ty == ListTy::Bytes => {
            let bytes = list.bytes().unwrap_or_default();
            e.begin_sequence(bytes.len());
            bytes.iter().for_each(|byte| e.int(i64::from(*byte)));
            if !bytes.is_empty() {
                e.end();
            }
        }
        Value::Map(map) if map.is_nil() => e.begin_mapping(0),
        Value::Object(o) => match o.as_ref() {
            Object::Complex(..) => return Some(Err("cannot marshal type: complex128".to_owned())),
            Object::Struct(s) => {
                let fields: Vec<_> =
                    s.fields.iter().filter(|f| f.name.starts_with(|c: char| c.is_ascii_uppercase())).collect();
                e.begin_mapping(fields.len());
                for field in &fields {
                    e.key(&field.name.to_lowercase());
                    if let Err(error) = write(e, &field.value, true, depth + 1) {
                        return Some(Err(error));
                    }
                }
                if !fields.is_empty() {
                    e.end();
                }
            }
            Object::Semver(_) | Object::Error(_) => return None,
        },
        _ => return None,
    }
    Some(Ok(()))
}

/// Whether a key is longer than go-yaml, which is given JSON, reads keys.
fn too_long(key: &str) -> bool {
    const MOST: usize = 1022;
    if key.len() * 6 <= MOST {
        return false;
    }
    let shown = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => 6,
        _ => 1,
    };
    key.chars().map(shown).sum::<usize>() > MOST
}

/// The first document of a text.
///
/// # Errors
/// `sigs.k8s.io/yaml`'s message.
pub fn decode(text: &str) -> Result<Value, String> {
    goyaml::from_str_with(&text::lossy(text), &mut BuildValue, false)
        .map_err(|e| format!("error converting YAML to JSON: {e}"))
}
