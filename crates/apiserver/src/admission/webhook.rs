//! Admission webhooks: others that fill in or refuse.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::labels::Selector;
use objects::{GroupResource, Status, meta};
use serde_json::{Value, json};

use super::{Attempt, Operation};
use crate::Api;
use crate::auth::reviews::user_info;
use crate::kinds::Kind;

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

/// What is asked about.
struct Question<'a> {
    attempt: &'a Attempt<'a>,
    object: &'a Value,
    old: Option<&'a Value>,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }
}

impl Api {
    /// Lets mutating webhooks change an object.
    pub(super) async fn mutate(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        for hook in self.hooks(MUTATING, attempt, object, old) {
            let response = match self.call_hook(&hook, &Question { attempt, object, old }).await? {
                Some(response) => response,
                None => continue,
            };
            let Some(patch) = response["patch"].as_str() else { continue };
            let name = hook["name"].as_str().unwrap_or("");
            let bad =
                |e: String| Status::internal(format!("webhook {name:?} answered a patch that cannot be applied: {e}"));
            let patch = STANDARD.decode(patch).map_err(|e| bad(e.to_string()))?;
            let patch: Value = serde_json::from_slice(&patch).map_err(|e| bad(e.to_string()))?;
            *object = objects::patch::json_patch(object, &patch).map_err(|e| bad(e.to_string()))?;
            crate::apply::decode_as(&attempt.call.kind, &attempt.call.kind.storage().name, object)?;
            crate::apply::default(&attempt.call.kind, object);
        }
        Ok(())
    }

    /// Lets validating webhooks refuse.
    pub(super) async fn ask(&self, attempt: &Attempt<'_>, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        for hook in self.hooks(VALIDATING, attempt, object, old) {
            self.call_hook(&hook, &Question { attempt, object, old }).await?;
        }
        Ok(())
    }

    /// The webhooks that a write concerns.
    fn hooks(&self, table: &str, attempt: &Attempt<'_>, object: &Value, old: Option<&Value>) -> Vec<Value> {
        let kind = &attempt.call.kind;
        if self.store.count(table) == 0 || &*kind.group == "admissionregistration.k8s.io" {
            return Vec::new();
        }
        let mut out = Vec::new();
        for configuration in self.store.list(table, None, |_| true).items.iter().map(|s| s.value()) {
            for hook in configuration["webhooks"].as_array().into_iter().flatten() {
                if matches_rules(&hook["rules"], attempt, kind) && self.matches_selectors(hook, attempt, object, old) {
                    out.push(hook.clone());
                }
            }
        }
        out
    }

    /// Whether the namespace and the object are selected.
    pub(super) fn matches_selectors(
        &self,
        hook: &Value,
        attempt: &Attempt<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> bool {
        let selected = |field: &str, object: &Value| match hook.get(field) {
            None => true,
            Some(selector) => Selector::from_label_selector(selector).is_ok_and(|s| s.matches_object(object)),
        };
        let subject = if object.is_null() { old.unwrap_or(object) } else { object };
        let namespaced = if attempt.call.kind.namespaced {
            let namespace =
                self.store.get("namespaces", &crate::store::key("", meta::namespace(subject))).map(|s| s.value());
            namespace.is_none_or(|n| selected("namespaceSelector", &n))
        } else if &*attempt.call.kind.table == "namespaces" {
            selected("namespaceSelector", subject)
        } else {
            true
        };
        namespaced && (selected("objectSelector", object) || old.is_some_and(|o| selected("objectSelector", o)))
    }

    /// Asks one webhook; `None` where it could not be asked and that is to be ignored.
    async fn call_hook(&self, hook: &Value, question: &Question<'_>) -> Result<Option<Value>, Status> {
        let name = hook["name"].as_str().unwrap_or("");
        let seconds = hook["timeoutSeconds"].as_u64().unwrap_or(10).clamp(1, 30);
        let review = review(question);
        let asked =
            tokio::time::timeout(Duration::from_secs(seconds), self.post_review(&hook["clientConfig"], &review)).await;
        let answer = match asked {
            Ok(Ok(answer)) if answer["response"].is_object() => answer["response"].clone(),
            failed => {
                let why = match failed {
                    Err(_) => "context deadline exceeded".to_owned(),
                    Ok(Err(why)) => why,
                    Ok(Ok(_)) => "the answer has no response".to_owned(),
                };
                tracing::warn!(webhook = name, why, "admission webhook failed");
                if hook["failurePolicy"] == "Ignore" {
                    return Ok(None);
                }
                return Err(Status::internal(format!("failed calling webhook {name:?}: {why}")));
            }
        };
        if answer["allowed"] == json!(true) {
            return Ok(Some(answer));
        }
        let message = answer.pointer("/status/message").and_then(Value::as_str).unwrap_or("without explanation");
        let code =
            answer.pointer("/status/code").and_then(Value::as_u64).filter(|c| (400..600).contains(c)).unwrap_or(403);
        let why = format!("admission webhook {name:?} denied the request: {message}");
        let mut status = Status::forbidden(&GroupResource::default(), "", "");
        status.message = why;
        status.code = code as u16;
        status.details = None;
        Err(status)
    }

    async fn post_review(&self, config: &Value, review: &Value) -> Result<Value, String> {
        let bundle = config["caBundle"].as_str().and_then(|b| STANDARD.decode(b).ok()).unwrap_or_default();
        if let Some(url) = config["url"].as_str() {
            let uri: http::Uri = url.parse().map_err(|_| format!("bad url {url:?}"))?;
            let host = uri.host().unwrap_or("").to_owned();
            let port = uri.port_u16().unwrap_or(443);
            let path = uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
            return crate::proxy::post_json(self, &host, port, &host, &bundle, &path, review).await;
        }
        let service = &config["service"];
        let text = |f: &str| service[f].as_str().unwrap_or("");
        let (namespace, name) = (text("namespace"), text("name"));
        let port = service["port"].as_u64().unwrap_or(443);
        let (host, port) = crate::proxy::service_endpoint(self, namespace, name, port)
            .ok_or_else(|| format!("no endpoints available for service {name:?}"))?;
        let path = if text("path").is_empty() { "/" } else { text("path") };
        crate::proxy::post_json(self, &host, port, &format!("{name}.{namespace}.svc"), &bundle, path, review).await
    }
}

/// Whether one of the rules concerns a write.
pub(super) fn matches_rules(rules: &Value, attempt: &Attempt<'_>, kind: &Arc<Kind>) -> bool {
    let version = &attempt.call.target.version;
    rules.as_array().into_iter().flatten().any(|rule| {
        let has =
            |field: &str, value: &str| rule[field].as_array().into_iter().flatten().any(|v| v == "*" || v == value);
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
        has("operations", attempt.operation.name())
            && has("apiGroups", &kind.group)
            && (has("apiVersions", version) || kind.versions.iter().any(|v| has("apiVersions", &v.name)))
            && resource
            && scope
    })
}

fn review(question: &Question<'_>) -> Value {
    let attempt = question.attempt;
    let call = attempt.call;
    let version = &*call.kind.storage().name;
    let kind = json!({"group": call.kind.group, "version": version, "kind": call.kind.kind});
    let resource = json!({"group": call.kind.group, "version": version, "resource": call.kind.resource});
    let subject = if question.object.is_null() { question.old.unwrap_or(question.object) } else { question.object };
    let mut request = json!({
        "uid": uuid::Uuid::new_v4().to_string(), "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": meta::name(subject), "operation": attempt.operation.name(), "userInfo": user_info(&call.who),
        "object": question.object, "oldObject": question.old, "dryRun": attempt.dry_run, "options": null,
    });
    if call.kind.namespaced {
        request["namespace"] = meta::namespace(subject).into();
    }
    if !attempt.subresource.is_empty() {
        request["subResource"] = attempt.subresource.into();
        request["requestSubResource"] = attempt.subresource.into();
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}
