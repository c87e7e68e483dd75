//! Reading of objects as they are: JSON values. Nothing here allocates unless it says so, nothing here knows a kind.

use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;

use crate::kinds::Kind;

/// Namespace and name of an object; the namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace or empty.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of(object: &Value) -> Key {
        Key::new(namespace(object), name(object))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// The value at `path`, or null.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |v, p| &v[*p])
}

/// The string at `path`, or empty.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).as_str().unwrap_or("")
}

/// The integer at `path`, if there.
pub fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).as_i64()
}

/// The boolean at `path`; false when absent.
pub fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).as_bool().unwrap_or(false)
}

/// The elements of the list at `path`; empty when absent.
pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The entries of the map at `path`, if there.
pub fn map<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(value, path).as_object()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// `metadata.resourceVersion` as a number; 0 when it is not one.
pub fn revision(object: &Value) -> u64 {
    text(object, &["metadata", "resourceVersion"]).parse().unwrap_or(0)
}

/// `metadata.generation`.
pub fn generation(object: &Value) -> i64 {
    int(object, &["metadata", "generation"]).unwrap_or(0)
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    map(object, &["metadata", "labels"])
}

/// One label, if set.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str()
}

/// One annotation, if set.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// Whether deletion was requested.
pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether `finalizer` is on the object.
pub fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    list(object, &["metadata", "finalizers"]).iter().any(|f| f == finalizer)
}

/// The owner reference with `controller: true`.
pub fn controller_of(object: &Value) -> Option<&Value> {
    list(object, &["metadata", "ownerReferences"]).iter().find(|o| o["controller"] == true)
}

/// Whether `owner` is the controller of `object`.
pub fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller_of(object).is_some_and(|o| o["uid"] == owner["metadata"]["uid"])
}

/// An owner reference that makes `owner` the controller and blocks its foreground deletion.
pub fn controller_reference(kind: &Kind, owner: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The condition of `type_` in `status.conditions`.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    list(object, &["status", "conditions"]).iter().find(|c| c["type"] == type_)
}

/// Whether the condition of `type_` is `True`.
pub fn condition_true(object: &Value, type_: &str) -> bool {
    condition(object, type_).is_some_and(|c| c["status"] == "True")
}

/// `kind namespace/name`, for messages.
pub fn describe(kind: &Kind, object: &Value) -> String {
    format!("{kind} {}", Key::of(object))
}

/// The merge patch that turns `from` into `to`; `None` when they are equal.
pub fn merge_diff(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let mut patch = Map::new();
            for key in a.keys().filter(|k| !b.contains_key(*k)) {
                patch.insert(key.clone(), Value::Null);
            }
            for (key, value) in b {
                match a.get(key) {
                    Some(old) => {
                        if let Some(diff) = merge_diff(old, value) {
                            patch.insert(key.clone(), diff);
                        }
                    }
                    None if value.is_null() => {}
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                }
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (a, b) if a == b => None,
        (_, b) => Some(b.clone()),
    }
}

/// Equality in which an absent field, null, an empty map and an empty list are the same.
pub fn semantic_eq(a: &Value, b: &Value) -> bool {
    fn empty(v: &Value) -> bool {
        match v {
            Value::Null => true,
            Value::Object(m) => m.values().all(empty),
            Value::Array(l) => l.is_empty(),
            _ => false,
        }
    }
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(k, v)| match y.get(k) {
                Some(w) => semantic_eq(v, w),
                None => empty(v),
            }) && y.iter().all(|(k, v)| x.contains_key(k) || empty(v))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(v, w)| semantic_eq(v, w)),
        (x, y) => x == y || (empty(x) && empty(y)),
    }
}

/// Sets `key` to `value` in the map at `path`, creating maps on the way.
pub fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut here = object;
    for part in path {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        here = &mut here[*part];
    }
    *here = value;
}

/// Removes the entry at `path`, if there.
pub fn unset(object: &mut Value, path: &[&str]) {
    if let Some((last, parents)) = path.split_last() {
        let mut here = object;
        for part in parents {
            match here.get_mut(*part) {
                Some(next) => here = next,
                None => return,
            }
        }
        if let Some(map) = here.as_object_mut() {
            map.remove(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_diff_is_minimal() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), Some(json!({"b": null}))),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"x": 1, "y": 3}}), Some(json!({"a": {"y": 3}}))),
            (json!({"a": [1]}), json!({"a": [1, 2]}), Some(json!({"a": [1, 2]}))),
            (json!(null), json!({"a": 1}), Some(json!({"a": 1}))),
        ];
        for (from, to, expected) in cases {
            assert_eq!(merge_diff(&from, &to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn semantic_equality_ignores_emptiness() {
        assert!(semantic_eq(&json!({"a": {}}), &json!({})));
        assert!(semantic_eq(&json!({"a": {"b": null}, "c": []}), &json!({})));
        assert!(!semantic_eq(&json!({"a": ""}), &json!({"a": "x"})));
        assert!(!semantic_eq(&json!({"a": 0}), &json!({})));
    }
}
