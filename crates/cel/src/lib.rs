//! The Common Expression Language, with the functions that Kubernetes adds to it.
//!
//! An expression is compiled once ([`Program::compile`]): parsed, its macros expanded, and checked against the types of its
//! variables as far as they are known. It is then evaluated any number of times ([`Program::eval`]), each time within a
//! [`Budget`] of steps, so that no expression holds its caller up. Pure: it opens nothing and reads no clock.
//!
//! Messages (`Type{field: value}`) are built as maps, of types that the caller declares ([`Ty::Message`]).

mod ast;
mod check;
mod cost;
mod eval;
mod functions;
mod lexer;
mod number;
mod parser;
mod quote;
mod types;
mod value;

pub use check::Variable;
pub use cost::Extent;
pub use eval::{Budget, Decision, Fault, NoAuthorizer, Question, Variables};
pub use types::{StructType, Ty};
pub use value::{Key, ListKind, Value};

/// Reads a duration (`1h30m`, `-1.5s`) as nanoseconds; `None` where the text is none.
pub fn parse_duration(text: &str) -> Option<i64> {
    number::duration(text)
}

/// An expression that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at column {column}")]
pub struct CompileError {
    /// What is wrong.
    pub message: String,
    /// Where, counted from 1 in characters.
    pub column: usize,
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Program {
    root: ast::Expr,
    kind: Ty,
}

impl Program {
    /// Compiles an expression over variables.
    ///
    /// # Errors
    /// It does not parse, or uses a name, a field or types that do not fit.
    pub fn compile(source: &str, variables: &[Variable]) -> Result<Self, CompileError> {
        let at = |offset: usize| source.get(..offset).map_or(source.chars().count(), |s| s.chars().count()) + 1;
        let wrap = |(message, offset): (String, usize)| CompileError { message, column: at(offset) };
        let root = parser::parse(source).map_err(wrap)?;
        let kind = check::check(&root, variables).map_err(wrap)?;
        Ok(Self { root, kind })
    }

    /// The type of the result, as far as it is known.
    pub fn result_type(&self) -> &Ty {
        &self.kind
    }

    /// Whether a variable is used.
    pub fn uses(&self, variable: &str) -> bool {
        self.root.uses(variable)
    }

    /// What evaluating it costs, estimated from below, when the variables are as large as they may be.
    pub fn cost<'a>(&'a self, variables: &[(&'a str, std::sync::Arc<Extent>)]) -> u64 {
        cost::estimate(&self.root, variables)
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// The fault that the evaluation ended with: a missing key, an overflow, a spent budget, ...
    pub fn eval(&self, variables: &dyn Variables, budget: &mut Budget) -> Result<Value, Fault> {
        eval::run(&self.root, variables, budget)
    }
}
