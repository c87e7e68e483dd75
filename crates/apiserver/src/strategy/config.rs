//! ConfigMap, Secret, Namespace, volumes and claims, StorageClass.

use objects::names;
use objects::status::Cause;
use serde_json::{Value, json};

use super::{drop_status, immutable, list, one_of, set, spec_mut, text};

const MAX_DATA: usize = 1 << 20;

pub(super) fn config_map(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
            size += value.as_str().map_or(0, str::len);
            if let Err(reason) = names::config_key(key) {
                causes.push(Cause::invalid(format!("{field}[{key}]"), &json!(key), reason));
            }
            if field == "binaryData" && object.get("data").and_then(|d| d.get(key)).is_some() {
                causes.push(Cause::invalid(
                    format!("binaryData[{key}]"),
                    &json!(key),
                    "duplicate of key present in data",
                ));
            }
        }
    }
    too_large(size, causes);
    frozen(object, old, &["/data", "/binaryData"], causes);
}

fn too_large(size: usize, causes: &mut Vec<Cause>) {
    if size > MAX_DATA {
        causes.push(Cause::too_long("", MAX_DATA));
    }
}

fn frozen(object: &Value, old: Option<&Value>, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old.filter(|o| o.get("immutable") == Some(&json!(true))) else { return };
    if object.get("immutable") != Some(&json!(true)) {
        causes.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if object.pointer(field) != old.pointer(field) {
            causes.push(Cause::forbidden(field.trim_start_matches('/'), "field is immutable when `immutable` is set"));
        }
    }
}

pub(super) fn secret_default(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        set(map, "type", "Opaque");
        // `stringData` is a way to write only.
        if let Some(Value::Object(texts)) = map.remove("stringData") {
            let data = map.entry("data").or_insert_with(|| json!({}));
            for (key, value) in texts {
                let encoded =
                    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, value.as_str().unwrap_or(""));
                if let Some(data) = data.as_object_mut() {
                    data.insert(key, encoded.into());
                }
            }
        }
    }
}

pub(super) fn secret_create(_object: &mut Value) {}

pub(super) fn secret(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let mut size = 0;
    let data = object.get("data");
    for (key, value) in data.and_then(Value::as_object).into_iter().flatten() {
        size += value.as_str().map_or(0, |v| v.len() / 4 * 3);
        if let Err(reason) = names::config_key(key) {
            causes.push(Cause::invalid(format!("data[{key}]"), &json!(key), reason));
        }
    }
    too_large(size, causes);
    let wanted: &[&str] = match text(object, "type") {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in wanted {
        if data.and_then(|d| d.get(*key)).is_none() {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    }
    if text(object, "type") == "kubernetes.io/service-account-token"
        && objects::meta::annotation(object, "kubernetes.io/service-account.name").is_none()
    {
        causes.push(Cause::required("metadata.annotations[kubernetes.io/service-account.name]", ""));
    }
    immutable(object, old, "/type", causes);
    frozen(object, old, &["/data"], causes);
}

pub(super) fn namespace_default(object: &mut Value) {
    let name = objects::meta::name(object).to_owned();
    if !name.is_empty() {
        objects::meta::set_label(object, "kubernetes.io/metadata.name", &name);
    }
}

pub(super) fn namespace_create(object: &mut Value) {
    object["spec"] = json!({"finalizers": ["kubernetes"]});
    object["status"] = json!({"phase": "Active"});
}

/// A namespace's own finalizers change only through its `finalize` subresource.
pub(super) fn namespace_update(object: &mut Value, old: &Value) {
    object["spec"] = old.get("spec").cloned().unwrap_or_else(|| json!({}));
}

pub(super) fn claim_default(object: &mut Value) {
    if let Some(spec) = spec_mut(object) {
        set(spec, "volumeMode", "Filesystem");
    }
}

pub(super) fn claim_create(object: &mut Value) {
    object["status"] = json!({"phase": "Pending"});
    objects::meta::add_finalizer(object, "kubernetes.io/pvc-protection");
}

pub(super) fn claim(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if list(spec, "accessModes").is_empty() {
        causes.push(Cause::required("spec.accessModes", "at least 1 access mode is required"));
    }
    if spec.pointer("/resources/requests/storage").is_none() {
        causes.push(Cause::required("spec.resources[storage]", ""));
    }
    if let Some(old) = old {
        let masked = |o: &Value| {
            let mut spec = o["spec"].clone();
            if let Value::Object(spec) = &mut spec {
                for field in ["resources", "volumeName", "volumeAttributesClassName", "storageClassName"] {
                    spec.remove(field);
                }
            }
            spec
        };
        if masked(object) != masked(old) {
            causes.push(Cause::forbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
        }
    }
}

pub(super) fn volume_default(object: &mut Value) {
    if let Some(spec) = spec_mut(object) {
        set(spec, "persistentVolumeReclaimPolicy", "Retain");
        set(spec, "volumeMode", "Filesystem");
    }
}

pub(super) fn volume_create(object: &mut Value) {
    drop_status(object);
    object["status"] = json!({"phase": "Pending"});
    objects::meta::add_finalizer(object, "kubernetes.io/pv-protection");
}

pub(super) fn volume(object: &Value, _old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if list(spec, "accessModes").is_empty() {
        causes.push(Cause::required("spec.accessModes", ""));
    }
    if spec.pointer("/capacity/storage").is_none() {
        causes.push(Cause::required("spec.capacity", ""));
    }
}

pub(super) fn storage_class_default(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        set(map, "reclaimPolicy", "Delete");
        set(map, "volumeBindingMode", "Immediate");
    }
}

pub(super) fn storage_class(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if text(object, "provisioner").is_empty() {
        causes.push(Cause::required("provisioner", ""));
    }
    one_of(object, "reclaimPolicy", "", &["Delete", "Retain"], causes);
    one_of(object, "volumeBindingMode", "", &["Immediate", "WaitForFirstConsumer"], causes);
    let Some(old) = old else { return };
    for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
        if object.get(field) != old.get(field) {
            causes.push(Cause::forbidden(field, format!("updates to {field} are forbidden.")));
        }
    }
}

pub(super) fn csi_driver_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "attachRequired", true);
    set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        set(spec, field, false);
    }
    set(spec, "volumeLifecycleModes", json!(["Persistent"]));
}

pub(super) fn volume_attachment(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    for field in ["attacher", "nodeName"] {
        if text(spec, field).is_empty() {
            causes.push(Cause::required(format!("spec.{field}"), ""));
        }
    }
    let source = &spec["source"];
    if source["persistentVolumeName"].is_string() == source["inlineVolumeSpec"].is_object() {
        let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        causes.push(Cause::required("spec.source", why));
    }
    immutable(object, old, "/spec", causes);
}

pub(super) fn volume_attributes_class(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if text(object, "driverName").is_empty() {
        causes.push(Cause::required("driverName", ""));
    }
    if object["parameters"].as_object().is_none_or(serde_json::Map::is_empty) {
        causes.push(Cause::required("parameters", "must contain at least one key/value pair"));
    }
    let Some(old) = old else { return };
    for field in ["driverName", "parameters"] {
        if object.get(field) != old.get(field) {
            causes.push(Cause::forbidden(field, format!("updates to {field} are forbidden.")));
        }
    }
}

/// A new Event of `events.k8s.io`, which asks for more than those of the core group; by the fields that both are kept in.
pub(super) fn new_event(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if old.is_some() {
        return;
    }
    if object["eventTime"].is_null() {
        causes.push(Cause::required("eventTime", ""));
    }
    for (field, shown) in [
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
        ("action", "action"),
        ("reason", "reason"),
    ] {
        match text(object, field) {
            "" => causes.push(Cause::required(shown, "")),
            value if value.len() > 128 => {
                causes.push(Cause::invalid(shown, &object[field], "can have at most 128 characters"));
            }
            _ => {}
        }
    }
    if text(object, "message").len() > 1024 {
        causes.push(Cause::invalid("message", &json!(""), "can have at most 1024 characters"));
    }
    if !matches!(text(object, "type"), "Normal" | "Warning") {
        causes.push(Cause::invalid("type", &object["type"], "must be Normal or Warning"));
    }
}

pub(super) fn runtime_class(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if let Err(why) = names::dns1123_label(text(object, "handler")) {
        causes.push(Cause::invalid("handler", &object["handler"], why));
    }
    immutable(object, old, "/handler", causes);
}
