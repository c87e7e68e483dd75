//! Whether the expressions of a ValidatingAdmissionPolicy fit the kinds that it is about: told in its status, never refused.

use std::collections::BTreeSet;

use cel::Ty;
use objects::meta;
use serde_json::{Value, json};

use super::expressions::Scope;
use crate::Api;
use crate::kinds::{Kinds, declared};

/// The table of the policies.
pub(crate) const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
/// Kinds against which one policy is checked, at most.
const MOST: usize = 10;

/// The kinds that the rules of a policy name without wildcards: `apps/v1, Kind=Deployment`, and the type of their objects.
fn subjects(kinds: &Kinds, policy: &Value) -> Vec<(String, Ty)> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().into_iter().flatten();
        list.filter_map(|v| v.as_str().map(str::to_owned)).filter(|t| !t.contains('*')).collect()
    };
    let mut named = BTreeSet::new();
    let rules = policy.pointer("/spec/matchConstraints/resourceRules").and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        for group in texts(rule, "apiGroups") {
            for version in texts(rule, "apiVersions") {
                for resource in texts(rule, "resources").into_iter().filter(|r| !r.contains('/')) {
                    named.insert((group.clone(), version.clone(), resource));
                }
            }
        }
    }
    let found = named.into_iter().take(MOST).filter_map(|(group, version, resource)| {
        let kind = kinds.resource(&group, &resource)?;
        let schema = kind.schema(&version)?;
        let name = format!("{}, Kind={}", crate::kinds::api_version(&group, &version), kind.kind);
        Some((name, declared(schema, kind.custom)))
    });
    found.collect()
}

/// What does not fit: an entry of `expressionWarnings` for each such expression.
pub(super) fn warnings(kinds: &Kinds, policy: &Value) -> Vec<Value> {
    let list = |field: &str| policy["spec"][field].as_array().cloned().unwrap_or_default();
    let subjects = subjects(kinds, policy);
    let scopes: Vec<(&String, Scope)> = subjects
        .iter()
        .map(|(name, object)| {
            let params = policy["spec"]["paramKind"].is_object();
            let mut scope = Scope { params, variables: Some(Vec::new()), object: object.clone(), ..Scope::default() };
            for variable in list("variables") {
                let source = variable["expression"].as_str().unwrap_or("");
                let kind = scope.compile(source, &[]).map_or(Ty::Dyn, |program| program.result_type().clone());
                if let Some(known) = &mut scope.variables {
                    known.push((variable["name"].as_str().unwrap_or("").to_owned(), kind));
                }
            }
            (name, scope)
        })
        .collect();
    let mut out = Vec::new();
    for (i, validation) in list("validations").iter().enumerate() {
        for (field, wanted) in [("expression", Ty::Bool), ("messageExpression", Ty::String)] {
            let source = validation[field].as_str().unwrap_or("");
            let told: Vec<String> = scopes
                .iter()
                .filter(|_| !source.is_empty())
                .filter_map(|(name, scope)| {
                    let fault = scope.compile(source, std::slice::from_ref(&wanted)).err()?;
                    Some(format!("{name}: {}", fault.trim_start_matches("compilation failed: ")))
                })
                .collect();
            if !told.is_empty() {
                let field = format!("spec.validations[{i}].{field}");
                out.push(json!({"fieldRef": field, "warning": told.join("\n")}));
            }
        }
    }
    out
}

impl Api {
    /// Tells in a policy's status what of its expressions does not fit.
    pub(crate) async fn policy_checked(&self, policy: &Value) {
        let warnings = warnings(&self.kinds.kinds(), policy);
        let typing = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
        let generation = meta::generation(policy);
        self.update_own(POLICIES, &crate::store::key("", meta::name(policy)), |object| {
            let status = &object["status"];
            if meta::generation(object) != generation
                || (status["observedGeneration"] == generation && status["typeChecking"] == typing)
            {
                return false;
            }
            object["status"]["observedGeneration"] = generation.into();
            object["status"]["typeChecking"] = typing.clone();
            true
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(expression: &str) -> Vec<Value> {
        let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]});
        let policy = json!({"spec": {"matchConstraints": {"resourceRules": [rule]}, "variables": [{"name": "n", "expression": "object.spec.replicas"}],
            "validations": [{"expression": expression}]}});
        warnings(&crate::kinds::Registry::default().kinds(), &policy)
    }

    #[test]
    fn expressions_and_kinds() {
        for good in [
            "object.spec.replicas > 1",
            "variables.n <= 5",
            "!has(object.metadata.labels)",
            "object.kind == 'Deployment'",
        ] {
            assert_eq!(told(good), Vec::<Value>::new(), "{good}");
        }
        let wrong = told("object.spec.replicas > '1'");
        assert_eq!(wrong[0]["fieldRef"], "spec.validations[0].expression");
        let text = wrong[0]["warning"].as_str().unwrap();
        assert!(text.contains("found no matching overload for '_>_' applied to '(int, string)'"), "{text}");
        assert!(text.starts_with("apps/v1, Kind=Deployment: ERROR:"), "{text}");
        assert_eq!(told("object.spec.foo == 1").len(), 1);
        assert_eq!(told("variables.n == 'x'").len(), 1);
    }

    #[test]
    fn schemas_that_name_themselves() {
        let kinds = crate::kinds::Registry::default().kinds();
        let kind = kinds.resource("apiextensions.k8s.io", "customresourcedefinitions").unwrap();
        assert!(matches!(declared(kind.schema("v1").unwrap(), false), Ty::Struct(_)));
    }
}
