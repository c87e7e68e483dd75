//! ValidatingAdmissionPolicy: compiled once for each of its generations, evaluated for each write that it concerns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cel::{Ty, Value as Cel};
use objects::labels::Selector;
use objects::status::{Cause, Details};
use objects::{Status, meta};
use serde_json::{Value, json};

use super::Attempt;
use super::expressions::{Named, Scope, Seen, TOTAL_BUDGET, conditions_hold, given};
use super::matching::{in_version, matched_resources};
use crate::Api;

const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";

/// A policy, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Policy {
    name: String,
    spec: Value,
    /// Whether what cannot be evaluated is refused.
    fails: bool,
    conditions: Vec<Named>,
    variables: Vec<Named>,
    validations: Vec<Check>,
    audit: Vec<Named>,
    /// Why it cannot be evaluated; such a policy is refused when it is written.
    broken: Option<String>,
}

#[derive(Debug)]
struct Check {
    expression: String,
    program: cel::Program,
    message: Option<String>,
    message_program: Option<cel::Program>,
    reason: String,
}

/// Policies of a kind that were compiled, by uid and resource version.
#[derive(Debug)]
pub(crate) struct Compiled<P> {
    known: Mutex<HashMap<String, Arc<P>>>,
}

impl<P> Default for Compiled<P> {
    fn default() -> Self {
        Compiled { known: Mutex::default() }
    }
}

impl<P> Compiled<P> {
    /// The compiled form of a policy, made by `compile` where it is not known.
    pub(super) fn get(&self, policy: &Value, compile: fn(&Value) -> (P, Vec<Cause>)) -> Arc<P> {
        let key = format!("{}/{}", meta::uid(policy), meta::resource_version(policy));
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() > 256 {
            known.clear();
        }
        Arc::clone(known.entry(key).or_insert_with(|| Arc::new(compile(policy).0)))
    }
}

/// Compiles a policy; the faults are those for which it is refused.
pub(crate) fn compile(policy: &Value) -> (Policy, Vec<Cause>) {
    let spec = policy["spec"].clone();
    let mut causes = Vec::new();
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or("").to_owned();
    let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let mut scope = Scope { params: spec["paramKind"].is_object(), variables: Some(Vec::new()), ..Scope::default() };
    let invalid = |path: String, value: &str, detail: String| Cause::invalid(path, &json!(value), detail);
    let before = Scope { variables: None, ..scope.clone() };
    let (conditions, variables) = given(&spec, &before, &mut scope, &mut causes);
    let mut validations = Vec::new();
    for (i, validation) in list("validations").iter().enumerate() {
        let expression = text(validation, "expression");
        let path = format!("spec.validations[{i}]");
        if expression.trim().is_empty() {
            causes.push(Cause::required(format!("{path}.expression"), "expression is not specified"));
            continue;
        }
        let message_program = validation["messageExpression"].as_str().filter(|m| !m.is_empty()).and_then(|source| {
            let scope = Scope { no_authorizer: true, ..scope.clone() };
            scope
                .compile(source, &[Ty::String])
                .map_err(|fault| causes.push(invalid(format!("{path}.messageExpression"), source, fault)))
                .ok()
        });
        match scope.compile(&expression, &[Ty::Bool]) {
            Ok(program) => validations.push(Check {
                expression,
                program,
                message: validation["message"].as_str().map(|m| m.trim().to_owned()).filter(|m| !m.is_empty()),
                message_program,
                reason: validation["reason"].as_str().unwrap_or("Invalid").to_owned(),
            }),
            Err(fault) => causes.push(invalid(format!("{path}.expression"), &expression, fault)),
        }
    }
    let mut audit = Vec::new();
    for (i, annotation) in list("auditAnnotations").iter().enumerate() {
        let source = text(annotation, "valueExpression");
        match scope.compile(&source, &[Ty::String, Ty::Null]) {
            Ok(program) => audit.push(Named { name: text(annotation, "key"), program }),
            Err(fault) => causes.push(invalid(format!("spec.auditAnnotations[{i}].valueExpression"), &source, fault)),
        }
    }
    if list("validations").is_empty() && list("auditAnnotations").is_empty() {
        causes.push(Cause::required(
            "spec.validations",
            "validations or auditAnnotations must contain at least one item",
        ));
    }
    let policy = Policy {
        name: meta::name(policy).to_owned(),
        fails: spec["failurePolicy"] != "Ignore",
        spec,
        conditions,
        variables,
        validations,
        audit,
        broken: causes.first().map(ToString::to_string),
    };
    (policy, causes)
}

/// Whether a kind is one of the policies themselves, of which none is asked about.
pub(super) fn is_policy(kind: &crate::kinds::Kind) -> bool {
    &*kind.group == "admissionregistration.k8s.io" && kind.resource.contains("admissionpolic")
}

/// What a policy said no to.
struct Denial {
    message: String,
    reason: String,
}

impl Api {
    /// Lets the policies refuse a write, or warn about it.
    pub(super) async fn police(
        &self,
        attempt: &Attempt<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if self.store.count(BINDINGS) == 0 || self.store.count(POLICIES) == 0 {
            return Ok(());
        }
        if is_policy(&attempt.call.kind) {
            return Ok(());
        }
        for binding in self.store.list(BINDINGS, None, |_| true).items.iter().map(|s| s.value()) {
            let name = binding.pointer("/spec/policyName").and_then(Value::as_str).unwrap_or("");
            let Some(policy) = self.store.get(POLICIES, &crate::store::key("", name)) else { continue };
            let policy = self.policies.get(&policy.value(), compile);
            let Some(version) = matched_resources(self, &policy.spec["matchConstraints"], attempt, object, old) else {
                continue;
            };
            let within = &binding["spec"]["matchResources"];
            if within.is_object() && matched_resources(self, within, attempt, object, old).is_none() {
                continue;
            }
            let kind = &attempt.call.kind;
            let object = in_version(self, kind, object, &version).await?;
            let old = match old {
                Some(old) => Some(in_version(self, kind, old, &version).await?),
                None => None,
            };
            let mut seen = Seen::new(self, attempt, &object, old.as_ref(), &version);
            self.bound(&policy, &binding, attempt, &mut seen)?;
        }
        Ok(())
    }

    /// One policy with one of its bindings.
    fn bound<'a>(
        &self,
        policy: &'a Policy,
        binding: &Value,
        attempt: &Attempt<'_>,
        seen: &mut Seen<'a>,
    ) -> Result<(), Status> {
        let unable = |message: String| Denial { message, reason: "Invalid".into() };
        let mut total = TOTAL_BUDGET;
        let mut denials = Vec::new();
        match (&policy.broken, self.params_of(&policy.spec, binding, &seen.resource.namespace)) {
            (Some(broken), _) => denials.extend(policy.fails.then(|| unable(format!("failed to compile: {broken}")))),
            (None, Err(message)) => denials.extend(policy.fails.then(|| unable(message))),
            (None, Ok(all)) => {
                for params in all {
                    seen.begin(&policy.variables, params);
                    match conditions_hold(&policy.conditions, seen, &mut total) {
                        Ok(false) => continue,
                        Ok(true) => {}
                        Err(fault) => {
                            denials.extend(policy.fails.then(|| unable(fault)));
                            continue;
                        }
                    }
                    denials.extend(policy.judge(seen, &mut total));
                    policy.note(binding, seen, &mut total);
                }
            }
        }
        let actions = &binding["spec"]["validationActions"];
        let does = |action: &str| actions.as_array().is_some_and(|a| a.iter().any(|v| v == action));
        for denial in denials {
            let who = format!("ValidatingAdmissionPolicy '{}' with binding '{}'", policy.name, meta::name(binding));
            if does("Audit") {
                tracing::info!(policy = policy.name, message = denial.message, "a write fails validation");
            }
            if does("Warn") {
                attempt.call.warn(format!("Validation failed for {who}: {}", denial.message));
            }
            if does("Deny") {
                return Err(denied(
                    attempt,
                    &seen.resource.name,
                    format!("{who} denied request: {}", denial.message),
                    &denial.reason,
                ));
            }
        }
        Ok(())
    }

    /// The parameters that a binding gives its policy, one after another.
    pub(super) fn params_of(&self, spec: &Value, binding: &Value, namespace: &str) -> Result<Vec<Cel>, String> {
        let (kind, reference) = (&spec["paramKind"], &binding["spec"]["paramRef"]);
        if !kind.is_object() || !reference.is_object() {
            return Ok(vec![Cel::Null]);
        }
        let api_version = kind["apiVersion"].as_str().unwrap_or("");
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let name = kind["kind"].as_str().unwrap_or("");
        let kinds = self.kinds.kinds();
        let resource = kinds
            .kind(group, name)
            .ok_or_else(|| format!("failed to find resource referenced by paramKind: '{api_version}, Kind={name}'"))?;
        let namespace = match reference["namespace"].as_str() {
            Some(_) if !resource.namespaced => {
                return Err(
                    "failed to configure binding: cannot use namespaced paramRef with cluster-scoped params".into()
                );
            }
            Some(namespace) => namespace,
            None if resource.namespaced && namespace.is_empty() => {
                return Err(
                    "failed to configure binding: cannot use namespaced paramRef with cluster-scoped resource".into()
                );
            }
            None => namespace,
        };
        let namespace = if resource.namespaced { namespace } else { "" };
        let found: Vec<Value> = match reference["name"].as_str().filter(|n| !n.is_empty()) {
            Some(name) => {
                self.store.get(&resource.table, &crate::store::key(namespace, name)).iter().map(|s| s.value()).collect()
            }
            None => {
                let selector = Selector::from_label_selector(&reference["selector"]).map_err(|e| e.to_string())?;
                let within = resource.namespaced.then_some(namespace);
                let fits = |s: &crate::store::Stored| selector.matches(s.labels());
                self.store.list(&resource.table, within, fits).items.iter().map(|s| s.value()).collect()
            }
        };
        if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
            return Err(
                "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
                    .into(),
            );
        }
        let convert = |mut value: Value| {
            crate::kinds::convert(&mut value, api_version);
            Cel::from_json(&value)
        };
        Ok(found.into_iter().map(convert).collect())
    }
}

impl Policy {
    /// What it refuses.
    fn judge(&self, seen: &Seen<'_>, total: &mut u64) -> Vec<Denial> {
        let mut out = Vec::new();
        for check in &self.validations {
            let message = match seen.eval(&check.program, total) {
                Ok(Cel::Bool(true)) => continue,
                Ok(Cel::Bool(false)) => check.text(seen, total),
                Ok(_) if !self.fails => continue,
                Ok(_) => format!("expression '{}' is no truth value", check.expression.trim()),
                Err(_) if !self.fails => continue,
                Err(fault) => {
                    let message = format!("expression '{}' resulted in error: {fault}", check.expression.trim());
                    out.push(Denial { message, reason: "Invalid".into() });
                    continue;
                }
            };
            out.push(Denial { message, reason: check.reason.clone() });
        }
        out
    }

    /// Its annotations for the audit log, which is this server's own log.
    fn note(&self, binding: &Value, seen: &Seen<'_>, total: &mut u64) {
        for annotation in &self.audit {
            match seen.eval(&annotation.program, total) {
                Ok(Cel::String(value)) => {
                    tracing::info!(
                        policy = self.name, binding = meta::name(binding), key = annotation.name, %value, "audit annotation"
                    );
                }
                Ok(_) => {}
                Err(fault) => {
                    tracing::warn!(policy = self.name, key = annotation.name, %fault, "audit annotation failed");
                }
            }
        }
    }
}

impl Check {
    fn text(&self, seen: &Seen<'_>, total: &mut u64) -> String {
        if let Some(Ok(Cel::String(text))) = self.message_program.as_ref().map(|p| seen.eval(p, total)) {
            let text = text.trim();
            if !text.is_empty() && !text.contains('\n') && text.len() <= 5 << 10 {
                return text.to_owned();
            }
        }
        self.message.clone().unwrap_or_else(|| format!("failed expression: {}", self.expression.trim()))
    }
}

fn denied(attempt: &Attempt<'_>, name: &str, message: String, reason: &str) -> Status {
    let resource = attempt.call.kind.group_resource();
    let mut status = Status::forbidden(&resource, name, &message);
    (status.code, status.reason) = match reason {
        "Unauthorized" => (401, "Unauthorized"),
        "Forbidden" => (403, "Forbidden"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    let cause = Cause { reason: "", message, field: String::new() };
    let details = Details {
        name: name.to_owned(),
        group: resource.group,
        kind: resource.resource,
        causes: vec![cause],
        ..Details::default()
    };
    status.with_details(details)
}
