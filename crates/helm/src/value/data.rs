//! Values at rest: what a chart holds between renderings.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Entries, IntTy, Sorted, Str, Value};

/// An immutable value that threads may share.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// `null`
    Null,
    /// A boolean.
    Bool(bool),
    /// An `int64`: only `--set` makes these.
    Int(i64),
    /// A number of a YAML or JSON text.
    Float(f64),
    /// A text.
    Str(Str),
    /// A list, shared until it is changed.
    List(Arc<Vec<Data>>),
    /// A mapping, shared until it is changed.
    Map(Arc<Map>),
}

/// The entries of a mapping.
pub type Map = Sorted<Data>;

impl Data {
    /// An empty mapping.
    pub fn empty() -> Data {
        Data::map(Map::new())
    }

    /// A mapping.
    pub fn map(map: Map) -> Data {
        Data::Map(Arc::new(map))
    }

    /// A list.
    pub fn list(items: Vec<Data>) -> Data {
        Data::List(Arc::new(items))
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Data::Null)
    }

    /// The same with every number a float, as a file gives them.
    pub fn floats(&self) -> Data {
        match self {
            Data::Int(n) => Data::Float(*n as f64),
            Data::List(items) => Data::list(items.iter().map(Data::floats).collect()),
            Data::Map(map) => Data::map(map.iter().map(|(k, v)| (k.clone(), v.floats())).collect()),
            other => other.clone(),
        }
    }

    /// A value for one rendering.
    pub fn to_value(&self) -> Value {
        match self {
            Data::Null => Value::Nil,
            Data::Bool(b) => Value::Bool(*b),
            Data::Int(n) => Value::Int(IntTy::Int64, *n),
            Data::Float(f) => Value::Float(*f),
            Data::Str(s) => Value::Str(s.clone()),
            Data::List(items) => Value::list(items.iter().map(Data::to_value).collect()),
            Data::Map(map) => Value::map(map.iter().map(|(k, v)| (k.clone(), v.to_value())).collect::<Entries>()),
        }
    }

    /// From JSON: whole numbers written as such stay `int64`, as `--set` has them; others are floats.
    pub fn from_json(value: &serde_json::Value) -> Data {
        match value {
            serde_json::Value::Null => Data::Null,
            serde_json::Value::Bool(b) => Data::Bool(*b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) => Data::Int(i),
                None => Data::Float(n.as_f64().unwrap_or(0.0)),
            },
            serde_json::Value::String(s) => Data::Str(Str::from(s.as_str())),
            serde_json::Value::Array(items) => Data::list(items.iter().map(Data::from_json).collect()),
            serde_json::Value::Object(map) => {
                Data::map(map.iter().map(|(k, v)| (Str::from(k.as_str()), Data::from_json(v))).collect())
            }
        }
    }

    /// To JSON. Floats stay floats, also whole ones.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Data::Null => serde_json::Value::Null,
            Data::Bool(b) => (*b).into(),
            Data::Int(n) => (*n).into(),
            Data::Float(f) => (*f).into(),
            Data::Str(s) => s.as_ref().into(),
            Data::List(items) => items.iter().map(Data::to_json).collect(),
            Data::Map(map) => {
                serde_json::Value::Object(map.iter().map(|(k, v)| (k.to_string(), v.to_json())).collect())
            }
        }
    }
}

/// Builds [`Data`] from YAML: every number is a float, as Go's JSON decoder makes it.
pub struct BuildData;

impl goyaml::Build for BuildData {
    type Value = Data;
    fn null(&mut self) -> Data {
        Data::Null
    }
    fn bool(&mut self, value: bool) -> Data {
        Data::Bool(value)
    }
    fn int(&mut self, value: i64) -> Data {
        Data::Float(value as f64)
    }
    fn uint(&mut self, value: u64) -> Data {
        Data::Float(value as f64)
    }
    fn float(&mut self, value: f64) -> Data {
        Data::Float(value)
    }
    fn string(&mut self, value: Cow<'_, str>) -> Data {
        Data::Str(Str::from(value.as_ref()))
    }
    fn sequence(&mut self, items: Vec<Data>) -> Data {
        Data::list(items)
    }
    fn mapping(&mut self, pairs: Vec<(String, Data)>) -> Data {
        Data::map(pairs.into_iter().map(|(k, v)| (Str::from(k), v)).collect())
    }
}

/// Builds [`Value`] from YAML, with numbers as floats.
pub struct BuildValue;

impl goyaml::Build for BuildValue {
    type Value = Value;
    fn null(&mut self) -> Value {
        Value::Nil
    }
    fn bool(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }
    fn int(&mut self, value: i64) -> Value {
        Value::Float(value as f64)
    }
    fn uint(&mut self, value: u64) -> Value {
        Value::Float(value as f64)
    }
    fn float(&mut self, value: f64) -> Value {
        Value::Float(value)
    }
    fn string(&mut self, value: Cow<'_, str>) -> Value {
        Value::str(value)
    }
    fn sequence(&mut self, items: Vec<Value>) -> Value {
        Value::list(items)
    }
    fn mapping(&mut self, pairs: Vec<(String, Value)>) -> Value {
        Value::map(pairs.into_iter().map(|(k, v)| (Str::from(k), v)).collect())
    }
}
