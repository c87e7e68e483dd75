//! Quantities, versions and named formats.

use std::cmp::Ordering;
use std::sync::Arc;

use objects::{Quantity, names};

use super::{Answer, argument};
use crate::value::Value;

const FORMATS: [&str; 12] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
];

pub(super) fn function(name: &str, args: &[Value]) -> Answer {
    if let Some(format) = name.strip_prefix("format.") {
        let named =
            |name: &str| FORMATS.iter().chain(&["datetime"]).find(|f| **f == name).map(|f| Box::new(Value::Format(f)));
        return match (format, args) {
            ("named", [Value::String(name)]) => Some(Ok(Value::Optional(named(name)))),
            (name, []) => named(name).map(|f| Ok(*f)),
            _ => None,
        };
    }
    let (text, normalise) = match args {
        [Value::String(text)] => (text, false),
        [Value::String(text), Value::Bool(normalise)] => (text, *normalise),
        _ => return None,
    };
    let parsed = || version(text, normalise);
    match name {
        "semver" => {
            Some(parsed().map(|v| Value::Semver(Arc::new(v))).map_err(|e| argument(format!("semver {text:?}: {e}"))))
        }
        "isSemver" => Some(Ok(Value::Bool(parsed().is_ok()))),
        _ => None,
    }
}

/// A version; normalised ones may begin with `v`, lack parts, and have leading zeros.
fn version(text: &str, normalise: bool) -> Result<semver::Version, semver::Error> {
    if !normalise {
        return semver::Version::parse(text);
    }
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let mut parts: Vec<&str> =
        text[..end].split('.').map(|p| if p.len() > 1 { p.trim_start_matches('0') } else { p }).collect();
    parts.iter_mut().filter(|p| p.is_empty()).for_each(|p| *p = "0");
    while parts.len() < 3 {
        parts.push("0");
    }
    semver::Version::parse(&format!("{}{}", parts.join("."), &text[end..]))
}

pub(super) fn method(name: &str, target: &Value, args: &[Value]) -> Answer {
    match (target, args) {
        (Value::Quantity(q), args) => quantity(name, *q, args),
        (Value::Semver(v), []) => Some(Ok(Value::Int(match name {
            "major" => v.major as i64,
            "minor" => v.minor as i64,
            "patch" => v.patch as i64,
            _ => return None,
        }))),
        (Value::Semver(a), [Value::Semver(b)]) => compared(name, a.cmp_precedence(b)),
        (Value::Format(format), [Value::String(text)]) if name == "validate" => Some(Ok(validate(format, text))),
        _ => None,
    }
}

fn compared(name: &str, order: Ordering) -> Answer {
    Some(Ok(match name {
        "isGreaterThan" => Value::Bool(order == Ordering::Greater),
        "isLessThan" => Value::Bool(order == Ordering::Less),
        "compareTo" => Value::Int(order as i64),
        _ => return None,
    }))
}

fn quantity(name: &str, q: Quantity, args: &[Value]) -> Answer {
    const NANO: i128 = 1_000_000_000;
    let whole = q.nanos() % NANO == 0;
    Some(Ok(match (name, args) {
        ("sign", []) => Value::Int(q.nanos().signum() as i64),
        ("isInteger", []) => Value::Bool(whole),
        ("asInteger", []) if whole => Value::Int(q.units()),
        ("asInteger", []) => return Some(Err(argument("cannot convert value to integer"))),
        ("asApproximateFloat", []) => Value::Double(q.nanos() as f64 / NANO as f64),
        ("add", [Value::Quantity(other)]) => Value::Quantity(q + *other),
        ("sub", [Value::Quantity(other)]) => Value::Quantity(q - *other),
        ("add", [Value::Int(other)]) => Value::Quantity(q + Quantity::from_units(*other)),
        ("sub", [Value::Int(other)]) => Value::Quantity(q - Quantity::from_units(*other)),
        (_, [Value::Quantity(other)]) => return compared(name, q.cmp(other)),
        _ => return None,
    }))
}

/// The faults of a text, as an optional list.
fn validate(format: &str, text: &str) -> Value {
    let prefix = text.strip_suffix('-').unwrap_or(text);
    let ok = |good: bool, why: &str| if good { Ok(()) } else { Err(why.to_owned()) };
    let fault = match format {
        "dns1123Label" => names::dns1123_label(text),
        "dns1123Subdomain" => names::dns1123_subdomain(text),
        "dns1035Label" => names::dns1035_label(text),
        "dns1123LabelPrefix" => names::dns1123_label(prefix),
        "dns1123SubdomainPrefix" => names::dns1123_subdomain(prefix),
        "dns1035LabelPrefix" => names::dns1035_label(prefix),
        "qualifiedName" => names::qualified_name(text),
        "labelValue" => names::label_value(text),
        "uri" => ok(url::Url::parse(text).is_ok() || text.starts_with('/'), "invalid URI"),
        "uuid" => ok(is_uuid(text), "does not match the UUID format"),
        "byte" => {
            use base64::Engine;
            ok(base64::engine::general_purpose::STANDARD.decode(text).is_ok(), "invalid base64")
        }
        "date" => ok(text.parse::<jiff::civil::Date>().is_ok(), "invalid date"),
        _ => ok(objects::time::parse(text).is_some(), "invalid datetime"),
    };
    match fault {
        Ok(()) => Value::Optional(None),
        Err(why) => Value::Optional(Some(Box::new(Value::list(vec![Value::from(why)])))),
    }
}

fn is_uuid(text: &str) -> bool {
    let plain = text.replace('-', "");
    plain.len() == 32 && plain.bytes().all(|b| b.is_ascii_hexdigit())
}
