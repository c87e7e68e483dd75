//! Values as templates see them: Go's dynamic types, as far as Helm's functions can make them.
//!
//! A [`Value`] belongs to one rendering on one thread: maps are shared and mutable (`set`, `unset`, `merge`), as in Go.
//! What outlives a rendering is [`Data`], which is `Send + Sync`.
//!
//! Go texts are bytes. Here they are `str`, and a byte that is not UTF-8 stands as one private character
//! (see [`text`]), so that a binary file survives `b64enc`.

pub mod budget;
pub mod convert;
pub mod data;
pub mod fmt;
pub mod json;
pub mod quote;
pub mod shared;
pub mod sorted;
pub mod text;
pub mod time;
pub mod toml;
pub mod yaml;

pub use data::Data;
pub use shared::{Entries, List, Str, Table};
pub use sorted::Sorted;

use std::rc::Rc;
use std::sync::Arc;

/// The integer types that functions return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntTy {
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `uint8`: a byte of a text.
    Uint8,
    /// `int32`: a character constant converted.
    Int32,
    /// `uint64`
    Uint64,
}

impl IntTy {
    /// Go's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            IntTy::Int => "int",
            IntTy::Int64 => "int64",
            IntTy::Uint8 => "uint8",
            IntTy::Int32 => "int32",
            IntTy::Uint64 => "uint64",
        }
    }

    fn unsigned(self) -> bool {
        matches!(self, IntTy::Uint8 | IntTy::Uint64)
    }
}

/// A value.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value at all (Go's zero `reflect.Value`): prints as `<no value>`, and its fields are as absent as itself.
    Invalid,
    /// A nil interface: what a missing key of a map gives. Its fields are an error.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer of some type.
    Int(IntTy, i64),
    /// `float64`
    Float(f64),
    /// A text.
    Str(Str),
    /// A slice.
    List(Rc<List>),
    /// A map with text keys, shared.
    Map(Rc<Map>),
    /// `time.Time`
    Time(Rc<time::Time>),
    /// `time.Duration`, in nanoseconds.
    Duration(i64),
    /// Anything else that has fields or methods.
    Object(Rc<Object>),
}

/// The element type of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListTy {
    /// `[]interface {}`
    Any,
    /// `[]string`
    Str,
    /// `[]int`
    Int,
    /// `[]uint8`: bytes; the items are `Int(Uint8, _)`.
    Bytes,
    /// `[][]interface {}`
    Lists,
    /// `[]map[string]interface {}`
    Maps,
    /// `common.VersionSet`, a `[]string` with `Has`.
    VersionSet,
}

/// The type of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapTy {
    /// `map[string]interface {}`
    Any,
    /// `common.Values`
    Values,
    /// `map[string]string`
    Str,
    /// A nil `map[string]string`: empty, and `null` in JSON.
    NilStr,
    /// A nil `map[string]interface {}`.
    Nil,
    /// `engine.files`: the items are bytes.
    Files,
}

/// A shared map.
#[derive(Debug)]
pub struct Map {
    /// Its type.
    pub ty: MapTy,
    /// Its entries: the same under every type that it is seen as.
    pub entries: Rc<Table>,
}

/// A Go struct, or a value with methods.
#[derive(Debug)]
pub enum Object {
    /// A struct: fields by Go name, with the name JSON gives them (empty: not exported; `-`... left out).
    Struct(Struct),
    /// `*semver.Version`
    Semver(crate::funcs::semver::Version),
    /// `*common.Capabilities` and other plain structs hold [`Struct`]; this one is an error value in a value's place.
    Error(Str),
    /// `complex128`
    Complex(f64, f64),
}

/// A struct.
#[derive(Debug)]
pub struct Struct {
    /// Go's name of its type, with a `*` when it is a pointer.
    pub name: &'static str,
    /// Its fields in order.
    pub fields: Vec<Field>,
    /// What `String()` gives, when the type has it.
    pub display: Option<Str>,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// Go's name.
    pub name: &'static str,
    /// The key in JSON; `None` leaves it out.
    pub json: Option<&'static str>,
    /// Left out of JSON when empty.
    pub omit_empty: bool,
    /// The value.
    pub value: Value,
}

impl Value {
    /// A text.
    pub fn str(text: impl AsRef<str>) -> Value {
        Value::Str(Str::from(text.as_ref()))
    }

    /// An `int`.
    pub fn int(n: i64) -> Value {
        Value::Int(IntTy::Int, n)
    }

    /// An `int64`.
    pub fn int64(n: i64) -> Value {
        Value::Int(IntTy::Int64, n)
    }

    /// A `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Value {
        Value::list_of(ListTy::Any, items)
    }

    /// A `[]string`.
    pub fn strings<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Value {
        Value::list_of(ListTy::Str, items.into_iter().map(Value::str).collect())
    }

    /// A slice of a type.
    pub fn list_of(ty: ListTy, items: Vec<Value>) -> Value {
        Value::List(Rc::new(List::new(ty, items)))
    }

    /// A slice of a type, nil when it has no items: what Go's `append` makes of nothing.
    pub fn list_or_nil(ty: ListTy, items: Vec<Value>) -> Value {
        if items.is_empty() { Value::List(Rc::new(List::none(ty))) } else { Value::list_of(ty, items) }
    }

    /// Bytes, shared.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Value {
        Value::List(Rc::new(List::of_bytes(bytes.into())))
    }

    /// A `map[string]interface {}`.
    pub fn map(entries: Entries) -> Value {
        Value::map_of(MapTy::Any, entries)
    }

    /// A map of a type.
    pub fn map_of(ty: MapTy, entries: Entries) -> Value {
        Value::Map(Rc::new(Map { ty, entries: Rc::new(Table::new(entries)) }))
    }

    /// About what it takes itself, without what its items hold.
    pub(crate) fn shallow_size(&self) -> usize {
        match self {
            Value::Str(s) => s.len(),
            Value::List(l) => l.len() * size_of::<Value>(),
            Value::Map(m) => m.entries.borrow().len() * 64,
            _ => 0,
        }
    }

    /// Whether it is a nil of either sort.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Invalid | Value::Nil)
    }

    /// The same with the two nils made one: what a container may hold.
    pub fn stored(self) -> Value {
        match self {
            Value::Invalid => Value::Nil,
            v => v,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Rc<Map>> {
        match self {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }

    /// Go's truth: whether `if` takes it.
    pub fn truth(&self) -> bool {
        match self {
            Value::Invalid | Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(_, n) | Value::Duration(n) => *n != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::List(l) => !l.is_empty(),
            Value::Map(m) => !m.entries.borrow().is_empty(),
            Value::Object(o) => !matches!(o.as_ref(), Object::Complex(re, im) if *re == 0.0 && *im == 0.0),
            Value::Time(_) => true,
        }
    }

    /// Go's name of the type, as `%T` prints it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Invalid | Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(ty, _) => ty.name(),
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::List(l) => match l.ty {
                ListTy::Any => "[]interface {}",
                ListTy::Str => "[]string",
                ListTy::Int => "[]int",
                ListTy::Bytes => "[]uint8",
                ListTy::Lists => "[][]interface {}",
                ListTy::Maps => "[]map[string]interface {}",
                ListTy::VersionSet => "common.VersionSet",
            },
            Value::Map(m) => match m.ty {
                MapTy::Any | MapTy::Nil => "map[string]interface {}",
                MapTy::Values => "common.Values",
                MapTy::Str | MapTy::NilStr => "map[string]string",
                MapTy::Files => "engine.files",
            },
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Object(o) => match o.as_ref() {
                Object::Struct(s) => s.name,
                Object::Semver(_) => "*semver.Version",
                Object::Error(_) => "*errors.errorString",
                Object::Complex(..) => "complex128",
            },
        }
    }

    /// Go's kind, as `kindOf` names it.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Invalid | Value::Nil => "invalid",
            Value::Bool(_) => "bool",
            Value::Int(ty, _) => ty.name(),
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::List(_) => "slice",
            Value::Map(_) => "map",
            Value::Time(_) => "struct",
            Value::Duration(_) => "int64",
            Value::Object(o) => match o.as_ref() {
                Object::Struct(s) if s.name.starts_with('*') => "ptr",
                Object::Struct(_) => "struct",
                Object::Semver(_) | Object::Error(_) => "ptr",
                Object::Complex(..) => "complex128",
            },
        }
    }
}

impl Map {
    /// The zero value of the map's elements: what a missing key gives.
    pub fn zero(&self) -> Value {
        match self.ty {
            MapTy::Any | MapTy::Values | MapTy::Nil => Value::Nil,
            MapTy::Str | MapTy::NilStr => Value::str(""),
            MapTy::Files => Value::list_of(ListTy::Bytes, Vec::new()),
        }
    }

    /// Whether elements have the static type `interface {}`.
    pub fn holds_any(&self) -> bool {
        matches!(self.ty, MapTy::Any | MapTy::Values | MapTy::Nil)
    }

    /// Whether it is the same map, whatever type it is seen as.
    pub fn same(&self, other: &Map) -> bool {
        Rc::ptr_eq(&self.entries, &other.entries)
    }

    /// Whether it is Go's nil map: empty, and nothing can be put into it.
    pub fn is_nil(&self) -> bool {
        matches!(self.ty, MapTy::NilStr | MapTy::Nil)
    }

    /// The same map seen as another type.
    pub fn seen_as(&self, ty: MapTy) -> Value {
        Value::Map(Rc::new(Map { ty, entries: self.entries.clone() }))
    }

    /// A copy of an element.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.entries.borrow().get(key).cloned()
    }
}

/// Deep equality as `reflect.DeepEqual` has it: types count.
pub fn deep_equal(a: &Value, b: &Value) -> bool {
    deep_equal_at(a, b, 0)
}

fn deep_equal_at(a: &Value, b: &Value, depth: usize) -> bool {
    if depth > 500 || !budget::goes_on(0) {
        return false;
    }
    match (a, b) {
        (Value::Invalid | Value::Nil, Value::Invalid | Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(t, a), Value::Int(u, b)) => t == u && a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Time(a), Value::Time(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            Rc::ptr_eq(a, b)
                || (a.ty == b.ty
                    && a.nil == b.nil
                    && a.len() == b.len()
                    && a.items().iter().zip(b.items()).all(|(a, b)| deep_equal_at(a, b, depth + 1)))
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.same(b) {
                return a.ty == b.ty;
            }
            let (x, y) = (a.entries.borrow(), b.entries.borrow());
            a.ty == b.ty
                && x.len() == y.len()
                && x.iter().zip(y.iter()).all(|((k, v), (l, w))| k == l && deep_equal_at(v, w, depth + 1))
        }
        (Value::Object(a), Value::Object(b)) => {
            Rc::ptr_eq(a, b)
                || match (a.as_ref(), b.as_ref()) {
                    (Object::Semver(a), Object::Semver(b)) => a.original == b.original,
                    (Object::Complex(a, b), Object::Complex(c, d)) => a == c && b == d,
                    _ => false,
                }
        }
        _ => false,
    }
}

/// Whether an integer prints as unsigned.
pub(crate) fn is_unsigned(ty: IntTy) -> bool {
    ty.unsigned()
}
