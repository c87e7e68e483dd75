//! The normal form of a pod template: as typed clients write it.
//!
//! Clients compare the data of a ControllerRevision byte for byte with the template of its owner as they themselves would write
//! it: keys in order, `resources` and `metadata` always there, and fields left out that are empty where emptiness means
//! absence. A stored template keeps whatever its author wrote, so it is brought into that form first. Pure.

use serde_json::{Map, Value, json};

/// Fields for which `false` and `0` mean the same as nothing.
const ZERO_IS_ABSENT: [&str; 9] =
    ["hostIPC", "hostNetwork", "hostPID", "hostPort", "initialDelaySeconds", "readOnly", "stdin", "stdinOnce", "tty"];
/// Maps that are left out when they are empty; other empty objects say something by being there.
const MAPS: [&str; 8] =
    ["annotations", "labels", "limits", "matchLabels", "nodeSelector", "overhead", "requests", "volumeAttributes"];
/// Texts that say something even when they are empty.
const TEXTS: [&str; 3] = ["mountPath", "name", "storageClassName"];

/// A template in normal form.
pub fn normal(template: &Value) -> Value {
    let mut normal = fields(template, false);
    for part in ["metadata", "spec"] {
        if !normal[part].is_object() {
            normal[part] = json!({});
        }
    }
    for list in ["containers", "initContainers"] {
        for container in normal["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if !container["resources"].is_object() {
                container["resources"] = json!({});
            }
            sort(container);
        }
    }
    sort(&mut normal["spec"]);
    sort(&mut normal);
    normal
}

/// Puts the keys of an object in order, whatever order the map keeps.
fn sort(value: &mut Value) {
    if let Value::Object(map) = value {
        let mut entries: Vec<_> = std::mem::take(map).into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        map.extend(entries);
    }
}

/// `free` says that keys are somebody's own, as in labels: nothing is known of them.
fn fields(value: &Value, free: bool) -> Value {
    match value {
        Value::Object(map) => {
            let mut kept = Map::new();
            for (key, value) in map {
                let value = fields(value, MAPS.contains(&key.as_str()));
                if free || !is_absent(key, &value) {
                    kept.insert(key.clone(), value);
                }
            }
            let mut kept = Value::Object(kept);
            sort(&mut kept);
            kept
        }
        Value::Array(list) => Value::Array(list.iter().map(|v| fields(v, false)).collect()),
        scalar => scalar.clone(),
    }
}

fn is_absent(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(false) => ZERO_IS_ABSENT.contains(&key),
        Value::Number(number) => number.as_i64() == Some(0) && ZERO_IS_ABSENT.contains(&key),
        Value::String(text) => text.is_empty() && !TEXTS.contains(&key),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty() && MAPS.contains(&key),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_own_normal_form() {
        let template = json!({
            "metadata": {"labels": {"empty": ""}, "annotations": {}},
            "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "c", "args": [], "stdin": false}]},
        });
        let once = normal(&template);
        assert_eq!(
            once,
            json!({
                "metadata": {"labels": {"empty": ""}},
                "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "c", "resources": {}}]},
            })
        );
        assert_eq!(normal(&once), once);
        assert_eq!(normal(&json!({})), json!({"metadata": {}, "spec": {}}));
    }
}
