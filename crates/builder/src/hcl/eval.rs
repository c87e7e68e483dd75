//! What expressions are worth.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Expr, For, Part, functions};

/// What an evaluation asks its surroundings.
pub trait Names {
    /// The value of a variable; none when there is no such variable.
    ///
    /// # Errors
    /// When it is there and has no value.
    fn variable(&self, name: &str) -> Result<Option<Value>, String>;

    /// An attribute of a block, as `KIND.NAME.ATTRIBUTE` names it; none when `KIND` is no kind of block.
    ///
    /// # Errors
    /// When there is no such block or attribute.
    fn block(&self, kind: &str, name: &str, attribute: &str) -> Result<Option<Value>, String>;

    /// A function of the file's own; none when there is none of that name.
    ///
    /// # Errors
    /// When it fails.
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Option<Value>, String>;
}

/// Names that are not the surroundings': of `for`, of functions, of a matrix.
pub type Locals = BTreeMap<String, Value>;

/// Most elements that `range` and the like may make.
pub(super) const MOST: usize = 10_000;

/// A number as a value: whole numbers have no fraction.
pub fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Value::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A value as a text, where that goes without saying.
///
/// # Errors
/// For null, lists and objects.
pub fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Err("a null value cannot be part of a text".to_owned()),
        other => Err(format!("{} cannot be a text", kind(other))),
    }
}

/// What a value is, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value as a boolean.
///
/// # Errors
/// When it is none.
pub fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(format!("{} is not a boolean", kind(other))),
    }
}

/// A value as a number.
///
/// # Errors
/// When it is none.
pub fn float(value: &Value) -> Result<f64, String> {
    let found = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    found.filter(|number| number.is_finite()).ok_or_else(|| format!("{} is not a number", kind(value)))
}

/// The value of an expression.
///
/// # Errors
/// Why it has none.
pub fn eval(expr: &Expr, names: &dyn Names, locals: &Locals) -> Result<Value, String> {
    let value = |expr: &Expr| eval(expr, names, locals);
    match expr {
        Expr::Literal(value) => Ok(value.clone()),
        Expr::Template(parts) => Ok(Value::String(template(parts, names, locals)?)),
        Expr::List(items) => Ok(Value::Array(items.iter().map(value).collect::<Result<_, _>>()?)),
        Expr::Object(items) => {
            let mut object = Map::new();
            for (key, item) in items {
                object.insert(text(&value(key)?)?, value(item)?);
            }
            Ok(Value::Object(object))
        }
        Expr::Variable(name) => match locals.get(name) {
            Some(found) => Ok(found.clone()),
            None => names.variable(name)?.ok_or_else(|| format!("undefined variable {name:?}")),
        },
        Expr::Attribute(inner, name) => {
            if let Some((kind, block)) = block_path(inner)
                && !locals.contains_key(kind)
                && let Some(found) = names.block(kind, block, name)?
            {
                return Ok(found);
            }
            member(&value(inner)?, name)
        }
        Expr::Index(inner, index) => at(&value(inner)?, &value(index)?),
        Expr::Splat(inner, path) => {
            let items = match value(inner)? {
                Value::Null => Vec::new(),
                Value::Array(items) => items,
                one => vec![one],
            };
            let walk = |item: Value| path.iter().try_fold(item, |item, name| member(&item, name));
            Ok(Value::Array(items.into_iter().map(walk).collect::<Result<_, _>>()?))
        }
        Expr::Call(name, arguments, spread) => call(name, arguments, *spread, names, locals),
        Expr::Unary('!', inner) => Ok((!boolean(&value(inner)?)?).into()),
        Expr::Unary(_, inner) => Ok(number(-float(&value(inner)?)?)),
        Expr::Binary("||", left, right) => Ok((boolean(&value(left)?)? || boolean(&value(right)?)?).into()),
        Expr::Binary("&&", left, right) => Ok((boolean(&value(left)?)? && boolean(&value(right)?)?).into()),
        Expr::Binary(operator, left, right) => binary(operator, &value(left)?, &value(right)?),
        Expr::Conditional(condition, yes, no) => {
            let chosen = if boolean(&value(condition)?)? { yes } else { no };
            value(chosen)
        }
        Expr::For(each) => walk(each, names, locals),
    }
}

/// `KIND.NAME`, which may be the beginning of a path into a block.
fn block_path(expr: &Expr) -> Option<(&str, &str)> {
    match expr {
        Expr::Attribute(root, name) => match &**root {
            Expr::Variable(kind) => Some((kind, name)),
            _ => None,
        },
        Expr::Index(root, name) => match (&**root, &**name) {
            (Expr::Variable(kind), Expr::Literal(Value::String(name))) => Some((kind, name)),
            _ => None,
        },
        _ => None,
    }
}

fn member(value: &Value, name: &str) -> Result<Value, String> {
    match value {
        Value::Object(object) => {
            object.get(name).cloned().ok_or_else(|| format!("the object has no attribute {name:?}"))
        }
        other => Err(format!("{} has no attribute {name:?}", kind(other))),
    }
}

fn at(value: &Value, index: &Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => {
            let wanted = float(index)?;
            let found = (wanted >= 0.0 && wanted.fract() == 0.0).then(|| items.get(wanted as usize)).flatten();
            found.cloned().ok_or_else(|| format!("the list of {} has no element {index}", items.len()))
        }
        other => member(other, &text(index)?),
    }
}

/// Equal as expressions see it: a number in a text is not that number.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

fn binary(operator: &str, left: &Value, right: &Value) -> Result<Value, String> {
    match operator {
        "==" => return Ok(equal(left, right).into()),
        "!=" => return Ok((!equal(left, right)).into()),
        _ => {}
    }
    let (a, b) = (float(left)?, float(right)?);
    Ok(match operator {
        "<" => (a < b).into(),
        "<=" => (a <= b).into(),
        ">" => (a > b).into(),
        ">=" => (a >= b).into(),
        "+" => number(a + b),
        "-" => number(a - b),
        "*" => number(a * b),
        "/" | "%" if b == 0.0 => return Err("division by zero".to_owned()),
        "/" => number(a / b),
        "%" => number(a % b),
        other => return Err(format!("operator {other:?} is not known")),
    })
}

/// Keys and values of what can be walked.
fn pairs(value: Value) -> Result<Vec<(Value, Value)>, String> {
    match value {
        Value::Array(items) => Ok(items.into_iter().enumerate().map(|(n, item)| (Value::from(n), item)).collect()),
        Value::Object(object) => Ok(object.into_iter().map(|(key, item)| (Value::String(key), item)).collect()),
        other => Err(format!("{} cannot be walked", kind(&other))),
    }
}

fn inside(locals: &Locals, key: Option<&String>, value: &str, pair: (Value, Value)) -> Locals {
    let mut inner = locals.clone();
    if let Some(key) = key {
        inner.insert(key.clone(), pair.0);
    }
    inner.insert(value.to_owned(), pair.1);
    inner
}

fn walk(each: &For, names: &dyn Names, locals: &Locals) -> Result<Value, String> {
    let mut list = Vec::new();
    let mut object = Map::new();
    for pair in pairs(eval(&each.over, names, locals)?)? {
        let inner = inside(locals, each.key.as_ref(), &each.value, pair);
        if let Some(condition) = &each.condition
            && !boolean(&eval(condition, names, &inner)?)?
        {
            continue;
        }
        let result = eval(&each.result, names, &inner)?;
        let Some(key) = &each.result_key else {
            list.push(result);
            continue;
        };
        let key = text(&eval(key, names, &inner)?)?;
        if each.group {
            match object.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(items) => items.push(result),
                other => *other = result,
            }
        } else if object.insert(key.clone(), result).is_some() {
            return Err(format!("two elements have the key {key:?}; collect them with ..."));
        }
    }
    Ok(if each.result_key.is_some() { Value::Object(object) } else { Value::Array(list) })
}

fn template(parts: &[Part], names: &dyn Names, locals: &Locals) -> Result<String, String> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Value(value) => out.push_str(&text(&eval(value, names, locals)?)?),
            Part::If(condition, yes, no) => {
                let chosen = if boolean(&eval(condition, names, locals)?)? { yes } else { no };
                out.push_str(&template(chosen, names, locals)?);
            }
            Part::For(key, value, over, body) => {
                for pair in pairs(eval(over, names, locals)?)? {
                    out.push_str(&template(body, names, &inside(locals, key.as_ref(), value, pair))?);
                }
            }
        }
    }
    Ok(out)
}

fn call(name: &str, arguments: &[Expr], spread: bool, names: &dyn Names, locals: &Locals) -> Result<Value, String> {
    // These look at their arguments only as far as they must.
    match name {
        "try" => {
            let mut why = "try needs an argument".to_owned();
            for argument in arguments {
                match eval(argument, names, locals) {
                    Ok(value) => return Ok(value),
                    Err(wrong) => why = wrong,
                }
            }
            return Err(why);
        }
        "can" => {
            let [argument] = arguments else { return Err("can takes one argument".to_owned()) };
            return Ok(eval(argument, names, locals).is_ok().into());
        }
        "convert" => {
            let [value, wanted] = arguments else { return Err("convert takes a value and a type".to_owned()) };
            return converted(eval(value, names, locals)?, wanted);
        }
        _ => {}
    }
    let mut values = arguments.iter().map(|argument| eval(argument, names, locals)).collect::<Result<Vec<_>, _>>()?;
    if spread {
        match values.pop() {
            Some(Value::Array(items)) => values.extend(items),
            _ => return Err(format!("{name}: only a list can be spread with ...")),
        }
    }
    if let Some(found) = names.call(name, &values)? {
        return Ok(found);
    }
    match functions::call(name, &values) {
        Some(result) => result.map_err(|why| format!("{name}: {why}")),
        None => Err(format!("undefined function {name}")),
    }
}

/// A value as a type: `string`, `number`, `bool`, `list(T)`, `set(T)`, `map(T)`, `any`, `tuple(...)`, `object(...)`.
///
/// # Errors
/// When it cannot be one, or the type is not known.
pub fn converted(value: Value, wanted: &Expr) -> Result<Value, String> {
    if value.is_null() {
        return Ok(value);
    }
    match wanted {
        // In JSON a type is a text.
        Expr::Literal(Value::String(name)) => converted(value, &Expr::Variable(name.clone())),
        Expr::Variable(name) => match name.as_str() {
            "string" => text(&value).map(Value::String),
            "number" => float(&value).map(number),
            "bool" => boolean(&value).map(Value::Bool),
            "any" => Ok(value),
            other => Err(format!("type {other:?} is not known")),
        },
        Expr::Call(name, of, _) => match (name.as_str(), of.as_slice(), value) {
            ("list" | "set", [of], Value::Array(items)) => {
                let mut items = items.into_iter().map(|item| converted(item, of)).collect::<Result<Vec<_>, _>>()?;
                if name == "set" {
                    items = functions::distinct(&items);
                }
                Ok(Value::Array(items))
            }
            ("map", [of], Value::Object(object)) => {
                let items = object.into_iter().map(|(key, item)| Ok((key, converted(item, of)?)));
                Ok(Value::Object(items.collect::<Result<_, String>>()?))
            }
            ("tuple", _, value @ Value::Array(_)) | ("object", _, value @ Value::Object(_)) => Ok(value),
            ("optional", [of, ..], value) => converted(value, of),
            (name, _, value) => Err(format!("{} cannot be a {name}", kind(&value))),
        },
        _ => Err("the type is not one that is known".to_owned()),
    }
}
