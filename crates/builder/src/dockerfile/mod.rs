//! The Dockerfile language: text to a syntax tree with positions.
//!
//! Pure: no file, no environment, no registry. The grammar is that of BuildKit's Dockerfile frontend: parser directives,
//! line continuations, heredocs, flags, the JSON and shell forms, and shell-like word expansion.
//!
//! [`parse`] gives a [`Dockerfile`]; words are expanded later, by whoever knows the values, with [`words::Lex`].

pub mod ast;
pub mod check;
mod flags;
mod health;
mod heredoc;
mod instruction;
mod lines;
mod mounts;
mod pairs;
mod pattern;
pub mod words;

pub use ast::{
    AddCopy, Command, Dockerfile, Heredoc, Instruction, KeyValue, Kind, Mount, MountKind, Sharing, Span, Stage,
};
pub(crate) use instruction::distance as edit_distance;
pub use lines::Directives;
pub(crate) use mounts::{fields as csv, size as bytes};

/// Why a Dockerfile could not be read: a line and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {}: {message}", span.start)]
pub struct ParseError {
    /// Lines concerned, 1-based and inclusive.
    pub span: Span,
    /// What is wrong, in the words docker uses for it.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        ParseError { span, message: message.into() }
    }
}

/// Reads a Dockerfile.
///
/// # Errors
/// The first line that is not valid, with what docker would say about it.
pub fn parse(text: &str) -> Result<Dockerfile, ParseError> {
    let lines = lines::split(text)?;
    instruction::assemble(lines)
}

/// Reads one instruction without its context, as `ONBUILD` triggers stored in an image need it.
///
/// # Errors
/// When the text is not one valid instruction.
pub fn parse_one(text: &str) -> Result<Instruction, ParseError> {
    let lines = lines::split(text)?;
    let mut nodes = lines.nodes.into_iter();
    match (nodes.next(), nodes.next()) {
        (Some(node), None) => instruction::instruction(&node, lines.directives.escape),
        _ => Err(ParseError::new(Span { start: 1, end: 1 }, format!("expected one instruction in {text:?}"))),
    }
}
