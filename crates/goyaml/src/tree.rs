//! YAML as a tree that keeps positions, styles and the order of keys.
//!
//! For readers that point at the text (workflow files, linting). Scalars are not resolved: `value` is the text after
//! unquoting and folding, and [`Scalar::resolve`] gives its YAML 1.1 meaning on demand. Aliases are expanded in place, up
//! to a bound, so a reader never sees one; merge keys stay ordinary pairs.

use crate::compose::{Composer, Content, Document, Id};
use crate::error::Error;
pub use crate::token::Style;

/// Nodes that expanded aliases may add to one text.
const MAX_NODES: usize = 500_000;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Line of the first character, from 1.
    pub line: usize,
    /// Column of the first character, in characters, from 1.
    pub column: usize,
    /// Line of the end (exclusive), from 1.
    pub end_line: usize,
    /// Column of the end (exclusive), from 1.
    pub end_column: usize,
    /// Byte offset of the first character (after a byte order mark).
    pub start: usize,
    /// Byte offset after the last character.
    pub end: usize,
}

/// One node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands in the text; for an expanded alias, where its target stands.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A text, not resolved.
    Scalar(Scalar),
    /// Items in order.
    Sequence(Vec<Node>),
    /// Pairs in the order of the text, duplicates kept.
    Mapping(Vec<(Node, Node)>),
}

/// An unresolved scalar.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// The text after unquoting and folding.
    pub value: String,
    /// How it was written.
    pub style: Style,
    /// Its explicit tag in full (`tag:yaml.org,2002:str`), if it has one.
    pub tag: Option<String>,
}

impl Scalar {
    /// The value by YAML 1.1 rules: a quoted or `!!str` scalar is a string, a plain one is what go-yaml makes of it.
    pub fn resolve(&self) -> serde_json::Value {
        use crate::resolve::{Resolved, resolve};
        let text = || serde_json::Value::String(self.value.clone());
        if self.style != Style::Plain || self.tag.as_deref().is_some_and(|t| t.ends_with(":str")) {
            return text();
        }
        match resolve(&self.value) {
            Resolved::Null => serde_json::Value::Null,
            Resolved::Bool(b) => b.into(),
            Resolved::Int(i) => i.into(),
            Resolved::Uint(u) => u.into(),
            Resolved::Float(f) if f.is_finite() => f.into(),
            _ => text(),
        }
    }

    /// Whether it is a plain scalar without a tag, so that a reader may give it a type by its text.
    pub fn is_plain(&self) -> bool {
        self.style == Style::Plain && self.tag.is_none()
    }
}

impl Node {
    /// The text of a scalar.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(s) => Some(&s.value),
            _ => None,
        }
    }

    /// The scalar.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(s) => Some(s),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a mapping.
    pub fn as_mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            Kind::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value of a key of a mapping; the last one when it is given twice.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.iter().rev().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v)
    }

    /// Whether it is an empty or `null` plain scalar.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(s) if s.is_plain() && s.resolve().is_null())
    }

    /// The whole below as a value, by YAML 1.1 rules; of equal keys the last wins, merge keys are not merged.
    pub fn to_value(&self) -> serde_json::Value {
        match &self.kind {
            Kind::Scalar(s) => s.resolve(),
            Kind::Sequence(items) => items.iter().map(Node::to_value).collect(),
            Kind::Mapping(pairs) => serde_json::Value::Object(
                pairs.iter().map(|(k, v)| (k.as_str().unwrap_or_default().to_owned(), v.to_value())).collect(),
            ),
        }
    }
}

/// Parses every document of a text.
///
/// # Errors
/// What go-yaml refuses, with line and column; aliases that contain themselves or expand beyond the bound.
pub fn parse(text: &str) -> Result<Vec<Node>, Error> {
    let mut composer = Composer::new(text)?;
    let mut out = Vec::new();
    let mut budget = MAX_NODES;
    while let Some(document) = composer.next()? {
        out.push(convert(&document, document.root, &mut budget, &mut Vec::new())?);
    }
    Ok(out)
}

fn convert(document: &Document<'_>, id: Id, budget: &mut usize, open: &mut Vec<Id>) -> Result<Node, Error> {
    let node = &document.nodes[id as usize];
    let span = Span {
        line: node.start.line + 1,
        column: node.start.column + 1,
        end_line: node.end.line + 1,
        end_column: node.end.column + 1,
        start: node.start.index,
        end: node.end.index,
    };
    if !open.is_empty() {
        *budget = match budget.checked_sub(1) {
            Some(left) => left,
            None => {
                return Err(Error::at("document contains excessive aliasing", 0, span.line, span.column));
            }
        };
    }
    let kind = match &node.content {
        Content::Alias { name, target } => {
            if open.contains(&id) {
                let problem = format!("anchor '{name}' value contains itself");
                return Err(Error::at(problem, 0, span.line, span.column));
            }
            open.push(id);
            let node = convert(document, *target, budget, open);
            open.pop();
            return node;
        }
        Content::Scalar { value, style, .. } => Kind::Scalar(Scalar {
            value: value.to_string(),
            style: *style,
            tag: node.tag.as_deref().map(str::to_owned),
        }),
        Content::Sequence { items } => {
            Kind::Sequence(items.iter().map(|&item| convert(document, item, budget, open)).collect::<Result<_, _>>()?)
        }
        Content::Mapping { pairs } => Kind::Mapping(
            pairs
                .iter()
                .map(|&(k, v)| Ok((convert(document, k, budget, open)?, convert(document, v, budget, open)?)))
                .collect::<Result<_, Error>>()?,
        ),
    };
    Ok(Node { span, kind })
}
