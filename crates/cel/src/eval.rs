//! Evaluation. Every step costs; a spent budget ends it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::ast::{Binary, Comprehension, Expr, Loop, Node, Unary};
use crate::functions;
use crate::value::{Key, ListKind, Value};

/// The fault that an evaluation ends with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A map has no such key, an object no such field.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// Values of these types do not go together.
    #[error("no such overload")]
    NoSuchOverload,
    /// A variable is not there.
    #[error("no such attribute(s): {0}")]
    NoSuchVariable(String),
    /// A number or a time is out of range.
    #[error("{0} overflow")]
    Overflow(&'static str),
    /// Division by zero.
    #[error("division by zero")]
    DivideByZero,
    /// Remainder of a division by zero.
    #[error("modulus by zero")]
    ModulusByZero,
    /// A list is not that long.
    #[error("index out of bounds: {0}")]
    OutOfBounds(i64),
    /// An argument that a function does not take.
    #[error("{0}")]
    Argument(String),
    /// The budget is spent.
    #[error("operation cancelled: actual cost limit exceeded")]
    Budget,
}

/// The steps that an evaluation may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// So many steps.
    pub fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Steps that are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Takes steps.
    ///
    /// # Errors
    /// There are not so many left.
    pub fn spend(&mut self, steps: u64) -> Result<(), Fault> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Fault::Budget)
            }
        }
    }
}

/// Where an evaluation finds its variables.
pub trait Variables {
    /// A variable; `None` where there is none of that name.
    fn get(&self, name: &str, budget: &mut Budget) -> Option<Result<Value, Fault>>;

    /// A field of a variable whose fields are found one by one; `None` where the variable is a value of its own.
    fn field(&self, name: &str, field: &str, budget: &mut Budget) -> Option<Result<Value, Fault>> {
        let _ = (name, field, budget);
        None
    }

    /// Who answers the questions of `authorizer`.
    fn authorizer(&self) -> &dyn Decision {
        &NoAuthorizer
    }
}

impl Variables for BTreeMap<String, Value> {
    fn get(&self, name: &str, _: &mut Budget) -> Option<Result<Value, Fault>> {
        BTreeMap::get(self, name).cloned().map(Ok)
    }
}

/// A question to an authorizer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The service account asked about (namespace and name); none for the one who made the request.
    pub account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Resource.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Verb.
    pub verb: String,
}

/// Answers whether something is allowed.
pub trait Decision {
    /// Whether it is, and why.
    fn allowed(&self, question: &Question) -> (bool, String);
}

/// Allows nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoAuthorizer;

impl Decision for NoAuthorizer {
    fn allowed(&self, _: &Question) -> (bool, String) {
        (false, "there is no authorizer".into())
    }
}

type Outcome = Result<Value, Fault>;

pub(crate) fn run(root: &Expr, variables: &dyn Variables, budget: &mut Budget) -> Outcome {
    Machine { variables, budget, locals: Vec::new() }.eval(root)
}

pub(crate) struct Machine<'a> {
    pub(crate) variables: &'a dyn Variables,
    pub(crate) budget: &'a mut Budget,
    locals: Vec<(&'a str, Value)>,
}

impl<'a> Machine<'a> {
    fn eval(&mut self, expr: &'a Expr) -> Outcome {
        match &expr.node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Ident(name) => {
                self.budget.spend(1)?;
                self.variable(name)
            }
            Node::Select { target, field, optional } => self.select(target, field, *optional),
            Node::Has { target, field } => {
                self.budget.spend(1)?;
                match self.eval(target)? {
                    Value::Map(map) => Ok(Value::Bool(lookup(&map, field).is_some())),
                    Value::Optional(None) => Ok(Value::Bool(false)),
                    Value::Optional(Some(inner)) => match *inner {
                        Value::Map(map) => Ok(Value::Bool(lookup(&map, field).is_some())),
                        _ => Err(Fault::NoSuchOverload),
                    },
                    _ => Err(Fault::NoSuchOverload),
                }
            }
            Node::Index { target, index, optional } => {
                let (target, index) = (self.eval(target)?, self.eval(index)?);
                self.budget.spend(1)?;
                match target {
                    Value::Optional(None) => Ok(Value::Optional(None)),
                    Value::Optional(Some(inner)) => found(at(&inner, &index)),
                    target if *optional => found(at(&target, &index)),
                    target => at(&target, &index),
                }
            }
            Node::Call { name, target, args } => self.call(name, target.as_deref(), args),
            Node::Unary(Unary::Not, of) => match self.eval(of)? {
                Value::Bool(b) => Ok(Value::Bool(!b)),
                _ => Err(Fault::NoSuchOverload),
            },
            Node::Unary(Unary::Negate, of) => {
                self.budget.spend(1)?;
                match self.eval(of)? {
                    Value::Int(i) => i.checked_neg().map(Value::Int).ok_or(Fault::Overflow("integer")),
                    Value::Double(d) => Ok(Value::Double(-d)),
                    Value::Duration(d) => d.checked_neg().map(Value::Duration).ok_or(Fault::Overflow("duration")),
                    _ => Err(Fault::NoSuchOverload),
                }
            }
            Node::Binary(op @ (Binary::And | Binary::Or), left, right) => self.logic(*op, left, right),
            Node::Binary(op, left, right) => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                functions::operators::binary(self.budget, *op, &left, &right)
            }
            Node::Ternary(parts) => {
                self.budget.spend(1)?;
                match self.eval(&parts[0])? {
                    Value::Bool(true) => self.eval(&parts[1]),
                    Value::Bool(false) => self.eval(&parts[2]),
                    _ => Err(Fault::NoSuchOverload),
                }
            }
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Message { fields, .. } => self.message(fields),
            Node::Comprehension(comprehension) => self.comprehend(comprehension),
            Node::Bind { name, value, body } => {
                let value = self.eval(value)?;
                self.with(name, value, body)
            }
            Node::OptMap { target, name, body, flat } => match self.eval(target)? {
                Value::Optional(None) => Ok(Value::Optional(None)),
                Value::Optional(Some(value)) => match self.with(name, *value, body)? {
                    out @ Value::Optional(_) if *flat => Ok(out),
                    _ if *flat => Err(Fault::NoSuchOverload),
                    out => Ok(Value::Optional(Some(Box::new(out)))),
                },
                _ => Err(Fault::NoSuchOverload),
            },
        }
    }

    fn list(&mut self, items: &'a [(Expr, bool)]) -> Outcome {
        self.budget.spend(10)?;
        let mut out = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match self.eval(item)? {
                Value::Optional(inner) if *optional => out.extend(inner.map(|v| *v)),
                _ if *optional => return Err(Fault::NoSuchOverload),
                value => out.push(value),
            }
        }
        Ok(Value::list(out))
    }

    fn map(&mut self, entries: &'a [(Expr, Expr, bool)]) -> Outcome {
        self.budget.spend(30)?;
        let mut out = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = Key::of(&self.eval(key)?).ok_or_else(|| Fault::Argument("unsupported key type".into()))?;
            let value = match self.eval(value)? {
                Value::Optional(inner) if *optional => match inner {
                    Some(value) => *value,
                    None => continue,
                },
                _ if *optional => return Err(Fault::NoSuchOverload),
                value => value,
            };
            if out.insert(key.clone(), value).is_some() {
                return Err(Fault::Argument(format!("insert failed: key {:?} already exists", key.value())));
            }
        }
        Ok(Value::Map(Arc::new(out)))
    }

    /// A message is a map of its fields.
    fn message(&mut self, fields: &'a [(String, Expr, bool)]) -> Outcome {
        self.budget.spend(40)?;
        let mut out = BTreeMap::new();
        for (name, value, optional) in fields {
            let value = match self.eval(value)? {
                Value::Optional(inner) if *optional => match inner {
                    Some(value) => *value,
                    None => continue,
                },
                _ if *optional => return Err(Fault::NoSuchOverload),
                value => value,
            };
            out.insert(Key::String(unescape(name).as_str().into()), value);
        }
        Ok(Value::Map(Arc::new(out)))
    }

    fn with(&mut self, name: &'a str, value: Value, body: &'a Expr) -> Outcome {
        self.locals.push((name, value));
        let out = self.eval(body);
        self.locals.pop();
        out
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(n, _)| *n == name)
    }

    fn variable(&mut self, name: &str) -> Outcome {
        if let Some((_, value)) = self.locals.iter().rev().find(|(n, _)| *n == name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.variables.get(name, self.budget) {
            return value;
        }
        type_named(name).ok_or_else(|| Fault::NoSuchVariable(name.to_owned()))
    }

    fn select(&mut self, target: &'a Expr, field: &str, optional: bool) -> Outcome {
        self.budget.spend(1)?;
        if let Node::Ident(name) = &target.node
            && !self.is_local(name)
            && let Some(value) = self.variables.field(name, field, self.budget)
        {
            return if optional { found(value) } else { value };
        }
        if let Some(value) = dotted(target, field).as_deref().and_then(type_named) {
            return Ok(value);
        }
        match self.eval(target)? {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => found(get(&inner, field)),
            value if optional => found(get(&value, field)),
            value => get(&value, field),
        }
    }

    fn logic(&mut self, op: Binary, left: &'a Expr, right: &'a Expr) -> Outcome {
        // The value that decides alone, whatever the other side is.
        let decides = op == Binary::Or;
        let left = self.eval(left);
        match &left {
            Ok(Value::Bool(b)) if *b == decides => return Ok(Value::Bool(decides)),
            Err(Fault::Budget) => return left,
            _ => {}
        }
        let right = self.eval(right);
        match (left, right) {
            (_, Ok(Value::Bool(b))) if b == decides => Ok(Value::Bool(decides)),
            (_, Err(Fault::Budget)) => Err(Fault::Budget),
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
            (Ok(Value::Bool(_)), Ok(Value::Bool(_))) => Ok(Value::Bool(!decides)),
            _ => Err(Fault::NoSuchOverload),
        }
    }

    fn call(&mut self, name: &str, target: Option<&'a Expr>, args: &'a [Expr]) -> Outcome {
        // These two look at their argument only where they need it.
        if let (Some(target), [other]) = (target, args)
            && matches!(name, "or" | "orValue")
        {
            let value = self.eval(target)?;
            return match value {
                Value::Optional(Some(value)) if name == "orValue" => Ok(*value),
                Value::Optional(None) => self.eval(other),
                value @ Value::Optional(_) => Ok(value),
                _ => Err(Fault::NoSuchOverload),
            };
        }
        self.budget.spend(1)?;
        let target = target.map(|t| self.eval(t)).transpose()?;
        let args = args.iter().map(|a| self.eval(a)).collect::<Result<Vec<_>, _>>()?;
        functions::call(self, name, target, &args)
    }

    fn comprehend(&mut self, c: &'a Comprehension) -> Outcome {
        let over = self.eval(&c.over)?;
        let pairs: Vec<(Value, Value)> = match &over {
            Value::List(items, _) => items.iter().enumerate().map(|(i, v)| (Value::Int(i as i64), v.clone())).collect(),
            Value::Map(map) => map.iter().map(|(k, v)| (k.value(), v.clone())).collect(),
            _ => return Err(Fault::NoSuchOverload),
        };
        let is_map = matches!(over, Value::Map(_));
        let depth = self.locals.len();
        let out = self.iterate(c, pairs, is_map);
        self.locals.truncate(depth);
        out
    }

    fn iterate(&mut self, c: &'a Comprehension, pairs: Vec<(Value, Value)>, is_map: bool) -> Outcome {
        let (mut list, mut map, mut hits) = (Vec::new(), BTreeMap::new(), 0usize);
        let mut fault: Option<Fault> = None;
        let depth = self.locals.len();
        for (key, value) in pairs {
            self.budget.spend(1)?;
            self.locals.truncate(depth);
            let item = if is_map && c.second.is_none() { key.clone() } else { value.clone() };
            match &c.second {
                Some(second) => {
                    self.locals.push((&c.first, key.clone()));
                    self.locals.push((second, value.clone()));
                }
                None => self.locals.push((&c.first, item.clone())),
            }
            if let Some(filter) = &c.filter {
                match self.eval(filter)? {
                    Value::Bool(true) => {}
                    Value::Bool(false) => continue,
                    _ => return Err(Fault::NoSuchOverload),
                }
            }
            let out = self.eval(&c.body);
            match (c.kind, out) {
                (_, Err(Fault::Budget)) => return Err(Fault::Budget),
                // A later item may decide in spite of the fault.
                (Loop::All | Loop::Exists, Err(f)) => fault = fault.or(Some(f)),
                (_, Err(f)) => return Err(f),
                (Loop::All, Ok(Value::Bool(b))) if !b => return Ok(Value::Bool(false)),
                (Loop::Exists, Ok(Value::Bool(b))) if b => return Ok(Value::Bool(true)),
                (Loop::ExistsOne, Ok(Value::Bool(b))) => hits += usize::from(b),
                (Loop::Filter, Ok(Value::Bool(b))) => {
                    if b {
                        list.push(item);
                    }
                }
                (Loop::All | Loop::Exists, Ok(Value::Bool(_))) => {}
                (Loop::All | Loop::Exists, Ok(_)) => fault = fault.or(Some(Fault::NoSuchOverload)),
                (Loop::ExistsOne | Loop::Filter, Ok(_)) => return Err(Fault::NoSuchOverload),
                (Loop::List, Ok(value)) => list.push(value),
                (Loop::Map, Ok(value)) => {
                    map.insert(Key::of(&key).ok_or(Fault::NoSuchOverload)?, value);
                }
                (Loop::Entries, Ok(Value::Map(entry))) => {
                    for (k, v) in entry.iter() {
                        if map.insert(k.clone(), v.clone()).is_some() {
                            return Err(Fault::Argument("insert failed: key already exists".into()));
                        }
                    }
                }
                (Loop::Entries, Ok(_)) => return Err(Fault::NoSuchOverload),
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        Ok(match c.kind {
            Loop::All => Value::Bool(true),
            Loop::Exists => Value::Bool(false),
            Loop::ExistsOne => Value::Bool(hits == 1),
            Loop::Filter | Loop::List => Value::list(list),
            Loop::Map | Loop::Entries => Value::Map(Arc::new(map)),
        })
    }
}

/// What an optional selection makes of the outcome of a plain one.
fn found(outcome: Outcome) -> Outcome {
    match outcome {
        Ok(value) => Ok(Value::Optional(Some(Box::new(value)))),
        Err(Fault::NoSuchKey(_) | Fault::OutOfBounds(_)) => Ok(Value::Optional(None)),
        Err(fault) => Err(fault),
    }
}

fn get(value: &Value, field: &str) -> Outcome {
    match value {
        Value::Map(map) => lookup(map, field).cloned().ok_or_else(|| Fault::NoSuchKey(field.to_owned())),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// A field by its name, or by its name as Kubernetes writes it where the name is no word.
fn lookup<'m>(map: &'m BTreeMap<Key, Value>, field: &str) -> Option<&'m Value> {
    let key = |name: &str| Key::String(name.into());
    map.get(&key(field)).or_else(|| if field.contains("__") { map.get(&key(&unescape(field))) } else { None })
}

/// The property that an escaped name stands for: `__dash__`, `__namespace__`, ...
pub(crate) fn unescape(field: &str) -> String {
    if let Some(word) = field.strip_prefix("__").and_then(|f| f.strip_suffix("__"))
        && !word.contains("__")
        && !matches!(word, "dot" | "dash" | "slash" | "underscores" | "")
    {
        return word.to_owned();
    }
    field
        .replace("__underscores__", "\0")
        .replace("__dot__", ".")
        .replace("__dash__", "-")
        .replace("__slash__", "/")
        .replace('\0', "__")
}

fn at(value: &Value, index: &Value) -> Outcome {
    match (value, index) {
        (Value::List(items, _), index) => {
            let Some(Key::Int(i)) = Key::of(index).map(|k| match k {
                Key::Uint(u) => Key::Int(i64::try_from(u).unwrap_or(i64::MAX)),
                other => other,
            }) else {
                return Err(Fault::NoSuchOverload);
            };
            usize::try_from(i).ok().and_then(|i| items.get(i)).cloned().ok_or(Fault::OutOfBounds(i))
        }
        (Value::Map(map), index) => {
            let key = Key::of(index).ok_or(Fault::NoSuchOverload)?;
            map.get(&key).cloned().ok_or_else(|| Fault::NoSuchKey(index.text().unwrap_or_default()))
        }
        _ => Err(Fault::NoSuchOverload),
    }
}

/// The dotted name that a selection spells, where it does.
fn dotted(target: &Expr, field: &str) -> Option<String> {
    match &target.node {
        Node::Ident(name) if matches!(name.as_str(), "google" | "kubernetes" | "net") => {
            Some(format!("{name}.{field}"))
        }
        Node::Select { target, field: inner, .. } => Some(format!("{}.{field}", dotted(target, inner)?)),
        _ => None,
    }
}

/// The types that have names.
pub(crate) fn type_named(name: &str) -> Option<Value> {
    const NAMES: [&str; 19] = [
        "null_type",
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "type",
        "optional_type",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "kubernetes.Quantity",
        "kubernetes.URL",
        "kubernetes.Semver",
        "net.IP",
        "net.CIDR",
        "kubernetes.NamedFormat",
    ];
    NAMES.contains(&name).then(|| Value::Type(name.into()))
}

/// Adds two lists as their kind says.
pub(crate) fn concat(a: &[Value], kind: &ListKind, b: &[Value]) -> Value {
    let mut out = a.to_vec();
    for item in b {
        match kind {
            ListKind::Plain => out.push(item.clone()),
            _ => match out.iter_mut().find(|x| x.same_item(item, kind)) {
                Some(old) => *old = item.clone(),
                None => out.push(item.clone()),
            },
        }
    }
    Value::List(Arc::new(out), kind.clone())
}
