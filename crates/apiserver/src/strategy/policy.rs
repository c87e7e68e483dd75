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

/// Defaults of the resources that a binding narrows its policy to.
pub(super) fn admission_binding_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    if let Some(rules) = spec.get_mut("matchResources").and_then(Value::as_object_mut) {
        set(rules, "matchPolicy", "Equivalent");
        set(rules, "namespaceSelector", json!({}));
        set(rules, "objectSelector", json!({}));
    }
}

pub(super) fn mutating_policy(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    one_of(spec, "failurePolicy", "spec", &["Fail", "Ignore"], causes);
    match text(spec, "reinvocationPolicy") {
        "" => causes.push(Cause::required("spec.reinvocationPolicy", "")),
        _ => one_of(spec, "reinvocationPolicy", "spec", &["IfNeeded", "Never"], causes),
    }
    if super::list(&spec["matchConstraints"], "resourceRules").is_empty() {
        causes.push(Cause::required("spec.matchConstraints.resourceRules", ""));
    }
    if old.is_none_or(|o| o["spec"] != *spec) {
        causes.extend(crate::admission::mutation::compile(object).1);
    }
}

pub(super) fn mutating_binding(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    bound(&object["spec"], causes);
}

pub(super) fn admission_binding(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let actions = super::list(spec, "validationActions");
    if actions.is_empty() {
        causes.push(Cause::required("spec.validationActions", "at least one validation action is required"));
    }
    for (i, action) in actions.iter().enumerate() {
        if !matches!(action.as_str(), Some("Deny" | "Warn" | "Audit")) {
            let path = format!("spec.validationActions[{i}]");
            causes.push(Cause::not_supported(path, action, &["Audit", "Deny", "Warn"]));
        }
    }
    let has = |action: &str| actions.iter().any(|a| a == action);
    if has("Deny") && has("Warn") {
        let message = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        causes.push(Cause::invalid("spec.validationActions", &json!(["Deny", "Warn"]), message));
    }
    bound(spec, causes);
}

/// What a binding names: its policy and parameters.
fn bound(spec: &Value, causes: &mut Vec<Cause>) {
    if text(spec, "policyName").is_empty() {
        causes.push(Cause::required("spec.policyName", ""));
    }
    let reference = &spec["paramRef"];
    if reference.is_object() {
        let named = !text(reference, "name").is_empty();
        if named == reference["selector"].is_object() {
            causes.push(Cause::required("spec.paramRef.name", "one of name or selector must be specified"));
        }
        if !matches!(text(reference, "parameterNotFoundAction"), "Allow" | "Deny") {
            causes.push(Cause::required("spec.paramRef.parameterNotFoundAction", "Allow or Deny must be specified"));
        }
    }
}

pub(super) fn admission_policy(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    one_of(&object["spec"], "failurePolicy", "spec", &["Fail", "Ignore"], causes);
    if super::list(&object["spec"]["matchConstraints"], "resourceRules").is_empty() {
        causes.push(Cause::required("spec.matchConstraints.resourceRules", ""));
    }
    if old.is_none_or(|o| o["spec"] != object["spec"]) {
        causes.extend(crate::admission::policy::compile(object).1);
    }
}

pub(super) fn webhooks(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let scope = crate::admission::expressions::Scope::default();
    for (i, hook) in super::list(object, "webhooks").iter().enumerate() {
        let at = format!("webhooks[{i}]");
        if objects::names::dns1123_subdomain(text(hook, "name")).is_err() || !text(hook, "name").contains('.') {
            let why = "should be a domain with at least three segments separated by dots";
            causes.push(Cause::invalid(format!("{at}.name"), &hook["name"], why));
        }
        one_of(hook, "failurePolicy", &at, &["Fail", "Ignore"], causes);
        if !matches!(text(hook, "sideEffects"), "None" | "NoneOnDryRun") {
            let value = &hook["sideEffects"];
            causes.push(Cause::not_supported(format!("{at}.sideEffects"), value, &["None", "NoneOnDryRun"]));
        }
        if !super::list(hook, "admissionReviewVersions").iter().any(|v| v == "v1" || v == "v1beta1") {
            let why = "must include at least one of v1, v1beta1";
            causes.push(Cause::invalid(format!("{at}.admissionReviewVersions"), &hook["admissionReviewVersions"], why));
        }
        let config = &hook["clientConfig"];
        if config["url"].is_string() == config["service"].is_object() {
            causes.push(Cause::required(format!("{at}.clientConfig"), "exactly one of url or service is required"));
        }
        let known = old.is_some_and(|o| super::list(o, "webhooks").contains(hook));
        if !known {
            for (j, fault) in crate::admission::expressions::conditions(&hook["matchConditions"], &scope).1 {
                let source = &hook["matchConditions"][j]["expression"];
                causes.push(Cause::invalid(format!("{at}.matchConditions[{j}].expression"), source, fault));
            }
        }
    }
}
