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
}

/// The most operations that one JSON Patch may have.
pub const MAX_OPERATIONS: usize = 10_000;

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
    json_patch::patch(&mut out, &patch).map_err(Error::Apply)?;
    Ok(out)
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
        assert_eq!(merge_patch(&object, &json!({"b": {"c": null, "d": 2}})), json!({"a": [1, 2], "b": {"d": 2}}));
    }
}
