//! What an expression costs when the values that it sees are as large as they may be: an estimate from below, in steps as
//! Kubernetes counts them, made before anything is evaluated. What it finds too costly is too costly.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Comprehension, Expr, Node};
use crate::eval::unescape;

/// How large a value may be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    /// Most items, entries or characters.
    pub most: u64,
    /// Its items, or the values of its entries.
    pub of: Option<Arc<Extent>>,
    /// Its fields.
    pub fields: BTreeMap<String, Arc<Extent>>,
}

type Known = Option<Arc<Extent>>;

struct Estimator<'a> {
    scope: Vec<(&'a str, Known)>,
}

/// The cost of an expression over variables.
pub(crate) fn estimate<'a>(root: &'a Expr, variables: &[(&'a str, Arc<Extent>)]) -> u64 {
    let scope = variables.iter().map(|(name, extent)| (*name, Some(Arc::clone(extent)))).collect();
    Estimator { scope }.cost(root).0
}

impl<'a> Estimator<'a> {
    /// The cost of an expression, and how large its value may be.
    fn cost(&mut self, expr: &'a Expr) -> (u64, Known) {
        match &expr.node {
            Node::Literal(_) => (0, None),
            Node::Ident(name) => {
                let known = self.scope.iter().rev().find(|(n, _)| n == name).and_then(|(_, k)| k.clone());
                (1, known)
            }
            Node::Select { target, field, .. } => {
                let (cost, of) = self.cost(target);
                let name = unescape(field);
                let field = of.and_then(|e| e.fields.get(&name).cloned().or_else(|| e.of.clone()));
                (cost.saturating_add(1), field)
            }
            Node::Has { target, .. } => (self.cost(target).0.saturating_add(1), None),
            Node::Index { target, index, .. } => {
                let (cost, of) = self.cost(target);
                let cost = cost.saturating_add(self.cost(index).0).saturating_add(1);
                (cost, of.and_then(|e| e.of.clone()))
            }
            Node::Ternary(parts) => {
                let [condition, yes, no] = &**parts;
                let (condition, yes, no) = (self.cost(condition), self.cost(yes), self.cost(no));
                (condition.0.saturating_add(yes.0.max(no.0)), larger(yes.1, no.1))
            }
            Node::Comprehension(c) => self.comprehension(c),
            Node::Bind { name, value, body } => {
                let (cost, of) = self.cost(value);
                let (body, known) = self.with(name, of, body);
                (cost.saturating_add(body), known)
            }
            Node::OptMap { target, name, body, .. } => {
                let (cost, of) = self.cost(target);
                let (body, known) = self.with(name, of, body);
                (cost.saturating_add(body), known)
            }
            Node::Binary(_, left, right) => {
                let (left, right) = (self.cost(left).0, self.cost(right).0);
                (left.saturating_add(right).saturating_add(1), None)
            }
            _ => {
                let parts = expr.children().into_iter().map(|part| self.cost(part).0);
                (parts.fold(1u64, u64::saturating_add), None)
            }
        }
    }

    fn with(&mut self, name: &'a str, of: Known, body: &'a Expr) -> (u64, Known) {
        self.scope.push((name, of));
        let out = self.cost(body);
        self.scope.pop();
        out
    }

    fn comprehension(&mut self, c: &'a Comprehension) -> (u64, Known) {
        let (over, range) = self.cost(&c.over);
        let times = range.as_ref().map_or(1, |e| e.most);
        let item = range.as_ref().and_then(|e| e.of.clone());
        // Of two variables the first is an index or a key.
        let (first, second) = if c.second.is_some() { (None, item.clone()) } else { (item.clone(), None) };
        let depth = self.scope.len();
        self.scope.push((&c.first, first));
        if let Some(name) = &c.second {
            self.scope.push((name, second));
        }
        let filter = c.filter.as_ref().map_or(0, |f| self.cost(f).0);
        let (body, _) = self.cost(&c.body);
        self.scope.truncate(depth);
        let each = filter.saturating_add(body).saturating_add(1);
        let out = Extent { most: times, of: item, fields: BTreeMap::new() };
        (over.saturating_add(each.saturating_mul(times)), Some(Arc::new(out)))
    }
}

fn larger(a: Known, b: Known) -> Known {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.most >= b.most { a } else { b }),
        (a, b) => a.or(b),
    }
}
