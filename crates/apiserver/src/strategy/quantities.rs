//! LimitRange defaults.

use serde_json::{Map, Value};

use super::{each_mut, set, spec_mut};

/// Defaults of a LimitRange: the default limit is the maximum, the default request the default limit or the minimum.
pub(super) fn limit_range_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    for item in each_mut(spec, "limits") {
        if item.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        let copy = |item: &mut Map<String, Value>, from: &str, to: &str| {
            let Some(source) = item.get(from).and_then(Value::as_object).cloned() else { return };
            if let Some(target) = super::child(item, to) {
                for (name, value) in source {
                    set(target, &name, value);
                }
            }
        };
        copy(item, "max", "default");
        copy(item, "default", "defaultRequest");
        copy(item, "min", "defaultRequest");
    }
}
