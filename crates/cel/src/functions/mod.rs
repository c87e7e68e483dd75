//! Functions and methods, by concern.

mod authorizer;
mod convert;
mod lists;
mod network;
pub(crate) mod operators;
mod resources;
mod text;
mod time;

use crate::eval::{Fault, Machine};
use crate::value::Value;

/// What a library makes of a call; `None` where it knows no such function for these values.
pub(crate) type Answer = Option<Result<Value, Fault>>;

/// Calls a function, or a method of a target.
pub(crate) fn call(
    machine: &mut Machine<'_>,
    name: &str,
    target: Option<Value>,
    args: &[Value],
) -> Result<Value, Fault> {
    let weight = target.iter().chain(args).map(Value::weight).sum();
    machine.budget.spend(weight)?;
    if let Some(answer) = authorizer::call(machine, name, target.as_ref(), args) {
        return answer;
    }
    let answer = match &target {
        None => convert::call(name, args)
            .or_else(|| lists::function(name, args))
            .or_else(|| network::function(name, args))
            .or_else(|| resources::function(name, args))
            .or_else(|| text::function(name, args)),
        Some(target) => text::method(machine.budget, name, target, args)
            .or_else(|| lists::method(name, target, args))
            .or_else(|| time::method(name, target, args))
            .or_else(|| network::method(name, target, args))
            .or_else(|| resources::method(name, target, args))
            .or_else(|| convert::method(name, target, args)),
    };
    answer.unwrap_or(Err(Fault::NoSuchOverload))
}

pub(crate) fn argument(message: impl Into<String>) -> Fault {
    Fault::Argument(message.into())
}

pub(crate) fn int(value: usize) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
