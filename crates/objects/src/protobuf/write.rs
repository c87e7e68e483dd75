//! From JSON to bytes.

use base64::Engine;
use serde_json::Value;

use super::{Error, Field, INLINE, Known, META};

/// Appends a message without its length.
pub fn message(known: Known<'_>, name: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    if special(name, value, out)? {
        return Ok(());
    }
    for field in known.fields(name)? {
        let (number, json, form, flags) = field;
        if flags & INLINE != 0 {
            one(known, name, field, form, value, out)?;
            continue;
        }
        let value = match value.get(json) {
            None | Some(Value::Null) => continue,
            Some(value) => value,
        };
        let wrong = || unfit(name, field, value);
        if let Some(form) = form.strip_prefix('[') {
            for item in value.as_array().ok_or_else(wrong)? {
                one(known, name, field, form, item, out)?;
            }
        } else if let Some(form) = form.strip_prefix('{') {
            for (key, item) in value.as_object().ok_or_else(wrong)? {
                let mut entry = Vec::new();
                bytes(1, key.as_bytes(), &mut entry);
                one(known, name, &(2, json.clone(), String::new(), 0), form, item, &mut entry)?;
                bytes(*number, &entry, out);
            }
        } else {
            one(known, name, field, form, value, out)?;
        }
    }
    Ok(())
}

/// Appends one value with its tag.
fn one(known: Known<'_>, name: &str, field: &Field, form: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    let wrong = || unfit(name, field, value);
    let number = field.0;
    // Who writes by hand leaves out quotes, or sets them: the text says what is meant.
    match form {
        "s" => match value {
            Value::String(text) => bytes(number, text.as_bytes(), out),
            Value::Number(_) | Value::Bool(_) => bytes(number, value.to_string().as_bytes(), out),
            _ => return Err(wrong()),
        },
        "y" => {
            let text = value.as_str().ok_or_else(wrong)?;
            bytes(number, &base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| wrong())?, out);
        }
        "i" => {
            let whole = value.as_i64().or_else(|| value.as_str()?.parse().ok());
            scalar(number, whole.ok_or_else(wrong)? as u64, out);
        }
        "b" => {
            let truth = value.as_bool().or_else(|| value.as_str()?.parse().ok());
            scalar(number, u64::from(truth.ok_or_else(wrong)?), out);
        }
        "f" => {
            varint(u64::from(number) << 3 | 1, out);
            out.extend(value.as_f64().ok_or_else(wrong)?.to_le_bytes());
        }
        form => {
            let inner_name = form.strip_prefix('@').ok_or_else(wrong)?;
            let mut inner = Vec::new();
            message(known, inner_name, value, &mut inner)?;
            bytes(number, &inner, out);
        }
    }
    Ok(())
}

fn unfit(name: &str, field: &Field, value: &Value) -> Error {
    let message = name.rsplit('/').next().unwrap_or(name).to_owned();
    let mut value = value.to_string();
    if value.len() > 100 {
        value = value.chars().take(100).chain("...".chars()).collect();
    }
    Error::Value { message, field: field.1.clone(), value }
}

/// Types whose JSON is not an object of their fields; gives whether it is one.
fn special(name: &str, value: &Value, out: &mut Vec<u8>) -> Result<bool, Error> {
    let short = name.rsplit('/').next().unwrap_or(name);
    let wrong = || unfit(name, &(0, "the value".to_owned(), String::new(), 0), value);
    match short {
        "v1.Time" | "v1.MicroTime" if name.starts_with(META) => {
            let text = value.as_str().ok_or_else(wrong)?;
            let at: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
            scalar(1, at.as_second() as u64, out);
            scalar(2, at.subsec_nanosecond() as u64, out);
        }
        "resource.Quantity" => match value {
            Value::Number(number) => bytes(1, number.to_string().as_bytes(), out),
            value => bytes(1, value.as_str().ok_or_else(wrong)?.as_bytes(), out),
        },
        "intstr.IntOrString" => match value {
            Value::String(text) => {
                scalar(1, 1, out);
                bytes(3, text.as_bytes(), out);
            }
            value => scalar(2, value.as_i64().ok_or_else(wrong)? as u64, out),
        },
        "runtime.RawExtension" | "v1.FieldsV1" => bytes(1, value.to_string().as_bytes(), out),
        _ => return Ok(false),
    }
    Ok(true)
}

fn scalar(number: u32, value: u64, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3, out);
    varint(value, out);
}

fn bytes(number: u32, content: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | 2, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
