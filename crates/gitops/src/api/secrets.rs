//! What Secrets hold is not shown: not in differences, not in manifests.

use std::collections::BTreeMap;

use objects::meta;
use serde_json::Value;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Puts `++++++++` in the place of the values of Secrets. Values of one key that are the same in several states of an object stay the same,
/// and others differ.
pub fn hide(states: &mut [&mut Value]) {
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut of_key: BTreeMap<String, usize> = BTreeMap::new();
    for state in
        states.iter_mut().filter(|state| meta::kind(state) == "Secret" && crate::resource::group(state).is_empty())
    {
        if let Some(annotations) = state["metadata"]["annotations"].as_object_mut() {
            annotations.remove(LAST_APPLIED);
        }
        for field in ["data", "stringData"] {
            for (key, value) in state[field].as_object_mut().into_iter().flatten() {
                let one = (key.clone(), value.to_string());
                let pluses = *known.entry(one).or_insert_with(|| {
                    let count = of_key.entry(key.clone()).or_insert(8);
                    *count += 1;
                    *count - 1
                });
                *value = Value::String("+".repeat(pluses));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_stays_the_same_and_what_differs_differs() {
        let mut live = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": "eQ=="},
            "metadata": {"annotations": {LAST_APPLIED: "{\"data\": {\"a\": \"eA==\"}}", "other": "1"}}});
        let mut target = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": "eg=="}});
        hide(&mut [&mut live, &mut target]);
        assert_eq!(live["data"], json!({"a": "++++++++", "b": "++++++++"}));
        assert_eq!(target["data"], json!({"a": "++++++++", "b": "+++++++++"}));
        assert_eq!(live["metadata"]["annotations"], json!({"other": "1"}));
        let mut other = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
        hide(&mut [&mut other]);
        assert_eq!(other["data"], json!({"a": "b"}));
    }
}
