//! CustomResourceDefinition.

use objects::names;
use objects::status::Cause;
use serde_json::{Value, json};

use super::{child, each_mut, immutable, list, one_of, set, spec_mut, text};

pub(super) fn default(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    if let Some(names) = child(spec, "names") {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        if !kind.is_empty() {
            set(names, "singular", kind.to_lowercase());
            set(names, "listKind", format!("{kind}List"));
        }
    }
    if let Some(conversion) = child(spec, "conversion") {
        set(conversion, "strategy", "None");
        let service = conversion.get_mut("webhook").and_then(|w| w.pointer_mut("/clientConfig/service"));
        if let Some(service) = service.and_then(Value::as_object_mut) {
            set(service, "port", 443);
        }
    }
    for version in each_mut(spec, "versions") {
        for column in each_mut(version, "additionalPrinterColumns") {
            if column.get("priority") == Some(&json!(0)) {
                column.remove("priority");
            }
        }
    }
}

pub(super) fn update(object: &mut Value, old: &Value) {
    if let Some(status) = old.get("status") {
        object["status"] = status.clone();
    }
}

pub(super) fn validate(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let (group, plural) = (text(spec, "group"), text(&spec["names"], "plural"));
    let wanted = format!("{plural}.{group}");
    if objects::meta::name(object) != wanted {
        causes.push(Cause::invalid(
            "metadata.name",
            &json!(objects::meta::name(object)),
            "must be spec.names.plural+\".\"+spec.group".to_string(),
        ));
    }
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    } else if !group.contains('.') {
        causes.push(Cause::invalid("spec.group", &json!(group), "should be a domain with at least one dot"));
    } else if let Err(reason) = names::dns1123_subdomain(group) {
        causes.push(Cause::invalid("spec.group", &json!(group), reason));
    }
    if let Err(reason) = names::dns1035_label(plural) {
        causes.push(Cause::invalid("spec.names.plural", &json!(plural), reason));
    }
    if text(&spec["names"], "kind").is_empty() {
        causes.push(Cause::required("spec.names.kind", ""));
    }
    if text(spec, "scope").is_empty() {
        causes.push(Cause::required("spec.scope", ""));
    }
    one_of(spec, "scope", "spec", &["Cluster", "Namespaced"], causes);
    let versions = list(spec, "versions");
    if versions.iter().filter(|v| v["storage"] == json!(true)).count() != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &json!("versions"),
            "must have exactly one version marked as storage version",
        ));
    }
    for (i, version) in versions.iter().enumerate() {
        let at = format!("spec.versions[{i}]");
        if let Err(reason) = names::dns1035_label(text(version, "name")) {
            causes.push(Cause::invalid(format!("{at}.name"), &version["name"], reason));
        }
        match version.pointer("/schema/openAPIV3Schema") {
            None => causes.push(Cause::required(format!("{at}.schema.openAPIV3Schema"), "schemas are required")),
            Some(schema) => {
                let unchanged = old.is_some_and(|o| {
                    list(&o["spec"], "versions")
                        .iter()
                        .any(|v| v["name"] == version["name"] && v.pointer("/schema/openAPIV3Schema") == Some(schema))
                });
                if let (false, Ok(types)) = (unchanged, objects::schema::Types::custom(schema)) {
                    let path = format!("{at}.schema.openAPIV3Schema");
                    causes.extend(crate::kinds::rules::Rules::compile(types.root(), &path).1);
                    causes.extend(crate::kinds::costs::faults(types.root(), &path));
                }
                if let Err(error) = objects::schema::Types::custom(schema) {
                    let cause = std::error::Error::source(&error).map_or(String::new(), |s| format!(": {s}"));
                    causes.push(Cause::invalid(
                        format!("{at}.schema.openAPIV3Schema"),
                        &json!("schema"),
                        format!("{error}{cause}"),
                    ));
                }
                if schema.get("type").is_none_or(|t| t != "object") {
                    causes.push(Cause::invalid(
                        format!("{at}.schema.openAPIV3Schema.type"),
                        schema.get("type").unwrap_or(&json!("")),
                        "must be object at the root",
                    ));
                }
            }
        }
    }
    conversion(&spec["conversion"], causes);
    if let Some(old) = old {
        immutable(object, Some(old), "/spec/group", causes);
        immutable(object, Some(old), "/spec/names/plural", causes);
        if old.pointer("/status/conditions").is_some() {
            immutable(object, Some(old), "/spec/scope", causes);
            immutable(object, Some(old), "/spec/names/kind", causes);
        }
    }
}

fn conversion(conversion: &Value, causes: &mut Vec<Cause>) {
    one_of(conversion, "strategy", "spec.conversion", &["None", "Webhook"], causes);
    let (webhook, at) = (&conversion["webhook"], "spec.conversion.webhook");
    if text(conversion, "strategy") != "Webhook" {
        if !webhook.is_null() {
            let why = "should not be set when strategy is not set to Webhook";
            causes.push(Cause::forbidden(format!("{at}.clientConfig"), why));
        }
        return;
    }
    let client = &webhook["clientConfig"];
    if !client.is_object() {
        let why = "required when strategy is set to Webhook";
        causes.push(Cause::required(format!("{at}.clientConfig"), why));
    } else if client["url"].is_string() == client["service"].is_object() {
        let why = "exactly one of url or service is required";
        causes.push(Cause::required(format!("{at}.clientConfig"), why));
    }
    let versions = list(webhook, "conversionReviewVersions");
    if versions.is_empty() {
        causes.push(Cause::required(format!("{at}.conversionReviewVersions"), ""));
    } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
        let why = "must include at least one of v1, v1beta1";
        causes.push(Cause::invalid(format!("{at}.conversionReviewVersions"), &json!(versions), why));
    }
}
