//! What the CEL expressions of admission see: the object, the request, the one who asks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use cel::{
    Budget, CompileError, Decision, Fault, Program, Question, StructType, Ty, Value as Cel, Variable, Variables,
};
use objects::status::Cause;
use serde_json::{Value, json};

use super::Attempt;
use crate::Api;
use crate::auth::rbac::Ask;
use crate::auth::reviews::user_info;
use crate::config::Identity;

/// Steps that one expression may take.
pub(super) const EXPRESSION_BUDGET: u64 = 1_000_000;
/// Steps that the expressions of one policy or the conditions of one webhook may take together.
pub(super) const TOTAL_BUDGET: u64 = 10_000_000;

/// A named expression.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) program: Program,
}

/// Which variables an expression may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) params: bool,
    /// The variables defined so far; `None` where there are none to define.
    pub(crate) variables: Option<Vec<(String, Ty)>>,
    pub(crate) no_authorizer: bool,
    /// Whether it makes changes: messages of objects and of JSON patches.
    pub(crate) messages: bool,
    /// The type of the object.
    pub(crate) object: Ty,
}

impl Scope {
    /// Compiles an expression of a type.
    pub(crate) fn compile(&self, source: &str, wanted: &[Ty]) -> Result<Program, String> {
        let mut known: Vec<Variable> =
            ["object", "oldObject"].iter().map(|n| Variable::new(n, self.object.clone())).collect();
        known.push(Variable::new("request", Ty::Dyn));
        if !self.no_authorizer {
            known.push(Variable::new("authorizer", Ty::Opaque("kubernetes.authorization.Authorizer")));
        }
        if self.messages {
            known.push(Variable::new("Object", Ty::Message(&[])));
            known.push(Variable::new("JSONPatch", Ty::Message(&["op", "path", "from", "value"])));
        }
        if self.params {
            known.push(Variable::new("params", Ty::Dyn));
        }
        if let Some(variables) = &self.variables {
            known.push(Variable::new("namespaceObject", Ty::Dyn));
            let fields = variables.iter().cloned().collect();
            known.push(Variable::new("variables", Ty::Struct(Arc::new(StructType { fields, open: false }))));
        }
        let program = Program::compile(source, &known)
            .map_err(|e: CompileError| format!("compilation failed: ERROR: <input>: {e}"))?;
        let kind = program.result_type();
        if *kind == Ty::Dyn || wanted.is_empty() || wanted.contains(kind) {
            return Ok(program);
        }
        let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        Err(format!("must evaluate to {}", names.join(" or ")))
    }
}

/// The variables of a request.
pub(super) struct Seen<'a> {
    pub(super) api: &'a Api,
    pub(super) who: &'a Identity,
    pub(super) object: Cel,
    pub(super) old: Cel,
    pub(super) request: Cel,
    pub(super) resource: Question,
    pub(super) params: Cel,
    pub(super) namespace: Cel,
    pub(super) variables: &'a [Named],
    memo: RefCell<HashMap<String, Result<Cel, Fault>>>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(api: &'a Api, attempt: &Attempt<'a>, object: &Value, old: Option<&Value>, version: &str) -> Self {
        let target = &attempt.call.target;
        let (namespace, name) = attempt.place(object, old);
        let resource = Question {
            group: target.group.clone(),
            resource: target.resource.clone(),
            subresource: attempt.subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Question::default()
        };
        let namespace = if attempt.call.kind.namespaced {
            let key = crate::store::key("", namespace);
            api.store.get("namespaces", &key).map_or(Cel::Null, |s| Cel::from_json(&s.value()))
        } else {
            Cel::Null
        };
        Self {
            api,
            who: &attempt.call.who,
            object: Cel::from_json(object),
            old: old.map_or(Cel::Null, Cel::from_json),
            request: Cel::from_json(&request(attempt, object, old, version)),
            resource,
            params: Cel::Null,
            namespace,
            variables: &[],
            memo: RefCell::default(),
        }
    }

    /// Forgets the variables of a policy, for the next one or the next parameters.
    pub(super) fn begin(&mut self, variables: &'a [Named], params: Cel) {
        self.memo.borrow_mut().clear();
        self.variables = variables;
        self.params = params;
    }

    /// Evaluates an expression within what is left of a total.
    pub(super) fn eval(&self, program: &Program, total: &mut u64) -> Result<Cel, Fault> {
        let mut budget = Budget::new(EXPRESSION_BUDGET.min(*total));
        let before = budget.left();
        let out = program.eval(self, &mut budget);
        *total -= before - budget.left();
        out
    }
}

impl Variables for Seen<'_> {
    fn get(&self, name: &str, _: &mut Budget) -> Option<Result<Cel, Fault>> {
        Some(Ok(match name {
            "object" => self.object.clone(),
            "oldObject" => self.old.clone(),
            "request" => self.request.clone(),
            "params" => self.params.clone(),
            "namespaceObject" => self.namespace.clone(),
            "authorizer" => Cel::Authorizer(Arc::default()),
            _ => return None,
        }))
    }

    fn field(&self, name: &str, field: &str, budget: &mut Budget) -> Option<Result<Cel, Fault>> {
        match (name, field) {
            ("authorizer", "requestResource") => Some(Ok(Cel::Authorizer(Arc::new(self.resource.clone())))),
            ("variables", field) => {
                if let Some(known) = self.memo.borrow().get(field) {
                    return Some(known.clone());
                }
                let variable = self.variables.iter().find(|v| v.name == field)?;
                let value = variable.program.eval(self, budget);
                self.memo.borrow_mut().insert(field.to_owned(), value.clone());
                Some(value)
            }
            _ => None,
        }
    }

    fn authorizer(&self) -> &dyn Decision {
        self
    }
}

impl Decision for Seen<'_> {
    fn allowed(&self, question: &Question) -> (bool, String) {
        let account = question.account.as_ref().map(|(namespace, name)| Identity::service_account(namespace, name));
        let path = question.path.as_deref().unwrap_or("");
        let ask = Ask {
            verb: &question.verb,
            group: &question.group,
            resource: if path.is_empty() { &question.resource } else { "" },
            subresource: &question.subresource,
            namespace: &question.namespace,
            name: &question.name,
            path,
        };
        (self.api.authorised(account.as_ref().unwrap_or(self.who), &ask), String::new())
    }
}

/// The request as admission describes it, without its objects.
pub(super) fn request(attempt: &Attempt<'_>, object: &Value, old: Option<&Value>, version: &str) -> Value {
    let call = attempt.call;
    let kind = json!({"group": call.kind.group, "version": version, "kind": call.kind.kind});
    let resource = json!({"group": call.kind.group, "version": version, "resource": call.kind.resource});
    let asked = &call.target.version;
    let request_kind = json!({"group": call.kind.group, "version": asked, "kind": call.kind.kind});
    let request_resource = json!({"group": call.kind.group, "version": asked, "resource": call.kind.resource});
    let (namespace, name) = attempt.place(object, old);
    let mut request = json!({
        "kind": kind, "resource": resource, "requestKind": request_kind, "requestResource": request_resource,
        "name": name, "operation": attempt.operation.name(), "userInfo": user_info(&call.who),
        "dryRun": attempt.dry_run, "options": options(attempt),
    });
    if call.kind.namespaced {
        request["namespace"] = namespace.into();
    } else if &*call.kind.table == "namespaces" {
        request["namespace"] = name.into();
    }
    if !attempt.subresource.is_empty() {
        request["subResource"] = attempt.subresource.into();
        request["requestSubResource"] = attempt.subresource.into();
    }
    request
}

fn options(attempt: &Attempt<'_>) -> Value {
    let kind = match (attempt.operation.name(), attempt.call.info.verb.as_str()) {
        ("CREATE", _) => "CreateOptions",
        ("UPDATE", "patch") => "PatchOptions",
        ("UPDATE", _) => "UpdateOptions",
        ("CONNECT", _) => return Value::Null,
        _ => "DeleteOptions",
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if attempt.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    if let (true, Some(manager)) = (kind != "DeleteOptions", attempt.call.info.param("fieldManager")) {
        options["fieldManager"] = manager.into();
    }
    options
}

/// Whether the `matchConditions` of a policy or webhook hold; an error is one of evaluation, named.
pub(super) fn conditions_hold(conditions: &[Named], seen: &Seen<'_>, total: &mut u64) -> Result<bool, String> {
    let mut fault = None;
    for condition in conditions {
        match seen.eval(&condition.program, total) {
            // One that does not hold decides, whatever the others are.
            Ok(Cel::Bool(false)) => return Ok(false),
            Ok(Cel::Bool(true)) => {}
            Ok(_) => fault = fault.or_else(|| Some(format!("match condition {:?} is no truth value", condition.name))),
            Err(error) => fault = fault.or_else(|| Some(format!("match condition {:?}: {error}", condition.name))),
        }
    }
    fault.map_or(Ok(true), Err)
}

/// Compiles the `matchConditions` of a policy, which see what `before` has, and its `variables`, each of which `scope` has from
/// then on; what is at fault becomes a cause.
pub(super) fn given(
    spec: &Value,
    before: &Scope,
    scope: &mut Scope,
    causes: &mut Vec<Cause>,
) -> (Vec<Named>, Vec<Named>) {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or("").to_owned();
    let mut refuse =
        |path: String, source: &str, fault: String| causes.push(Cause::invalid(path, &Value::from(source), fault));
    let (conditions, faults) = conditions(&spec["matchConditions"], before);
    for (i, fault) in faults {
        let source = text(&spec["matchConditions"][i], "expression");
        refuse(format!("spec.matchConditions[{i}].expression"), &source, fault);
    }
    let mut variables = Vec::new();
    for (i, variable) in spec["variables"].as_array().into_iter().flatten().enumerate() {
        let (name, source) = (text(variable, "name"), text(variable, "expression"));
        match scope.compile(&source, &[]) {
            Ok(program) => {
                scope.variables.get_or_insert_default().push((name.clone(), program.result_type().clone()));
                variables.push(Named { name, program });
            }
            Err(fault) => refuse(format!("spec.variables[{i}].expression"), &source, fault),
        }
    }
    (conditions, variables)
}

/// Compiles `matchConditions`; those with faults are told with their index.
pub(crate) fn conditions(list: &Value, scope: &Scope) -> (Vec<Named>, Vec<(usize, String)>) {
    let (mut out, mut faults) = (Vec::new(), Vec::new());
    for (i, condition) in list.as_array().into_iter().flatten().enumerate() {
        let name = condition["name"].as_str().unwrap_or("").to_owned();
        match scope.compile(condition["expression"].as_str().unwrap_or(""), &[Ty::Bool]) {
            Ok(program) => out.push(Named { name, program }),
            Err(fault) => faults.push((i, fault)),
        }
    }
    (out, faults)
}
