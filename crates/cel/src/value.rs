//! Values.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use objects::Quantity;
use serde_json::Value as Json;

use crate::eval::Question;
use crate::number;

/// A value of the language.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`.
    Null,
    /// Truth value.
    Bool(bool),
    /// Signed number.
    Int(i64),
    /// Unsigned number.
    Uint(u64),
    /// Floating point number.
    Double(f64),
    /// Text.
    String(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// List.
    List(Arc<Vec<Value>>, ListKind),
    /// Map.
    Map(Arc<BTreeMap<Key, Value>>),
    /// Point in time.
    Timestamp(Timestamp),
    /// Span of time, in nanoseconds.
    Duration(i64),
    /// A type, by its name.
    Type(Arc<str>),
    /// A value or none.
    Optional(Option<Box<Value>>),
    /// A resource quantity.
    Quantity(Quantity),
    /// A URL.
    Url(Arc<url::Url>, bool),
    /// An IP address.
    Ip(std::net::IpAddr),
    /// An address range: base and length of the prefix.
    Cidr(std::net::IpAddr, u8),
    /// A semantic version.
    Semver(Arc<semver::Version>),
    /// A named format of text.
    Format(&'static str),
    /// A question to the authorizer that is being built.
    Authorizer(Arc<Question>),
    /// The authorizer's answer: whether allowed, and why.
    Decision(bool, Arc<str>),
}

/// How the items of a list are told apart, when lists are compared and added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListKind {
    /// By position.
    #[default]
    Plain,
    /// By value; order does not matter.
    Set,
    /// By these fields; order does not matter.
    Keyed(Arc<[Box<str>]>),
}

/// The key of a map entry.
#[derive(Debug, Clone)]
pub enum Key {
    /// Truth value.
    Bool(bool),
    /// Signed number.
    Int(i64),
    /// Unsigned number; equal to the signed one of the same value.
    Uint(u64),
    /// Text.
    String(Arc<str>),
}

impl Key {
    fn rank(&self) -> (u8, i128) {
        match self {
            Key::Bool(b) => (0, i128::from(*b)),
            Key::Int(i) => (1, i128::from(*i)),
            Key::Uint(u) => (1, i128::from(*u)),
            Key::String(_) => (2, 0),
        }
    }

    /// The value that can be a key; `None` for those that cannot.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Key::Bool(*b),
            Value::Int(i) => Key::Int(*i),
            Value::Uint(u) => Key::Uint(*u),
            Value::Double(d) if d.fract() == 0.0 && d.abs() < 9.2e18 => Key::Int(*d as i64),
            Value::String(s) => Key::String(Arc::clone(s)),
            _ => return None,
        })
    }

    /// As a value.
    pub fn value(&self) -> Value {
        match self {
            Key::Bool(b) => Value::Bool(*b),
            Key::Int(i) => Value::Int(*i),
            Key::Uint(u) => Value::Uint(*u),
            Key::String(s) => Value::String(Arc::clone(s)),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Key::String(a), Key::String(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl Value {
    /// A plain list.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(Arc::new(items), ListKind::Plain)
    }

    /// A map from names.
    pub fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Self {
        Value::Map(Arc::new(entries.into_iter().map(|(k, v)| (Key::String(k.into()), v)).collect()))
    }

    /// From JSON of which nothing is known.
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Value::Int(i),
                (None, Some(u)) => Value::Uint(u),
                _ => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Value::String(s.as_str().into()),
            Json::Array(list) => Value::list(list.iter().map(Value::from_json).collect()),
            Json::Object(map) => Value::map(map.iter().map(|(k, v)| (k.clone(), Value::from_json(v)))),
        }
    }

    /// As JSON; `None` where it has no form there.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => (*i).into(),
            Value::Uint(u) => (*u).into(),
            Value::Double(d) => serde_json::Number::from_f64(*d)?.into(),
            Value::List(items, _) => Json::Array(items.iter().map(Value::to_json).collect::<Option<_>>()?),
            Value::Map(map) => {
                let entry = |(k, v): (&Key, &Value)| Some((k.value().text()?, v.to_json()?));
                Json::Object(map.iter().map(entry).collect::<Option<_>>()?)
            }
            Value::Optional(inner) => inner.as_ref()?.to_json()?,
            other => Json::String(other.text()?),
        })
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(..) => "list",
            Value::Map(_) => "map",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Type(_) => "type",
            Value::Optional(_) => "optional_type",
            Value::Quantity(_) => "kubernetes.Quantity",
            Value::Url(..) => "kubernetes.URL",
            Value::Ip(_) => "net.IP",
            Value::Cidr(..) => "net.CIDR",
            Value::Semver(_) => "kubernetes.Semver",
            Value::Format(_) => "kubernetes.NamedFormat",
            Value::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Value::Decision(..) => "kubernetes.authorization.Decision",
        }
    }

    /// What `string()` makes of it; `None` where it makes nothing.
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Value::Bool(b) => b.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Uint(u) => u.to_string(),
            Value::Double(d) => number::double(*d),
            Value::String(s) => s.to_string(),
            Value::Bytes(b) => String::from_utf8(b.to_vec()).ok()?,
            Value::Timestamp(at) => at.to_string(),
            Value::Duration(nanos) => number::seconds(*nanos),
            Value::Type(name) => name.to_string(),
            Value::Quantity(q) => q.to_string(),
            Value::Url(url, absolute) => {
                if *absolute {
                    url.to_string()
                } else {
                    url[url::Position::BeforePath..].to_owned()
                }
            }
            Value::Ip(ip) => ip.to_string(),
            Value::Cidr(ip, prefix) => format!("{ip}/{prefix}"),
            Value::Semver(v) => v.to_string(),
            _ => return None,
        })
    }

    /// Whether two values are equal; values of different types are not.
    pub fn equal(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::List(a, kind), Value::List(b, _)) => a.len() == b.len() && same_items(a, b, kind),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| v.equal(w)))
            }
            (Value::Optional(a), Value::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.equal(b),
                _ => false,
            },
            (Value::Url(a, _), Value::Url(b, _)) => a == b,
            (Value::Ip(a), Value::Ip(b)) => a == b,
            (Value::Cidr(a, n), Value::Cidr(b, m)) => a == b && n == m,
            (Value::Format(a), Value::Format(b)) => a == b,
            (a, b) => a.compare(b) == Some(Ordering::Equal),
        }
    }

    /// The order of two values, where there is one.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Quantity(a), Value::Quantity(b)) => Some(a.cmp(b)),
            (Value::Semver(a), Value::Semver(b)) => Some(a.cmp_precedence(b)),
            (a, b) => number::compare(a, b),
        }
    }

    /// How much it weighs when it is walked through: characters, items, entries.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Value::String(s) => s.len() as u64 / 10,
            Value::Bytes(b) => b.len() as u64 / 10,
            Value::List(items, _) => items.iter().map(|i| 1 + i.weight()).sum(),
            Value::Map(map) => map.values().map(|v| 1 + v.weight()).sum(),
            _ => 0,
        }
    }

    /// The identity of a list's item.
    pub(crate) fn same_item(&self, other: &Value, kind: &ListKind) -> bool {
        match (kind, self, other) {
            (ListKind::Keyed(keys), Value::Map(a), Value::Map(b)) => keys.iter().all(|key| {
                let key = Key::String((&**key).into());
                match (a.get(&key), b.get(&key)) {
                    (Some(a), Some(b)) => a.equal(b),
                    (None, None) => true,
                    _ => false,
                }
            }),
            _ => self.equal(other),
        }
    }
}

fn same_items(a: &[Value], b: &[Value], kind: &ListKind) -> bool {
    match kind {
        ListKind::Plain => a.iter().zip(b).all(|(x, y)| x.equal(y)),
        _ => a.iter().all(|x| b.iter().any(|y| x.equal(y))),
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.equal(other)
    }
}
