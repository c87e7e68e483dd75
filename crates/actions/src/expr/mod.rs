//! The expression language of workflow files: `${{ github.ref == 'refs/heads/main' }}`.
//!
//! Pure: text in, [`Value`] out. [`parse`] checks syntax and which contexts and functions may be named at this place
//! ([`Allowed`]); [`Expression::evaluate`] computes against a [`Scope`], which supplies contexts and the functions that
//! need the outside (`hashFiles`, the status functions). Nothing here does IO.

mod eval;
mod functions;
mod lex;
mod parse;
mod template;
mod value;

pub use eval::{Contexts, Scope};
pub use parse::{Allowed, Expression, Node, parse};
pub use template::{Template, TemplateError};
pub use value::{Object, Value};

/// The longest expression accepted, in UTF-16 units, as on GitHub.
pub const MAX_LENGTH: usize = 21_000;
/// The deepest nesting accepted, as on GitHub.
pub const MAX_DEPTH: usize = 50;
/// The most bytes a function may produce.
pub const MAX_MEMORY: usize = 10 * 1024 * 1024;

/// In which phase an expression was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// The text does not split into tokens.
    Lexing,
    /// The tokens do not form an expression, or it names something that does not exist at this place.
    Parsing,
    /// The expression is well formed but has no value.
    Evaluation,
}

/// Why an expression has no value. `Display` is GitHub's wording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The phase that refused.
    pub kind: ErrorKind,
    /// GitHub's wording of the reason.
    pub message: String,
}

impl Error {
    pub(crate) fn lexing(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Lexing, message: message.into() }
    }

    pub(crate) fn parsing(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Parsing, message: message.into() }
    }

    pub(crate) fn evaluation(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Evaluation, message: message.into() }
    }
}

/// Parses and evaluates one expression (no `${{ }}` around it) against contexts given as JSON; every context named in
/// `contexts` may be used, and only the functions that need no runner.
pub fn evaluate(text: &str, contexts: &Contexts) -> Result<Value, Error> {
    let allowed = Allowed::new(contexts.names().collect::<Vec<_>>(), &[]);
    parse(text, &allowed)?.evaluate(contexts)
}

#[cfg(test)]
mod tests;
