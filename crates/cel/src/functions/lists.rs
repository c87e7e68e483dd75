//! Lists and sets.

use std::cmp::Ordering;

use super::{Answer, argument, int};
use crate::ast::Binary;
use crate::eval::{Budget, Fault};
use crate::value::{ListKind, Value};

pub(super) fn function(name: &str, args: &[Value]) -> Answer {
    let (Value::List(a, _), Value::List(b, _)) = (args.first()?, args.get(1)?) else { return None };
    let within = |a: &[Value], b: &[Value]| a.iter().all(|x| b.iter().any(|y| x.equal(y)));
    Some(Ok(Value::Bool(match name {
        "sets.contains" => within(b, a),
        "sets.equivalent" => within(a, b) && within(b, a),
        "sets.intersects" => a.iter().any(|x| b.iter().any(|y| x.equal(y))),
        _ => return None,
    })))
}

pub(super) fn method(name: &str, target: &Value, args: &[Value]) -> Answer {
    let Value::List(items, _) = target else { return None };
    Some(match (name, args) {
        ("isSorted", []) => Ok(Value::Bool(items.windows(2).all(|w| w[0].compare(&w[1]) != Some(Ordering::Greater)))),
        ("sum", []) => sum(items),
        ("min", []) => extreme(items, Ordering::Less),
        ("max", []) => extreme(items, Ordering::Greater),
        ("indexOf", [value]) => Ok(items.iter().position(|i| i.equal(value)).map_or(Value::Int(-1), int)),
        ("lastIndexOf", [value]) => Ok(items.iter().rposition(|i| i.equal(value)).map_or(Value::Int(-1), int)),
        ("first", []) => Ok(Value::Optional(items.first().cloned().map(Box::new))),
        ("last", []) => Ok(Value::Optional(items.last().cloned().map(Box::new))),
        ("flatten", []) => Ok(Value::list(flat(items, 1))),
        ("flatten", [Value::Int(depth)]) if *depth >= 0 => Ok(Value::list(flat(items, (*depth).min(64)))),
        ("reverse", []) => Ok(Value::list(items.iter().rev().cloned().collect())),
        ("distinct", []) => {
            let mut out: Vec<Value> = Vec::new();
            for item in items.iter() {
                if !out.iter().any(|o| o.equal(item)) {
                    out.push(item.clone());
                }
            }
            Ok(Value::list(out))
        }
        ("sort", []) => {
            let mut out = items.to_vec();
            if out.windows(2).any(|w| w[0].compare(&w[1]).is_none()) {
                return Some(Err(argument("list elements must have the same type")));
            }
            out.sort_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal));
            Ok(Value::list(out))
        }
        ("slice", [Value::Int(from), Value::Int(to)]) => {
            let range = usize::try_from(*from).ok().zip(usize::try_from(*to).ok());
            match range.and_then(|(from, to)| items.get(from..to)) {
                Some(part) => Ok(Value::list(part.to_vec())),
                None => Err(argument(format!("cannot slice({from}, {to}), list is length {}", items.len()))),
            }
        }
        ("join", []) => join(items, ""),
        ("join", [Value::String(between)]) => join(items, between),
        _ => return None,
    })
}

fn flat(items: &[Value], depth: i64) -> Vec<Value> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Value::List(inner, ListKind::Plain | ListKind::Set | ListKind::Keyed(_)) if depth > 0 => {
                out.extend(flat(inner, depth - 1));
            }
            other => out.push(other.clone()),
        }
    }
    out
}

fn join(items: &[Value], between: &str) -> Result<Value, Fault> {
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::String(s) => parts.push(&**s),
            _ => return Err(Fault::NoSuchOverload),
        }
    }
    Ok(Value::from(parts.join(between)))
}

fn sum(items: &[Value]) -> Result<Value, Fault> {
    let Some((first, rest)) = items.split_first() else { return Ok(Value::Int(0)) };
    let mut free = Budget::new(u64::MAX);
    rest.iter().try_fold(first.clone(), |sum, item| super::operators::binary(&mut free, Binary::Add, &sum, item))
}

fn extreme(items: &[Value], wanted: Ordering) -> Result<Value, Fault> {
    let (first, rest) = items.split_first().ok_or_else(|| argument("min/max called on empty list"))?;
    let better = |best: Value, item: &Value| if item.compare(&best) == Some(wanted) { item.clone() } else { best };
    Ok(rest.iter().fold(first.clone(), better))
}
