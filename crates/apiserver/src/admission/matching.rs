//! Which writes a webhook or a policy concerns.

use std::sync::Arc;

use objects::Status;
use objects::labels::Selector;
use serde_json::Value;

use super::Attempt;
use crate::Api;
use crate::kinds::Kind;

impl Api {
    /// Whether the namespace and the object are selected.
    pub(super) fn matches_selectors(
        &self,
        hook: &Value,
        attempt: &Attempt<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> bool {
        let selected = |field: &str, object: &Value| match hook.get(field) {
            None | Some(Value::Null) => true,
            Some(selector) => Selector::from_label_selector(selector).is_ok_and(|s| s.matches_object(object)),
        };
        let subject = if object.is_null() { old.unwrap_or(object) } else { object };
        let namespaced = if attempt.call.kind.namespaced {
            let (namespace, _) = attempt.place(object, old);
            let namespace = self.store.get("namespaces", &crate::store::key("", namespace)).map(|s| s.value());
            namespace.is_none_or(|n| selected("namespaceSelector", &n))
        } else if &*attempt.call.kind.table == "namespaces" {
            selected("namespaceSelector", subject)
        } else {
            true
        };
        namespaced
            && ((!object.is_null() && selected("objectSelector", object))
                || old.is_some_and(|o| selected("objectSelector", o)))
    }
}

/// The version in which one of the rules concerns a write; `None` where none does. With `exact`, only the version asked
/// for counts; otherwise any in which the same objects are served.
pub(super) fn matched(
    rules: &Value,
    attempt: &Attempt<'_>,
    kind: &Arc<Kind>,
    name: &str,
    exact: bool,
) -> Option<String> {
    let asked = &attempt.call.target.version;
    let has = |rule: &Value, field: &str, value: &str| {
        rule[field].as_array().into_iter().flatten().any(|v| v == "*" || v == value)
    };
    let fits = |rule: &Value| {
        let resource = rule["resources"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|r| {
            match r.split_once('/') {
                None => attempt.subresource.is_empty() && (r == "*" || r == &*kind.resource),
                Some((r, s)) => (r == "*" || r == &*kind.resource) && (s == "*" || s == attempt.subresource),
            }
        });
        let scope = match rule["scope"].as_str() {
            Some("Namespaced") => kind.namespaced,
            Some("Cluster") => !kind.namespaced,
            _ => true,
        };
        let names = rule["resourceNames"].as_array().map(Vec::as_slice).unwrap_or_default();
        has(rule, "operations", attempt.operation.name())
            && has(rule, "apiGroups", &kind.group)
            && (names.is_empty() || names.iter().any(|n| n == name))
            && resource
            && scope
    };
    let list = || rules.as_array().into_iter().flatten().filter(|r| fits(r));
    if list().any(|r| has(r, "apiVersions", asked)) {
        return Some(asked.clone());
    }
    if exact {
        return None;
    }
    let other = |r: &Value| kind.versions.iter().find(|v| has(r, "apiVersions", &v.name)).map(|v| v.name.to_string());
    list().find_map(other)
}

/// The version in which a policy's or binding's `matchResources` concern a write; with none, all do.
pub(super) fn matched_resources(
    api: &Api,
    resources: &Value,
    attempt: &Attempt<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Option<String> {
    let kind = &attempt.call.kind;
    let (_, name) = attempt.place(object, old);
    let exact = resources["matchPolicy"] == "Exact";
    if matched(&resources["excludeResourceRules"], attempt, kind, name, exact).is_some()
        || !api.matches_selectors(resources, attempt, object, old)
    {
        return None;
    }
    match resources["resourceRules"].as_array() {
        None => Some(attempt.call.target.version.clone()),
        Some(rules) if rules.is_empty() => Some(attempt.call.target.version.clone()),
        Some(_) => matched(&resources["resourceRules"], attempt, kind, name, exact),
    }
}

/// An object in a version of its kind.
pub(super) async fn in_version(api: &Api, kind: &Kind, object: &Value, version: &str) -> Result<Value, Status> {
    let api_version = crate::kinds::api_version(&kind.group, version);
    // What is connected to is no object of the kind.
    if object["kind"] != *kind.kind {
        return Ok(object.clone());
    }
    api.to_version(kind, object.clone(), &api_version).await
}
