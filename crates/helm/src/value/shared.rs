//! The shared parts of values: texts, lists and maps that count what they hold.

use std::borrow::{Borrow, Cow};
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{IntTy, ListTy, Sorted, Value, budget};

/// What a text takes besides its bytes.
const TEXT: usize = 32;
/// What a list takes besides its items.
const LIST: usize = 96;
/// What a map takes besides its entries.
const MAP: usize = 96;
/// What an entry of a map takes besides its key and its value's own.
const ENTRY: usize = 56;

/// A text, shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str(Arc<str>);

impl Str {
    fn counted(text: Arc<str>) -> Str {
        budget::take(text.len() + TEXT);
        Str(text)
    }
}

impl Drop for Str {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) == 1 {
            budget::give(self.0.len() + TEXT);
        }
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        Str::counted(Arc::from(text))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str::counted(Arc::from(text))
    }
}

impl From<Cow<'_, str>> for Str {
    fn from(text: Cow<'_, str>) -> Str {
        Str::counted(Arc::from(text))
    }
}

impl Default for Str {
    fn default() -> Str {
        Str::from("")
    }
}

impl Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A slice: never changed once made. Bytes become items only when somebody asks for them.
#[derive(Debug)]
pub struct List {
    /// Its type.
    pub ty: ListTy,
    /// Whether it is Go's nil slice: empty, `null` in JSON, and not equal to an empty one.
    pub nil: bool,
    bytes: Option<Arc<[u8]>>,
    items: OnceCell<Vec<Value>>,
}

fn list_size(items: &[Value]) -> usize {
    LIST + std::mem::size_of_val(items)
}

impl List {
    /// A slice of a type.
    pub fn new(ty: ListTy, items: Vec<Value>) -> List {
        budget::take(list_size(&items));
        List { ty, nil: false, bytes: None, items: OnceCell::from(items) }
    }

    /// A nil slice of a type.
    pub fn none(ty: ListTy) -> List {
        let mut list = List::new(ty, Vec::new());
        list.nil = true;
        list
    }

    /// A `[]uint8`, which shares the bytes.
    pub fn of_bytes(bytes: Arc<[u8]>) -> List {
        List { ty: ListTy::Bytes, nil: false, bytes: Some(bytes), items: OnceCell::new() }
    }

    /// Its items.
    pub fn items(&self) -> &[Value] {
        self.items.get_or_init(|| {
            let bytes = self.bytes.as_deref().unwrap_or_default();
            if !budget::fits(bytes.len() * size_of::<Value>()) {
                budget::take(LIST);
                return Vec::new();
            }
            let items: Vec<Value> = bytes.iter().map(|&b| Value::Int(IntTy::Uint8, i64::from(b))).collect();
            budget::take(list_size(&items));
            items
        })
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        match &self.bytes {
            Some(bytes) => bytes.len(),
            None => self.items().len(),
        }
    }

    /// Whether it has no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a `[]uint8`.
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        if self.ty != ListTy::Bytes {
            return None;
        }
        Some(match &self.bytes {
            Some(bytes) => Cow::Borrowed(bytes),
            None => self.items().iter().map(|v| if let Value::Int(_, n) = v { *n as u8 } else { 0 }).collect(),
        })
    }

    /// Whether items have the static type `interface {}`.
    pub fn holds_any(&self) -> bool {
        self.ty == ListTy::Any
    }
}

impl Drop for List {
    fn drop(&mut self) {
        if let Some(items) = self.items.take() {
            budget::give(list_size(&items));
            if items.iter().any(|v| matches!(v, Value::List(_) | Value::Map(_))) {
                budget::bury(items);
            }
        }
    }
}

/// The entries of a map in the order of their keys.
pub type Entries = Sorted<Value>;

/// The entries of a map, shared by all that see it.
#[derive(Debug)]
pub struct Table {
    entries: RefCell<Entries>,
    counted: Cell<usize>,
    /// Whether it may have become part of itself.
    pub(crate) suspect: Cell<bool>,
}

impl Table {
    /// A table of entries.
    pub fn new(entries: Entries) -> Table {
        let size = MAP + entries.len() * ENTRY;
        budget::take(size);
        Table { entries: RefCell::new(entries), counted: Cell::new(size), suspect: Cell::new(false) }
    }

    /// The entries.
    pub fn borrow(&self) -> std::cell::Ref<'_, Entries> {
        self.entries.borrow()
    }

    /// Adds an entry or replaces its value.
    pub fn insert(&self, key: Str, value: Value) {
        let old = self.entries.borrow_mut().insert(key, value);
        if old.is_none() {
            budget::take(ENTRY);
            self.counted.set(self.counted.get() + ENTRY);
        }
    }

    /// Removes an entry.
    pub fn remove(&self, key: &str) {
        let old = self.entries.borrow_mut().remove(key);
        drop(old);
    }

    /// Removes all entries.
    pub fn clear(&self) {
        let entries = std::mem::take(&mut *self.entries.borrow_mut());
        budget::bury(entries.into_values());
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        budget::give(self.counted.get());
        let entries = self.entries.get_mut();
        if entries.values().any(|v| matches!(v, Value::List(_) | Value::Map(_))) {
            budget::bury(std::mem::take(entries).into_values());
        }
    }
}
