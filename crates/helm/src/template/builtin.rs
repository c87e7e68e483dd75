//! The functions that `text/template` itself has.

use super::error::Fault;
use crate::value::{IntTy, Object, Value, is_unsigned, text};

type Result = std::result::Result<Value, Fault>;

#[derive(Clone, Copy, PartialEq)]
enum Basic {
    Bool,
    Int,
    Uint,
    Float,
    Complex,
    Str,
    None,
}

fn basic(v: &Value) -> Basic {
    match v {
        Value::Bool(_) => Basic::Bool,
        Value::Int(ty, _) if is_unsigned(*ty) => Basic::Uint,
        Value::Int(..) | Value::Duration(_) => Basic::Int,
        Value::Float(_) => Basic::Float,
        Value::Str(_) => Basic::Str,
        Value::Object(o) if matches!(o.as_ref(), Object::Complex(..)) => Basic::Complex,
        _ => Basic::None,
    }
}

fn number(v: &Value) -> i64 {
    match v {
        Value::Int(_, n) | Value::Duration(n) => *n,
        _ => 0,
    }
}

fn incompatible(a: &Value, b: &Value) -> Fault {
    Fault::Text(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()))
}

fn equal(a: &Value, b: &Value) -> std::result::Result<bool, Fault> {
    let (ka, kb) = (basic(a), basic(b));
    if ka != kb {
        return match (ka, kb) {
            (Basic::Int, Basic::Uint) | (Basic::Uint, Basic::Int) => Ok(number(a) == number(b) && number(a) >= 0),
            _ if a.is_nil() || b.is_nil() => Ok(false),
            _ => Err(incompatible(a, b)),
        };
    }
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Int(..) | Value::Duration(_), _) => number(a) == number(b),
        _ if ka == Basic::Complex => crate::value::deep_equal(a, b),
        _ => {
            if a.is_nil() || b.is_nil() {
                // An empty slice or map is never nil here.
                return Ok(a.is_nil() && b.is_nil());
            }
            if a.kind_name() != b.kind_name() {
                let (at, bt) = (a.type_name(), b.type_name());
                let (av, bv) = (shown(a), crate::value::fmt::to_string(b));
                return Err(Fault::Text(format!("non-comparable types {av}: {at}, {bt}: {bv}")));
            }
            match (a, b) {
                (Value::Time(a), Value::Time(b)) => a == b,
                (Value::Object(a), Value::Object(b)) => std::rc::Rc::ptr_eq(a, b),
                _ => {
                    return Err(Fault::Text(format!("non-comparable type {}: {}", shown(b), b.type_name())));
                }
            }
        }
    })
}

/// Go prints these with `%s`.
fn shown(v: &Value) -> String {
    crate::value::fmt::sprintf("%s", std::slice::from_ref(v))
}

fn less(a: &Value, b: &Value) -> std::result::Result<bool, Fault> {
    let bad = || Fault::text("invalid type for comparison");
    let (ka, kb) = (basic(a), basic(b));
    if ka == Basic::None || kb == Basic::None {
        return Err(bad());
    }
    if ka != kb {
        return match (ka, kb) {
            (Basic::Int, Basic::Uint) | (Basic::Uint, Basic::Int) => Ok(number(a) < number(b)),
            _ => Err(incompatible(a, b)),
        };
    }
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Str(a), Value::Str(b)) => Ok(text::to_bytes(a) < text::to_bytes(b)),
        (Value::Bool(_) | Value::Object(_), _) => Err(bad()),
        _ => Ok(number(a) < number(b)),
    }
}

pub(crate) fn eq(args: &[Value]) -> Result {
    if args.len() < 2 {
        return Err(Fault::text("missing argument for comparison"));
    }
    for b in &args[1..] {
        if equal(&args[0], b)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(crate) fn ne(args: &[Value]) -> Result {
    Ok(Value::Bool(!equal(&args[0], &args[1])?))
}

pub(crate) fn lt(args: &[Value]) -> Result {
    Ok(Value::Bool(less(&args[0], &args[1])?))
}

pub(crate) fn le(args: &[Value]) -> Result {
    Ok(Value::Bool(less(&args[0], &args[1])? || equal(&args[0], &args[1])?))
}

pub(crate) fn gt(args: &[Value]) -> Result {
    Ok(Value::Bool(!(less(&args[0], &args[1])? || equal(&args[0], &args[1])?)))
}

pub(crate) fn ge(args: &[Value]) -> Result {
    Ok(Value::Bool(!less(&args[0], &args[1])?))
}

fn index_arg(index: &Value, len: usize) -> std::result::Result<usize, Fault> {
    match index {
        Value::Int(_, n) | Value::Duration(n) => match usize::try_from(*n) {
            Ok(i) if i <= len => Ok(i),
            _ => Err(Fault::Text(format!("index out of range: {n}"))),
        },
        v if v.is_nil() => Err(Fault::text("cannot index slice/array with nil")),
        v => Err(Fault::Text(format!("cannot index slice/array with type {}", v.type_name()))),
    }
}

pub(crate) fn index(args: &[Value]) -> Result {
    let mut item = args[0].clone();
    if item.is_nil() {
        return Err(Fault::text("index of untyped nil"));
    }
    for index in &args[1..] {
        item = match &item {
            v if v.is_nil() => return Err(Fault::text("index of nil pointer")),
            Value::List(list) => {
                let i = index_arg(index, list.len())?;
                match list.items().get(i) {
                    Some(v) => v.clone(),
                    None => return Err(Fault::text("reflect: slice index out of range")),
                }
            }
            Value::Str(s) => {
                let bytes = text::to_bytes(s);
                let i = index_arg(index, bytes.len())?;
                match bytes.get(i) {
                    Some(&b) => Value::Int(IntTy::Uint8, i64::from(b)),
                    None => return Err(Fault::text("reflect: string index out of range")),
                }
            }
            Value::Map(map) => match index {
                Value::Str(key) => map.get(key).unwrap_or_else(|| map.zero()),
                v if v.is_nil() => return Err(Fault::text("value is nil; should be of type string")),
                v => {
                    return Err(Fault::Text(format!("value has type {}; should be string", v.type_name())));
                }
            },
            v => return Err(Fault::Text(format!("can't index item of type {}", object_type(v)))),
        };
    }
    Ok(item)
}

/// The type a pointer points to: what `index` and `len` see.
fn object_type(v: &Value) -> &'static str {
    let name = v.type_name();
    match v {
        Value::Object(o) if matches!(o.as_ref(), Object::Struct(_) | Object::Semver(_)) => name.trim_start_matches('*'),
        _ => name,
    }
}

pub(crate) fn len(args: &[Value]) -> Result {
    match &args[0] {
        Value::Str(s) => Ok(Value::int(text::len(s) as i64)),
        Value::List(l) => Ok(Value::int(l.len() as i64)),
        Value::Map(m) => Ok(Value::int(m.entries.borrow().len() as i64)),
        Value::Invalid => Err(Fault::text("reflect: call of reflect.Value.Type on zero Value")),
        Value::Nil => Err(Fault::text("len of nil pointer")),
        v => Err(Fault::Text(format!("len of type {}", object_type(v)))),
    }
}

/// The texts of `html`, `js`, `urlquery`: one text as it is, others as `print` joins them.
pub(crate) fn joined(args: &[Value]) -> String {
    match args {
        [Value::Str(s)] => s.to_string(),
        _ => {
            let shown = |v: &Value| if v.is_nil() { Value::str(super::exec::NO_VALUE) } else { v.clone() };
            crate::value::fmt::sprint(&args.iter().map(shown).collect::<Vec<_>>())
        }
    }
}

pub(crate) fn html(args: &[Value]) -> Result {
    let mut out = String::new();
    for c in joined(args).chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    Ok(Value::str(out))
}

pub(crate) fn js(args: &[Value]) -> Result {
    let mut out = String::new();
    for c in joined(args).chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c.is_ascii() || crate::value::quote::is_print(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", c as u32)),
        }
    }
    Ok(Value::str(out))
}

pub(crate) fn call(args: &[Value]) -> Result {
    if args.is_empty() || args[0].is_nil() {
        return Err(Fault::text("call of nil"));
    }
    let ty = args[0].type_name();
    let shown = args[0].as_str().map_or_else(|| format!("<{ty} Value>"), str::to_owned);
    Err(Fault::Text(format!("non-function {shown} of type {ty}")))
}
