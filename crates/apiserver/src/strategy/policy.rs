//! Autoscaler, disruption budget, roles and bindings, priority class, admission configuration.

use objects::status::Cause;
use serde_json::{Value, json};

use super::apps::percent_or_number;
use super::{each_mut, immutable, list, one_of, set, spec_mut, text};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn autoscaler_default(object: &mut Value) {
    let v2 = object["apiVersion"] == "autoscaling/v2";
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "minReplicas", 1);
    if v2 {
        set(
            spec,
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
}

pub(super) fn autoscaler(object: &Value, _old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let number = |name: &str| spec.get(name).and_then(Value::as_i64);
    let (min, max) = (number("minReplicas").unwrap_or(1), number("maxReplicas").unwrap_or(0));
    if max < 1 {
        causes.push(Cause::invalid("spec.maxReplicas", &json!(max), "must be greater than 0"));
    }
    if min < 1 {
        causes.push(Cause::invalid("spec.minReplicas", &json!(min), "must be greater than or equal to 1"));
    }
    if max < min {
        causes.push(Cause::invalid("spec.maxReplicas", &json!(max), "must be greater than or equal to `minReplicas`"));
    }
    for field in ["kind", "name"] {
        if text(&spec["scaleTargetRef"], field).is_empty() {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
}

pub(super) fn disruption_budget(object: &Value, _old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
        causes.push(Cause::invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if let Some(value) = spec.get(field) {
            percent_or_number(value, &format!("spec.{field}"), causes);
        }
    }
}

pub(super) fn role(object: &Value, _old: Option<&Value>, causes: &mut Vec<Cause>) {
    for (i, rule) in list(object, "rules").iter().enumerate() {
        if list(rule, "verbs").is_empty() {
            causes.push(Cause::required(format!("rules[{i}].verbs"), "verbs must contain at least one value"));
        }
        let paths = !list(rule, "nonResourceURLs").is_empty();
        if !paths && list(rule, "resources").is_empty() {
            causes.push(Cause::required(
                format!("rules[{i}].resources"),
                "resource rules must supply at least one resource",
            ));
        }
        if paths && object["kind"] == "Role" {
            causes.push(Cause::invalid(
                format!("rules[{i}].nonResourceURLs"),
                &rule["nonResourceURLs"],
                "namespaced rules cannot apply to non-resource URLs",
            ));
        }
    }
}

pub(super) fn binding_default(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    if let Some(role) = map.get_mut("roleRef").and_then(Value::as_object_mut) {
        set(role, "apiGroup", RBAC);
        if role["apiGroup"] == "" {
            role.insert("apiGroup".into(), RBAC.into());
        }
    }
    for subject in each_mut(map, "subjects") {
        if subject.get("kind").is_some_and(|k| k == "User" || k == "Group") {
            set(subject, "apiGroup", RBAC);
        }
    }
}

pub(super) fn binding(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let role = &object["roleRef"];
    one_of(role, "kind", "roleRef", &["Role", "ClusterRole"], causes);
    if text(role, "name").is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    for (i, subject) in list(object, "subjects").iter().enumerate() {
        let at = format!("subjects[{i}]");
        one_of(subject, "kind", &at, &["ServiceAccount", "User", "Group"], causes);
        if text(subject, "name").is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        }
        if text(subject, "kind") == "ServiceAccount" && text(subject, "namespace").is_empty() {
            causes.push(Cause::required(format!("{at}.namespace"), ""));
        }
    }
    if old.is_some_and(|o| o["roleRef"] != *role) {
        causes.push(Cause::invalid("roleRef", role, "cannot change roleRef"));
    }
}

pub(super) fn priority_class_default(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        set(map, "preemptionPolicy", "PreemptLowerPriority");
    }
}

pub(super) fn priority_class(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let name = objects::meta::name(object);
    let value = object.get("value").and_then(Value::as_i64).unwrap_or(0);
    if name.starts_with("system-") && !matches!(name, "system-node-critical" | "system-cluster-critical") {
        causes.push(Cause::forbidden(
            "metadata.name",
            "priority class names with 'system-' prefix are reserved for system use only",
        ));
    } else if !name.starts_with("system-") && value > 1_000_000_000 {
        causes.push(Cause::forbidden("value", "maximum allowed value of a user defined priority is 1000000000"));
    }
    immutable(object, old, "/value", causes);
    immutable(object, old, "/preemptionPolicy", causes);
}

pub(super) fn webhooks_default(object: &mut Value) {
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    let Some(map) = object.as_object_mut() else { return };
    for hook in each_mut(map, "webhooks") {
        set(hook, "failurePolicy", "Fail");
        set(hook, "matchPolicy", "Equivalent");
        set(hook, "namespaceSelector", json!({}));
        set(hook, "objectSelector", json!({}));
        set(hook, "timeoutSeconds", 10);
        if mutating {
            set(hook, "reinvocationPolicy", "Never");
        }
        for rule in each_mut(hook, "rules") {
            set(rule, "scope", "*");
        }
        if let Some(service) =
            hook.get_mut("clientConfig").and_then(|c| c.get_mut("service")).and_then(Value::as_object_mut)
        {
            set(service, "port", 443);
        }
    }
}

pub(super) fn admission_policy_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    set(spec, "failurePolicy", "Fail");
    if let Some(rules) = spec.get_mut("matchConstraints").and_then(Value::as_object_mut) {
        set(rules, "matchPolicy", "Equivalent");
        set(rules, "namespaceSelector", json!({}));
        set(rules, "objectSelector", json!({}));
        for rule in each_mut(rules, "resourceRules") {
            set(rule, "scope", "*");
        }
    }
}
