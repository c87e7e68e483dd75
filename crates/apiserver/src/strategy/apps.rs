//! Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController.

use objects::labels::Selector;
use objects::status::Cause;
use serde_json::{Map, Value, json};

use super::pod::{template_default, template_faults};
use super::{child, each_mut, immutable, not_negative, one_of, set, spec_mut};

pub(super) fn deployment_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = child(spec, "strategy") {
        set(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", "25%");
            set(rolling, "maxSurge", "25%");
        }
    }
    template_default(spec);
}

pub(super) fn replica_set_default(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "replicas", 1);
    template_default(spec);
    default_labels(object, labels);
}

fn default_labels(object: &mut Value, labels: Option<Value>) {
    let (Some(labels), Some(metadata)) = (labels, object.get_mut("metadata").and_then(Value::as_object_mut)) else {
        return;
    };
    if metadata.get("labels").is_none_or(|l| l.as_object().is_some_and(Map::is_empty)) {
        metadata.insert("labels".into(), labels);
    }
}

pub(super) fn replication_controller_default(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "replicas", 1);
    if let Some(labels) = labels.clone() {
        set(spec, "selector", labels);
    }
    template_default(spec);
    default_labels(object, labels);
}

pub(super) fn stateful_set_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = child(spec, "updateStrategy") {
        set(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "partition", 0);
        }
    }
    if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        set(policy, "whenDeleted", "Retain");
        set(policy, "whenScaled", "Retain");
    }
    for claim in each_mut(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        if let Some(spec) = child(claim, "spec") {
            set(spec, "volumeMode", "Filesystem");
        }
        claim.insert("status".into(), json!({"phase": "Pending"}));
    }
    template_default(spec);
}

pub(super) fn daemon_set_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child(spec, "updateStrategy") {
        set(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", 1);
            set(rolling, "maxSurge", 0);
        }
    }
    template_default(spec);
}

pub(super) fn deployment(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if let Some(strategy) = spec.get("strategy") {
        one_of(strategy, "type", "spec.strategy", &["Recreate", "RollingUpdate"], causes);
        if strategy["type"] == "Recreate" && strategy.get("rollingUpdate").is_some() {
            causes.push(Cause::forbidden(
                "spec.strategy.rollingUpdate",
                "may not be specified when strategy `type` is 'Recreate'",
            ));
        }
        let zero = |name: &str| matches!(strategy.pointer(&format!("/rollingUpdate/{name}")), Some(v) if v == &json!(0) || v == "0%");
        if zero("maxSurge") && zero("maxUnavailable") {
            causes.push(Cause::invalid(
                "spec.strategy.rollingUpdate.maxUnavailable",
                &strategy["rollingUpdate"]["maxUnavailable"],
                "may not be 0 when `maxSurge` is 0",
            ));
        }
        for name in ["maxSurge", "maxUnavailable"] {
            if let Some(value) = strategy.pointer(&format!("/rollingUpdate/{name}")) {
                percent_or_number(value, &format!("spec.strategy.rollingUpdate.{name}"), causes);
            }
        }
    }
    let number = |name: &str| spec.get(name).and_then(Value::as_i64);
    if let (Some(deadline), min) = (number("progressDeadlineSeconds"), number("minReadySeconds").unwrap_or(0))
        && deadline <= min
    {
        causes.push(Cause::invalid(
            "spec.progressDeadlineSeconds",
            &json!(deadline),
            "must be greater than minReadySeconds",
        ));
    }
    workload(object, old, causes);
}

pub(super) fn percent_or_number(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let ok = match value {
        Value::Number(n) => n.as_i64().is_some_and(|n| n >= 0),
        Value::String(text) => {
            text.strip_suffix('%').is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
        }
        _ => false,
    };
    if !ok {
        causes.push(Cause::invalid(path, value, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%') or a non-negative integer"));
    }
}

pub(super) fn stateful_set(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    one_of(&object["spec"], "podManagementPolicy", "spec", &["OrderedReady", "Parallel"], causes);
    let mut found = Vec::new();
    workload(object, old, &mut found);
    // Volume mounts may name a claim template.
    causes.extend(
        found.into_iter().filter(|c| !(c.reason == "FieldValueNotFound" && c.field.contains(".volumeMounts["))),
    );
    if let Some(old) = old {
        let masked = |o: &Value| {
            let mut spec = o["spec"].clone();
            if let Value::Object(spec) = &mut spec {
                for field in [
                    "replicas",
                    "ordinals",
                    "template",
                    "updateStrategy",
                    "persistentVolumeClaimRetentionPolicy",
                    "minReadySeconds",
                    "revisionHistoryLimit",
                ] {
                    spec.remove(field);
                }
            }
            spec
        };
        if masked(object) != masked(old) {
            causes.push(Cause::forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
        }
    }
}

pub(super) fn workload(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        not_negative(spec, field, "spec", causes);
    }
    selector_faults(spec, causes);
    immutable(object, old, "/spec/selector", causes);
    template_faults(spec, "spec", &["Always"], causes);
}

fn selector_faults(spec: &Value, causes: &mut Vec<Cause>) {
    let selector = spec.get("selector").cloned().unwrap_or(Value::Null);
    if selector.is_null() {
        causes.push(Cause::required("spec.selector", ""));
        return;
    }
    let empty = json!({});
    let labels = spec.pointer("/template/metadata/labels").unwrap_or(&empty);
    match Selector::from_label_selector(&selector) {
        Err(error) => causes.push(Cause::invalid("spec.selector", &selector, error)),
        Ok(parsed) if parsed.is_everything() => {
            causes.push(Cause::invalid("spec.selector", &selector, "empty selector is invalid for deployment"))
        }
        Ok(parsed) if !parsed.matches(labels) => {
            causes.push(Cause::invalid(
                "spec.template.metadata.labels",
                labels,
                "`selector` does not match template `labels`",
            ));
        }
        Ok(_) => {}
    }
}

pub(super) fn replication_controller(object: &Value, _old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    not_negative(spec, "replicas", "spec", causes);
    let selector = objects::meta::string_map(spec.get("selector"));
    if selector.is_empty() {
        causes.push(Cause::required("spec.selector", ""));
    } else if !Selector::from_map(&selector).matches(spec.pointer("/template/metadata/labels").unwrap_or(&Value::Null))
    {
        let labels = spec.pointer("/template/metadata/labels").unwrap_or(&Value::Null);
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        ));
    }
    template_faults(spec, "spec", &["Always"], causes);
}

pub(super) fn revision(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    not_negative(object, "revision", "", causes);
    if old.is_some_and(|o| o.get("data") != object.get("data")) {
        causes.push(Cause::invalid("data", &Value::Null, "field is immutable"));
    }
}
