//! Questions to the authorizer.

use std::sync::Arc;

use super::Answer;
use crate::eval::{Fault, Machine, Question};
use crate::value::Value;

pub(super) fn call(machine: &mut Machine<'_>, name: &str, target: Option<&Value>, args: &[Value]) -> Answer {
    match (target?, args) {
        (Value::Authorizer(question), [Value::String(verb)]) if name == "check" => {
            let question = Question { verb: verb.to_string(), ..(**question).clone() };
            if machine.budget.spend(350_000).is_err() {
                return Some(Err(Fault::Budget));
            }
            let (allowed, reason) = machine.variables.authorizer().allowed(&question);
            Some(Ok(Value::Decision(allowed, reason.into())))
        }
        (Value::Authorizer(question), args) => build(name, question, args).map(|q| Ok(Value::Authorizer(Arc::new(q)))),
        (Value::Decision(allowed, reason), []) => Some(Ok(match name {
            "allowed" => Value::Bool(*allowed),
            "reason" => Value::String(Arc::clone(reason)),
            "errored" => Value::Bool(false),
            "error" => Value::from(""),
            _ => return None,
        })),
        _ => None,
    }
}

fn build(name: &str, question: &Question, args: &[Value]) -> Option<Question> {
    let mut question = question.clone();
    match (name, args) {
        ("path", [Value::String(path)]) => question.path = Some(path.to_string()),
        ("serviceAccount", [Value::String(namespace), Value::String(name)]) => {
            question.account = Some((namespace.to_string(), name.to_string()));
        }
        ("group", [Value::String(group)]) => question.group = group.to_string(),
        ("resource", [Value::String(resource)]) => question.resource = resource.to_string(),
        ("subresource", [Value::String(subresource)]) => question.subresource = subresource.to_string(),
        ("namespace", [Value::String(namespace)]) => question.namespace = namespace.to_string(),
        ("name", [Value::String(name)]) => question.name = name.to_string(),
        // Selectors narrow a question down; who may see all may see a part.
        ("fieldSelector" | "labelSelector", [Value::String(_)]) => {}
        _ => return None,
    }
    Some(question)
}
