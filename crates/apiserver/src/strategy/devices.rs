//! `resource.k8s.io`: device classes, claims, claim templates and slices.

use objects::names;
use objects::status::Cause;
use serde_json::{Map, Value, json};

use super::{each_mut, immutable, list, set, spec_mut, text};

fn claim_spec_default(spec: &mut Map<String, Value>) {
    let Some(devices) = spec.get_mut("devices").and_then(Value::as_object_mut) else { return };
    let fill = |request: &mut Map<String, Value>| {
        set(request, "allocationMode", "ExactCount");
        if request["allocationMode"] == "ExactCount" {
            set(request, "count", 1);
        }
        for toleration in each_mut(request, "tolerations") {
            set(toleration, "operator", "Equal");
        }
    };
    for request in each_mut(devices, "requests") {
        if let Some(exactly) = request.get_mut("exactly").and_then(Value::as_object_mut) {
            fill(exactly);
        }
        each_mut(request, "firstAvailable").for_each(fill);
    }
}

pub(super) fn claim_default(object: &mut Value) {
    if let Some(spec) = spec_mut(object) {
        claim_spec_default(spec);
    }
}

pub(super) fn template_default(object: &mut Value) {
    if let Some(spec) = spec_mut(object).and_then(|s| s.get_mut("spec")).and_then(Value::as_object_mut) {
        claim_spec_default(spec);
    }
}

fn selectors(of: &Value, at: &str, causes: &mut Vec<Cause>) {
    for (i, selector) in list(of, "selectors").iter().enumerate() {
        if text(&selector["cel"], "expression").is_empty() {
            causes.push(Cause::required(format!("{at}.selectors[{i}].cel.expression"), ""));
        }
    }
}

fn request(request: &Value, at: &str, causes: &mut Vec<Cause>) {
    if text(request, "deviceClassName").is_empty() {
        causes.push(Cause::required(format!("{at}.deviceClassName"), ""));
    }
    let mode = text(request, "allocationMode");
    let count = request["count"].as_i64();
    match mode {
        "ExactCount" if count.is_some_and(|c| c <= 0) => {
            causes.push(Cause::invalid(format!("{at}.count"), &json!(count), "must be greater than zero"));
        }
        "All" if count.is_some_and(|c| c != 0) => {
            let why = "must not be specified when allocationMode is 'All'";
            causes.push(Cause::invalid(format!("{at}.count"), &json!(count), why));
        }
        "ExactCount" | "All" | "" => {}
        _ => causes.push(Cause::not_supported(format!("{at}.allocationMode"), &json!(mode), &["All", "ExactCount"])),
    }
    selectors(request, at, causes);
}

fn claim_spec(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let devices = &spec["devices"];
    let mut seen = Vec::new();
    for (i, one) in list(devices, "requests").iter().enumerate() {
        let at = format!("{at}.devices.requests[{i}]");
        let name = text(one, "name");
        if let Err(why) = names::dns1123_label(name) {
            causes.push(Cause::invalid(format!("{at}.name"), &json!(name), why));
        } else if seen.contains(&name) {
            causes.push(Cause::duplicate(format!("{at}.name"), &json!(name)));
        }
        seen.push(name);
        let (exactly, first) = (&one["exactly"], list(one, "firstAvailable"));
        match (exactly.is_object(), first.is_empty()) {
            (true, true) => request(exactly, &format!("{at}.exactly"), causes),
            (false, false) => {
                for (j, sub) in first.iter().enumerate() {
                    request(sub, &format!("{at}.firstAvailable[{j}]"), causes);
                }
            }
            (true, false) => {
                causes.push(Cause::invalid(
                    at,
                    &Value::Null,
                    "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
                ));
            }
            (false, true) => {
                causes.push(Cause::required(at, "exactly one of `exactly` or `firstAvailable` is required"));
            }
        }
    }
    for (i, constraint) in list(devices, "constraints").iter().enumerate() {
        for (j, name) in list(constraint, "requests").iter().enumerate() {
            let whole = name.as_str().unwrap_or("").split('/').next().unwrap_or("");
            if !seen.contains(&whole) {
                let why = "must be the name of a request in the claim";
                causes.push(Cause::invalid(format!("{at}.devices.constraints[{i}].requests[{j}]"), name, why));
            }
        }
    }
}

pub(super) fn claim(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    claim_spec(&object["spec"], "spec", causes);
    immutable(object, old, "/spec", causes);
}

pub(super) fn template(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    claim_spec(&object["spec"]["spec"], "spec.spec", causes);
    immutable(object, old, "/spec", causes);
}

pub(super) fn class(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    selectors(&object["spec"], "spec", causes);
}

pub(super) fn slice(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if let Err(why) = names::dns1123_subdomain(text(spec, "driver")) {
        causes.push(Cause::invalid("spec.driver", &spec["driver"], why));
    }
    if text(&spec["pool"], "name").is_empty() {
        causes.push(Cause::required("spec.pool.name", ""));
    }
    if spec["pool"]["resourceSliceCount"].as_i64().unwrap_or(0) < 1 {
        let why = "must be greater than zero";
        causes.push(Cause::invalid("spec.pool.resourceSliceCount", &spec["pool"]["resourceSliceCount"], why));
    }
    let places = [
        !text(spec, "nodeName").is_empty(),
        spec["nodeSelector"].is_object(),
        spec["allNodes"] == json!(true),
        spec["perDeviceNodeSelection"] == json!(true),
    ];
    let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match places.iter().filter(|p| **p).count() {
        1 => {}
        0 if list(spec, "sharedCounters").is_empty() => causes.push(Cause::required("spec", why)),
        0 => {}
        _ => causes.push(Cause::invalid("spec", &Value::Null, why)),
    }
    let mut seen = Vec::new();
    for (i, device) in list(spec, "devices").iter().enumerate() {
        let (at, name) = (format!("spec.devices[{i}].name"), text(device, "name"));
        if let Err(why) = names::dns1123_label(name) {
            causes.push(Cause::invalid(at, &json!(name), why));
        } else if seen.contains(&name) {
            causes.push(Cause::duplicate(at, &json!(name)));
        }
        seen.push(name);
    }
    if seen.len() > 128 {
        let message = "Too many: must have at most 128 items".to_owned();
        causes.push(Cause { reason: "FieldValueTooMany", message, field: "spec.devices".into() });
    }
    for pointer in ["/spec/driver", "/spec/pool/name", "/spec/nodeName"] {
        immutable(object, old, pointer, causes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims() {
        let requests = json!([{"name": "a", "exactly": {"deviceClassName": "c"}}]);
        let mut object = json!({"spec": {"devices": {"requests": requests}}});
        claim_default(&mut object);
        assert_eq!(object["spec"]["devices"]["requests"][0]["exactly"]["count"], 1);
        let mut causes = Vec::new();
        claim(&object, None, &mut causes);
        assert_eq!(causes, []);
        claim(&json!({"spec": {"devices": {"requests": [{"name": "a"}]}}}), Some(&object), &mut causes);
        assert_eq!(causes.len(), 2);
    }
}
