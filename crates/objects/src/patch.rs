//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386).

use serde_json::Value;

/// A patch that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is no JSON Patch.
    #[error("document is not a JSON patch")]
    Form(#[source] serde_json::Error),
    /// An operation fails on this object.
    #[error("operation cannot be applied to the object")]
    Apply(#[source] json_patch::PatchError),
    /// More operations than are allowed.
    #[error("the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
    /// Its copies make the object too large.
    #[error("the copies of the JSON patch add up to more than {MAX_COPIED} bytes")]
    TooLarge,
}

/// The most operations that one JSON Patch may have.
pub const MAX_OPERATIONS: usize = 10_000;

/// The most bytes that the copies of one JSON Patch may add up to: each can double what is there.
pub const MAX_COPIED: usize = 3 << 20;

/// Applies a JSON Patch.
///
/// # Errors
/// The patch is malformed, too long, or does not fit the object.
pub fn json_patch(object: &Value, patch: &Value) -> Result<Value, Error> {
    let patch: json_patch::Patch = serde::Deserialize::deserialize(patch).map_err(Error::Form)?;
    if patch.0.len() > MAX_OPERATIONS {
        return Err(Error::TooMany(patch.0.len()));
    }
    let mut out = object.clone();
    let mut copied = 0usize;
    for operation in &patch.0 {
        if let json_patch::PatchOperation::Copy(copy) = operation {
            let source = if copy.from.as_str().is_empty() { Some(&out) } else { out.pointer(copy.from.as_str()) };
            copied += source.map_or(0, size);
            if copied > MAX_COPIED {
                return Err(Error::TooLarge);
            }
        }
        json_patch::patch(&mut out, std::slice::from_ref(operation)).map_err(Error::Apply)?;
    }
    Ok(out)
}

/// About the bytes of a value as text.
fn size(value: &Value) -> usize {
    match value {
        Value::Object(map) => 2 + map.iter().map(|(k, v)| k.len() + 4 + size(v)).sum::<usize>(),
        Value::Array(list) => 2 + list.iter().map(|v| 1 + size(v)).sum::<usize>(),
        Value::String(text) => 2 + text.len(),
        _ => 5,
    }
}

/// Whether objects and lists nest no deeper than this. Looks no deeper either.
pub fn nests_within(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Object(map), Some(rest)) => map.values().all(|v| nests_within(v, rest)),
        (Value::Array(list), Some(rest)) => list.iter().all(|v| nests_within(v, rest)),
        (Value::Object(_) | Value::Array(_), None) => false,
        _ => true,
    }
}

/// Applies a JSON Merge Patch.
pub fn merge_patch(object: &Value, patch: &Value) -> Value {
    let mut out = object.clone();
    json_patch::merge(&mut out, patch);
    out
}

pub use crate::strategic::merge as strategic_merge;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches() {
        let object = json!({"a": [1, 2], "b": {"c": 1}});
        assert_eq!(
            json_patch(&object, &json!([{"op": "remove", "path": "/a/0"}])).unwrap(),
            json!({"a": [2], "b": {"c": 1}})
        );
        assert!(json_patch(&object, &json!([{"op": "test", "path": "/a/0", "value": 9}])).is_err());
        assert!(json_patch(&object, &json!({"op": "test"})).is_err());
        let double: Vec<Value> =
            (0..40).map(|i| json!({"op": "copy", "from": "/b", "path": format!("/b/{i}")})).collect();
        assert!(matches!(json_patch(&object, &double.into()), Err(Error::TooLarge)));
        assert!(nests_within(&object, 2) && !nests_within(&object, 1));
        assert_eq!(merge_patch(&object, &json!({"b": {"c": null, "d": 2}})), json!({"a": [1, 2], "b": {"d": 2}}));
    }
}
