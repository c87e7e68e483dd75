//! The functions that need nothing but their arguments.

use super::value::{Value, upper};
use super::{Error, MAX_MEMORY};

/// The least and most arguments of a universal function, by name in any case.
pub(super) fn arity(name: &str) -> Option<(usize, usize)> {
    Some(match name.to_ascii_lowercase().as_str() {
        "contains" | "startswith" | "endswith" => (2, 2),
        "format" => (1, 255),
        "join" => (1, 2),
        "tojson" | "fromjson" => (1, 1),
        "case" => (3, usize::MAX),
        _ => return None,
    })
}

pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, Error> {
    match name {
        "contains" => Ok(Value::Bool(contains(&args[0], &args[1]))),
        "startswith" => Ok(Value::Bool(affix(args, |text, part| text.starts_with(part)))),
        "endswith" => Ok(Value::Bool(affix(args, |text, part| text.ends_with(part)))),
        "format" => format(&args[0].to_text(), &args[1..]).map(Value::from),
        "join" => join(&args[0], args.get(1)).map(Value::from),
        "tojson" => bounded(args[0].to_json_text()).map(Value::from),
        "fromjson" => from_json(&args[0].to_text()),
        _ => Err(Error::evaluation(format!("function '{name}' cannot be used here"))),
    }
}

fn bounded(text: String) -> Result<String, Error> {
    if text.len() > MAX_MEMORY {
        return Err(Error::evaluation("The maximum allowed memory size was exceeded"));
    }
    Ok(text)
}

fn contains(haystack: &Value, needle: &Value) -> bool {
    match haystack {
        Value::Array(items) => items.iter().any(|item| item.loosely_equals(needle)),
        Value::Object(_) => false,
        _ => needle.is_primitive() && upper(&haystack.to_text()).contains(&upper(&needle.to_text())),
    }
}

fn affix(args: &[Value], test: impl Fn(&str, &str) -> bool) -> bool {
    args[0].is_primitive() && args[1].is_primitive() && test(&upper(&args[0].to_text()), &upper(&args[1].to_text()))
}

fn join(items: &Value, separator: Option<&Value>) -> Result<String, Error> {
    let separator = match separator {
        Some(value) if value.is_primitive() => value.to_text(),
        _ => ",".to_owned(),
    };
    match items {
        Value::Array(items) => bounded(items.iter().map(Value::to_text).collect::<Vec<_>>().join(&separator)),
        Value::Object(_) => Ok(String::new()),
        other => Ok(other.to_text()),
    }
}

fn from_json(text: &str) -> Result<Value, Error> {
    if text.trim().is_empty() {
        return Err(Error::evaluation("Error parsing fromJson: empty input"));
    }
    serde_json::from_str(text).map_err(|error| {
        // The message never repeats the input: it may be a secret.
        Error::evaluation(format!(
            "Error parsing fromJson: line {}, column {}: {:?} error",
            error.line(),
            error.column(),
            error.classify()
        ))
    })
}

/// `case(predicate, value, …, default)`: evaluates only what it needs.
pub(super) fn case(count: usize, arg: impl Fn(usize) -> Result<Value, Error>) -> Result<Value, Error> {
    let mut i = 0;
    while i + 1 < count {
        match arg(i)? {
            Value::Bool(true) => return arg(i + 1),
            Value::Bool(false) => i += 2,
            _ => return Err(Error::evaluation("case predicate must evaluate to a boolean value")),
        }
    }
    arg(count - 1)
}

enum Piece<'a> {
    Text(&'a str),
    Argument(usize),
}

fn pieces(pattern: &str) -> Option<Vec<Piece<'_>>> {
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        out.push(Piece::Text(&rest[..at]));
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            out.push(Piece::Text(&tail[..1]));
            rest = &tail[2..];
        } else if tail.starts_with('{') {
            let end = tail.find('}')?;
            let digits = &tail[1..end];
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            out.push(Piece::Argument(digits.parse().ok()?));
            rest = &tail[end + 1..];
        } else {
            return None;
        }
    }
    out.push(Piece::Text(rest));
    Some(out)
}

/// What is wrong with a format string for this many arguments, in GitHub's words.
pub(super) fn format_problem(pattern: &str, count: usize) -> Option<String> {
    let Some(pieces) = pieces(pattern) else {
        return Some("Invalid format string".to_owned());
    };
    pieces.iter().find_map(|piece| match piece {
        Piece::Argument(index) if *index >= count => {
            Some(format!("Format string references {{{index}}} but only {count} argument(s) provided"))
        }
        _ => None,
    })
}

fn format(pattern: &str, args: &[Value]) -> Result<String, Error> {
    if let Some(problem) = format_problem(pattern, args.len()) {
        return Err(Error::evaluation(problem));
    }
    let mut out = String::new();
    for piece in pieces(pattern).unwrap_or_default() {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Argument(index) => out.push_str(&args[index].to_text()),
        }
        if out.len() > MAX_MEMORY {
            return Err(Error::evaluation("The maximum allowed memory size was exceeded"));
        }
    }
    Ok(out)
}
