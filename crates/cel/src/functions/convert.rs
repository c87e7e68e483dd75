//! Conversions between types, and optional values.

use objects::Quantity;

use super::{Answer, argument, int};
use crate::eval::Fault;
use crate::number;
use crate::value::{Key, Value};

pub(super) fn call(name: &str, args: &[Value]) -> Answer {
    let bad = |to: &str, text: &str| Err(argument(format!("type conversion error from 'string' to '{to}': {text:?}")));
    Some(match (name, args) {
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Value::Type(value.type_name().into())),
        ("size", [value]) => return size(value).map(Ok),
        ("string", [value]) => {
            value.text().map(Value::from).ok_or_else(|| argument(format!("no text for a {}", value.type_name())))
        }
        ("bytes", [Value::String(s)]) => Ok(Value::Bytes(s.as_bytes().into())),
        ("bytes", [value @ Value::Bytes(_)]) => Ok(value.clone()),
        ("bool", [value @ Value::Bool(_)]) => Ok(value.clone()),
        ("bool", [Value::String(s)]) => match &**s {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(Value::Bool(false)),
            _ => bad("bool", s),
        },
        ("int", [value]) => match value {
            Value::Int(_) => Ok(value.clone()),
            Value::Uint(u) => i64::try_from(*u).map(Value::Int).map_err(|_| Fault::Overflow("integer")),
            Value::Double(d) if d.abs() < 9.223_372_036_854_775e18 => Ok(Value::Int(*d as i64)),
            Value::Double(_) => Err(Fault::Overflow("integer")),
            Value::String(s) => s.parse().map(Value::Int).or_else(|_| bad("int", s)),
            Value::Timestamp(at) => Ok(Value::Int(at.as_second())),
            Value::Duration(nanos) => Ok(Value::Int(*nanos)),
            _ => Err(Fault::NoSuchOverload),
        },
        ("uint", [value]) => match value {
            Value::Uint(_) => Ok(value.clone()),
            Value::Int(i) => u64::try_from(*i).map(Value::Uint).map_err(|_| Fault::Overflow("unsigned integer")),
            Value::Double(d) if (0.0..1.844_674_407_370_955e19).contains(d) => Ok(Value::Uint(*d as u64)),
            Value::Double(_) => Err(Fault::Overflow("unsigned integer")),
            Value::String(s) => s.parse().map(Value::Uint).or_else(|_| bad("uint", s)),
            _ => Err(Fault::NoSuchOverload),
        },
        ("double", [value]) => match value {
            Value::Double(_) => Ok(value.clone()),
            Value::Int(i) => Ok(Value::Double(*i as f64)),
            Value::Uint(u) => Ok(Value::Double(*u as f64)),
            Value::String(s) => s.parse().map(Value::Double).or_else(|_| bad("double", s)),
            _ => Err(Fault::NoSuchOverload),
        },
        ("timestamp", [value @ Value::Timestamp(_)]) | ("duration", [value @ Value::Duration(_)]) => Ok(value.clone()),
        ("timestamp", [Value::String(s)]) => {
            objects::time::parse(s).map(Value::Timestamp).map_or_else(|| bad("timestamp", s), Ok)
        }
        ("timestamp", [Value::Int(i)]) => {
            jiff::Timestamp::from_second(*i).map(Value::Timestamp).map_err(|_| Fault::Overflow("timestamp"))
        }
        ("duration", [Value::String(s)]) => {
            number::duration(s).map(Value::Duration).map_or_else(|| bad("duration", s), Ok)
        }
        ("duration", [Value::Int(i)]) => Ok(Value::Duration(*i)),
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.of", [value]) => Ok(Value::Optional(Some(Box::new(value.clone())))),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(Value::Optional(if is_zero(value) { None } else { Some(Box::new(value.clone())) }))
        }
        ("math.greatest" | "math.least", args) => extreme(name == "math.greatest", args),
        ("quantity", [Value::String(s)]) => {
            Quantity::parse(s).map(Value::Quantity).map_err(|e| argument(e.to_string()))
        }
        ("isQuantity", [Value::String(s)]) => Ok(Value::Bool(Quantity::parse(s).is_ok())),
        _ => return None,
    })
}

pub(super) fn method(name: &str, target: &Value, args: &[Value]) -> Answer {
    let Value::Optional(inner) = target else {
        return match (name, args) {
            ("size", []) => size(target).map(Ok),
            _ => None,
        };
    };
    Some(match (name, args) {
        ("hasValue", []) => Ok(Value::Bool(inner.is_some())),
        ("value", []) => inner.as_deref().cloned().ok_or_else(|| argument("optional.none() dereference")),
        _ => return None,
    })
}

fn size(value: &Value) -> Option<Value> {
    Some(match value {
        Value::String(s) => int(s.chars().count()),
        Value::Bytes(b) => int(b.len()),
        Value::List(items, _) => int(items.len()),
        Value::Map(map) => int(map.len()),
        _ => return None,
    })
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Duration(d) => *d == 0,
        Value::Optional(inner) => inner.is_none(),
        Value::Double(d) => *d == 0.0,
        other => size(other).map_or_else(|| Key::of(other) == Some(Key::Int(0)), |s| s == Value::Int(0)),
    }
}

fn extreme(greatest: bool, args: &[Value]) -> Result<Value, Fault> {
    let items: Vec<Value> = match args {
        [Value::List(items, _)] => items.to_vec(),
        args => args.to_vec(),
    };
    let wanted = if greatest { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less };
    let mut best: Option<Value> = None;
    for item in items {
        if !matches!(item, Value::Int(_) | Value::Uint(_) | Value::Double(_)) {
            return Err(Fault::NoSuchOverload);
        }
        if best.as_ref().is_none_or(|b| item.compare(b) == Some(wanted)) {
            best = Some(item);
        }
    }
    best.ok_or_else(|| argument("math.greatest and math.least need an argument"))
}
