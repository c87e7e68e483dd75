//! `x-kubernetes-validations`: the CEL rules of a custom resource's schema, compiled when the kind is made and evaluated on
//! every write.

use std::collections::{BTreeMap, HashMap};

use cel::{Budget, Fault, Program, Ty, Value as Cel, Variable};
use objects::schema::{ListType, Rule, SchemaRef};
use objects::status::Cause;
use serde_json::Value;

use super::values;

/// Steps that one rule may take.
const RULE_BUDGET: u64 = 1_000_000;
/// Steps that all rules of an object may take together.
const OBJECT_BUDGET: u64 = 10_000_000;
/// Most characters of a message.
const MESSAGE: usize = 5 << 10;
const MAX_DEPTH: usize = 128;

/// The compiled rules of a schema.
#[derive(Debug, Default)]
pub struct Rules {
    /// By the schema that they stand at.
    compiled: HashMap<u32, Vec<Compiled>>,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    program: Program,
    message: Option<Program>,
    /// Whether it compares with the old value.
    transition: bool,
}

impl Rules {
    /// Compiles the rules of a schema; the faults carry paths below `path`.
    pub fn compile(schema: SchemaRef<'_>, path: &str) -> (Self, Vec<Cause>) {
        let mut compiler = Compiler { rules: Rules::default(), faults: Vec::new() };
        compiler.walk(schema, path, true, 0);
        (compiler.rules, compiler.faults)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.compiled.is_empty()
    }

    /// The faults that the rules find in an object.
    pub fn evaluate(&self, object: &Value, old: Option<&Value>, schema: SchemaRef<'_>) -> Vec<Cause> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut run = Run { rules: self, budget: OBJECT_BUDGET, causes: Vec::new(), spent: false };
        run.walk(object, old, schema, &mut String::new(), 0);
        run.causes
    }
}

struct Compiler {
    rules: Rules,
    faults: Vec<Cause>,
}

impl Compiler {
    /// `correlated`: whether an old value can be found for each value here.
    fn walk(&mut self, schema: SchemaRef<'_>, path: &str, correlated: bool, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let rules = schema.node().validation.as_ref().map(|v| v.rules.as_slice()).unwrap_or_default();
        if !rules.is_empty() {
            let of = values::declared(schema, depth == 0);
            for (i, rule) in rules.iter().enumerate() {
                self.rule(rule, &of, schema, &format!("{path}.x-kubernetes-validations[{i}]"), correlated);
            }
        }
        for (name, field) in schema.fields() {
            if depth == 0 && matches!(name, "metadata" | "apiVersion" | "kind") {
                continue;
            }
            self.walk(field, &format!("{path}.properties[{name}]"), correlated, depth + 1);
        }
        if let Some(additional) = schema.additional() {
            self.walk(additional, &format!("{path}.additionalProperties"), correlated, depth + 1);
        }
        if let Some(items) = schema.items() {
            let correlated = correlated && matches!(schema.list_type(), ListType::Map(_));
            self.walk(items, &format!("{path}.items"), correlated, depth + 1);
        }
    }

    fn rule(&mut self, rule: &Rule, of: &Ty, schema: SchemaRef<'_>, path: &str, correlated: bool) {
        let optional = rule.optional_old_self == Some(true);
        let old = if optional { Ty::Optional(Box::new(of.clone())) } else { of.clone() };
        let variables = [Variable::new("self", of.clone()), Variable::new("oldSelf", old)];
        let invalid = |field: &str, value: &str, detail: String| {
            Cause::invalid(format!("{path}.{field}"), &Value::from(value), detail)
        };
        if rule.rule.trim().is_empty() {
            self.faults.push(Cause::required(format!("{path}.rule"), "rule is not specified"));
            return;
        }
        let program = match Program::compile(&rule.rule, &variables) {
            Ok(program) => program,
            Err(error) => {
                self.faults.push(invalid("rule", &rule.rule, format!("compilation failed: ERROR: <input>: {error}")));
                return;
            }
        };
        if !matches!(program.result_type(), Ty::Bool | Ty::Dyn) {
            self.faults.push(invalid("rule", &rule.rule, "cel expression must evaluate to a bool".into()));
            return;
        }
        let transition = program.uses("oldSelf");
        if transition && !correlated {
            self.faults.push(invalid(
                "rule",
                &rule.rule,
                "oldSelf cannot be used on the uncorrelatable portion of the schema within an array that is no map"
                    .into(),
            ));
            return;
        }
        if let Some(path) = rule.field_path.as_deref()
            && !reaches(schema, path)
        {
            self.faults.push(invalid("fieldPath", path, "fieldPath must be a valid path".into()));
        }
        let message = match rule.message_expression.as_deref().map(|m| (m, Program::compile(m, &variables))) {
            None => None,
            Some((_, Ok(program))) if matches!(program.result_type(), Ty::String | Ty::Dyn) => Some(program),
            Some((text, Ok(_))) => {
                let detail = "messageExpression must evaluate to a string".to_owned();
                self.faults.push(invalid("messageExpression", text, detail));
                None
            }
            Some((text, Err(error))) => {
                let detail = format!("messageExpression compilation failed: ERROR: <input>: {error}");
                self.faults.push(invalid("messageExpression", text, detail));
                None
            }
        };
        let compiled = Compiled { rule: rule.clone(), program, message, transition };
        self.rules.compiled.entry(schema.id()).or_default().push(compiled);
    }
}

/// Whether a path like `.a.b['c']` leads to a field.
fn reaches(schema: SchemaRef<'_>, path: &str) -> bool {
    let mut at = Some(schema);
    for name in segments(path) {
        at = at.and_then(|s| s.field(&name));
    }
    at.is_some() && path.starts_with(['.', '['])
}

fn segments(path: &str) -> Vec<String> {
    path.replace("['", ".").replace("']", "").split('.').filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

struct Run<'a> {
    rules: &'a Rules,
    budget: u64,
    causes: Vec<Cause>,
    spent: bool,
}

impl Run<'_> {
    fn walk(&mut self, value: &Value, old: Option<&Value>, schema: SchemaRef<'_>, path: &mut String, depth: usize) {
        if depth > MAX_DEPTH || self.spent || self.causes.len() > 20 {
            return;
        }
        if let Some(rules) = self.rules.compiled.get(&schema.id())
            && !value.is_null()
        {
            self.here(rules, value, old, schema, path, depth == 0);
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if depth == 0 && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
                        continue;
                    }
                    let Some(field) = schema.field(name) else { continue };
                    let at = path.len();
                    if schema.named_field(name).is_some() {
                        if !path.is_empty() {
                            path.push('.');
                        }
                        path.push_str(name);
                    } else {
                        path.push_str(&format!("[{name}]"));
                    }
                    self.walk(value, old.and_then(|o| o.get(name)), field, path, depth + 1);
                    path.truncate(at);
                }
            }
            Value::Array(list) => {
                let Some(items) = schema.items() else { return };
                for (i, item) in list.iter().enumerate() {
                    let at = path.len();
                    path.push_str(&format!("[{i}]"));
                    self.walk(item, same_item(old, item, schema), items, path, depth + 1);
                    path.truncate(at);
                }
            }
            _ => {}
        }
    }

    fn here(
        &mut self,
        rules: &[Compiled],
        value: &Value,
        old: Option<&Value>,
        schema: SchemaRef<'_>,
        path: &str,
        root: bool,
    ) {
        let unchanged = old == Some(value);
        let before = old.filter(|o| !o.is_null()).map(|o| values::value(o, schema, root));
        let mut variables = BTreeMap::from([("self".to_owned(), values::value(value, schema, root))]);
        for compiled in rules {
            let optional = compiled.rule.optional_old_self == Some(true);
            match &before {
                // What has not changed was accepted before.
                Some(_) if unchanged && !compiled.transition => continue,
                None if compiled.transition && !optional => continue,
                Some(before) if optional => {
                    variables.insert("oldSelf".into(), Cel::Optional(Some(Box::new(before.clone()))));
                }
                Some(before) => {
                    variables.insert("oldSelf".into(), before.clone());
                }
                None => {
                    variables.insert("oldSelf".into(), Cel::Optional(None));
                }
            }
            let mut budget = Budget::new(RULE_BUDGET.min(self.budget));
            let before = budget.left();
            let outcome = compiled.program.eval(&variables, &mut budget);
            let message = |budget: &mut Budget| compiled.text(&variables, budget);
            let fault = match outcome {
                Ok(Cel::Bool(true)) => None,
                Ok(Cel::Bool(false)) => Some(message(&mut budget)),
                Ok(_) => Some("the rule is neither true nor false".to_owned()),
                Err(Fault::Budget) => {
                    self.spent = self.budget <= RULE_BUDGET;
                    Some(format!(
                        "call cost exceeds limit for rule: {}: no further validation rules will be run",
                        compiled.rule.rule.trim()
                    ))
                }
                Err(fault) => Some(format!("{fault} evaluating rule: {}", message(&mut budget))),
            };
            self.budget -= (before - budget.left()).min(self.budget);
            if let Some(detail) = fault {
                self.causes.push(compiled.cause(path, schema, detail));
            }
            if self.spent {
                return;
            }
        }
    }
}

impl Compiled {
    /// What to say where the rule does not hold.
    fn text(&self, variables: &BTreeMap<String, Cel>, budget: &mut Budget) -> String {
        if let Some(Ok(Cel::String(text))) = self.message.as_ref().map(|m| m.eval(variables, budget)) {
            let text = text.trim();
            if !text.is_empty() && !text.contains('\n') && text.len() <= MESSAGE {
                return text.to_owned();
            }
        }
        match self.rule.message.as_deref().map(str::trim).filter(|m| !m.is_empty()) {
            Some(message) => message.to_owned(),
            None => format!("failed rule: {}", self.rule.rule.trim()),
        }
    }

    fn cause(&self, path: &str, schema: SchemaRef<'_>, detail: String) -> Cause {
        let mut field = path.to_owned();
        for name in self.rule.field_path.as_deref().map(segments).unwrap_or_default() {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(&name);
        }
        let kind = Value::from(super::custom::type_text(schema.kind()));
        match self.rule.reason.as_deref() {
            Some("FieldValueForbidden") => Cause::forbidden(field, detail),
            Some("FieldValueRequired") => Cause::required(field, &detail),
            Some("FieldValueDuplicate") => {
                Cause { reason: "FieldValueDuplicate", message: format!("Duplicate value: {kind}: {detail}"), field }
            }
            _ => Cause::invalid(field, &kind, detail),
        }
    }
}

/// The old item of a list whose items have keys.
pub(super) fn same_item<'v>(old: Option<&'v Value>, item: &Value, schema: SchemaRef<'_>) -> Option<&'v Value> {
    let ListType::Map(keys) = schema.list_type() else { return None };
    old?.as_array()?.iter().find(|o| keys.iter().all(|k| o.get(&**k) == item.get(&**k)))
}
