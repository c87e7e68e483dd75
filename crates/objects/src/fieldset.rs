//! Sets of field paths, as `managedFields` stores them (`FieldsV1`): a trie from path elements to members.
//!
//! A path element is kept in its serialised form: `f:NAME` a field, `k:{...}` a list item by its keys, `v:VALUE` a list
//! item by value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{ListType, SchemaRef, Type};

/// A set of field paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSet {
    children: BTreeMap<Box<str>, Entry>,
}

/// What a set says about one path element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Entry {
    member: bool,
    below: FieldSet,
}

/// Text that is no `FieldsV1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a FieldsV1 set: {0}")]
pub struct FormError(String);

const MAX_DEPTH: usize = 128;

impl FieldSet {
    /// Whether it has no path.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The number of paths.
    pub fn len(&self) -> usize {
        self.children.values().map(|e| usize::from(e.member) + e.below.len()).sum()
    }

    /// From `fieldsV1` JSON.
    ///
    /// # Errors
    /// The value is not of the form.
    pub fn from_value(value: &Value) -> Result<Self, FormError> {
        Self::read(value, 0)
    }

    fn read(value: &Value, depth: usize) -> Result<Self, FormError> {
        let Value::Object(map) = value else { return Err(FormError(format!("{} is not an object", brief(value)))) };
        if depth > MAX_DEPTH {
            return Err(FormError("nested too deeply".into()));
        }
        let mut set = Self::default();
        for (key, below) in map {
            if key == "." {
                continue;
            }
            if !matches!(key.get(..2), Some("f:" | "k:" | "v:" | "i:")) {
                return Err(FormError(format!("unknown path element {:?}", key.chars().take(64).collect::<String>())));
            }
            let below_set = Self::read(below, depth + 1)?;
            let member = below_set.is_empty() || below.get(".").is_some();
            set.children.insert(key.as_str().into(), Entry { member, below: below_set });
        }
        Ok(set)
    }

    /// As `fieldsV1` JSON.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, entry) in &self.children {
            let mut below = entry.below.to_value();
            if entry.member && !entry.below.is_empty() {
                below["."] = Value::Object(Map::new());
            }
            map.insert(key.to_string(), below);
        }
        Value::Object(map)
    }

    fn put(&mut self, element: &str, member: bool, below: FieldSet) {
        if member || !below.is_empty() {
            self.children.insert(element.into(), Entry { member, below });
        }
    }

    /// Adds one path.
    pub fn insert(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let entry = self.children.entry((*first).into()).or_default();
        if rest.is_empty() { entry.member = true } else { entry.below.insert(rest) }
    }

    /// Removes a path and everything below it.
    pub fn remove_tree(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        if rest.is_empty() {
            self.children.remove(*first);
        } else if let Some(entry) = self.children.get_mut(*first) {
            entry.below.remove_tree(rest);
            if !entry.member && entry.below.is_empty() {
                self.children.remove(*first);
            }
        }
    }

    /// Keeps only this path and what is below it, or nothing.
    #[must_use]
    pub fn only_tree(&self, path: &[&str]) -> Self {
        let Some((first, rest)) = path.split_first() else { return self.clone() };
        let mut out = Self::default();
        if let Some(entry) = self.children.get(*first) {
            if rest.is_empty() {
                out.put(first, entry.member, entry.below.clone())
            } else {
                out.put(first, false, entry.below.only_tree(rest))
            }
        }
        out
    }

    /// Paths in either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    fn add(&mut self, other: &Self) {
        for (key, entry) in &other.children {
            let mine = self.children.entry(key.clone()).or_default();
            mine.member |= entry.member;
            mine.below.add(&entry.below);
        }
    }

    /// Paths in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (key, entry) in &self.children {
            if let Some(theirs) = other.children.get(key) {
                out.put(key, entry.member && theirs.member, entry.below.intersection(&theirs.below));
            }
        }
        out
    }

    /// Paths here that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (key, entry) in &self.children {
            match other.children.get(key) {
                None => out.put(key, entry.member, entry.below.clone()),
                Some(theirs) => out.put(key, entry.member && !theirs.member, entry.below.difference(&theirs.below)),
            }
        }
        out
    }

    /// Paths here that are neither in the other nor below one of its members.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (key, entry) in &self.children {
            match other.children.get(key) {
                None => out.put(key, entry.member, entry.below.clone()),
                Some(theirs) if theirs.member => {}
                Some(theirs) => out.put(key, entry.member, entry.below.recursive_difference(&theirs.below)),
            }
        }
        out
    }

    fn child(&self, element: &str) -> Option<&Entry> {
        self.children.get(element)
    }

    /// Every path, as text such as `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        for (key, entry) in &self.children {
            let path = format!("{prefix}{}", shown(key));
            if entry.member {
                out.push(path.clone());
            }
            entry.below.collect(&path, out);
        }
    }
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

fn shown(element: &str) -> String {
    let rest = element.get(2..).unwrap_or("");
    match element.get(..2) {
        Some("f:") => format!(".{rest}"),
        Some("k:") => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let list: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", list.join(","))
        }
        Some("v:") => format!("[={rest}]"),
        _ => format!("[{rest}]"),
    }
}

/// The path element of a field.
pub(crate) fn field_element(name: &str) -> String {
    format!("f:{name}")
}

/// The path element of a list's item, `None` where the list is atomic or the item has no usable key.
pub(crate) fn item_element(item: &Value, list: &ListType, items: Option<SchemaRef<'_>>) -> Option<String> {
    match list {
        ListType::Atomic => None,
        ListType::Set => Some(format!("v:{item}")),
        ListType::Map(keys) => {
            let mut id = BTreeMap::new();
            for key in keys {
                let default = || items.and_then(|i| i.named_field(key)).and_then(|f| f.node().default.as_deref());
                if let Some(value) = item.get(&**key).or_else(default) {
                    id.insert(&**key, value);
                } else if let Some(value) = known_default(key) {
                    id.insert(&**key, value);
                }
            }
            if id.is_empty() {
                return None;
            }
            serde_json::to_string(&id).ok().map(|text| format!("k:{text}"))
        }
    }
}

/// Keys that Kubernetes defaults where they are absent: the protocol of a port.
fn known_default(key: &str) -> Option<&'static Value> {
    static TCP: std::sync::OnceLock<Value> = std::sync::OnceLock::new();
    (key == "protocol").then(|| TCP.get_or_init(|| Value::String("TCP".into())))
}

/// How a value is walked.
pub(crate) enum Shape<'a> {
    /// As a whole.
    Leaf,
    /// By fields.
    Map(Option<SchemaRef<'a>>),
    /// By items.
    List(&'a ListType, Option<SchemaRef<'a>>),
}

/// Lists and maps of which nothing is known: maps by field, lists as a whole.
pub(crate) fn shape<'a>(value: &Value, schema: Option<SchemaRef<'a>>) -> Shape<'a> {
    match value {
        Value::Object(_) => match schema {
            Some(schema) if schema.is_atomic_map() => Shape::Leaf,
            Some(schema) if schema.is_opaque() => Shape::Map(None),
            Some(schema) if matches!(schema.kind(), Type::Object | Type::Any) => Shape::Map(Some(schema)),
            Some(_) => Shape::Leaf,
            None => Shape::Map(None),
        },
        Value::Array(_) => match schema {
            Some(schema) if schema.kind() == Type::Array && *schema.list_type() != ListType::Atomic => {
                Shape::List(schema.list_type(), schema.items())
            }
            _ => Shape::Leaf,
        },
        _ => Shape::Leaf,
    }
}

/// The set of fields that a value has.
pub fn of(value: &Value, schema: Option<SchemaRef<'_>>) -> FieldSet {
    let mut set = FieldSet::default();
    walk(value, schema, &mut set);
    set
}

/// Adds what lies below `value`; answers whether `value` itself is a member.
fn walk(value: &Value, schema: Option<SchemaRef<'_>>, set: &mut FieldSet) -> bool {
    match (shape(value, schema), value) {
        (Shape::Map(schema), Value::Object(map)) => {
            for (name, value) in map {
                let named = schema.is_some_and(|s| s.named_field(name).is_some());
                let mut below = FieldSet::default();
                let leaf = walk(value, schema.and_then(|s| s.field(name)), &mut below);
                set.put(&field_element(name), leaf || (!named && schema.is_some()), below);
            }
            map.is_empty()
        }
        (Shape::List(list, items), Value::Array(values)) => {
            for item in values {
                let Some(element) = item_element(item, list, items) else { continue };
                let mut below = FieldSet::default();
                walk(item, items, &mut below);
                set.put(&element, true, below);
            }
            values.is_empty()
        }
        _ => true,
    }
}

/// The fields that differ between two values.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// In the new value only.
    pub added: FieldSet,
    /// In both, with different values.
    pub modified: FieldSet,
    /// In the old value only.
    pub removed: FieldSet,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// Compares two values of one schema.
pub fn compare(old: &Value, new: &Value, schema: Option<SchemaRef<'_>>) -> Comparison {
    let (before, after) = (of(old, schema), of(new, schema));
    let mut modified = FieldSet::default();
    differ(old, new, schema, &mut modified);
    Comparison { added: after.difference(&before), removed: before.difference(&after), modified }
}

/// Adds the leaves that differ; answers whether the value itself, as a leaf, differs.
fn differ(old: &Value, new: &Value, schema: Option<SchemaRef<'_>>, set: &mut FieldSet) -> bool {
    if old == new {
        return false;
    }
    match (shape(new, schema), old, new) {
        (Shape::Map(schema), Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                let Some(before) = old.get(name) else { continue };
                let mut below = FieldSet::default();
                let leaf = differ(before, value, schema.and_then(|s| s.field(name)), &mut below);
                set.put(&field_element(name), leaf, below);
            }
            false
        }
        (Shape::List(list, items), Value::Array(old), Value::Array(new)) => {
            for item in new {
                let Some(element) = item_element(item, list, items) else { continue };
                let Some(before) = old.iter().find(|o| item_element(o, list, items).as_deref() == Some(&element))
                else {
                    continue;
                };
                let mut below = FieldSet::default();
                let leaf = differ(before, item, items, &mut below);
                set.put(&element, leaf, below);
            }
            false
        }
        _ => true,
    }
}

/// Removes from `value` what is in `gone` and not (itself or anything below it) in `kept`.
pub fn prune(value: &mut Value, gone: &FieldSet, kept: &FieldSet, schema: Option<SchemaRef<'_>>) {
    static NONE: FieldSet = FieldSet { children: BTreeMap::new() };
    // Whether to go; else what to look at below.
    let decide = |element: &str| -> Option<(&FieldSet, &FieldSet)> {
        let entry = gone.child(element)?;
        let keep = kept.child(element);
        Some((&entry.below, keep.map_or(&NONE, |k| &k.below)))
    };
    match (shape(value, schema), value) {
        (Shape::Map(schema), Value::Object(map)) => {
            let names: Vec<String> = map.keys().cloned().collect();
            for name in names {
                let element = field_element(&name);
                let Some((below, keep)) = decide(&element) else { continue };
                if kept.child(&element).is_none() {
                    map.remove(&name);
                } else if let Some(value) = map.get_mut(&name) {
                    prune(value, below, keep, schema.and_then(|s| s.field(&name)));
                }
            }
        }
        (Shape::List(list, items), Value::Array(values)) => {
            values.retain_mut(|item| {
                let Some(element) = item_element(item, list, items) else { return true };
                let Some((below, keep)) = decide(&element) else { return true };
                if kept.child(&element).is_none() {
                    return false;
                }
                prune(item, below, keep, items);
                true
            });
        }
        _ => {}
    }
}

/// Takes from `value` only what is in the set (used to show what a manager owns).
pub fn extract(value: &Value, set: &FieldSet, schema: Option<SchemaRef<'_>>) -> Value {
    match (shape(value, schema), value) {
        (Shape::Map(schema), Value::Object(map)) => {
            let mut out = Map::new();
            for (name, value) in map {
                if let Some(entry) = set.child(&field_element(name)) {
                    let below = schema.and_then(|s| s.field(name));
                    let whole = entry.member && entry.below.is_empty();
                    out.insert(name.clone(), if whole { value.clone() } else { extract(value, &entry.below, below) });
                }
            }
            Value::Object(out)
        }
        (Shape::List(list, items), Value::Array(values)) => {
            let pick = |item: &Value| {
                let element = item_element(item, list, items)?;
                let entry = set.child(&element)?;
                let whole = matches!(list, ListType::Set) || !item.is_object();
                Some(if whole { item.clone() } else { extract(item, &entry.below, items) })
            };
            values.iter().filter_map(pick).collect()
        }
        _ => value.clone(),
    }
}
