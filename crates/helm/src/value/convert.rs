//! Conversions that Sprig's functions make of their arguments.

use super::{IntTy, ListTy, Value, budget, fmt, is_unsigned};
use crate::template::parse::{parse_float, parse_int};

/// `int64(f)` as amd64 does it: out of range gives the least integer.
pub fn float_to_int(f: f64) -> i64 {
    if f.is_nan() || !(-9.223_372_036_854_776e18..9.223_372_036_854_776e18).contains(&f) { i64::MIN } else { f as i64 }
}

/// `12.00` counts as `12`.
fn trim_zero_decimal(s: &str) -> &str {
    match s.rfind('.') {
        Some(at) if at + 1 < s.len() && s[at + 1..].bytes().all(|b| b == b'0') => &s[..at],
        _ => s,
    }
}

/// `cast.ToInt64`
pub fn to_int(v: &Value) -> i64 {
    match v {
        Value::Int(_, n) => *n,
        Value::Float(f) => float_to_int(*f),
        Value::Bool(b) => i64::from(*b),
        Value::Str(s) => parse_int(trim_zero_decimal(s)).unwrap_or(0),
        _ => 0,
    }
}

/// `cast.ToFloat64`
pub fn to_float(v: &Value) -> f64 {
    match v {
        Value::Int(ty, n) if is_unsigned(*ty) => *n as u64 as f64,
        Value::Int(_, n) => *n as f64,
        Value::Float(f) => *f,
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::Str(s) => parse_float(s).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// Sprig's `strval`.
pub fn to_text(v: &Value) -> std::borrow::Cow<'_, str> {
    match v {
        Value::Str(s) => std::borrow::Cow::Borrowed(s),
        Value::List(l) if l.ty == ListTy::Bytes => {
            std::borrow::Cow::Owned(super::text::from_bytes(&l.bytes().unwrap_or_default()).into_owned())
        }
        v => std::borrow::Cow::Owned(fmt::to_string(v)),
    }
}

/// Sprig's `strslice`: a list of texts of nearly anything.
pub fn to_texts(v: &Value) -> Vec<String> {
    match v {
        v if v.is_nil() => Vec::new(),
        Value::List(l) => {
            let mut size = 0;
            let texts = l.items().iter().filter(|i| !i.is_nil()).map(|i| to_text(i).into_owned());
            texts
                .take_while(|text| {
                    size += text.len() + size_of::<String>();
                    budget::goes_on(size)
                })
                .collect()
        }
        v => vec![to_text(v).into_owned()],
    }
}

/// Sprig's `empty`.
pub fn is_empty(v: &Value) -> bool {
    match v {
        Value::Invalid | Value::Nil => true,
        Value::Bool(b) => !b,
        Value::Int(_, n) | Value::Duration(n) => *n == 0,
        Value::Float(f) => *f == 0.0,
        Value::Str(s) => s.is_empty(),
        Value::List(l) => l.is_empty(),
        Value::Map(m) => m.entries.borrow().is_empty(),
        Value::Time(_) => false,
        Value::Object(_) => matches!(v.kind_name(), "complex128") && !v.truth(),
    }
}

/// An integer as an index; `None` for what is none.
pub fn as_int(v: &Value) -> Option<i64> {
    match v {
        Value::Int(IntTy::Int, n) => Some(*n),
        _ => None,
    }
}
