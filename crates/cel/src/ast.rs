//! The tree of an expression, macros already expanded.

use crate::value::Value;

/// An expression and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) node: Node,
    pub(crate) at: usize,
    /// How many levels lie below, itself included.
    pub(crate) depth: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Literal(Value),
    Ident(String),
    /// `target.field`, `target.?field`.
    Select {
        target: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(target.field)`.
    Has {
        target: Box<Expr>,
        field: String,
    },
    /// `target[index]`, `target[?index]`.
    Index {
        target: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    /// A function or, with a target, a method.
    Call {
        name: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Ternary(Box<[Expr; 3]>),
    /// Items, with whether each is optional.
    List(Vec<(Expr, bool)>),
    /// Entries, with whether each is optional.
    Map(Vec<(Expr, Expr, bool)>),
    /// A message: `Object.spec{replicas: 3}`; fields, with whether each is optional.
    Message {
        name: String,
        fields: Vec<(String, Expr, bool)>,
    },
    /// A macro over the items of a list or the entries of a map.
    Comprehension(Box<Comprehension>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
    /// `target.optMap(name, body)`, flat or not.
    OptMap {
        target: Box<Expr>,
        name: String,
        body: Box<Expr>,
        flat: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    Negate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Binary {
    /// Its name in messages, as other implementations print it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Binary::Or => "_||_",
            Binary::And => "_&&_",
            Binary::Equal => "_==_",
            Binary::NotEqual => "_!=_",
            Binary::Less => "_<_",
            Binary::LessEqual => "_<=_",
            Binary::Greater => "_>_",
            Binary::GreaterEqual => "_>=_",
            Binary::In => "@in",
            Binary::Add => "_+_",
            Binary::Subtract => "_-_",
            Binary::Multiply => "_*_",
            Binary::Divide => "_/_",
            Binary::Modulo => "_%_",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Comprehension {
    pub(crate) kind: Loop,
    pub(crate) over: Expr,
    /// The variable of the item (of a map: the key); with a second one that of the index (of a map: the key).
    pub(crate) first: String,
    /// The variable of the item (of a map: the value), where two are named.
    pub(crate) second: Option<String>,
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    All,
    Exists,
    ExistsOne,
    Filter,
    /// `map`, `transformList`.
    List,
    /// `transformMap`.
    Map,
    /// `transformMapEntry`.
    Entries,
}

impl Expr {
    pub(crate) fn new(node: Node, at: usize) -> Self {
        let mut expr = Self { node, at, depth: 0 };
        expr.depth = 1 + expr.children().iter().map(|c| c.depth).max().unwrap_or(0);
        expr
    }

    /// The parts of an expression.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.node {
            Node::Literal(_) | Node::Ident(_) => Vec::new(),
            Node::Select { target, .. } | Node::Has { target, .. } => vec![target],
            Node::Index { target, index, .. } => vec![target, index],
            Node::Call { target, args, .. } => target.iter().map(|t| &**t).chain(args).collect(),
            Node::Unary(_, of) => vec![of],
            Node::Binary(_, left, right) => vec![left, right],
            Node::Ternary(parts) => parts.iter().collect(),
            Node::List(items) => items.iter().map(|(item, _)| item).collect(),
            Node::Map(entries) => entries.iter().flat_map(|(k, v, _)| [k, v]).collect(),
            Node::Message { fields, .. } => fields.iter().map(|(_, value, _)| value).collect(),
            Node::Comprehension(c) => [Some(&c.over), c.filter.as_ref(), Some(&c.body)].into_iter().flatten().collect(),
            Node::Bind { value, body, .. } => vec![value, body],
            Node::OptMap { target, body, .. } => vec![target, body],
        }
    }

    pub(crate) fn uses(&self, variable: &str) -> bool {
        match &self.node {
            Node::Ident(name) => name == variable,
            _ => self.children().iter().any(|c| c.uses(variable)),
        }
    }
}
