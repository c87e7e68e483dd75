//! Operators on values.

use std::cmp::Ordering;

use crate::ast::Binary;
use crate::eval::{Budget, Fault, concat};
use crate::value::{Key, Value};

/// A binary operator other than `&&` and `||`.
pub(crate) fn binary(budget: &mut Budget, op: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    budget.spend(1)?;
    match op {
        Binary::Equal | Binary::NotEqual => {
            budget.spend(left.weight().min(right.weight()))?;
            Ok(Value::Bool(left.equal(right) == (op == Binary::Equal)))
        }
        Binary::Less => ordered(left, right, |o| o == Ordering::Less),
        Binary::LessEqual => ordered(left, right, |o| o != Ordering::Greater),
        Binary::Greater => ordered(left, right, |o| o == Ordering::Greater),
        Binary::GreaterEqual => ordered(left, right, |o| o != Ordering::Less),
        Binary::In => match right {
            Value::List(items, _) => {
                budget.spend(right.weight())?;
                Ok(Value::Bool(items.iter().any(|i| i.equal(left))))
            }
            Value::Map(map) => Ok(Value::Bool(Key::of(left).is_some_and(|k| map.contains_key(&k)))),
            _ => Err(Fault::NoSuchOverload),
        },
        Binary::Add => add(budget, left, right),
        _ => arithmetic(op, left, right),
    }
}

fn ordered(left: &Value, right: &Value, holds: fn(Ordering) -> bool) -> Result<Value, Fault> {
    if let (Value::Quantity(_) | Value::Semver(_), _) = (left, right) {
        return Err(Fault::NoSuchOverload);
    }
    match left.compare(right) {
        Some(order) => Ok(Value::Bool(holds(order))),
        // Nothing is less than what is no number.
        None if matches!((left, right), (Value::Double(_), _) | (_, Value::Double(_))) => Ok(Value::Bool(false)),
        None => Err(Fault::NoSuchOverload),
    }
}

fn add(budget: &mut Budget, left: &Value, right: &Value) -> Result<Value, Fault> {
    match (left, right) {
        (Value::String(a), Value::String(b)) => {
            budget.spend((a.len() + b.len()) as u64 / 10)?;
            Ok(Value::String(format!("{a}{b}").into()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.spend((a.len() + b.len()) as u64 / 10)?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a, kind), Value::List(b, _)) => {
            budget.spend((a.len() + b.len()) as u64)?;
            Ok(concat(a, kind, b))
        }
        (Value::Timestamp(at), Value::Duration(d)) | (Value::Duration(d), Value::Timestamp(at)) => at
            .checked_add(jiff::SignedDuration::from_nanos(*d))
            .map(Value::Timestamp)
            .map_err(|_| Fault::Overflow("timestamp")),
        _ => arithmetic(Binary::Add, left, right),
    }
}

/// Arithmetic of whole numbers, signed or not: `None` where the result does not fit.
macro_rules! checked {
    ($op:expr, $a:expr, $b:expr) => {
        match $op {
            Binary::Add => $a.checked_add($b),
            Binary::Subtract => $a.checked_sub($b),
            Binary::Multiply => $a.checked_mul($b),
            Binary::Divide if $b == 0 => return Err(Fault::DivideByZero),
            Binary::Modulo if $b == 0 => return Err(Fault::ModulusByZero),
            Binary::Divide => $a.checked_div($b),
            Binary::Modulo => $a.checked_rem($b),
            _ => return Err(Fault::NoSuchOverload),
        }
    };
}

fn arithmetic(op: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => checked!(op, *a, *b).map(Value::Int).ok_or(Fault::Overflow("integer")),
        (Value::Uint(a), Value::Uint(b)) => {
            checked!(op, *a, *b).map(Value::Uint).ok_or(Fault::Overflow("unsigned integer"))
        }
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match op {
            Binary::Add => a + b,
            Binary::Subtract => a - b,
            Binary::Multiply => a * b,
            Binary::Divide => a / b,
            _ => return Err(Fault::NoSuchOverload),
        })),
        (Value::Duration(a), Value::Duration(b)) => {
            let out = match op {
                Binary::Add => a.checked_add(*b),
                Binary::Subtract => a.checked_sub(*b),
                _ => return Err(Fault::NoSuchOverload),
            };
            out.map(Value::Duration).ok_or(Fault::Overflow("duration"))
        }
        (Value::Timestamp(a), Value::Timestamp(b)) if op == Binary::Subtract => {
            let nanos = a.as_nanosecond() - b.as_nanosecond();
            i64::try_from(nanos).map(Value::Duration).map_err(|_| Fault::Overflow("duration"))
        }
        (Value::Timestamp(at), Value::Duration(d)) if op == Binary::Subtract => at
            .checked_sub(jiff::SignedDuration::from_nanos(*d))
            .map(Value::Timestamp)
            .map_err(|_| Fault::Overflow("timestamp")),
        _ => Err(Fault::NoSuchOverload),
    }
}
