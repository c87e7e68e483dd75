//! Desired state against live state.
//!
//! The API server itself says what an object would become (a server-side apply that is not carried out), so that defaults,
//! number formats and other controllers' fields are never taken for differences.

use objects::meta;
use serde_json::{Map, Value};

use crate::application::IgnoreDifferences;
use crate::resource::ResourceKey;

/// What counts of an object when it is compared: all that is not the API server's or a controller's own.
pub fn normalized(object: &Value, ignore: &[IgnoreDifferences]) -> Value {
    let mut object = object.clone();
    let key = ResourceKey::of(&object);
    for rule in ignore.iter().filter(|rule| concerns(rule, &key)) {
        for pointer in &rule.json_pointers {
            remove(&mut object, pointer);
        }
        for manager in &rule.managed_fields_managers {
            let fields: Vec<Value> = object["metadata"]["managedFields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|entry| entry["manager"] == **manager)
                .map(|entry| entry["fieldsV1"].clone())
                .collect();
            for fields in fields {
                remove_fields(&mut object, &fields);
            }
        }
    }
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
        let metadata = meta::child_mut(map, "metadata");
        for field in [
            "managedFields",
            "resourceVersion",
            "generation",
            "uid",
            "creationTimestamp",
            "selfLink",
            "ownerReferences",
            "finalizers",
        ] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("deployment.kubernetes.io/revision");
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}

fn concerns(rule: &IgnoreDifferences, key: &ResourceKey) -> bool {
    let any = |pattern: &str, text: &str| pattern == "*" || pattern == text;
    any(&rule.group, &key.group)
        && any(&rule.kind, &key.kind)
        && (rule.name.is_empty() || rule.name == key.name)
        && (rule.namespace.is_empty() || rule.namespace == key.namespace)
}

/// Removes what an RFC 6901 pointer names, if it is there.
pub fn remove(object: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return };
    let last = last.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.remove(&last);
        }
        Some(Value::Array(list)) => {
            if let Ok(place) = last.parse::<usize>()
                && place < list.len()
            {
                list.remove(place);
            }
        }
        _ => {}
    }
}

/// Removes the fields that a `fieldsV1` set names. Lists are left alone: their items belong to several managers at once.
fn remove_fields(object: &mut Value, fields: &Value) {
    let (Some(map), Some(fields)) = (object.as_object_mut(), fields.as_object()) else { return };
    for (field, below) in fields {
        let Some(name) = field.strip_prefix("f:") else { continue };
        let is_leaf = below.as_object().is_none_or(Map::is_empty);
        if is_leaf {
            map.remove(name);
        } else if let Some(child) = map.get_mut(name) {
            remove_fields(child, below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_owns_does_not_count() {
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "uid": "u", "resourceVersion": "5", "generation": 3, "managedFields": [],
                "annotations": {"deployment.kubernetes.io/revision": "2"}},
            "spec": {"replicas": 3}, "status": {"replicas": 3}});
        assert_eq!(
            normalized(&live, &[]),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 3}})
        );
    }

    #[test]
    fn ignored_differences_are_left_out() {
        let rule = |pointer: &str| IgnoreDifferences {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            json_pointers: vec![pointer.to_owned()],
            ..IgnoreDifferences::default()
        };
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {"a/b": "c"}},
            "spec": {"replicas": 3, "list": [1, 2]}});
        assert_eq!(normalized(&live, &[rule("/spec/replicas")])["spec"], json!({"list": [1, 2]}));
        assert_eq!(normalized(&live, &[rule("/spec/list/0")])["spec"]["list"], json!([2]));
        assert_eq!(normalized(&live, &[rule("/metadata/labels/a~1b")])["metadata"]["labels"], json!({}));
        let other = IgnoreDifferences { kind: "Service".to_owned(), ..rule("/spec/replicas") };
        assert_eq!(normalized(&live, &[other])["spec"]["replicas"], 3);
    }

    #[test]
    fn fields_of_a_manager_are_left_out() {
        let rule = IgnoreDifferences {
            group: "*".to_owned(),
            kind: "*".to_owned(),
            managed_fields_managers: vec!["scaler".to_owned()],
            ..IgnoreDifferences::default()
        };
        let live = json!({"metadata": {"managedFields": [
                {"manager": "scaler", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]},
            "spec": {"replicas": 3, "paused": false}});
        assert_eq!(normalized(&live, &[rule])["spec"], json!({"paused": false}));
    }
}
