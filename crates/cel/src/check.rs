//! What can be said of an expression before it is evaluated: unknown names and fields, operators on types that do not fit.
//! Where a type is not known, nothing is said.

use crate::ast::{Binary, Comprehension, Expr, Loop, Node, Unary};
use crate::eval::{type_named, unescape};
use crate::lexer::Wrong;
use crate::types::Ty;
use crate::value::Value;

/// A variable that an expression may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Ty,
}

impl Variable {
    /// A variable of a type.
    pub fn new(name: &str, kind: Ty) -> Self {
        Self { name: name.to_owned(), kind }
    }
}

/// The type of an expression.
pub(crate) fn check(root: &Expr, variables: &[Variable]) -> Result<Ty, Wrong> {
    let mut scope: Vec<(String, Ty)> = variables.iter().map(|v| (v.name.clone(), v.kind.clone())).collect();
    Checker { scope: &mut scope }.check(root)
}

struct Checker<'a> {
    scope: &'a mut Vec<(String, Ty)>,
}

type Checked = Result<Ty, Wrong>;

fn no_overload(name: &str, types: &[&Ty], at: usize) -> Wrong {
    let list: Vec<String> = types.iter().map(ToString::to_string).collect();
    (format!("found no matching overload for '{name}' applied to '({})'", list.join(", ")), at)
}

impl Checker<'_> {
    fn check(&mut self, expr: &Expr) -> Checked {
        let at = expr.at;
        match &expr.node {
            Node::Literal(value) => Ok(literal(value)),
            Node::Ident(name) => {
                if let Some((_, kind)) = self.scope.iter().rev().find(|(n, _)| n == name) {
                    return Ok(kind.clone());
                }
                match type_named(name) {
                    Some(_) => Ok(Ty::Type),
                    None => Err((format!("undeclared reference to '{name}' (in container '')"), at)),
                }
            }
            Node::Select { target, field, optional } => {
                if is_type_name(target, field) {
                    return Ok(Ty::Type);
                }
                let of = self.check(target)?;
                let (of, was_optional) = match of {
                    Ty::Optional(inner) => (*inner, true),
                    other => (other, false),
                };
                let kind = select(&of, field, at)?;
                Ok(if *optional || was_optional { Ty::Optional(Box::new(kind)) } else { kind })
            }
            Node::Has { target, field } => {
                let of = match self.check(target)? {
                    Ty::Optional(inner) => *inner,
                    other => other,
                };
                select(&of, field, at)?;
                Ok(Ty::Bool)
            }
            Node::Index { target, index, optional } => {
                let (of, key) = (self.check(target)?, self.check(index)?);
                let (of, was_optional) = match of {
                    Ty::Optional(inner) => (*inner, true),
                    other => (other, false),
                };
                let kind = match &of {
                    Ty::List(item) if key.is_number() || key == Ty::Dyn => (**item).clone(),
                    Ty::Map(wanted, value) if key.fits(wanted) || key.is_number() => (**value).clone(),
                    Ty::Dyn => Ty::Dyn,
                    _ => return Err(no_overload("_[_]", &[&of, &key], at)),
                };
                Ok(if *optional || was_optional { Ty::Optional(Box::new(kind)) } else { kind })
            }
            Node::Call { name, target, args } => {
                let target = target.as_deref().map(|t| self.check(t)).transpose()?;
                let args = args.iter().map(|a| self.check(a)).collect::<Result<Vec<_>, _>>()?;
                call(name, target.as_ref(), &args, at)
            }
            Node::Unary(unary, of) => {
                let kind = self.check(of)?;
                match (unary, &kind) {
                    (_, Ty::Dyn) | (Unary::Not, Ty::Bool) | (Unary::Negate, Ty::Int | Ty::Double | Ty::Duration) => {
                        Ok(if *unary == Unary::Not { Ty::Bool } else { kind })
                    }
                    (Unary::Not, _) => Err(no_overload("!_", &[&kind], at)),
                    _ => Err(no_overload("-_", &[&kind], at)),
                }
            }
            Node::Binary(op, left, right) => {
                let (left, right) = (self.check(left)?, self.check(right)?);
                binary(*op, &left, &right).ok_or_else(|| no_overload(op.name(), &[&left, &right], at))
            }
            Node::Ternary(parts) => {
                let condition = self.check(&parts[0])?;
                let (yes, no) = (self.check(&parts[1])?, self.check(&parts[2])?);
                if !condition.fits(&Ty::Bool) || !yes.fits(&no) {
                    return Err(no_overload("_?_:_", &[&condition, &yes, &no], at));
                }
                Ok(yes.join(no))
            }
            Node::List(items) => {
                let mut kind: Option<Ty> = None;
                for (item, optional) in items {
                    let of = self.check(item)?;
                    let of = match of {
                        Ty::Optional(inner) if *optional => *inner,
                        other => other,
                    };
                    kind = Some(kind.map_or(of.clone(), |k| k.join(of)));
                }
                Ok(Ty::list(kind.unwrap_or_default()))
            }
            Node::Map(entries) => {
                let (mut keys, mut values): (Option<Ty>, Option<Ty>) = (None, None);
                for (key, value, optional) in entries {
                    let (key, value) = (self.check(key)?, self.check(value)?);
                    let value = match value {
                        Ty::Optional(inner) if *optional => *inner,
                        other => other,
                    };
                    keys = Some(keys.map_or(key.clone(), |k| k.join(key)));
                    values = Some(values.map_or(value.clone(), |v| v.join(value)));
                }
                Ok(Ty::Map(Box::new(keys.unwrap_or_default()), Box::new(values.unwrap_or_default())))
            }
            Node::Message { name, fields } => self.message(name, fields, at),
            Node::Comprehension(c) => self.comprehension(c, at),
            Node::Bind { name, value, body } => {
                let kind = self.check(value)?;
                self.with(&[(name, kind)], body)
            }
            Node::OptMap { target, name, body, flat } => {
                let kind = match self.check(target)? {
                    Ty::Optional(inner) => *inner,
                    Ty::Dyn => Ty::Dyn,
                    other => return Err(no_overload("optMap", &[&other], at)),
                };
                let out = self.with(&[(name, kind)], body)?;
                Ok(if *flat { out } else { Ty::Optional(Box::new(out)) })
            }
        }
    }

    /// A message. Its type is declared as a variable of the first part of its name; a message in a field is named after the
    /// path of that field.
    fn message(&mut self, name: &str, fields: &[(String, Expr, bool)], at: usize) -> Checked {
        let root = name.split('.').next().unwrap_or(name);
        let Some((_, Ty::Message(known))) = self.scope.iter().rev().find(|(n, _)| n == root).cloned() else {
            return Err((format!("undeclared reference to '{name}' (in container '')"), at));
        };
        if !known.is_empty() && name != root {
            return Err((format!("undeclared reference to '{name}' (in container '')"), at));
        }
        for (field, value, _) in fields {
            if !known.is_empty() && !known.contains(&field.as_str()) {
                return Err((format!("undefined field '{field}'"), value.at));
            }
            self.check(value)?;
            if known.is_empty() {
                named_by_path(value, &format!("{name}.{field}"))?;
            }
        }
        Ok(Ty::Struct(std::sync::Arc::new(crate::types::StructType { open: true, ..Default::default() })))
    }

    fn with(&mut self, names: &[(&String, Ty)], body: &Expr) -> Checked {
        let depth = self.scope.len();
        self.scope.extend(names.iter().map(|(n, k)| ((*n).clone(), k.clone())));
        let out = self.check(body);
        self.scope.truncate(depth);
        out
    }

    fn comprehension(&mut self, c: &Comprehension, at: usize) -> Checked {
        let over = self.check(&c.over)?;
        let (key, value) = match &over {
            Ty::List(item) => (Ty::Int, (**item).clone()),
            Ty::Map(key, value) => ((**key).clone(), (**value).clone()),
            Ty::Dyn => (Ty::Dyn, Ty::Dyn),
            // The fields of an object are not known by number.
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return Err((message, c.over.at.min(at)));
            }
        };
        let is_map = matches!(over, Ty::Map(..));
        let item = if is_map && c.second.is_none() { key.clone() } else { value.clone() };
        let names: Vec<(&String, Ty)> = match &c.second {
            Some(second) => vec![(&c.first, key.clone()), (second, value)],
            None => vec![(&c.first, item.clone())],
        };
        if let Some(filter) = &c.filter {
            let kind = self.with(&names, filter)?;
            if !kind.fits(&Ty::Bool) {
                return Err((format!("expected type 'bool' but found '{kind}'"), filter.at));
            }
        }
        let body = self.with(&names, &c.body)?;
        let wants_bool = matches!(c.kind, Loop::All | Loop::Exists | Loop::ExistsOne | Loop::Filter);
        if wants_bool && !body.fits(&Ty::Bool) {
            return Err((format!("expected type 'bool' but found '{body}'"), c.body.at));
        }
        Ok(match c.kind {
            Loop::All | Loop::Exists | Loop::ExistsOne => Ty::Bool,
            Loop::Filter => Ty::list(item),
            Loop::List => Ty::list(body),
            Loop::Map => Ty::Map(Box::new(key), Box::new(body)),
            Loop::Entries => body,
        })
    }
}

/// Checks that the messages in a field, or in the items of its list, are named after its path.
fn named_by_path(value: &Expr, path: &str) -> Result<(), Wrong> {
    match &value.node {
        Node::Message { name, .. } if name != path => {
            let message = format!(
                "unexpected type name {name:?}, expected {path:?}, which matches field name path from root Object type"
            );
            Err((message, value.at))
        }
        Node::List(items) => items.iter().try_for_each(|(item, _)| named_by_path(item, path)),
        _ => Ok(()),
    }
}

fn is_type_name(target: &Expr, field: &str) -> bool {
    let name = match &target.node {
        Node::Ident(name) => format!("{name}.{field}"),
        Node::Select { target, field: inner, .. } => match &target.node {
            Node::Ident(name) => format!("{name}.{inner}.{field}"),
            _ => return false,
        },
        _ => return false,
    };
    name.contains('.') && type_named(&name).is_some()
}

fn literal(value: &Value) -> Ty {
    match value {
        Value::Null => Ty::Null,
        Value::Bool(_) => Ty::Bool,
        Value::Int(_) => Ty::Int,
        Value::Uint(_) => Ty::Uint,
        Value::Double(_) => Ty::Double,
        Value::String(_) => Ty::String,
        Value::Bytes(_) => Ty::Bytes,
        _ => Ty::Dyn,
    }
}

fn select(of: &Ty, field: &str, at: usize) -> Checked {
    match of {
        Ty::Dyn => Ok(Ty::Dyn),
        Ty::Opaque(AUTHORIZER_NAME) if field == "requestResource" => Ok(AUTHORIZER),
        Ty::Map(key, value) if key.fits(&Ty::String) => Ok((**value).clone()),
        Ty::Struct(fields) => match fields.fields.get(field).or_else(|| fields.fields.get(&unescape(field))) {
            Some(kind) => Ok(kind.clone()),
            None if fields.open => Ok(Ty::Dyn),
            None => Err((format!("undefined field '{field}'"), at)),
        },
        other => Err((format!("type '{other}' does not support field selection"), at)),
    }
}

fn binary(op: Binary, left: &Ty, right: &Ty) -> Option<Ty> {
    let either = |a: &Ty, b: &Ty| (left == a && right == b) || (left == b && right == a);
    let dynamic = *left == Ty::Dyn || *right == Ty::Dyn;
    match op {
        Binary::Or | Binary::And => (left.fits(&Ty::Bool) && right.fits(&Ty::Bool)).then_some(Ty::Bool),
        Binary::Equal | Binary::NotEqual => left.fits(right).then_some(Ty::Bool),
        Binary::In => match right {
            Ty::Dyn => Some(Ty::Bool),
            Ty::List(of) | Ty::Map(of, _) => left.fits(of).then_some(Ty::Bool),
            _ => None,
        },
        Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
            let ordered = |t: &Ty| {
                matches!(t, Ty::Bool | Ty::String | Ty::Bytes | Ty::Timestamp | Ty::Duration | Ty::Dyn) || t.is_number()
            };
            let fit = left.fits(right) || (left.is_number() && right.is_number());
            (ordered(left) && ordered(right) && fit).then_some(Ty::Bool)
        }
        Binary::Add if either(&Ty::Timestamp, &Ty::Duration) => Some(Ty::Timestamp),
        Binary::Subtract if *left == Ty::Timestamp && *right == Ty::Duration => Some(Ty::Timestamp),
        Binary::Subtract if *left == Ty::Timestamp && *right == Ty::Timestamp => Some(Ty::Duration),
        _ if dynamic => {
            let other = if *left == Ty::Dyn { right } else { left };
            let fits = match op {
                Binary::Add => !matches!(other, Ty::Bool | Ty::Null | Ty::Map(..) | Ty::Struct(_)),
                Binary::Subtract => other.is_number() || matches!(other, Ty::Dyn | Ty::Timestamp | Ty::Duration),
                _ => other.is_number() || *other == Ty::Dyn,
            };
            fits.then_some(Ty::Dyn)
        }
        Binary::Add => {
            let adds = left.is_number() || matches!(left, Ty::String | Ty::Bytes | Ty::Duration | Ty::List(_));
            (adds && left.fits(right)).then(|| left.clone())
        }
        Binary::Subtract => ((left.is_number() || *left == Ty::Duration) && left == right).then(|| left.clone()),
        Binary::Multiply | Binary::Divide => (left.is_number() && left == right).then(|| left.clone()),
        Binary::Modulo => (matches!(left, Ty::Int | Ty::Uint) && left == right).then(|| left.clone()),
    }
}

/// Functions: name, fewest and most arguments, result.
const FUNCTIONS: &[(&str, usize, usize, Ty)] = &[
    ("dyn", 1, 1, Ty::Dyn),
    ("type", 1, 1, Ty::Type),
    ("size", 1, 1, Ty::Int),
    ("string", 1, 1, Ty::String),
    ("bytes", 1, 1, Ty::Bytes),
    ("bool", 1, 1, Ty::Bool),
    ("int", 1, 1, Ty::Int),
    ("uint", 1, 1, Ty::Uint),
    ("double", 1, 1, Ty::Double),
    ("timestamp", 1, 1, Ty::Timestamp),
    ("duration", 1, 1, Ty::Duration),
    ("matches", 2, 2, Ty::Bool),
    ("optional.none", 0, 0, Ty::Dyn),
    ("optional.of", 1, 1, Ty::Dyn),
    ("optional.ofNonZeroValue", 1, 1, Ty::Dyn),
    ("sets.contains", 2, 2, Ty::Bool),
    ("sets.equivalent", 2, 2, Ty::Bool),
    ("sets.intersects", 2, 2, Ty::Bool),
    ("strings.quote", 1, 1, Ty::String),
    ("jsonpatch.escapeKey", 1, 1, Ty::String),
    ("base64.encode", 1, 1, Ty::String),
    ("base64.decode", 1, 1, Ty::Bytes),
    ("math.greatest", 1, 16, Ty::Dyn),
    ("math.least", 1, 16, Ty::Dyn),
    ("quantity", 1, 1, Ty::Opaque("kubernetes.Quantity")),
    ("isQuantity", 1, 1, Ty::Bool),
    ("url", 1, 1, Ty::Opaque("kubernetes.URL")),
    ("isURL", 1, 1, Ty::Bool),
    ("ip", 1, 1, Ty::Opaque("net.IP")),
    ("isIP", 1, 1, Ty::Bool),
    ("ip.isCanonical", 1, 1, Ty::Bool),
    ("cidr", 1, 1, Ty::Opaque("net.CIDR")),
    ("isCIDR", 1, 1, Ty::Bool),
    ("semver", 1, 2, Ty::Opaque("kubernetes.Semver")),
    ("isSemver", 1, 2, Ty::Bool),
    ("format.named", 1, 1, Ty::Dyn),
];

/// Methods: name, fewest and most arguments, result, names of the types that have it (empty: any).
const METHODS: &[(&str, usize, usize, Ty, &[&str])] = &[
    ("size", 0, 0, Ty::Int, &["string", "bytes", "list", "map"]),
    ("contains", 1, 1, Ty::Bool, &["string"]),
    ("startsWith", 1, 1, Ty::Bool, &["string"]),
    ("endsWith", 1, 1, Ty::Bool, &["string"]),
    ("matches", 1, 1, Ty::Bool, &["string"]),
    ("find", 1, 1, Ty::String, &["string"]),
    ("findAll", 1, 2, Ty::Dyn, &["string"]),
    ("lowerAscii", 0, 0, Ty::String, &["string"]),
    ("upperAscii", 0, 0, Ty::String, &["string"]),
    ("trim", 0, 0, Ty::String, &["string"]),
    ("charAt", 1, 1, Ty::String, &["string"]),
    ("substring", 1, 2, Ty::String, &["string"]),
    ("replace", 2, 3, Ty::String, &["string"]),
    ("split", 1, 2, Ty::Dyn, &["string"]),
    ("format", 1, 1, Ty::String, &["string"]),
    ("reverse", 0, 0, Ty::Dyn, &["string", "list"]),
    ("indexOf", 1, 2, Ty::Int, &["string", "list"]),
    ("lastIndexOf", 1, 2, Ty::Int, &["string", "list"]),
    ("join", 0, 1, Ty::String, &["list"]),
    ("isSorted", 0, 0, Ty::Bool, &["list"]),
    ("sum", 0, 0, Ty::Dyn, &["list"]),
    ("min", 0, 0, Ty::Dyn, &["list"]),
    ("max", 0, 0, Ty::Dyn, &["list"]),
    ("first", 0, 0, Ty::Dyn, &["list"]),
    ("last", 0, 0, Ty::Dyn, &["list"]),
    ("flatten", 0, 1, Ty::Dyn, &["list"]),
    ("distinct", 0, 0, Ty::Dyn, &["list"]),
    ("sort", 0, 0, Ty::Dyn, &["list"]),
    ("slice", 2, 2, Ty::Dyn, &["list"]),
    ("getFullYear", 0, 1, Ty::Int, &["timestamp"]),
    ("getMonth", 0, 1, Ty::Int, &["timestamp"]),
    ("getDate", 0, 1, Ty::Int, &["timestamp"]),
    ("getDayOfMonth", 0, 1, Ty::Int, &["timestamp"]),
    ("getDayOfWeek", 0, 1, Ty::Int, &["timestamp"]),
    ("getDayOfYear", 0, 1, Ty::Int, &["timestamp"]),
    ("getHours", 0, 1, Ty::Int, &["timestamp", "duration"]),
    ("getMinutes", 0, 1, Ty::Int, &["timestamp", "duration"]),
    ("getSeconds", 0, 1, Ty::Int, &["timestamp", "duration"]),
    ("getMilliseconds", 0, 1, Ty::Int, &["timestamp", "duration"]),
    ("hasValue", 0, 0, Ty::Bool, &["optional"]),
    ("value", 0, 0, Ty::Dyn, &["optional"]),
    ("or", 1, 1, Ty::Dyn, &["optional"]),
    ("orValue", 1, 1, Ty::Dyn, &["optional"]),
    ("getScheme", 0, 0, Ty::String, &["kubernetes.URL"]),
    ("getHost", 0, 0, Ty::String, &["kubernetes.URL"]),
    ("getHostname", 0, 0, Ty::String, &["kubernetes.URL"]),
    ("getPort", 0, 0, Ty::String, &["kubernetes.URL"]),
    ("getEscapedPath", 0, 0, Ty::String, &["kubernetes.URL"]),
    ("getQuery", 0, 0, Ty::Dyn, &["kubernetes.URL"]),
    ("family", 0, 0, Ty::Int, &["net.IP"]),
    ("isUnspecified", 0, 0, Ty::Bool, &["net.IP"]),
    ("isLoopback", 0, 0, Ty::Bool, &["net.IP"]),
    ("isLinkLocalUnicast", 0, 0, Ty::Bool, &["net.IP"]),
    ("isLinkLocalMulticast", 0, 0, Ty::Bool, &["net.IP"]),
    ("isGlobalUnicast", 0, 0, Ty::Bool, &["net.IP"]),
    ("containsIP", 1, 1, Ty::Bool, &["net.CIDR"]),
    ("containsCIDR", 1, 1, Ty::Bool, &["net.CIDR"]),
    ("ip", 0, 0, Ty::Opaque("net.IP"), &["net.CIDR"]),
    ("masked", 0, 0, Ty::Opaque("net.CIDR"), &["net.CIDR"]),
    ("prefixLength", 0, 0, Ty::Int, &["net.CIDR"]),
    ("sign", 0, 0, Ty::Int, &["kubernetes.Quantity"]),
    ("isInteger", 0, 0, Ty::Bool, &["kubernetes.Quantity"]),
    ("asInteger", 0, 0, Ty::Int, &["kubernetes.Quantity"]),
    ("asApproximateFloat", 0, 0, Ty::Double, &["kubernetes.Quantity"]),
    ("add", 1, 1, Ty::Opaque("kubernetes.Quantity"), &["kubernetes.Quantity"]),
    ("sub", 1, 1, Ty::Opaque("kubernetes.Quantity"), &["kubernetes.Quantity"]),
    ("isGreaterThan", 1, 1, Ty::Bool, &["kubernetes.Quantity", "kubernetes.Semver"]),
    ("isLessThan", 1, 1, Ty::Bool, &["kubernetes.Quantity", "kubernetes.Semver"]),
    ("compareTo", 1, 1, Ty::Int, &["kubernetes.Quantity", "kubernetes.Semver"]),
    ("major", 0, 0, Ty::Int, &["kubernetes.Semver"]),
    ("minor", 0, 0, Ty::Int, &["kubernetes.Semver"]),
    ("patch", 0, 0, Ty::Int, &["kubernetes.Semver"]),
    ("validate", 1, 1, Ty::Dyn, &["kubernetes.NamedFormat"]),
    ("path", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("group", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("resource", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("subresource", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("namespace", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("name", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("serviceAccount", 2, 2, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("fieldSelector", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("labelSelector", 1, 1, AUTHORIZER, &[AUTHORIZER_NAME]),
    ("check", 1, 1, Ty::Dyn, &[AUTHORIZER_NAME]),
    ("allowed", 0, 0, Ty::Bool, &[]),
    ("reason", 0, 0, Ty::String, &[]),
    ("errored", 0, 0, Ty::Bool, &[]),
    ("error", 0, 0, Ty::String, &[]),
];

const AUTHORIZER_NAME: &str = "kubernetes.authorization.Authorizer";
const AUTHORIZER: Ty = Ty::Opaque(AUTHORIZER_NAME);

fn family(kind: &Ty) -> String {
    match kind {
        Ty::List(_) => "list".into(),
        Ty::Map(..) | Ty::Struct(_) => "map".into(),
        Ty::Optional(_) => "optional".into(),
        other => other.to_string(),
    }
}

fn call(name: &str, target: Option<&Ty>, args: &[Ty], at: usize) -> Checked {
    let undeclared = || (format!("undeclared reference to '{name}' (in container '')"), at);
    let all: Vec<&Ty> = target.into_iter().chain(args).collect();
    let Some(target) = target else {
        if name.starts_with("format.") && name != "format.named" {
            return Ok(Ty::Opaque("kubernetes.NamedFormat"));
        }
        let (_, least, most, kind) = FUNCTIONS.iter().find(|f| f.0 == name).ok_or_else(undeclared)?;
        if !(*least..=*most).contains(&args.len()) {
            return Err(no_overload(name, &all, at));
        }
        if let ("optional.of", [of]) = (name, args) {
            return Ok(Ty::Optional(Box::new(of.clone())));
        }
        return Ok(kind.clone());
    };
    let (_, least, most, kind, on) = METHODS.iter().find(|m| m.0 == name).ok_or_else(undeclared)?;
    let fits = on.is_empty() || *target == Ty::Dyn || on.contains(&family(target).as_str());
    if !fits || !(*least..=*most).contains(&args.len()) {
        return Err(no_overload(name, &all, at));
    }
    Ok(match (name, target) {
        ("value" | "orValue", Ty::Optional(of)) => (**of).clone(),
        ("or", Ty::Optional(_)) => target.clone(),
        ("min" | "max" | "sum", Ty::List(of)) => (**of).clone(),
        ("distinct" | "sort" | "slice" | "reverse", Ty::List(_)) => target.clone(),
        ("findAll" | "split", _) => Ty::list(Ty::String),
        ("reverse", Ty::String) => Ty::String,
        _ => kind.clone(),
    })
}
