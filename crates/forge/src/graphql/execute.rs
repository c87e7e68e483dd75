//! Executing a document: selections, fragments, directives, variables.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::node::{Node, Problem, Resolved};
use super::parse::{Directive, Document, Field, Input, Operation, Selection};
use super::{mutation, query, schema};
use crate::rest::Call;

/// How many fields one document may resolve, so that a small text cannot ask for the world.
const MOST_FIELDS: usize = 200_000;

struct Run<'a> {
    call: &'a Call,
    document: &'a Document,
    variables: Value,
    errors: Vec<Value>,
    path: Vec<Value>,
    fields: usize,
}

/// Runs one operation of a document and returns the whole answer.
pub(crate) async fn run(call: &Call, document: &Document, name: Option<&str>, given: &Value) -> Value {
    let chosen = document.operations.iter().find(|operation| name.is_none() || operation.name.as_deref() == name);
    let Some(operation) = chosen else {
        return json!({"errors": [{"message": "No operation of that name"}]});
    };
    let mut run =
        Run { call, document, variables: variables(operation, given), errors: Vec::new(), path: Vec::new(), fields: 0 };
    let root = if operation.mutation { Node::Mutation } else { Node::Query };
    let data = run.select(&root, &operation.selection).await;
    let mut answer = Map::new();
    // A field that the schema lacks spoils the whole document, as on GitHub.
    let undefined = run.errors.iter().any(|error| error["extensions"]["code"] == json!("undefinedField"));
    if !undefined {
        answer.insert("data".to_owned(), Value::Object(data));
    }
    if !run.errors.is_empty() {
        answer.insert("errors".to_owned(), Value::Array(run.errors));
    }
    Value::Object(answer)
}

fn variables(operation: &Operation, given: &Value) -> Value {
    let mut all = Map::new();
    for (name, default) in &operation.variables {
        let value = match given.get(name) {
            Some(value) => value.clone(),
            None => default.as_ref().map_or(Value::Null, |input| literal(input, &Value::Null)),
        };
        all.insert(name.clone(), value);
    }
    Value::Object(all)
}

fn literal(input: &Input, variables: &Value) -> Value {
    match input {
        Input::Variable(name) => variables.get(name).cloned().unwrap_or(Value::Null),
        Input::Plain(value) => value.clone(),
        Input::List(items) => items.iter().map(|item| literal(item, variables)).collect(),
        Input::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), literal(value, variables))).collect::<Map<_, _>>().into()
        }
    }
}

impl Run<'_> {
    fn wanted(&self, directives: &[Directive]) -> bool {
        directives.iter().all(|directive| {
            let condition = directive.arguments.iter().find(|(name, _)| name == "if");
            let holds = condition.is_none_or(|(_, input)| literal(input, &self.variables) == Value::Bool(true));
            match directive.name.as_str() {
                "include" => holds,
                "skip" => !holds,
                _ => true,
            }
        })
    }

    /// What a selection takes of a node. Fields of one answer name are merged.
    fn select<'s>(&'s mut self, node: &'s Node, selection: &'s [Selection]) -> BoxFuture<'s, Map<String, Value>> {
        async move {
            let mut out = Map::new();
            let mut fields = Vec::new();
            self.collect(node, selection, &mut fields, 0);
            for field in fields {
                let key = field.alias.as_ref().unwrap_or(&field.name).clone();
                self.path.push(json!(key));
                let value = self.resolve(node, &field).await;
                self.path.pop();
                match (out.get_mut(&key), value) {
                    (Some(before), value) => merge(before, value),
                    (None, value) => {
                        out.insert(key, value);
                    }
                }
            }
            out
        }
        .boxed()
    }

    fn collect(&self, node: &Node, selection: &[Selection], out: &mut Vec<Field>, depth: usize) {
        if depth > 40 || out.len() > MOST_FIELDS {
            return;
        }
        for one in selection {
            match one {
                Selection::Field(field) if self.wanted(&field.directives) => out.push(field.clone()),
                Selection::Inline { on, selection, directives }
                    if self.wanted(directives) && on.as_ref().is_none_or(|on| node.is(on)) =>
                {
                    self.collect(node, selection, out, depth + 1);
                }
                Selection::Spread { name, directives } if self.wanted(directives) => {
                    if let Some(fragment) = self.document.fragments.get(name).filter(|one| node.is(&one.on)) {
                        self.collect(node, &fragment.selection, out, depth + 1);
                    }
                }
                _ => {}
            }
        }
    }

    async fn resolve(&mut self, node: &Node, field: &Field) -> Value {
        self.fields += 1;
        if self.fields > MOST_FIELDS {
            return Value::Null;
        }
        if field.name == "__typename" {
            return json!(node.type_name());
        }
        let arguments: Map<String, Value> =
            field.arguments.iter().map(|(name, input)| (name.clone(), literal(input, &self.variables))).collect();
        let arguments = Value::Object(arguments);
        let resolved = match (node, field.name.as_str()) {
            (Node::Query, "__type") => Ok(schema::a_type(arguments["name"].as_str().unwrap_or_default())),
            (Node::Query, "__schema") => Ok(schema::whole()),
            (Node::Mutation, name) => mutation::run(self.call, name, &arguments["input"]).await,
            (node, name) => query::field(self.call, node, name, &arguments).await,
        };
        match resolved {
            Ok(Resolved::Value(value)) => value,
            Ok(Resolved::Node(child)) => Value::Object(self.select(&child, &field.selection).await),
            Ok(Resolved::Nodes(children)) => {
                let mut values = Vec::new();
                for (index, child) in children.iter().enumerate() {
                    self.path.push(json!(index));
                    values.push(Value::Object(self.select(child, &field.selection).await));
                    self.path.pop();
                }
                Value::Array(values)
            }
            Err(problem) => {
                self.complain(node, field, problem);
                Value::Null
            }
        }
    }

    fn complain(&mut self, node: &Node, field: &Field, problem: Problem) {
        let error = match problem {
            Problem::Undefined => {
                let (kind, name) = (node.type_name(), &field.name);
                json!({
                    "path": self.path,
                    "extensions": {"code": "undefinedField", "typeName": kind, "fieldName": name},
                    "message": format!("Field '{name}' doesn't exist on type '{kind}'"),
                })
            }
            Problem::Said(kind, message) => json!({"type": kind, "path": self.path, "message": message}),
        };
        if !self.errors.contains(&error) && self.errors.len() < 50 {
            self.errors.push(error);
        }
    }
}

fn merge(into: &mut Value, value: Value) {
    match (into, value) {
        (Value::Object(into), Value::Object(value)) => {
            for (key, value) in value {
                match into.get_mut(&key) {
                    Some(before) => merge(before, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(value)) if into.len() == value.len() => {
            for (before, value) in into.iter_mut().zip(value) {
                merge(before, value);
            }
        }
        (into, value) => *into = value,
    }
}
