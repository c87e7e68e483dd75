//! What the expressions of steps see.

use std::path::Path;
use std::sync::OnceLock;

use super::Executor;
use super::steps::Frame;
use crate::expr::{Error, Object, Scope, Value};

/// The contexts of steps. Each is made when an expression asks for it: most expressions ask for none or one.
const CONTEXTS: [&str; 11] =
    ["github", "env", "vars", "steps", "inputs", "needs", "matrix", "strategy", "runner", "job", "secrets"];

/// Contexts and status of a job at one moment.
pub(crate) struct StepScope<'a> {
    executor: &'a Executor,
    frame: &'a Frame,
    /// The step's own `env`.
    env: &'a [(String, String)],
    made: [OnceLock<Option<Value>>; CONTEXTS.len()],
    /// Whether no step has failed.
    pub success: bool,
    /// Whether a step has failed.
    pub failure: bool,
    /// Whether the job was cancelled.
    pub cancelled: bool,
    /// Where `hashFiles` looks.
    pub workspace: &'a Path,
    /// What records `hashFiles`, or knows what it gave, and the job's key.
    pub tape: Option<(&'a super::tape::Tape, &'a str)>,
}

impl<'a> StepScope<'a> {
    /// In a frame of a job, with the `env` of a step.
    pub(crate) fn new(executor: &'a Executor, frame: &'a Frame, env: &'a [(String, String)]) -> Self {
        let failed = if frame.action.is_some() { frame.failed } else { executor.failed };
        Self {
            executor,
            frame,
            env,
            made: Default::default(),
            success: !failed,
            failure: failed,
            cancelled: executor.cancelled,
            workspace: &executor.workspace.workspace,
            tape: executor.services.config.tape.as_deref().map(|tape| (tape, executor.spec.job.key.as_str())),
        }
    }

    fn make(&self, name: &str) -> Option<Value> {
        let (executor, frame) = (self.executor, self.frame);
        Some(match name {
            "github" => executor.github_context(frame),
            "env" => {
                let mut env = Object::case_sensitive();
                let own = frame.env.iter().chain(self.env).map(|(name, value)| (name, value));
                for (name, value) in executor.env.iter().chain(own) {
                    env.insert(name.as_str(), value.as_str());
                }
                Value::object(env)
            }
            "vars" => executor.vars.clone(),
            "steps" => Value::object(frame.steps.clone()),
            "inputs" => frame.inputs.clone().unwrap_or_else(|| executor.spec.inputs.clone()),
            "needs" => executor.spec.needs.clone(),
            "matrix" => executor.spec.matrix.clone(),
            "strategy" => executor.spec.strategy.clone(),
            "runner" => executor.runner_context(),
            "job" => executor.job_context(),
            "secrets" if frame.action.is_none() => strings(&executor.secrets, false),
            _ => return None,
        })
    }
}

impl Scope for StepScope<'_> {
    fn context(&self, name: &str) -> Option<Value> {
        let at = CONTEXTS.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        self.made[at].get_or_init(|| self.make(CONTEXTS[at])).clone()
    }

    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
        Some(match name {
            "success" => Ok(Value::Bool(self.success && !self.cancelled)),
            "failure" => Ok(Value::Bool(self.failure && !self.cancelled)),
            "cancelled" => Ok(Value::Bool(self.cancelled)),
            "always" => Ok(Value::Bool(true)),
            "hashfiles" => {
                let patterns: Vec<String> = args.iter().map(Value::to_text).collect();
                let compute =
                    || crate::builtin::glob::hash_files(self.workspace, &patterns).map_err(|error| error.to_string());
                let found = match self.tape {
                    Some((tape, job)) => tape.hash(job, &patterns, compute),
                    None => compute(),
                };
                found.map(Value::from).map_err(|error| Error {
                    kind: crate::expr::ErrorKind::Evaluation,
                    message: format!("hashFiles('{}') failed: {error}", patterns.join(", ")),
                })
            }
            _ => return None,
        })
    }
}

/// The `github` context that jobs and conditions of jobs share.
pub fn github(run: &crate::model::Run, input: &crate::model::Input, server: &str, api: &str) -> Object {
    // A run that is played back sees what the recorded one saw.
    if let Some(Value::Object(recorded)) = input.github.as_ref().map(Value::from) {
        let mut object = Object::new();
        for (name, value) in recorded.iter() {
            object.insert(name, value.clone());
        }
        return object;
    }
    let subject = &input.subject;
    let (owner, _) = run.repository.split_once('/').unwrap_or((&run.repository, ""));
    let ref_type = if subject.git_ref.starts_with("refs/tags/") { "tag" } else { "branch" };
    let id = |pointer: &str| match input.repository.pointer(pointer) {
        Some(serde_json::Value::Number(number)) => number.to_string(),
        Some(serde_json::Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let mut object = Object::new();
    for (name, value) in [
        ("ref", subject.git_ref.clone()),
        ("sha", subject.sha.clone()),
        ("repository", run.repository.clone()),
        ("repository_owner", owner.to_owned()),
        ("repository_owner_id", id("/owner/id")),
        ("repositoryUrl", format!("git://github.com/{}.git", run.repository)),
        ("run_id", run.id.to_string()),
        ("run_number", run.number.to_string()),
        ("run_attempt", run.attempt.to_string()),
        ("retention_days", "90".to_owned()),
        ("actor", run.actor.clone()),
        ("triggering_actor", run.triggered_by().to_owned()),
        ("actor_id", event_sender_id(&input.payload)),
        ("workflow", run.workflow.clone()),
        ("workflow_ref", format!("{}/{}@{}", run.repository, run.path, subject.git_ref)),
        ("workflow_sha", subject.sha.clone()),
        ("head_ref", subject.head_ref.clone()),
        ("base_ref", subject.base_ref.clone()),
        ("event_name", run.event.clone()),
        ("server_url", server.to_owned()),
        ("api_url", api.to_owned()),
        ("graphql_url", format!("{}/graphql", api.trim_end_matches("/v3"))),
        ("ref_name", crate::event::short_ref(&subject.git_ref).to_owned()),
        ("ref_type", ref_type.to_owned()),
        ("secret_source", if subject.from_fork { "None" } else { "Actions" }.to_owned()),
        ("repository_id", id("/id")),
        (
            "repository_visibility",
            if input.repository.pointer("/private").and_then(serde_json::Value::as_bool) == Some(true) {
                "private"
            } else {
                "public"
            }
            .to_owned(),
        ),
    ] {
        object.insert(name, value);
    }
    object.insert("ref_protected", Value::Bool(false));
    object.insert("event", Value::from(&input.payload));
    object
}

fn event_sender_id(payload: &serde_json::Value) -> String {
    payload.pointer("/sender/id").and_then(serde_json::Value::as_i64).map(|id| id.to_string()).unwrap_or_default()
}

/// An object of strings.
pub fn strings<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>, case_sensitive: bool) -> Value {
    let mut object = if case_sensitive { Object::case_sensitive() } else { Object::new() };
    for (name, value) in pairs {
        object.insert(name.as_str(), value.as_str());
    }
    Value::object(object)
}
