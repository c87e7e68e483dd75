//! Views of an object's metadata. Every accessor tolerates missing and mistyped fields: it answers as if absent.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// `metadata.name`, or the empty string.
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.namespace`, or the empty string (cluster-scoped).
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`, or the empty string.
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`, or the empty string.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.generateName`, or the empty string.
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// `metadata.creationTimestamp` (RFC 3339), or the empty string.
pub fn creation_timestamp(object: &Value) -> &str {
    text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp` (RFC 3339), when the object is being deleted.
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    Some(text(object, "deletionTimestamp")).filter(|t| !t.is_empty())
}

/// `metadata.generation`, or 0.
pub fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
}

/// `kind`, or the empty string.
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or("")
}

/// `apiVersion`, or the empty string.
pub fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or("")
}

/// `NAMESPACE/NAME`, or `NAME` for cluster-scoped objects.
pub fn key(object: &Value) -> String {
    match namespace(object) {
        "" => name(object).to_owned(),
        ns => format!("{ns}/{}", name(object)),
    }
}

/// A field of `metadata` that is a string, or the empty string.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or("")
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    string_map(object.pointer("/metadata/labels"))
}

/// `metadata.annotations`.
pub fn annotations(object: &Value) -> BTreeMap<String, String> {
    string_map(object.pointer("/metadata/annotations"))
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// A JSON object of strings as a map; other values are left out.
pub fn string_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let Some(Value::Object(map)) = value else { return BTreeMap::new() };
    map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<String> {
    let Some(Value::Array(list)) = object.pointer("/metadata/finalizers") else { return Vec::new() };
    list.iter().filter_map(|f| f.as_str().map(str::to_owned)).collect()
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> &[Value] {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The owner reference with `controller: true`.
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).iter().find(|r| r.get("controller").and_then(Value::as_bool) == Some(true))
}

/// Whether `owner` (by uid) is the object's controller.
pub fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    !uid(owner).is_empty()
        && controller_of(object).and_then(|r| r.get("uid")).and_then(Value::as_str) == Some(uid(owner))
}

/// An owner reference to `owner` with `controller` and `blockOwnerDeletion` set, to put into a child.
pub fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": api_version(owner), "kind": kind(owner), "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// An `ObjectReference` to the object, as events and bindings carry.
pub fn object_reference(object: &Value) -> Value {
    let mut out = json!({"apiVersion": api_version(object), "kind": kind(object), "name": name(object)});
    for field in ["namespace", "uid", "resourceVersion"] {
        let value = text(object, field);
        if !value.is_empty() {
            out[field] = value.into();
        }
    }
    out
}

/// `metadata` as a mutable JSON object; made when missing or mistyped. An `object` that is no JSON object becomes one.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(as_map_mut(object), "metadata")
}

/// `map[key]` as a mutable JSON object; made when missing or mistyped.
pub fn child_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    as_map_mut(map.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new())))
}

fn as_map_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("was just made an object")
}

/// Sets a field of `metadata`; an empty string removes it.
pub fn set_text(object: &mut Value, field: &str, value: &str) {
    let metadata = metadata_mut(object);
    if value.is_empty() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), value.into());
    }
}

/// Sets a label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    child_mut(metadata_mut(object), "labels").insert(key.to_owned(), value.into());
}

/// Sets an annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    child_mut(metadata_mut(object), "annotations").insert(key.to_owned(), value.into());
}

/// Removes an annotation, and the map when that leaves it empty.
pub fn remove_annotation(object: &mut Value, key: &str) {
    let metadata = metadata_mut(object);
    if let Some(Value::Object(map)) = metadata.get_mut("annotations") {
        map.remove(key);
        if map.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// Adds a finalizer; `false` when it was there.
pub fn add_finalizer(object: &mut Value, finalizer: &str) -> bool {
    if finalizers(object).iter().any(|f| f == finalizer) {
        return false;
    }
    let list = metadata_mut(object).entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    if let Value::Array(list) = list {
        list.push(finalizer.into());
    }
    true
}

/// Removes a finalizer; `false` when it was not there.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) -> bool {
    let metadata = metadata_mut(object);
    let Some(Value::Array(list)) = metadata.get_mut("finalizers") else { return false };
    let before = list.len();
    list.retain(|f| f.as_str() != Some(finalizer));
    let removed = list.len() != before;
    if list.is_empty() {
        metadata.remove("finalizers");
    }
    removed
}

/// The condition of this type in `status.conditions`.
pub fn condition<'a>(object: &'a Value, condition_type: &str) -> Option<&'a Value> {
    let list = object.pointer("/status/conditions")?.as_array()?;
    list.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(condition_type))
}

/// Whether the condition of this type has status `True`.
pub fn condition_is_true(object: &Value, condition_type: &str) -> bool {
    condition(object, condition_type).and_then(|c| c.get("status")).and_then(Value::as_str) == Some("True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerates_nonsense() {
        for value in
            [json!(null), json!(1), json!({"metadata": 3}), json!({"metadata": {"labels": [], "finalizers": "x"}})]
        {
            assert_eq!(name(&value), "");
            assert!(labels(&value).is_empty());
            assert!(finalizers(&value).is_empty());
            let mut value = value;
            set_label(&mut value, "a", "b");
            assert!(add_finalizer(&mut value, "f"));
            assert!(!add_finalizer(&mut value, "f"));
            assert_eq!(label(&value, "a"), Some("b"));
            assert!(remove_finalizer(&mut value, "f"));
            assert_eq!(value.pointer("/metadata/finalizers"), None);
        }
    }

    #[test]
    fn owners() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", "uid": "u"}});
        let mut child = json!({"metadata": {"name": "c"}});
        assert!(!is_controlled_by(&child, &owner));
        child["metadata"]["ownerReferences"] = json!([controller_reference(&owner)]);
        assert!(is_controlled_by(&child, &owner));
    }
}
