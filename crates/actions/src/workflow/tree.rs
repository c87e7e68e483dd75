//! A part of a file that may hold expressions anywhere, evaluated to a [`Value`] by a run.

use super::{Findings, Place, Position};
use crate::expr::{self, Object, Scope, Template, Value};
use crate::yaml::{Kind, Node};

/// A node with its expressions parsed.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where it stands.
    pub at: Position,
    /// What it is.
    pub kind: TreeKind,
}

/// What a [`Tree`] is.
#[derive(Debug, Clone)]
pub enum TreeKind {
    /// A constant.
    Constant(Value),
    /// A string with at least one expression.
    Expression(Template),
    /// A sequence.
    Sequence(Vec<Tree>),
    /// A mapping in order; keys may hold expressions.
    Mapping(Vec<(Template, Tree)>),
}

/// Why a part of a file has no value in this run.
#[derive(Debug, Clone, thiserror::Error)]
#[error("(Line: {}, Col: {}): {error}", at.line, at.column)]
pub struct EvaluationError {
    /// Where.
    pub at: Position,
    /// Why.
    pub error: expr::Error,
}

/// The place of the `${{` at a byte offset of a scalar: exact on one line, the scalar's own place otherwise.
pub(super) fn template(node: &Node, text: &str, place: Place, findings: &mut Findings) -> Option<Template> {
    match Template::parse(text, place.allowed()) {
        Ok(template) => Some(template),
        Err(error) => {
            findings.error(node.at, error.error.message);
            None
        }
    }
}

/// The key `${{ insert }}`, however it is spaced.
const INSERT: &str = "${{ insert }}";

impl Tree {
    /// Parses the expressions of a node; findings get the errors.
    pub fn read(node: &Node, place: Place, findings: &mut Findings) -> Self {
        let kind = match &node.kind {
            Kind::Scalar { value: Value::String(text), .. } if text.contains("${{") => {
                match template(node, text, place, findings) {
                    Some(template) => TreeKind::Expression(template),
                    None => TreeKind::Constant(Value::Null),
                }
            }
            Kind::Scalar { value, .. } => TreeKind::Constant(value.clone()),
            Kind::Sequence(items) => {
                TreeKind::Sequence(items.iter().map(|item| Tree::read(item, place, findings)).collect())
            }
            Kind::Mapping(entries) => TreeKind::Mapping(
                entries
                    .iter()
                    .filter_map(|(key, value)| {
                        let text = key.text().unwrap_or_default();
                        if Template::is_insert(text) {
                            return Some((Template::literal(INSERT), Tree::read(value, place, findings)));
                        }
                        let key = template(key, text, place, findings)?;
                        Some((key, Tree::read(value, place, findings)))
                    })
                    .collect(),
            ),
        };
        Self { at: node.at, kind }
    }

    /// The value in this scope.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        let fail = |error| EvaluationError { at: self.at, error };
        Ok(match &self.kind {
            TreeKind::Constant(value) => value.clone(),
            TreeKind::Expression(template) => template.evaluate(scope).map_err(fail)?,
            TreeKind::Sequence(items) => {
                let mut out = Vec::with_capacity(items.len());
                for item in items {
                    let value = item.evaluate(scope)?;
                    // An expression that gives an array stands for its items.
                    match (&item.kind, value) {
                        (TreeKind::Expression(_), Value::Array(inner)) => out.extend(inner.iter().cloned()),
                        (_, value) => out.push(value),
                    }
                }
                Value::array(out)
            }
            TreeKind::Mapping(entries) => {
                let mut object = Object::case_sensitive();
                for (key, value) in entries {
                    if key.is_literal() && key.source() == INSERT {
                        match value.evaluate(scope)? {
                            Value::Object(inner) => {
                                inner.iter().for_each(|(key, value)| object.insert(key, value.clone()));
                            }
                            Value::Null => {}
                            other => {
                                let message = format!("a mapping was expected for {INSERT}, not {}", other.kind());
                                return Err(EvaluationError { at: value.at, error: expr::Error::evaluation(message) });
                            }
                        }
                        continue;
                    }
                    object.insert(key.text(scope).map_err(fail)?, value.evaluate(scope)?);
                }
                Value::object(object)
            }
        })
    }

    /// The value when no expression is needed for it.
    pub fn constant(&self) -> Option<Value> {
        match &self.kind {
            TreeKind::Expression(_) => None,
            TreeKind::Constant(value) => Some(value.clone()),
            TreeKind::Sequence(items) => items.iter().map(Tree::constant).collect::<Option<Vec<_>>>().map(Value::array),
            TreeKind::Mapping(entries) => {
                let mut object = Object::case_sensitive();
                for (key, value) in entries {
                    if !key.is_literal() || key.source() == INSERT {
                        return None;
                    }
                    object.insert(key.source(), value.constant()?);
                }
                Some(Value::object(object))
            }
        }
    }

    /// The child of a literal key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        match &self.kind {
            TreeKind::Mapping(entries) => entries.iter().find(|(name, _)| name.source() == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Whether a context is used anywhere inside.
    pub fn uses(&self, context: &str) -> bool {
        match &self.kind {
            TreeKind::Constant(_) => false,
            TreeKind::Expression(template) => template.uses(context),
            TreeKind::Sequence(items) => items.iter().any(|item| item.uses(context)),
            TreeKind::Mapping(entries) => entries.iter().any(|(key, value)| key.uses(context) || value.uses(context)),
        }
    }
}
