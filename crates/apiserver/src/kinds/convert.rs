//! Conversion between versions of a kind, where the versions differ in more than their name.

use serde_json::{Map, Value, json};

/// Brings an object to another `apiVersion` of its kind.
pub fn convert(object: &mut Value, wanted: &str) {
    let have = object.get("apiVersion").and_then(Value::as_str).unwrap_or("").to_owned();
    if have == wanted {
        return;
    }
    match (have.as_str(), wanted) {
        ("v1", "events.k8s.io/v1") => event_to_new(object),
        ("events.k8s.io/v1", "v1") => event_to_core(object),
        ("autoscaling/v2", "autoscaling/v1") => autoscaler_to_v1(object),
        ("autoscaling/v1", "autoscaling/v2") => autoscaler_to_v2(object),
        _ => {}
    }
    object["apiVersion"] = wanted.into();
}

const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    let Value::Object(map) = object else { return };
    for (from, to) in pairs {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

fn event_to_new(object: &mut Value) {
    rename(object, EVENT_FIELDS.iter().copied());
}

fn event_to_core(object: &mut Value) {
    rename(object, EVENT_FIELDS.iter().map(|(core, new)| (*new, *core)));
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn is_cpu_utilisation(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["type"] == "Utilization"
}

fn autoscaler_to_v1(object: &mut Value) {
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    let metrics = spec.remove("metrics");
    let behavior = spec.remove("behavior");
    let mut rest = Vec::new();
    for metric in metrics.iter().filter_map(Value::as_array).flatten() {
        if is_cpu_utilisation(metric) && !spec.contains_key("targetCPUUtilizationPercentage") {
            spec.insert(
                "targetCPUUtilizationPercentage".into(),
                metric["resource"]["target"]["averageUtilization"].clone(),
            );
        } else {
            rest.push(metric.clone());
        }
    }
    if !rest.is_empty() {
        objects::meta::set_annotation(object, METRICS, &Value::Array(rest).to_string());
    }
    if let Some(behavior) = behavior {
        objects::meta::set_annotation(object, BEHAVIOR, &behavior.to_string());
    }
    if let Some(Value::Object(status)) = object.get_mut("status") {
        let current = status.remove("currentMetrics");
        status.remove("conditions");
        let cpu = current
            .iter()
            .filter_map(Value::as_array)
            .flatten()
            .find(|m| m["type"] == "Resource" && m["resource"]["name"] == "cpu");
        if let Some(value) = cpu.and_then(|m| m.pointer("/resource/current/averageUtilization")) {
            status.insert("currentCPUUtilizationPercentage".into(), value.clone());
        }
    }
}

fn autoscaler_to_v2(object: &mut Value) {
    let take = |object: &mut Value, name: &str| {
        let text = objects::meta::annotation(object, name)?.to_owned();
        objects::meta::remove_annotation(object, name);
        serde_json::from_str::<Value>(&text).ok()
    };
    let (metrics, behavior) = (take(object, METRICS), take(object, BEHAVIOR));
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    let mut list: Vec<Value> = Vec::new();
    if let Some(target) = spec.remove("targetCPUUtilizationPercentage") {
        list.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}));
    }
    if let Some(Value::Array(more)) = metrics {
        list.extend(more);
    }
    if !list.is_empty() {
        spec.insert("metrics".into(), list.into());
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".into(), behavior);
    }
    if let Some(Value::Object(status)) = object.get_mut("status") {
        cpu_status(status);
    }
}

fn cpu_status(status: &mut Map<String, Value>) {
    if let Some(value) = status.remove("currentCPUUtilizationPercentage") {
        status.insert(
            "currentMetrics".into(),
            json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": value}}}]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let original = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 60}}},
        ]}});
        let mut object = original.clone();
        convert(&mut object, "autoscaling/v1");
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 50);
        convert(&mut object, "autoscaling/v2");
        object["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(object, original);
        let mut object = json!({"apiVersion": "v1", "involvedObject": {"name": "p"}, "message": "m"});
        convert(&mut object, "events.k8s.io/v1");
        assert_eq!(object, json!({"apiVersion": "events.k8s.io/v1", "regarding": {"name": "p"}, "note": "m"}));
    }
}
