//! Go's `text/template`: lexing, parsing, execution.
//!
//! Parsing gives immutable [`ast::Tree`]s that renderings share. Execution (`exec`) works on [`crate::value::Value`]
//! and keeps Go's distinctions: no value, nil interface, and static types where messages show them.

pub mod ast;
pub mod builtin;
pub mod error;
pub mod exec;
pub(crate) mod lex;
pub mod parse;
