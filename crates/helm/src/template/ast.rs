//! Parsed templates. Immutable and shared between renderings and threads.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::value::{Str, quote};

/// One parsed template: a file, or a `define` in it.
#[derive(Debug)]
pub struct Tree {
    /// The name by which `template` and `include` find it.
    pub name: Str,
    /// The file it was parsed from.
    pub source: Arc<Source>,
    /// What it consists of.
    pub root: Vec<Stmt>,
    /// Whether it has nothing but space and comments, so that it does not replace another of its name.
    pub empty: bool,
}

/// Where templates were parsed from.
#[derive(Debug)]
pub struct Source {
    /// The name shown in messages.
    pub name: Str,
    /// The whole text, for lines and columns.
    pub text: Str,
}

impl Source {
    /// `name:line:column` of a byte offset; the column counts bytes from 0, as Go shows it.
    pub fn location(&self, pos: u32) -> String {
        let before = &self.text.as_bytes()[..(pos as usize).min(self.text.len())];
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let column = before.len() - before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        format!("{}:{line}:{column}", self.name)
    }
}

/// Index of a function in the table of functions.
pub type FuncId = u16;

/// A piece of a template.
#[derive(Debug)]
pub enum Stmt {
    /// Text as it stands.
    Text(Str),
    /// `{{pipeline}}`
    Action(u32, Pipe),
    /// `{{if}}`
    If(u32, Box<Branch>),
    /// `{{range}}`
    Range(u32, Box<Branch>),
    /// `{{with}}`
    With(u32, Box<Branch>),
    /// `{{template "name" pipeline}}`
    Template(u32, Str, Option<Pipe>),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// A condition and what hangs on it.
#[derive(Debug)]
pub struct Branch {
    /// The condition, or what is iterated.
    pub pipe: Pipe,
    /// The body.
    pub list: Vec<Stmt>,
    /// What stands after `else`.
    pub other: Option<Vec<Stmt>>,
}

/// A pipeline with its declarations.
#[derive(Debug)]
pub struct Pipe {
    /// Byte offset in the source.
    pub pos: u32,
    /// `=` instead of `:=`.
    pub assign: bool,
    /// Variables declared or set.
    pub decl: Vec<Str>,
    /// Commands in order.
    pub cmds: Vec<Command>,
}

/// One command of a pipeline.
#[derive(Debug)]
pub struct Command {
    /// Byte offset in the source.
    pub pos: u32,
    /// The word and its arguments.
    pub args: Vec<Expr>,
}

/// A word of a command.
#[derive(Debug)]
pub struct Expr {
    /// Byte offset in the source.
    pub pos: u32,
    /// What it is.
    pub kind: ExprKind,
}

/// What a word is.
#[derive(Debug)]
pub enum ExprKind {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(Box<Number>),
    /// A text: as written, and as meant.
    String(Str, Str),
    /// `.a.b`
    Field(Box<[Str]>),
    /// `$x.a.b`: the first is the variable.
    Variable(Box<[Str]>),
    /// A function.
    Func(Str, FuncId),
    /// `(pipeline)`
    Pipe(Box<Pipe>),
    /// `(pipeline).a.b`
    Chain(Box<Expr>, Box<[Str]>),
}

/// A number constant with all it can stand for.
#[derive(Debug, Clone, Default)]
pub struct Number {
    /// As an integer.
    pub int: Option<i64>,
    /// As an unsigned integer.
    pub uint: Option<u64>,
    /// As a float.
    pub float: Option<f64>,
    /// As a complex number, when it is written with an `i`.
    pub complex: Option<(f64, f64)>,
    /// As written.
    pub text: Str,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            name: Str::from(""),
            source: Arc::new(Source { name: Str::from(""), text: Str::from("") }),
            root: Vec::new(),
            empty: true,
        }
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.decl.is_empty() {
            write!(f, "{}{}", self.decl.join(", "), if self.assign { " = " } else { " := " })?;
        }
        for (i, cmd) in self.cmds.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{cmd}")?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            match &arg.kind {
                ExprKind::Pipe(p) => write!(f, "({p})")?,
                _ => write!(f, "{arg}")?,
            }
        }
        Ok(())
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Bool(b) => write!(f, "{b}"),
            ExprKind::Number(n) => f.write_str(&n.text),
            ExprKind::String(quoted, _) => f.write_str(quoted),
            ExprKind::Field(names) => names.iter().try_for_each(|n| write!(f, ".{n}")),
            ExprKind::Variable(names) => f.write_str(&names.join(".")),
            ExprKind::Func(name, _) => f.write_str(name),
            ExprKind::Pipe(p) => write!(f, "{p}"),
            ExprKind::Chain(node, names) => {
                match &node.kind {
                    ExprKind::Pipe(p) => write!(f, "({p})")?,
                    _ => write!(f, "{node}")?,
                }
                names.iter().try_for_each(|n| write!(f, ".{n}"))
            }
        }
    }
}

impl Stmt {
    /// As Go shows a statement in a message.
    pub fn context(&self) -> String {
        match self {
            Stmt::Template(_, name, None) => format!("{{{{template {}}}}}", quote::quote(name)),
            Stmt::Template(_, name, Some(pipe)) => format!("{{{{template {} {pipe}}}}}", quote::quote(name)),
            Stmt::Action(_, pipe) => format!("{{{{{pipe}}}}}"),
            _ => String::new(),
        }
    }
}
