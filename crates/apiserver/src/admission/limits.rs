//! LimitRange: defaults for containers that say nothing, bounds for what they say.

use objects::{GroupResource, Quantity, Status, meta};
use serde_json::{Map, Value, json};

use crate::Api;

const TABLE: &str = "limitranges";
const KINDS: [&str; 2] = ["containers", "initContainers"];

impl Api {
    fn limit_items(&self, namespace: &str) -> Vec<Value> {
        let ranges = self.store.list(TABLE, Some(namespace), |_| true).items;
        ranges.iter().flat_map(|s| s.value()["spec"]["limits"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// Gives a pod's containers their namespace's defaults.
    pub(super) fn limit_defaults(&self, pod: &mut Value) {
        for item in self.limit_items(meta::namespace(pod)).iter().filter(|i| i["type"] == "Container") {
            for kind in KINDS {
                for container in
                    pod.pointer_mut(&format!("/spec/{kind}")).and_then(Value::as_array_mut).into_iter().flatten()
                {
                    fill(container, "limits", item.get("default"));
                    fill(container, "requests", item.get("defaultRequest"));
                }
            }
        }
    }

    /// Refuses what lies outside the bounds of its namespace.
    pub(super) fn limit_bounds(&self, resource: &GroupResource, object: &Value) -> Result<(), Status> {
        let items = self.limit_items(meta::namespace(object));
        if items.is_empty() {
            return Ok(());
        }
        let mut faults = Vec::new();
        for item in &items {
            match (item["type"].as_str().unwrap_or(""), &*resource.resource) {
                ("Container", "pods") => {
                    for container in KINDS.iter().flat_map(|k| object["spec"][k].as_array().into_iter().flatten()) {
                        let of = |kind: &str| container["resources"][kind].as_object().cloned().unwrap_or_default();
                        check("Container", item, &of("requests"), &of("limits"), &mut faults);
                    }
                }
                ("Pod", "pods") => {
                    let of = |kind: &str| {
                        crate::strategy::requests_of(object, kind)
                            .into_iter()
                            .map(|(k, v)| (k, json!(v.to_string())))
                            .collect()
                    };
                    check("Pod", item, &of("requests"), &of("limits"), &mut faults);
                }
                ("PersistentVolumeClaim", "persistentvolumeclaims") => {
                    let requests = object
                        .pointer("/spec/resources/requests")
                        .and_then(Value::as_object)
                        .cloned()
                        .unwrap_or_default();
                    check("PersistentVolumeClaim", item, &requests, &Map::new(), &mut faults);
                }
                _ => {}
            }
        }
        match faults.as_slice() {
            [] => Ok(()),
            [one] => Err(Status::forbidden(resource, meta::name(object), one)),
            many => Err(Status::forbidden(resource, meta::name(object), format!("[{}]", many.join(", ")))),
        }
    }
}

fn fill(container: &mut Value, kind: &str, defaults: Option<&Value>) {
    let Some(defaults) = defaults.and_then(Value::as_object) else { return };
    if !container["resources"].is_object() {
        container["resources"] = json!({});
    }
    if !container["resources"][kind].is_object() {
        container["resources"][kind] = json!({});
    }
    if let Some(target) = container["resources"][kind].as_object_mut() {
        for (name, value) in defaults {
            target.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

fn check(
    what: &str,
    item: &Value,
    requests: &Map<String, Value>,
    limits: &Map<String, Value>,
    faults: &mut Vec<String>,
) {
    let quantity = |v: Option<&Value>| v.and_then(|v| Quantity::from_value(v).ok());
    let bound = |kind: &str| item[kind].as_object().cloned().unwrap_or_default();
    let only_requests = what == "PersistentVolumeClaim";
    for (name, min) in bound("min") {
        let (Some(least), request, limit) =
            (quantity(Some(&min)), quantity(requests.get(&name)), quantity(limits.get(&name)))
        else {
            continue;
        };
        match request {
            None => faults.push(format!("minimum {name} usage per {what} is {least}.  No request is specified")),
            Some(r) if r < least => {
                faults.push(format!("minimum {name} usage per {what} is {least}, but request is {r}"))
            }
            // Of one resource the first fault is told.
            Some(_) => {
                if let Some(l) = limit.filter(|l| *l < least) {
                    faults.push(format!("minimum {name} usage per {what} is {least}, but limit is {l}"));
                }
            }
        }
    }
    for (name, max) in bound("max") {
        let (Some(most), request, limit) =
            (quantity(Some(&max)), quantity(requests.get(&name)), quantity(limits.get(&name)))
        else {
            continue;
        };
        match limit {
            None if !only_requests => {
                faults.push(format!("maximum {name} usage per {what} is {most}.  No limit is specified"))
            }
            Some(l) if l > most => faults.push(format!("maximum {name} usage per {what} is {most}, but limit is {l}")),
            _ => {
                if let Some(r) = request.filter(|r| *r > most) {
                    faults.push(format!("maximum {name} usage per {what} is {most}, but request is {r}"));
                }
            }
        }
    }
    for (name, ratio) in bound("maxLimitRequestRatio") {
        let (Some(most), Some(request), Some(limit)) =
            (quantity(Some(&ratio)), quantity(requests.get(&name)), quantity(limits.get(&name)))
        else {
            continue;
        };
        if request.is_zero() {
            continue;
        }
        let have = limit.nanos() as f64 / request.nanos() as f64;
        if have > most.nanos() as f64 / 1e9 {
            faults.push(format!(
                "{name} max limit to request ratio per {what} is {most}, but provided ratio is {have:.6}"
            ));
        }
    }
}
