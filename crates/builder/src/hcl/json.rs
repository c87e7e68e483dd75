//! The same structure written as JSON: objects below a block's name are its labels, texts are templates.

use serde_json::Value;

use super::{Attribute, Block, Body, Expr, ParseError};

/// Reads a file. `kinds` are the names of blocks, each with one label; everything else is an attribute.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str, name: &str, kinds: &[&str]) -> Result<Body, ParseError> {
    let wrong = |line, column, message| ParseError { file: name.to_owned(), line, column, message };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| wrong(error.line(), error.column(), format!("invalid JSON: {error}")))?;
    let Value::Object(top) = value else { return Err(wrong(1, 1, "expected an object".to_owned())) };
    let mut body = Body::default();
    for (key, value) in top {
        if !kinds.contains(&key.as_str()) {
            body.attributes.push(Attribute { name: key, value: expression(&value, name)?, line: 1 });
            continue;
        }
        // Several objects stand for several blocks.
        let objects = match value {
            Value::Array(items) => items,
            one => vec![one],
        };
        for object in objects {
            let Value::Object(labels) = object else {
                return Err(wrong(1, 1, format!("{key:?} must be an object of names")));
            };
            for (label, content) in labels {
                let contents = match content {
                    Value::Array(items) => items,
                    one => vec![one],
                };
                for content in contents {
                    let Value::Object(fields) = content else {
                        return Err(wrong(1, 1, format!("{key} {label:?} must be an object")));
                    };
                    let mut inner = Body::default();
                    for (field, value) in fields {
                        inner.attributes.push(Attribute { name: field, value: expression(&value, name)?, line: 1 });
                    }
                    body.blocks.push(Block { kind: key.clone(), labels: vec![label.clone()], body: inner, line: 1 });
                }
            }
        }
    }
    Ok(body)
}

fn expression(value: &Value, name: &str) -> Result<Expr, ParseError> {
    Ok(match value {
        Value::String(text) => super::parse::template(text, name)?,
        Value::Array(items) => Expr::List(items.iter().map(|item| expression(item, name)).collect::<Result<_, _>>()?),
        Value::Object(fields) => Expr::Object(
            fields
                .iter()
                .map(|(key, value)| Ok((super::parse::template(key, name)?, expression(value, name)?)))
                .collect::<Result<_, _>>()?,
        ),
        plain => Expr::Literal(plain.clone()),
    })
}
