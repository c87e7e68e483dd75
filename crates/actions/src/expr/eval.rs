//! Computes the value of a tree.

use std::borrow::Cow;

use super::parse::{Comparison, Expression, Node};
use super::value::{Object, Value};
use super::{Error, functions};

/// What an expression sees of its surroundings.
pub trait Scope {
    /// The value of a context by lower-case name. None when it is empty at this point.
    fn context(&self, name: &str) -> Option<Value>;

    /// A function that is not universal, by lower-case name (`success`, `hashfiles`…). None when there is no such function here.
    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
        let _ = (name, args);
        None
    }
}

/// A scope of plain values.
#[derive(Debug, Clone, Default)]
pub struct Contexts {
    values: Object,
}

impl Contexts {
    /// No context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a context.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_ascii_lowercase(), value);
    }

    /// The names that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name)
    }
}

impl Scope for Contexts {
    fn context(&self, name: &str) -> Option<Value> {
        self.values.get(name).cloned()
    }
}

impl Expression {
    /// The value of the expression.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, Error> {
        match self.root() {
            None => Ok(Value::Null),
            Some(root) => Ok(eval(root, scope)?.into_value()),
        }
    }
}

/// A value, or the array that `.*` makes, which passes the next index on to its items.
enum Item {
    Plain(Value),
    Filtered(Vec<Value>),
}

impl Item {
    fn into_value(self) -> Value {
        match self {
            Item::Plain(value) => value,
            Item::Filtered(items) => Value::array(items),
        }
    }
}

fn value(node: &Node, scope: &dyn Scope) -> Result<Value, Error> {
    Ok(eval(node, scope)?.into_value())
}

fn eval(node: &Node, scope: &dyn Scope) -> Result<Item, Error> {
    Ok(Item::Plain(match node {
        Node::Literal(value) => value.clone(),
        Node::Context(name) => scope.context(name).unwrap_or_default(),
        Node::Call(name, args) => call(name, args, scope)?,
        Node::Not(inner) => Value::Bool(!value(inner, scope)?.truthy()),
        Node::And(operands) => deciding(operands, scope, false)?,
        Node::Or(operands) => deciding(operands, scope, true)?,
        Node::Compare(operator, left, right) => {
            Value::Bool(compare(*operator, &value(left, scope)?, &value(right, scope)?))
        }
        Node::Star(inner) => return Ok(Item::Filtered(star(eval(inner, scope)?))),
        Node::Index(inner, index) => {
            let index = value(index, scope)?;
            match eval(inner, scope)? {
                Item::Plain(object) => lookup(&object, &index).map_or(Value::Null, Cow::into_owned),
                Item::Filtered(items) => {
                    return Ok(Item::Filtered(
                        items.iter().filter_map(|item| lookup(item, &index)).map(Cow::into_owned).collect(),
                    ));
                }
            }
        }
    }))
}

fn deciding(operands: &[Node], scope: &dyn Scope, stop_at: bool) -> Result<Value, Error> {
    let mut result = Value::Null;
    for operand in operands {
        result = value(operand, scope)?;
        if result.truthy() == stop_at {
            break;
        }
    }
    Ok(result)
}

fn compare(operator: Comparison, left: &Value, right: &Value) -> bool {
    match operator {
        Comparison::Equal => left.loosely_equals(right),
        Comparison::NotEqual => !left.loosely_equals(right),
        Comparison::Greater => left.greater_than(right),
        Comparison::GreaterOrEqual => left.loosely_equals(right) || left.greater_than(right),
        Comparison::Less => left.less_than(right),
        Comparison::LessOrEqual => left.loosely_equals(right) || left.less_than(right),
    }
}

fn children(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.to_vec(),
        Value::Object(object) => object.iter().map(|(_, value)| value.clone()).collect(),
        _ => Vec::new(),
    }
}

fn star(item: Item) -> Vec<Value> {
    match item {
        Item::Plain(value) => children(&value),
        Item::Filtered(items) => items.iter().flat_map(children).collect(),
    }
}

fn lookup<'a>(value: &'a Value, index: &Value) -> Option<Cow<'a, Value>> {
    match value {
        Value::Object(object) if index.is_primitive() => object.get(&index.to_text()).map(Cow::Borrowed),
        Value::Array(items) if index.is_primitive() => {
            let number = index.to_number();
            if number.is_nan() || number < 0.0 {
                return None;
            }
            items.get(number.floor() as usize).map(Cow::Borrowed)
        }
        _ => None,
    }
}

fn call(name: &str, args: &[Node], scope: &dyn Scope) -> Result<Value, Error> {
    if name == "case" {
        return functions::case(args.len(), |i| value(&args[i], scope));
    }
    let args = args.iter().map(|arg| value(arg, scope)).collect::<Result<Vec<_>, _>>()?;
    if let Some(result) = scope.call(name, &args) {
        return result;
    }
    functions::call(name, &args)
}
