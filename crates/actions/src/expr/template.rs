//! Strings with `${{ }}` in them.

use super::eval::Scope;
use super::parse::{Allowed, Expression, parse};
use super::value::Value;
use super::{Error, ErrorKind};

/// Why a string with expressions is refused, and at which byte of the string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct TemplateError {
    /// The reason; in `Display` already.
    pub error: Error,
    /// Byte offset in the string of the `${{` it stands in.
    pub offset: usize,
}

/// A string that may hold expressions. `if:` conditions are expressions even without `${{ }}`: see [`Template::condition`].
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// Parses a string, checking each expression in it.
    pub fn parse(text: &str, allowed: &Allowed) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(start) = text[at..].find("${{").map(|i| i + at) {
            let fail = |error| TemplateError { error, offset: start };
            if start > at {
                parts.push(Part::Text(text[at..start].to_owned()));
            }
            let end = closing(text, start + 3).ok_or_else(|| {
                fail(Error::parsing(
                    "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} sequence was not found.",
                ))
            })?;
            let inner = text[start + 3..end].trim();
            let expression = parse(inner, allowed).map_err(fail)?;
            if expression.root().is_none() {
                return Err(fail(Error::parsing("An expression was expected")));
            }
            parts.push(Part::Expression(expression));
            at = end + 2;
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].to_owned()));
        }
        Ok(Self { source: text.to_owned(), parts })
    }

    /// Parses an `if:`: the whole is an expression when it has no `${{`. The implicit `success() &&` is added here when no
    /// status function is called.
    pub fn condition(text: &str, allowed: &Allowed) -> Result<Self, TemplateError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Self::condition("success()", allowed);
        }
        if trimmed.contains("${{") {
            return Self::parse(trimmed, allowed);
        }
        let expression = parse(trimmed, allowed).map_err(|error| TemplateError { error, offset: 0 })?;
        Ok(Self { source: text.to_owned(), parts: vec![Part::Expression(expression)] })
    }

    /// Whether a key is `${{ insert }}`, which puts the entries of its value into the mapping.
    pub fn is_insert(key: &str) -> bool {
        key.trim()
            .strip_prefix("${{")
            .and_then(|rest| rest.strip_suffix("}}"))
            .is_some_and(|word| word.trim() == "insert")
    }

    /// The text, where the whole is one expression that is one literal string.
    pub fn only_literal(&self) -> Option<String> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => match expression.root() {
                Some(super::Node::Literal(Value::String(text))) => Some(text.to_string()),
                _ => None,
            },
            _ => None,
        }
    }

    /// A constant.
    pub fn literal(text: impl Into<String>) -> Self {
        let source = text.into();
        let parts = if source.is_empty() { Vec::new() } else { vec![Part::Text(source.clone())] };
        Self { source, parts }
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether there is no expression in it.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether one of these functions is called in it.
    pub fn calls(&self, names: &[&str]) -> bool {
        self.expressions().any(|expression| expression.calls(names))
    }

    /// Whether this context is used in it.
    pub fn uses(&self, context: &str) -> bool {
        self.expressions().any(|expression| expression.uses(context))
    }

    /// The expressions in it, in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }

    /// The value: that of the expression when the string is one expression and nothing else, otherwise a string.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, Error> {
        if let [Part::Expression(expression)] = self.parts.as_slice() {
            return expression.evaluate(scope);
        }
        self.text(scope).map(Value::from)
    }

    /// The value as a string.
    pub fn text(&self, scope: &dyn Scope) -> Result<String, Error> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression(expression) => out.push_str(&expression.evaluate(scope)?.to_text()),
            }
            if out.len() > super::MAX_MEMORY {
                return Err(Error {
                    kind: ErrorKind::Evaluation,
                    message: "The maximum allowed memory size was exceeded".into(),
                });
            }
        }
        Ok(out)
    }

    /// The value of an `if:`: without a status function in it, `success()` must hold too.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, Error> {
        if !self.calls(&["success", "failure", "always", "cancelled"]) {
            let success = scope.call("success", &[]).transpose()?.unwrap_or(Value::Bool(true));
            if !success.truthy() {
                return Ok(false);
            }
        }
        Ok(self.evaluate(scope)?.truthy())
    }
}

/// The offset of the `}}` that closes an expression begun before `from`; quoted strings may hold `}}`.
fn closing(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quoted = false;
    let mut i = from;
    while i < bytes.len() {
        match bytes[i] {
            b'\'' => quoted = !quoted,
            b'}' if !quoted && bytes.get(i + 1) == Some(&b'}') => return Some(i),
            _ => {}
        }
        i += 1;
    }
    None
}
