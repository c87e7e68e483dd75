//! Admission webhooks: others that fill in or refuse.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::{Status, meta};
use serde_json::{Value, json};

use super::expressions::{Scope, Seen, TOTAL_BUDGET, conditions, conditions_hold, request};
use super::matching::{in_version, matched};
use super::{Attempt, Operation};
use crate::Api;

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

/// A webhook that a write concerns.
struct Hook {
    hook: Value,
    configuration: String,
    /// The version in which it wants the object.
    version: String,
}

/// What is asked about: the objects in the version that the webhook wants.
struct Question<'a> {
    attempt: &'a Attempt<'a>,
    object: Value,
    old: Option<Value>,
    version: &'a str,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

impl Api {
    /// Lets mutating webhooks change an object, and tells whether one did. Those that want it are asked again where later ones changed it.
    pub(super) async fn mutate(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let hooks = self.hooks(MUTATING, attempt, object, old);
        let (mut again, mut changed) = (Vec::new(), false);
        for (i, hook) in hooks.iter().enumerate() {
            if self.change(hook, attempt, object, old).await? {
                changed = true;
                // What was asked before this change has not seen it.
                again = (0..i).filter(|j| hooks[*j].hook["reinvocationPolicy"] == "IfNeeded").collect();
            }
        }
        for i in again {
            self.change(&hooks[i], attempt, object, old).await?;
        }
        Ok(changed)
    }

    /// Lets one webhook change an object; answers whether it did.
    async fn change(
        &self,
        hook: &Hook,
        attempt: &Attempt<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let kind = &attempt.call.kind;
        if !self.conditions_met(hook, attempt, object, old).await? {
            return Ok(false);
        }
        let question = self.question(hook, attempt, object, old).await?;
        let Some(response) = self.call_hook(hook, &question).await? else { return Ok(false) };
        let Some(patch) = response["patch"].as_str() else { return Ok(false) };
        let name = hook.hook["name"].as_str().unwrap_or("");
        let bad =
            |e: String| Status::internal(format!("webhook {name:?} answered a patch that cannot be applied: {e}"));
        let patch = STANDARD.decode(patch).map_err(|e| bad(e.to_string()))?;
        let patch: Value = serde_json::from_slice(&patch).map_err(|e| bad(e.to_string()))?;
        let mut changed = objects::patch::json_patch(&question.object, &patch).map_err(|e| bad(e.to_string()))?;
        if changed == question.object {
            return Ok(false);
        }
        crate::apply::decode_as(kind, &hook.version, &mut changed)?;
        self.to_storage(kind, &mut changed).await?;
        crate::apply::default(kind, &mut changed);
        *object = changed;
        Ok(true)
    }

    /// Lets validating webhooks refuse.
    pub(super) async fn ask(&self, attempt: &Attempt<'_>, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        for hook in self.hooks(VALIDATING, attempt, object, old) {
            if self.conditions_met(&hook, attempt, object, old).await? {
                let question = self.question(&hook, attempt, object, old).await?;
                self.call_hook(&hook, &question).await?;
            }
        }
        Ok(())
    }

    async fn question<'a>(
        &self,
        hook: &'a Hook,
        attempt: &'a Attempt<'a>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Question<'a>, Status> {
        let (kind, version) = (&attempt.call.kind, &hook.version);
        let old = match old {
            Some(old) => Some(in_version(self, kind, old, version).await?),
            None => None,
        };
        Ok(Question { attempt, object: in_version(self, kind, object, version).await?, old, version })
    }

    /// Whether the `matchConditions` of a webhook hold.
    async fn conditions_met(
        &self,
        hook: &Hook,
        attempt: &Attempt<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let list = &hook.hook["matchConditions"];
        if list.as_array().is_none_or(Vec::is_empty) {
            return Ok(true);
        }
        let name = hook.hook["name"].as_str().unwrap_or("");
        let question = self.question(hook, attempt, object, old).await?;
        let seen = Seen::new(self, attempt, &question.object, question.old.as_ref(), &hook.version);
        let (conditions, faults) = conditions(list, &Scope::default());
        let mut total = TOTAL_BUDGET;
        let outcome = match faults.into_iter().next() {
            Some((_, fault)) => Err(fault),
            None => conditions_hold(&conditions, &seen, &mut total),
        };
        match outcome {
            Ok(holds) => Ok(holds),
            Err(why) if hook.hook["failurePolicy"] == "Ignore" => {
                tracing::warn!(webhook = name, why, "match conditions failed");
                Ok(false)
            }
            Err(why) => {
                let resource = attempt.call.kind.group_resource();
                Err(Status::forbidden(&resource, &seen.resource.name, format!("webhook {name:?}: {why}")))
            }
        }
    }

    /// The webhooks that a write concerns.
    fn hooks(&self, table: &str, attempt: &Attempt<'_>, object: &Value, old: Option<&Value>) -> Vec<Hook> {
        let kind = &attempt.call.kind;
        if self.store.count(table) == 0 || &*kind.group == "admissionregistration.k8s.io" {
            return Vec::new();
        }
        let (_, name) = attempt.place(object, old);
        let mut out = Vec::new();
        for configuration in self.store.list(table, None, |_| true).items.iter().map(|s| s.value()) {
            for hook in configuration["webhooks"].as_array().into_iter().flatten() {
                let exact = hook["matchPolicy"] == "Exact";
                let Some(version) = matched(&hook["rules"], attempt, kind, name, exact) else { continue };
                if self.matches_selectors(hook, attempt, object, old) {
                    let configuration = meta::name(&configuration).to_owned();
                    out.push(Hook { hook: hook.clone(), configuration, version });
                }
            }
        }
        out
    }

    /// Asks one webhook; `None` where it could not be asked and that is to be ignored.
    async fn call_hook(&self, hook: &Hook, question: &Question<'_>) -> Result<Option<Value>, Status> {
        let (configuration, hook) = (&hook.configuration, &hook.hook);
        let name = hook["name"].as_str().unwrap_or("");
        // Only a webhook that says it changes nothing may be asked about what is not to be stored.
        if question.attempt.dry_run && !matches!(hook["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")) {
            let why = format!("admission webhook {name:?} does not support dry run");
            return Err(Status::bad_request(why));
        }
        let time = Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10).clamp(1, 30));
        let review = review(question, &hook["admissionReviewVersions"]);
        let answer = match post(self, &hook["clientConfig"], &review, time).await {
            Ok(answer) if answer["response"].is_object() => answer["response"].clone(),
            failed => {
                let why = failed.err().map_or_else(
                    || "expected response.uid of the request, got no response".to_owned(),
                    |unanswered| format!("failed to call webhook: {unanswered}"),
                );
                tracing::warn!(configuration, webhook = name, why, "admission webhook failed");
                if hook["failurePolicy"] == "Ignore" {
                    return Ok(None);
                }
                return Err(Status::internal(format!("failed calling webhook {name:?}: {why}")));
            }
        };
        for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            question.attempt.call.warn(warning.to_owned());
        }
        if answer["allowed"] == json!(true) {
            return Ok(Some(answer));
        }
        Err(denied(name, &answer["status"]))
    }
}

/// What a client hears when a webhook says no: the message of its `Status`, or the reason where there is none.
fn denied(name: &str, status: &Value) -> Status {
    const REASONS: &[&str] =
        &["Forbidden", "Invalid", "BadRequest", "Conflict", "TooManyRequests", "NotFound", "Unauthorized"];
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let why = text("message").or(text("reason")).map_or(" without explanation".to_owned(), |text| format!(": {text}"));
    let mut refused = Status::bad_request(format!("admission webhook {name:?} denied the request{why}"));
    let code = status["code"].as_u64().filter(|code| (400..600).contains(code));
    refused.code = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(400);
    // Clients branch on the reasons that they know; the text of any other is in the message.
    let known = REASONS.iter().find(|known| text("reason") == Some(**known));
    refused.reason = known.copied().unwrap_or_default();
    refused
}

/// Why a webhook did not answer.
#[derive(Debug, thiserror::Error)]
#[error("Post {url:?}: {why}")]
pub(crate) struct Unanswered {
    url: String,
    why: String,
}

/// Posts a review to the webhook that a `clientConfig` names.
pub(crate) async fn post(api: &Api, config: &Value, review: &Value, time: Duration) -> Result<Value, Unanswered> {
    let bundle = config["caBundle"].as_str().and_then(|b| STANDARD.decode(b).ok()).unwrap_or_default();
    let service = &config["service"];
    let text = |f: &str| service[f].as_str().unwrap_or("");
    let (namespace, name) = (text("namespace"), text("name"));
    let wanted = service["port"].as_u64().unwrap_or(443);
    let base = match config["url"].as_str() {
        Some(url) => url.to_owned(),
        None => format!("https://{name}.{namespace}.svc:{wanted}/{}", text("path").trim_start_matches('/')),
    };
    let mark = if base.contains('?') { '&' } else { '?' };
    let url = format!("{base}{mark}timeout={}s", time.as_secs());
    let exchange = async {
        let uri: http::Uri = url.parse().map_err(|_| "the URL cannot be understood".to_owned())?;
        let host = uri.host().unwrap_or("").to_owned();
        let path = uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
        let (address, port, known_as) = if config["url"].is_string() {
            (host.clone(), uri.port_u16().unwrap_or(443), host)
        } else {
            let (address, port) = crate::proxy::service_endpoint(api, namespace, name, wanted)
                .ok_or_else(|| format!("no endpoints available for service {name:?}"))?;
            (address, port, host)
        };
        crate::proxy::post_json(api, &address, port, &known_as, &bundle, &path, review).await
    };
    let why = match tokio::time::timeout(time, exchange).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(why)) => why,
        Err(_) => "context deadline exceeded".to_owned(),
    };
    Err(Unanswered { url, why })
}

/// The review to send, in the first version that the webhook understands and this server too.
fn review(question: &Question<'_>, versions: &Value) -> Value {
    let known = versions.as_array().into_iter().flatten().filter_map(Value::as_str);
    let version = known.into_iter().find(|v| matches!(*v, "v1" | "v1beta1")).unwrap_or("v1");
    let mut request = request(question.attempt, &question.object, question.old.as_ref(), question.version);
    request["uid"] = uuid::Uuid::new_v4().to_string().into();
    request["object"] = question.object.clone();
    request["oldObject"] = question.old.clone().unwrap_or_default();
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_says_what_the_webhook_said() {
        let table = [
            (json!({"message": "m", "reason": "r"}), "admission webhook \"w\" denied the request: m", 400, ""),
            (json!({"reason": "unwanted data"}), "admission webhook \"w\" denied the request: unwanted data", 400, ""),
            (
                json!({"code": 403, "reason": "Forbidden", "message": ""}),
                "admission webhook \"w\" denied the request: Forbidden",
                403,
                "Forbidden",
            ),
            (json!({"code": 200}), "admission webhook \"w\" denied the request without explanation", 400, ""),
            (json!(null), "admission webhook \"w\" denied the request without explanation", 400, ""),
        ];
        for (status, message, code, reason) in table {
            let refused = denied("w", &status);
            assert_eq!((&*refused.message, refused.code, refused.reason), (message, code, reason), "{status}");
        }
    }
}
