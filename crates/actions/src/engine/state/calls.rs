//! Jobs that call reusable workflows: what the called file makes of a run, and what it gives back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;

impl Active {
    /// Opens a scope for a called workflow.
    pub(super) fn call(
        &mut self,
        place: (usize, usize, usize),
        call: &crate::workflow::CallJob,
        key: &str,
        name: &str,
        contexts: &Contexts,
        limit: Permissions,
    ) -> Result<(), String> {
        let scope = place.0;
        let lookup = format!("{}{}", self.scopes[scope].called_prefix, call.uses);
        let source = self
            .input
            .called
            .get(&lookup)
            .ok_or_else(|| format!("the called workflow {} was not resolved", call.uses))?;
        let (path, called_prefix) = match call.uses.strip_prefix("./") {
            Some(path) => (path.to_owned(), self.scopes[scope].called_prefix.clone()),
            None => {
                let (path, reference) = call.uses.split_once('@').unwrap_or((&call.uses, ""));
                let mut parts = path.splitn(3, '/');
                let repository = format!("{}/{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                (parts.next().unwrap_or_default().to_owned(), format!("{repository}@{reference}:"))
            }
        };
        let (workflow, findings) = crate::workflow::read(&path, source);
        let workflow =
            Arc::new(workflow.ok_or_else(|| findings.0.first().map(ToString::to_string).unwrap_or_default())?);
        let trigger = workflow.trigger("workflow_call").ok_or("the called workflow has no workflow_call")?.call.clone();
        let given = match &call.with {
            Some(tree) => tree.evaluate(contexts).map_err(|error| error.to_string())?,
            None => Value::Null,
        };
        let mut inputs = Object::new();
        if let Some(object) = given.as_object() {
            for (name, _) in object.iter() {
                if !trigger.inputs.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                    return Err(format!("Invalid input, {name} is not defined in the referenced workflow."));
                }
            }
        }
        let given = given.as_object().cloned().unwrap_or_default();
        for (name, input) in &trigger.inputs {
            let value = given.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            let value = match value {
                Some(value) => input.kind.coerce(value).ok_or_else(|| {
                    format!("Invalid input, {name} is not of the type that the referenced workflow defines.")
                })?,
                None if input.required => {
                    return Err(format!("Input {name} is required, but not provided while calling."));
                }
                None => match &input.default {
                    Some(tree) => {
                        let value = tree.evaluate(contexts).map_err(|error| error.to_string())?;
                        input.kind.coerce(&value).unwrap_or_else(|| input.kind.empty())
                    }
                    None => input.kind.empty(),
                },
            };
            inputs.insert(name.as_str(), value);
        }
        let from = self.scopes[scope].secrets.clone();
        let secrets = match &call.secrets {
            CallSecrets::Inherit => from,
            CallSecrets::None => Arc::new(Secrets::None),
            CallSecrets::Given(tree) => {
                Arc::new(Secrets::Given { tree: tree.clone(), contexts: contexts.clone(), from })
            }
        };
        if let CallSecrets::Given(tree) = &call.secrets
            && let crate::workflow::TreeKind::Mapping(entries) = &tree.kind
        {
            for (name, _) in entries {
                if !trigger.secrets.keys().any(|known| known.eq_ignore_ascii_case(name.source())) {
                    return Err(format!(
                        "Invalid secret, {} is not defined in the referenced workflow.",
                        name.source()
                    ));
                }
            }
        }
        if !matches!(call.secrets, CallSecrets::Inherit) {
            let has = |name: &str| match &call.secrets {
                CallSecrets::Given(tree) => tree.get(name).is_some(),
                _ => false,
            };
            if let Some((name, _)) = trigger.secrets.iter().find(|(name, required)| **required && !has(name)) {
                return Err(format!("Secret {name} is required, but not provided while calling."));
            }
        }
        for job in workflow.jobs.values() {
            if let Some(wanted) = job.permissions.as_ref().or(workflow.permissions.as_ref())
                && let Some((permission, wanted, allowed)) = wanted.exceeds(&limit)
            {
                let word = |access: Access| format!("{access:?}").to_lowercase();
                return Err(format!(
                    "Error calling workflow '{}'. The nested job '{}' is requesting '{permission}: {}', but is only allowed '{permission}: {}'.",
                    call.uses,
                    job.id,
                    word(wanted),
                    word(allowed)
                ));
            }
        }
        let definition = &self.scopes[scope].workflow.jobs[&self.scopes[scope].nodes[place.1].id];
        let mut groups: Vec<Group> =
            definition.concurrency.iter().map(|tree| evaluate_group(tree, contexts)).collect::<Result<_, _>>()?;
        if let Some(tree) = &workflow.concurrency {
            let mut inside = self.contexts(scope, None);
            inside.set("inputs", Value::object(inputs.clone()));
            let group = evaluate_group(tree, &inside)?;
            if groups.iter().all(|other| other.name != group.name) {
                groups.push(group);
            }
        }
        self.scopes.push(ScopeState {
            groups,
            cancelled: false,
            dropped: false,
            parent: Some(place),
            nodes: nodes(&workflow),
            workflow,
            called_prefix,
            key_prefix: format!("{}/", key.strip_suffix("[0]").unwrap_or(key)),
            name_prefix: format!("{name} / "),
            inputs: Value::object(inputs),
            secrets,
            limit,
            done: false,
        });
        Ok(())
    }

    pub(super) fn call_outputs(&self, scope: usize) -> BTreeMap<String, String> {
        let state = &self.scopes[scope];
        let Some(trigger) = state.workflow.trigger("workflow_call") else { return BTreeMap::new() };
        let mut contexts = self.contexts(scope, None);
        let mut jobs = Object::new();
        for node in &state.nodes {
            let mut entry = Object::new();
            entry.insert("result", node.result.result());
            entry.insert("outputs", strings(&node.outputs, false));
            jobs.insert(node.id.as_str(), entry);
        }
        contexts.set("jobs", jobs);
        trigger
            .call
            .outputs
            .iter()
            .filter_map(|(name, tree)| Some((name.clone(), tree.evaluate(&contexts).ok()?.to_text())))
            .collect()
    }
}
