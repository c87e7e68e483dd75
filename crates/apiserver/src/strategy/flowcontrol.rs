//! FlowSchema and PriorityLevelConfiguration.

use objects::status::Cause;
use serde_json::{Value, json};

use super::{child, list, one_of, set, spec_mut, text};

pub(super) fn schema_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    if spec.get("matchingPrecedence").is_none_or(|p| p == 0) {
        spec.insert("matchingPrecedence".into(), 1000.into());
    }
}

pub(super) fn schema(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let (spec, name) = (&object["spec"], objects::meta::name(object));
    let precedence = spec["matchingPrecedence"].as_i64().unwrap_or(0);
    if !(1..=10_000).contains(&precedence) {
        let why = "must be between 1 and 10000, inclusive";
        causes.push(Cause::invalid("spec.matchingPrecedence", &json!(precedence), why));
    }
    if precedence == 1 && name != "exempt" {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        causes.push(Cause::invalid("spec.matchingPrecedence", &json!(1), why));
    }
    if text(&spec["priorityLevelConfiguration"], "name").is_empty() {
        causes.push(Cause::required("spec.priorityLevelConfiguration.name", "must reference a priority level"));
    }
    one_of(&spec["distinguisherMethod"], "type", "spec.distinguisherMethod", &["ByNamespace", "ByUser"], causes);
    for (i, rule) in list(spec, "rules").iter().enumerate() {
        let at = format!("spec.rules[{i}]");
        if list(rule, "subjects").is_empty() {
            causes.push(Cause::required(format!("{at}.subjects"), "subjects must contain at least one value"));
        }
        for (j, subject) in list(rule, "subjects").iter().enumerate() {
            let at = format!("{at}.subjects[{j}]");
            one_of(subject, "kind", &at, &["Group", "ServiceAccount", "User"], causes);
            let (part, fields): (&str, &[&str]) = match text(subject, "kind") {
                "Group" => ("group", &["name"]),
                "ServiceAccount" => ("serviceAccount", &["namespace", "name"]),
                "User" => ("user", &["name"]),
                _ => continue,
            };
            if !subject[part].is_object() {
                let kind = text(subject, "kind");
                causes.push(Cause::required(
                    format!("{at}.{part}"),
                    &format!("{part} is required when subject kind is '{kind}'"),
                ));
            } else {
                for field in fields.iter().filter(|f| text(&subject[part], f).is_empty()) {
                    causes.push(Cause::required(format!("{at}.{part}.{field}"), ""));
                }
            }
        }
        let (resources, paths) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
        if resources.is_empty() && paths.is_empty() {
            let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
            causes.push(Cause::required(at.clone(), why));
        }
        let mut some = |rules: &[Value], part: &str, fields: &[&str]| {
            for (j, rule) in rules.iter().enumerate() {
                for field in fields.iter().filter(|f| list(rule, f).is_empty()) {
                    let why = format!("{part} must contain at least one of {field}");
                    causes.push(Cause::required(format!("{at}.{part}[{j}].{field}"), &why));
                }
            }
        };
        some(resources, "resourceRules", &["verbs", "apiGroups", "resources"]);
        some(paths, "nonResourceRules", &["verbs", "nonResourceURLs"]);
        for (j, rule) in resources.iter().enumerate() {
            if list(rule, "namespaces").is_empty() && rule["clusterScope"] != json!(true) {
                let why = "resource rules that are not cluster scoped must supply at least one namespace";
                causes.push(Cause::required(format!("{at}.resourceRules[{j}].namespaces"), why));
            }
        }
    }
}

pub(super) fn level_default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("").to_owned();
    if kind == "Exempt"
        && let Some(exempt) = child(spec, "exempt")
    {
        set(exempt, "nominalConcurrencyShares", 0);
        set(exempt, "lendablePercent", 0);
    }
    let Some(limited) = spec.get_mut("limited").and_then(Value::as_object_mut) else { return };
    set(limited, "nominalConcurrencyShares", 30);
    set(limited, "lendablePercent", 0);
    let Some(response) = limited.get_mut("limitResponse").and_then(Value::as_object_mut) else { return };
    if response.get("type").is_some_and(|t| t == "Queue")
        && let Some(queuing) = child(response, "queuing")
    {
        for (field, value) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
            if queuing.get(field).is_none_or(|v| v == 0) {
                queuing.insert(field.into(), value.into());
            }
        }
    }
}

pub(super) fn level(object: &Value, _: Option<&Value>, causes: &mut Vec<Cause>) {
    let (spec, name) = (&object["spec"], objects::meta::name(object));
    let kind = text(spec, "type");
    if kind.is_empty() {
        causes.push(Cause::required("spec.type", ""));
        return;
    }
    one_of(spec, "type", "spec", &["Exempt", "Limited"], causes);
    if name == "exempt" && kind != "Exempt" {
        causes.push(Cause::invalid("spec.type", &json!(kind), "type must be \"Exempt\" if name is \"exempt\""));
    }
    if kind == "Exempt" && !spec["limited"].is_null() {
        causes.push(Cause::forbidden("spec.limited", "must be nil if the type is not Limited"));
    }
    if kind == "Limited" {
        if !spec["exempt"].is_null() {
            causes.push(Cause::forbidden("spec.exempt", "must be nil if the type is Limited"));
        }
        if !spec["limited"].is_object() {
            causes.push(Cause::required("spec.limited", "must not be empty when type is Limited"));
            return;
        }
    }
    let part = if kind == "Exempt" { "exempt" } else { "limited" };
    let shares = spec[part]["nominalConcurrencyShares"].as_i64().unwrap_or(0);
    if shares < 0 {
        let path = format!("spec.{part}.nominalConcurrencyShares");
        causes.push(Cause::invalid(path, &json!(shares), "must be a non-negative integer"));
    }
    let lendable = spec[part]["lendablePercent"].as_i64().unwrap_or(0);
    if !(0..=100).contains(&lendable) {
        let path = format!("spec.{part}.lendablePercent");
        causes.push(Cause::invalid(path, &json!(lendable), "must be between 0 and 100, inclusive"));
    }
    if kind == "Limited" {
        let (response, at) = (&spec["limited"]["limitResponse"], "spec.limited.limitResponse");
        if text(response, "type").is_empty() {
            causes.push(Cause::required(format!("{at}.type"), ""));
        }
        one_of(response, "type", at, &["Queue", "Reject"], causes);
        if text(response, "type") == "Reject" && !response["queuing"].is_null() {
            causes.push(Cause::forbidden(format!("{at}.queuing"), "must be nil if the type is not Limited"));
        }
        let number = |field: &str| response["queuing"][field].as_i64().unwrap_or(1);
        for field in ["queues", "handSize", "queueLengthLimit"] {
            if number(field) < 1 {
                causes.push(Cause::invalid(format!("{at}.queuing.{field}"), &json!(number(field)), "must be positive"));
            }
        }
        if number("handSize") > number("queues") {
            let why = format!("should not be greater than queues ({})", number("queues"));
            causes.push(Cause::invalid(format!("{at}.queuing.handSize"), &json!(number("handSize")), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}}});
        level_default(&mut object);
        assert_eq!(object["spec"]["limited"]["limitResponse"]["queuing"]["handSize"], 8);
        let mut causes = Vec::new();
        level(&object, None, &mut causes);
        assert_eq!(causes, []);
        level(&json!({"spec": {"type": "Limited"}}), None, &mut causes);
        assert_eq!(causes[0].field, "spec.limited");
    }

    #[test]
    fn schemas() {
        let mut causes = Vec::new();
        let rule = json!({"subjects": [{"kind": "User", "user": {"name": "u"}}], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
        let mut object =
            json!({"metadata": {"name": "a"}, "spec": {"priorityLevelConfiguration": {"name": "p"}, "rules": [rule]}});
        schema_default(&mut object);
        schema(&object, None, &mut causes);
        assert_eq!(causes, []);
        object["spec"]["rules"][0]["subjects"] = json!([]);
        schema(&object, None, &mut causes);
        assert_eq!(causes[0].field, "spec.rules[0].subjects");
    }
}
