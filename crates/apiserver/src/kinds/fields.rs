//! What field selectors compare, where that is not the text of the field that they name.

use serde_json::Value;

/// A field of a built-in kind that is selected by the first of `sources` that has a text, and by `absent` where none has.
struct Derived {
    kind: (&'static str, &'static str),
    field: &'static str,
    sources: &'static [&'static str],
    absent: &'static str,
}

const fn derived(
    kind: (&'static str, &'static str),
    field: &'static str,
    sources: &'static [&'static str],
    absent: &'static str,
) -> Derived {
    Derived { kind, field, sources, absent }
}

/// Numbers and booleans have a text also where the object leaves them out.
const DERIVED: &[Derived] = &[
    derived(("v1", "Event"), "source", &["/source/component", "/reportingComponent"], ""),
    derived(("v1", "Node"), "spec.unschedulable", &["/spec/unschedulable"], "false"),
    derived(("v1", "Pod"), "spec.hostNetwork", &["/spec/hostNetwork"], "false"),
    derived(("v1", "ReplicationController"), "status.replicas", &["/status/replicas"], "0"),
    derived(("apps/v1", "ReplicaSet"), "status.replicas", &["/status/replicas"], "0"),
    derived(("batch/v1", "Job"), "status.successful", &["/status/succeeded"], "0"),
];

/// The text of a field that is not simply what stands at its path.
pub fn derived_text(object: &Value, field: &str) -> Option<Box<str>> {
    let kind = (objects::meta::api_version(object), objects::meta::kind(object));
    let derived = DERIVED.iter().find(|derived| derived.field == field && derived.kind == kind)?;
    let texts = derived.sources.iter().filter_map(|source| match object.pointer(source)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    });
    Some(texts.into_iter().next().unwrap_or_else(|| derived.absent.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_are_left_out_have_a_text() {
        let table = [
            (json!({"apiVersion": "v1", "kind": "Node", "spec": {}}), "spec.unschedulable", Some("false")),
            (
                json!({"apiVersion": "v1", "kind": "Node", "spec": {"unschedulable": true}}),
                "spec.unschedulable",
                Some("true"),
            ),
            (json!({"apiVersion": "v1", "kind": "Pod"}), "spec.hostNetwork", Some("false")),
            (json!({"apiVersion": "apps/v1", "kind": "ReplicaSet"}), "status.replicas", Some("0")),
            (
                json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"succeeded": 3}}),
                "status.successful",
                Some("3"),
            ),
            (
                json!({"apiVersion": "v1", "kind": "Event", "source": {"component": "kubelet"}}),
                "source",
                Some("kubelet"),
            ),
            (
                json!({"apiVersion": "v1", "kind": "Event", "source": {}, "reportingComponent": "x"}),
                "source",
                Some("x"),
            ),
            (json!({"apiVersion": "v1", "kind": "Event"}), "source", Some("")),
            (json!({"apiVersion": "example.com/v1", "kind": "Node"}), "spec.unschedulable", None),
            (json!({"apiVersion": "v1", "kind": "Pod"}), "spec.nodeName", None),
        ];
        for (object, field, expected) in table {
            assert_eq!(derived_text(&object, field).as_deref(), expected, "{field} of {object}");
        }
    }
}
