//! The reviews: who am I, may I, what may I, is this token good.

use objects::Status;
use serde_json::{Value, json};

use super::rbac::Ask;
use crate::Api;
use crate::config::Identity;

impl Api {
    /// Answers a review: a kind that is created and not kept.
    pub(crate) fn review(
        &self,
        who: &Identity,
        resource: &str,
        namespace: &str,
        mut review: Value,
    ) -> Result<Value, Status> {
        match resource {
            "selfsubjectreviews" => review["status"] = json!({"userInfo": user_info(who)}),
            "tokenreviews" => review["status"] = self.token_review(&review["spec"]),
            "selfsubjectaccessreviews" => review["status"] = self.access(who, &review["spec"])?,
            "selfsubjectrulesreviews" => {
                review["status"] = self.rules(who, review["spec"]["namespace"].as_str().unwrap_or(""))
            }
            "subjectaccessreviews" | "localsubjectaccessreviews" => {
                let spec = &review["spec"];
                if resource == "localsubjectaccessreviews"
                    && spec.pointer("/resourceAttributes/namespace").and_then(Value::as_str) != Some(namespace)
                {
                    return Err(Status::bad_request("spec.resourceAttributes.namespace must match metadata.namespace"));
                }
                let groups: Vec<String> = spec["groups"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|g| g.as_str().map(str::to_owned))
                    .collect();
                let subject =
                    Identity { name: spec["user"].as_str().unwrap_or("").to_owned(), groups, ..Identity::default() };
                if subject.name.is_empty() && subject.groups.is_empty() {
                    return Err(Status::bad_request("spec.user: at least one of user or group must be specified"));
                }
                review["status"] = self.access(&subject, spec)?;
            }
            _ => return Err(Status::no_such_path()),
        }
        Ok(review)
    }

    fn token_review(&self, spec: &Value) -> Value {
        let audiences: Vec<String> =
            spec["audiences"].as_array().into_iter().flatten().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        let wanted = (!audiences.is_empty()).then_some(audiences.as_slice());
        match self.token_identity(spec["token"].as_str().unwrap_or(""), wanted) {
            Ok(identity) => {
                let audiences = if audiences.is_empty() { vec![super::token::ISSUER.to_owned()] } else { audiences };
                json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences})
            }
            Err(reason) => json!({"authenticated": false, "error": reason, "user": {}}),
        }
    }

    fn access(&self, who: &Identity, spec: &Value) -> Result<Value, Status> {
        let resource = spec.get("resourceAttributes").filter(|r| r.is_object());
        let path = spec.get("nonResourceAttributes").filter(|r| r.is_object());
        let text = |v: &'_ Value, f: &str| v.get(f).and_then(Value::as_str).unwrap_or("").to_owned();
        let allowed = match (resource, path) {
            (Some(r), None) => {
                let [verb, group, resource, subresource, namespace, name] =
                    ["verb", "group", "resource", "subresource", "namespace", "name"].map(|f| text(r, f));
                let (resource, subresource) = match resource.split_once('/') {
                    Some((r, s)) => (r.to_owned(), s.to_owned()),
                    None => (resource, subresource),
                };
                let ask = Ask {
                    verb: &verb,
                    group: &group,
                    resource: &resource,
                    subresource: &subresource,
                    namespace: &namespace,
                    name: &name,
                    path: "",
                };
                self.authorised(who, &ask)
            }
            (None, Some(p)) => {
                let (verb, path) = (text(p, "verb"), text(p, "path"));
                self.authorised(who, &Ask { verb: &verb, path: &path, ..Ask::default() })
            }
            _ => {
                return Err(Status::bad_request(
                    "exactly one of nonResourceAttributes or resourceAttributes must be specified",
                ));
            }
        };
        Ok(json!({"allowed": allowed}))
    }

    fn rules(&self, who: &Identity, namespace: &str) -> Value {
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        let all = ["*"];
        if who.is_master() {
            resources.push(json!({"verbs": all, "apiGroups": all, "resources": all}));
            paths.push(json!({"verbs": all, "nonResourceURLs": all}));
        }
        self.rules_of(who, |scope, rule| {
            if scope.is_none() || scope == Some(namespace) {
                if !rule.resources.is_empty() {
                    let mut out = json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources});
                    if !rule.names.is_empty() {
                        out["resourceNames"] = json!(rule.names);
                    }
                    resources.push(out);
                }
                if !rule.paths.is_empty() {
                    paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}));
                }
            }
            false
        });
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
    }
}

/// `UserInfo`, as reviews and admission carry it.
pub fn user_info(who: &Identity) -> Value {
    let mut out = json!({"username": who.name, "groups": who.groups});
    if !who.uid.is_empty() {
        out["uid"] = who.uid.as_str().into();
    }
    if !who.extra.is_empty() {
        out["extra"] = json!(who.extra);
    }
    out
}
