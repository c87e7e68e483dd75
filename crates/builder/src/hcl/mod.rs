//! HCL as build definitions use it: bodies of attributes and blocks, expressions, templates. Pure.
//!
//! [`parse`] reads the native syntax, [`json::parse`] the same structure written as JSON; [`eval`] gives expressions their values,
//! asking a [`eval::Names`] for what they name. What blocks mean is not known here.

pub mod eval;
mod functions;
pub mod json;
mod parse;
mod template;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use parse::parse;

/// Why a text is not HCL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line},{column}: {message}")]
pub struct ParseError {
    /// As it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Attributes and blocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Body {
    /// `NAME = EXPRESSION`, in order.
    pub attributes: Vec<Attribute>,
    /// `KIND "LABEL" { ... }`, in order.
    pub blocks: Vec<Block>,
}

impl Body {
    /// The expression of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&Expr> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }
}

/// One attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Expr,
    /// Where it stands.
    pub line: usize,
}

/// One block.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The word before the labels.
    pub kind: String,
    /// The labels.
    pub labels: Vec<String>,
    /// What is between the braces.
    pub body: Body,
    /// Where it begins.
    pub line: usize,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A number, a boolean, null, or a text without anything in it.
    Literal(Value),
    /// A text with something in it.
    Template(Vec<Part>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{a = b}`
    Object(Vec<(Expr, Expr)>),
    /// A name.
    Variable(String),
    /// `a.b`
    Attribute(Box<Expr>, String),
    /// `a[b]`
    Index(Box<Expr>, Box<Expr>),
    /// `a[*].b`: the names after the star.
    Splat(Box<Expr>, Vec<String>),
    /// `f(a, b...)`: whether the last argument is spread.
    Call(String, Vec<Expr>, bool),
    /// `!a`, `-a`
    Unary(char, Box<Expr>),
    /// `a + b`
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// `a ? b : c`
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `[for v in list : v]`, `{for k, v in map : k => v}`
    For(Box<For>),
}

/// A `for` expression.
#[derive(Debug, Clone, PartialEq)]
pub struct For {
    /// Name of the key or index.
    pub key: Option<String>,
    /// Name of the value.
    pub value: String,
    /// What is walked.
    pub over: Expr,
    /// Key of the result, when that is an object.
    pub result_key: Option<Expr>,
    /// Value of the result.
    pub result: Expr,
    /// `if`
    pub condition: Option<Expr>,
    /// `...`: values of the same key are collected.
    pub group: bool,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// `${a}`
    Value(Expr),
    /// `%{ if a }b%{ else }c%{ endif }`
    If(Expr, Vec<Part>, Vec<Part>),
    /// `%{ for k, v in a }b%{ endfor }`
    For(Option<String>, String, Expr, Vec<Part>),
}
