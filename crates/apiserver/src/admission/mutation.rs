//! MutatingAdmissionPolicy: compiled once for each of its versions; each of its mutations changes the objects that it
//! concerns, before webhooks see them.

use cel::{Ty, Value as Cel};
use objects::status::Cause;
use objects::{Status, meta};
use serde_json::{Value, json};

use super::expressions::{Named, Scope, Seen, TOTAL_BUDGET, conditions_hold, given};
use super::matching::{in_version, matched_resources};
use super::policy::is_policy;
use super::{Attempt, Operation};
use crate::Api;

const POLICIES: &str = "admissionregistration.k8s.io/mutatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/mutatingadmissionpolicybindings";

/// A policy, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Mutating {
    name: String,
    spec: Value,
    /// Whether what cannot be evaluated is refused.
    fails: bool,
    /// Whether it wants to see what others changed after it.
    again: bool,
    conditions: Vec<Named>,
    variables: Vec<Named>,
    mutations: Vec<Mutation>,
    /// Why it cannot be evaluated; such a policy is refused when it is written.
    broken: Option<String>,
}

#[derive(Debug)]
enum Mutation {
    /// A part of the object, merged as server-side apply merges.
    Apply(cel::Program),
    /// A JSON patch.
    Patch(cel::Program),
}

/// Compiles a policy; the faults are those for which it is refused.
pub(crate) fn compile(policy: &Value) -> (Mutating, Vec<Cause>) {
    let spec = policy["spec"].clone();
    let mut causes = Vec::new();
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or("").to_owned();
    let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let invalid = |path: String, value: &str, detail: String| Cause::invalid(path, &json!(value), detail);
    let params = spec["paramKind"].is_object();
    let before = Scope { params, ..Scope::default() };
    let mut scope = Scope { params, variables: Some(Vec::new()), messages: true, ..Scope::default() };
    let (conditions, variables) = given(&spec, &before, &mut scope, &mut causes);
    let mut mutations = Vec::new();
    for (i, mutation) in list("mutations").iter().enumerate() {
        let at = format!("spec.mutations[{i}]");
        let (part, other) = match text(mutation, "patchType").as_str() {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            "" => {
                causes.push(Cause::required(format!("{at}.patchType"), ""));
                continue;
            }
            patch => {
                let known = ["ApplyConfiguration", "JSONPatch"];
                causes.push(Cause::not_supported(format!("{at}.patchType"), &json!(patch), &known));
                continue;
            }
        };
        if mutation[other].is_object() {
            let detail = format!("must not be specified when patchType is {}", text(mutation, "patchType"));
            causes.push(Cause::invalid(format!("{at}.{other}"), &mutation[other], detail));
        }
        let source = text(&mutation[part], "expression");
        let path = format!("{at}.{part}.expression");
        if source.trim().is_empty() {
            causes.push(Cause::required(path, "expression is required"));
            continue;
        }
        let fits = |kind: &Ty| {
            matches!((part, kind), (_, Ty::Dyn) | ("applyConfiguration", Ty::Struct(_)) | ("jsonPatch", Ty::List(_)))
        };
        match scope.compile(&source, &[]) {
            Ok(program) if fits(program.result_type()) => mutations.push(match part {
                "jsonPatch" => Mutation::Patch(program),
                _ => Mutation::Apply(program),
            }),
            Ok(_) => {
                let wanted = if part == "jsonPatch" { "list(JSONPatch)" } else { "Object" };
                causes.push(invalid(path, &source, format!("must evaluate to {wanted}")));
            }
            Err(fault) => causes.push(invalid(path, &source, fault)),
        }
    }
    if list("mutations").is_empty() {
        causes.push(Cause::required("spec.mutations", "mutations must contain at least one item"));
    }
    let policy = Mutating {
        name: meta::name(policy).to_owned(),
        fails: spec["failurePolicy"] != "Ignore",
        again: spec["reinvocationPolicy"] == "IfNeeded",
        spec,
        conditions,
        variables,
        mutations,
        broken: causes.first().map(ToString::to_string),
    };
    (policy, causes)
}

impl Api {
    /// Lets the policies change an object; with `again` only those that want to see what others changed. Tells whether one
    /// of those was asked.
    pub(super) async fn transform(
        &self,
        attempt: &Attempt<'_>,
        object: &mut Value,
        old: Option<&Value>,
        again: bool,
    ) -> Result<bool, Status> {
        let kind = &attempt.call.kind;
        let none = self.store.count(BINDINGS) == 0 || self.store.count(POLICIES) == 0 || is_policy(kind);
        if none || !matches!(attempt.operation, Operation::Create | Operation::Update) {
            return Ok(false);
        }
        let mut wants_more = false;
        for binding in self.store.list(BINDINGS, None, |_| true).items.iter().map(|s| s.value()) {
            let name = binding.pointer("/spec/policyName").and_then(Value::as_str).unwrap_or("");
            let Some(policy) = self.store.get(POLICIES, &crate::store::key("", name)) else { continue };
            let policy = self.mutating.get(&policy.value(), compile);
            wants_more |= policy.again;
            if again && !policy.again {
                continue;
            }
            let constraints = &policy.spec["matchConstraints"];
            let Some(version) = matched_resources(self, constraints, attempt, object, old) else { continue };
            let within = &binding["spec"]["matchResources"];
            if within.is_object() && matched_resources(self, within, attempt, object, old).is_none() {
                continue;
            }
            let mut seen_object = in_version(self, kind, object, &version).await?;
            let seen_old = match old {
                Some(old) => Some(in_version(self, kind, old, &version).await?),
                None => None,
            };
            let before = seen_object.clone();
            self.mutate_by(&policy, &binding, attempt, &mut seen_object, seen_old.as_ref(), &version)?;
            if seen_object != before {
                crate::apply::decode_as(kind, &version, &mut seen_object)?;
                self.to_storage(kind, &mut seen_object).await?;
                crate::apply::default(kind, &mut seen_object);
                *object = seen_object;
            }
        }
        Ok(wants_more)
    }

    /// One policy with one of its bindings, on an object in the version that it concerns.
    fn mutate_by(
        &self,
        policy: &Mutating,
        binding: &Value,
        attempt: &Attempt<'_>,
        object: &mut Value,
        old: Option<&Value>,
        version: &str,
    ) -> Result<(), Status> {
        let (namespace, name) = attempt.place(object, old);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let fail = |why: String| -> Result<(), Status> {
            if !policy.fails {
                tracing::warn!(policy = policy.name, why, "mutating policy failed");
                return Ok(());
            }
            let who = format!("policy '{}' with binding '{}'", policy.name, meta::name(binding));
            Err(Status::forbidden(&attempt.call.kind.group_resource(), &name, format!("{who} denied request: {why}")))
        };
        if let Some(broken) = &policy.broken {
            return fail(format!("failed to compile: {broken}"));
        }
        let all = match self.params_of(&policy.spec, binding, &namespace) {
            Ok(all) => all,
            Err(why) => return fail(why),
        };
        let mut total = TOTAL_BUDGET;
        for params in all {
            match self.mutated(policy, params, attempt, object, old, version, &mut total) {
                Ok(Some(changed)) => *object = changed,
                Ok(None) => {}
                Err(why) => fail(why)?,
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "what an evaluation sees")]
    fn mutated(
        &self,
        policy: &Mutating,
        params: Cel,
        attempt: &Attempt<'_>,
        object: &Value,
        old: Option<&Value>,
        version: &str,
        total: &mut u64,
    ) -> Result<Option<Value>, String> {
        let mut current = object.clone();
        let mut seen = Seen::new(self, attempt, object, old, version);
        seen.begin(&policy.variables, params.clone());
        if !conditions_hold(&policy.conditions, &seen, total)? {
            return Ok(None);
        }
        for mutation in &policy.mutations {
            let mut seen = Seen::new(self, attempt, &current, old, version);
            seen.begin(&policy.variables, params.clone());
            current = match mutation {
                Mutation::Apply(program) => {
                    let config = seen.eval(program, total).map_err(|f| f.to_string())?;
                    let mut config = config.to_json().filter(Value::is_object).ok_or("the expression is no object")?;
                    for field in ["apiVersion", "kind"] {
                        config[field] = current[field].clone();
                    }
                    let metadata = ["name", "namespace", "uid", "managedFields"];
                    if metadata.iter().any(|f| config["metadata"].get(f).is_some()) {
                        return Err("the identity of an object cannot be changed".into());
                    }
                    objects::ssa::merge(&current, &config, attempt.call.kind.schema(version))
                }
                Mutation::Patch(program) => {
                    let patch = seen.eval(program, total).map_err(|f| f.to_string())?;
                    let patch = patch.to_json().ok_or("the expression is no JSON patch")?;
                    objects::patch::json_patch(&current, &patch)
                        .map_err(|e| format!("JSON Patch: {e}{}", cause_of(&e)))?
                }
            };
        }
        Ok(Some(current))
    }
}

fn cause_of(error: &dyn std::error::Error) -> String {
    error.source().map_or(String::new(), |s| format!(": {s}"))
}
