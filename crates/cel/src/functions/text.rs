//! Strings and regular expressions.

use regex::Regex;

use super::{Answer, argument, int};
use crate::eval::{Budget, Fault};
use crate::value::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) fn function(name: &str, args: &[Value]) -> Answer {
    Some(match (name, args) {
        ("matches", [Value::String(text), Value::String(pattern)]) => matches(text, pattern),
        ("strings.quote", [Value::String(text)]) => Ok(Value::from(format!("{text:?}"))),
        ("jsonpatch.escapeKey", [Value::String(text)]) => Ok(Value::from(text.replace('~', "~0").replace('/', "~1"))),
        ("base64.encode", [Value::Bytes(bytes)]) => Ok(Value::from(STANDARD.encode(bytes))),
        ("base64.decode", [Value::String(text)]) => {
            STANDARD.decode(&**text).map(|b| Value::Bytes(b.into())).map_err(|e| argument(e.to_string()))
        }
        _ => return None,
    })
}

pub(super) fn method(budget: &mut Budget, name: &str, target: &Value, args: &[Value]) -> Answer {
    let Value::String(text) = target else { return None };
    let text = &**text;
    Some(match (name, args) {
        ("contains", [Value::String(part)]) => Ok(Value::Bool(text.contains(&**part))),
        ("startsWith", [Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
        ("endsWith", [Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        ("matches", [Value::String(pattern)]) => {
            match budget.spend(pattern.len() as u64 * (1 + text.len() as u64) / 40) {
                Ok(()) => matches(text, pattern),
                Err(fault) => Err(fault),
            }
        }
        ("find", [Value::String(pattern)]) => {
            compile(pattern).map(|p| Value::from(p.find(text).map_or("", |m| m.as_str())))
        }
        ("findAll", [Value::String(pattern)]) => find_all(text, pattern, -1),
        ("findAll", [Value::String(pattern), Value::Int(limit)]) => find_all(text, pattern, *limit),
        ("lowerAscii", []) => Ok(Value::from(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::from(text.to_ascii_uppercase())),
        ("trim", []) => Ok(Value::from(text.trim())),
        ("reverse", []) => Ok(Value::from(text.chars().rev().collect::<String>())),
        ("charAt", [Value::Int(at)]) => char_at(text, *at),
        ("substring", [Value::Int(from)]) => substring(text, *from, None),
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(text, *from, Some(*to)),
        ("indexOf", [Value::String(part)]) => Ok(position(text, part, 0)),
        ("indexOf", [Value::String(part), Value::Int(from)]) => match usize::try_from(*from) {
            Ok(from) if from <= text.chars().count() => Ok(position(text, part, from)),
            _ => Err(Fault::OutOfBounds(*from)),
        },
        ("lastIndexOf", [Value::String(part)]) => {
            Ok(text.rfind(&**part).map_or(Value::Int(-1), |at| int(text[..at].chars().count())))
        }
        ("lastIndexOf", [Value::String(part), Value::Int(to)]) => last_position(text, part, *to),
        ("replace", [Value::String(from), Value::String(to)]) => replace(budget, text, from, to, -1),
        ("replace", [Value::String(from), Value::String(to), Value::Int(n)]) => replace(budget, text, from, to, *n),
        ("split", [Value::String(by)]) => Ok(split(text, by, -1)),
        ("split", [Value::String(by), Value::Int(n)]) => Ok(split(text, by, *n)),
        ("format", [Value::List(items, _)]) => format(text, items),
        _ => return None,
    })
}

fn compile(pattern: &str) -> Result<Regex, Fault> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|e| argument(format!("error parsing regexp {pattern:?}: {}", e.to_string().replace('\n', " "))))
}

fn matches(text: &str, pattern: &str) -> Result<Value, Fault> {
    compile(pattern).map(|p| Value::Bool(p.is_match(text)))
}

fn find_all(text: &str, pattern: &str, limit: i64) -> Result<Value, Fault> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Value::list(compile(pattern)?.find_iter(text).take(most).map(|m| Value::from(m.as_str())).collect()))
}

fn char_at(text: &str, at: i64) -> Result<Value, Fault> {
    let index = usize::try_from(at).map_err(|_| Fault::OutOfBounds(at))?;
    match text.chars().nth(index) {
        Some(c) => Ok(Value::from(c.to_string())),
        None if index == text.chars().count() => Ok(Value::from("")),
        None => Err(Fault::OutOfBounds(at)),
    }
}

fn substring(text: &str, from: i64, to: Option<i64>) -> Result<Value, Fault> {
    let length = text.chars().count();
    let to = to.map_or(Ok(length), |to| usize::try_from(to).map_err(|_| Fault::OutOfBounds(to)))?;
    let start = usize::try_from(from).map_err(|_| Fault::OutOfBounds(from))?;
    if to > length {
        return Err(Fault::OutOfBounds(to as i64));
    }
    if start > to {
        return Err(argument(format!("invalid substring range. start: {start}, end: {to}")));
    }
    Ok(Value::from(text.chars().skip(start).take(to - start).collect::<String>()))
}

fn position(text: &str, part: &str, from: usize) -> Value {
    let start = text.char_indices().nth(from).map_or(text.len(), |(i, _)| i);
    text[start..].find(part).map_or(Value::Int(-1), |at| int(from + text[start..start + at].chars().count()))
}

fn last_position(text: &str, part: &str, to: i64) -> Result<Value, Fault> {
    let limit = usize::try_from(to).map_err(|_| Fault::OutOfBounds(to))?;
    if limit > text.chars().count() {
        return Err(Fault::OutOfBounds(to));
    }
    let end = text.char_indices().nth(limit).map_or(text.len(), |(i, _)| i);
    let mut best = None;
    for (count, (i, _)) in text.char_indices().enumerate() {
        if i <= end && text[i..].starts_with(part) {
            best = Some(count);
        }
    }
    Ok(best.map_or(Value::Int(-1), int))
}

fn replace(budget: &mut Budget, text: &str, from: &str, to: &str, limit: i64) -> Result<Value, Fault> {
    let hits = if from.is_empty() { text.len() + 1 } else { text.len() / from.len() + 1 };
    budget.spend((text.len() + hits * to.len()) as u64 / 10)?;
    Ok(Value::from(match usize::try_from(limit) {
        Ok(limit) => text.replacen(from, to, limit),
        Err(_) => text.replace(from, to),
    }))
}

fn split(text: &str, by: &str, limit: i64) -> Value {
    let parts: Vec<Value> = match (limit, by) {
        (0, _) => Vec::new(),
        (1, _) => vec![Value::from(text)],
        (n, "") => {
            let most = usize::try_from(n).unwrap_or(usize::MAX);
            let mut out: Vec<Value> =
                text.chars().take(most.saturating_sub(1)).map(|c| Value::from(c.to_string())).collect();
            let rest: String = text.chars().skip(out.len()).collect();
            if !rest.is_empty() {
                out.push(Value::from(rest));
            }
            out
        }
        (n, by) if n > 0 => text.splitn(n as usize, by).map(Value::from).collect(),
        (_, by) => text.split(by).map(Value::from).collect(),
    };
    Value::list(parts)
}

/// `'%s is %d'.format([...])`.
fn format(pattern: &str, items: &[Value]) -> Result<Value, Fault> {
    let mut out = String::new();
    let (mut chars, mut items) = (pattern.chars().peekable(), items.iter());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(d) = chars.next_if(char::is_ascii_digit) {
                digits.push(d);
            }
            precision =
                Some(digits.parse::<usize>().ok().filter(|p| *p <= 100).ok_or_else(|| argument("bad precision"))?);
        }
        let verb = chars.next().ok_or_else(|| argument("unexpected end of format string"))?;
        let item = items.next().ok_or_else(|| argument("index out of range: not enough arguments for the format"))?;
        out.push_str(&formatted(verb, precision, item)?);
    }
    Ok(Value::from(out))
}

fn formatted(verb: char, precision: Option<usize>, value: &Value) -> Result<String, Fault> {
    let unfit = || argument(format!("no formatting of a {} as %{verb}", value.type_name()));
    let float = || match value {
        Value::Double(d) => Some(*d),
        Value::Int(i) => Some(*i as f64),
        Value::Uint(u) => Some(*u as f64),
        _ => None,
    };
    Ok(match (verb, value) {
        ('s', value) => shown(value).ok_or_else(unfit)?,
        ('d', Value::Int(_) | Value::Uint(_) | Value::Double(_)) => value.text().unwrap_or_default(),
        ('f', _) => format!("{:.*}", precision.unwrap_or(6), float().ok_or_else(unfit)?),
        ('e', _) => {
            let text = format!("{:.*e}", precision.unwrap_or(6), float().ok_or_else(unfit)?);
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        ('b', Value::Int(i)) if *i < 0 => format!("-{:b}", i.unsigned_abs()),
        ('b', Value::Int(i)) => format!("{i:b}"),
        ('b', Value::Uint(u)) => format!("{u:b}"),
        ('b', Value::Bool(b)) => u8::from(*b).to_string(),
        ('o', Value::Int(i)) if *i < 0 => format!("-{:o}", i.unsigned_abs()),
        ('o', Value::Int(i)) => format!("{i:o}"),
        ('o', Value::Uint(u)) => format!("{u:o}"),
        ('x' | 'X', _) => {
            let text = match value {
                Value::Int(i) if *i < 0 => format!("-{:x}", i.unsigned_abs()),
                Value::Int(i) => format!("{i:x}"),
                Value::Uint(u) => format!("{u:x}"),
                Value::String(s) => s.bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(b) => b.iter().map(|b| format!("{b:02x}")).collect(),
                _ => return Err(unfit()),
            };
            if verb == 'X' { text.to_uppercase() } else { text }
        }
        _ => return Err(unfit()),
    })
}

/// A value as `%s` shows it.
fn shown(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "null".into(),
        Value::List(items, _) => {
            format!("[{}]", items.iter().map(shown).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Map(map) => {
            let entry = |(k, v): (&crate::value::Key, &Value)| Some(format!("{}: {}", shown(&k.value())?, shown(v)?));
            format!("{{{}}}", map.iter().map(entry).collect::<Option<Vec<_>>>()?.join(", "))
        }
        other => other.text()?,
    })
}
