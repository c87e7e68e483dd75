//! A run while it is not over: which jobs wait, which are ready, what they give each other. Pure: evaluating conditions and
//! matrices needs nothing but the run's input. The dispatcher does what this says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::expr::{self, Contexts, Object, Scope, Value};
use crate::graph;
use crate::job::scope::{github, strings};
use crate::job::{JobSpec, Secrets};
use crate::matrix::{self, Strategy};
use crate::model::{Conclusion, Input, Job, Run, Status, now_ms};
use crate::workflow::{Access, CallSecrets, JobKind, Permissions, Tree, Workflow};

/// A run that is not over.
pub struct Active {
    /// Its record.
    pub run: Run,
    /// What started it.
    pub input: Arc<Input>,
    /// The workflow and, below it, the reusable workflows that were called.
    scopes: Vec<ScopeState>,
    /// Its jobs by id.
    pub jobs: BTreeMap<i64, JobState>,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Jobs of an earlier attempt, or from before a crash, whose results hold, by key.
    kept: HashMap<String, Job>,
    /// Production and API addresses for the `github` context.
    urls: (String, String),
}

/// A job of a run.
pub struct JobState {
    /// Its record.
    pub job: Job,
    /// All that is needed to run it.
    pub spec: Option<JobSpec>,
    /// The concurrency group it asks for.
    pub group: Option<Group>,
    /// Whether it was handed to an executor.
    pub started: bool,
    place: (usize, usize, usize),
    /// Whether its condition lets it run though the run was cancelled.
    stubborn: bool,
}

/// A concurrency group, as asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name, in lower case: groups ignore case.
    pub name: String,
    /// Whether who holds it is cancelled.
    pub cancel_in_progress: bool,
    /// Whether any number may wait, not just the newest.
    pub keep_all: bool,
}

struct ScopeState {
    parent: Option<(usize, usize, usize)>,
    workflow: Arc<Workflow>,
    /// What `uses` of a local reference inside is looked up under.
    called_prefix: String,
    key_prefix: String,
    name_prefix: String,
    inputs: Value,
    secrets: Arc<Secrets>,
    limit: Permissions,
    nodes: Vec<Node>,
    done: bool,
}

struct Node {
    id: String,
    stage: Stage,
    instances: Vec<Instance>,
    fail_fast: bool,
    max_parallel: Option<usize>,
    result: Conclusion,
    outputs: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Expanded,
    Done,
}

struct Instance {
    conclusion: Option<Conclusion>,
    outputs: BTreeMap<String, String>,
}

/// What the dispatcher must do after a step of the state machine.
#[derive(Debug, Default)]
pub struct Effects {
    /// Jobs that are new.
    pub created: Vec<i64>,
    /// Jobs that are over.
    pub completed: Vec<i64>,
    /// Running jobs to be cancelled.
    pub cancel: Vec<i64>,
    /// Whether the run is over.
    pub over: bool,
}

struct JobScope<'a> {
    contexts: Contexts,
    results: Vec<(&'a str, Conclusion)>,
    cancelled: bool,
}

impl Scope for JobScope<'_> {
    fn context(&self, name: &str) -> Option<Value> {
        self.contexts.context(name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value, expr::Error>> {
        let chosen = |test: &dyn Fn(Conclusion) -> bool| {
            let mut named = self
                .results
                .iter()
                .filter(|(id, _)| args.is_empty() || args.iter().any(|arg| arg.to_text().eq_ignore_ascii_case(id)));
            named.any(|(_, conclusion)| test(*conclusion))
        };
        Some(Ok(Value::Bool(match name {
            "always" => true,
            "cancelled" => self.cancelled,
            "success" => !self.cancelled && !chosen(&|c| c != Conclusion::Success),
            "failure" => !self.cancelled && chosen(&|c| c.result() == "failure"),
            _ => return None,
        })))
    }
}

impl Active {
    /// A run about to start, or to go on: `kept` are jobs that are over already.
    pub fn new(run: Run, input: Arc<Input>, workflow: Arc<Workflow>, kept: Vec<Job>, urls: (String, String)) -> Self {
        let secrets = if input.subject.from_fork { Secrets::None } else { Secrets::Forge };
        let mut limit = Permissions::all(Access::Write);
        if input.subject.from_fork {
            limit = Permissions::all(Access::Read);
        }
        let mut inputs = Value::from(&input.inputs);
        if inputs == Value::Null {
            inputs = Value::object(Object::new());
        }
        let mut jobs = nodes(&workflow);
        if let Some(job) = input.selection.job.as_deref().and_then(|id| graph::find(&workflow.jobs, id)) {
            let needed = graph::ancestors(&workflow.jobs, &job.id);
            jobs.retain(|node| node.id == job.id || needed.contains(&node.id.as_str()));
        }
        let scope = ScopeState {
            parent: None,
            nodes: jobs,
            workflow,
            called_prefix: String::new(),
            key_prefix: String::new(),
            name_prefix: String::new(),
            inputs,
            secrets: Arc::new(secrets),
            limit,
            done: false,
        };
        Self {
            run,
            input,
            scopes: vec![scope],
            jobs: BTreeMap::new(),
            cancelled: false,
            kept: kept.into_iter().map(|job| (job.key.clone(), job)).collect(),
            urls,
        }
    }

    /// The concurrency group of the whole run.
    pub fn group(&self) -> Result<Option<Group>, String> {
        let scope = &self.scopes[0];
        match &scope.workflow.concurrency {
            Some(tree) => evaluate_group(tree, &self.contexts(0, None)).map(Some),
            None => Ok(None),
        }
    }

    /// `run-name`, or what GitHub shows instead.
    pub fn title(&self, fallback: &str) -> String {
        let scope = &self.scopes[0];
        scope
            .workflow
            .run_name
            .as_ref()
            .and_then(|template| template.text(&self.contexts(0, None)).ok())
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| fallback.to_owned())
    }

    fn contexts(&self, scope: usize, node: Option<usize>) -> Contexts {
        let mut contexts = Contexts::new();
        contexts.set("github", github(&self.run, &self.input, &self.urls.0, &self.urls.1));
        contexts.set("inputs", self.scopes[scope].inputs.clone());
        contexts.set("vars", strings(&self.input.vars, false));
        if let Some(node) = node {
            contexts.set("needs", self.needs(scope, node));
        }
        contexts
    }

    fn needs(&self, scope: usize, node: usize) -> Value {
        let state = &self.scopes[scope];
        let definition = &state.workflow.jobs[&state.nodes[node].id];
        let mut needs = Object::new();
        for (need, _) in &definition.needs {
            if let Some(other) = state.nodes.iter().find(|other| other.id.eq_ignore_ascii_case(need)) {
                let mut entry = Object::new();
                entry.insert("result", other.result.result());
                entry.insert("outputs", strings(&other.outputs, false));
                needs.insert(other.id.as_str(), entry);
            }
        }
        Value::object(needs)
    }

    /// Moves everything forward that can move. `next_id` makes ids of jobs.
    pub fn advance(&mut self, next_id: &mut dyn FnMut() -> i64) -> Effects {
        let mut effects = Effects::default();
        loop {
            let mut moved = false;
            for scope in 0..self.scopes.len() {
                for node in 0..self.scopes[scope].nodes.len() {
                    let stage = self.scopes[scope].nodes[node].stage;
                    if stage == Stage::Waiting && self.ready(scope, node) {
                        self.start(scope, node, next_id, &mut effects);
                        moved = true;
                    }
                    if self.scopes[scope].nodes[node].stage == Stage::Expanded && self.conclude(scope, node) {
                        moved = true;
                    }
                }
                moved |= self.close(scope, &mut effects);
            }
            if !moved {
                return effects;
            }
        }
    }

    fn ready(&self, scope: usize, node: usize) -> bool {
        let state = &self.scopes[scope];
        let definition = &state.workflow.jobs[&state.nodes[node].id];
        definition.needs.iter().all(|(need, _)| {
            state.nodes.iter().any(|other| other.id.eq_ignore_ascii_case(need) && other.stage == Stage::Done)
        })
    }

    /// Decides about a job whose needs are over: skipped, or expanded into its instances.
    fn start(&mut self, scope: usize, node: usize, next_id: &mut dyn FnMut() -> i64, effects: &mut Effects) {
        let workflow = self.scopes[scope].workflow.clone();
        let id = self.scopes[scope].nodes[node].id.clone();
        let definition = &workflow.jobs[&id];
        let contexts = self.contexts(scope, Some(node));
        let results: Vec<(&str, Conclusion)> = {
            let state = &self.scopes[scope];
            let result = |name: &str| {
                state.nodes.iter().find(|other| other.id == name).map_or(Conclusion::Skipped, |other| other.result)
            };
            graph::ancestors(&workflow.jobs, &id).into_iter().map(|name| (name, result(name))).collect()
        };
        let job_scope = JobScope { contexts: contexts.clone(), results, cancelled: self.cancelled };
        let holds = match &definition.condition {
            None => Ok(!job_scope.cancelled
                && job_scope.results.iter().all(|(_, conclusion)| *conclusion == Conclusion::Success)),
            Some(template) => template.holds(&job_scope),
        };
        let stubborn = definition.condition.as_ref().is_some_and(|template| template.calls(&["always", "cancelled"]));
        let strategy = match &holds {
            Ok(true) => match &definition.strategy {
                None => Ok(Strategy::single()),
                Some(tree) => tree.evaluate(&job_scope).map_err(|error| error.to_string()).and_then(|value| {
                    Strategy::from_value(&value)
                        .and_then(|strategy| {
                            strategy.selected(if scope == 0 { &self.input.selection.matrix } else { &[] })
                        })
                        .map_err(|problem| format!("(Line: {}, Col: {}): {problem}", tree.at.line, tree.at.column))
                }),
            },
            _ => Ok(Strategy::single()),
        };
        let refusal = match (&holds, &strategy) {
            (Err(error), _) => {
                Some((Conclusion::Failure, format!("The condition of the job '{id}' has no value: {error}")))
            }
            (_, Err(problem)) => Some((Conclusion::Failure, format!("The job '{id}': {problem}"))),
            (Ok(false), _) => {
                Some((if self.cancelled { Conclusion::Cancelled } else { Conclusion::Skipped }, String::new()))
            }
            _ => None,
        };
        if let Some((conclusion, message)) = refusal {
            let name = self.name_of(scope, &definition.name, &id, &contexts, None);
            let mut job = self.record(next_id(), format!("{}{id}[0]", self.scopes[scope].key_prefix), name);
            finish(&mut job, conclusion, &message);
            effects.created.push(job.id);
            effects.completed.push(job.id);
            let state = &mut self.scopes[scope].nodes[node];
            state.stage = Stage::Done;
            state.result = conclusion;
            self.jobs.insert(
                job.id,
                JobState { job, spec: None, group: None, started: true, place: (scope, node, 0), stubborn: false },
            );
            return;
        }
        let strategy = strategy.unwrap_or_else(|_| Strategy::single());
        let total = strategy.combinations.len();
        let state = &mut self.scopes[scope].nodes[node];
        state.stage = Stage::Expanded;
        state.fail_fast = strategy.fail_fast;
        state.max_parallel = strategy.max_parallel;
        state.instances = (0..total).map(|_| Instance { conclusion: None, outputs: BTreeMap::new() }).collect();
        for (index, combination) in strategy.combinations.iter().enumerate() {
            let mut contexts = contexts.clone();
            contexts.set("matrix", combination.clone().unwrap_or_default());
            let mut object = Object::new();
            object.insert("fail-fast", strategy.fail_fast);
            object.insert("job-index", index as f64);
            object.insert("job-total", total as f64);
            object.insert("max-parallel", strategy.max_parallel.unwrap_or(total) as f64);
            contexts.set("strategy", object);
            self.instance((scope, node, index), combination.as_ref(), contexts, stubborn, next_id, effects);
        }
    }

    /// Creates one instance of a job: a job of steps, or a called workflow.
    fn instance(
        &mut self,
        place: (usize, usize, usize),
        combination: Option<&Value>,
        contexts: Contexts,
        stubborn: bool,
        next_id: &mut dyn FnMut() -> i64,
        effects: &mut Effects,
    ) {
        let (scope, node, index) = place;
        let workflow = self.scopes[scope].workflow.clone();
        let id = self.scopes[scope].nodes[node].id.clone();
        let definition = &workflow.jobs[&id];
        let name = self.name_of(scope, &definition.name, &id, &contexts, combination);
        let key = format!("{}{id}[{index}]", self.scopes[scope].key_prefix);
        let wanted = definition.permissions.clone().or_else(|| workflow.permissions.clone());
        let limit = self.scopes[scope].limit.clone();
        let permissions = match &wanted {
            Some(wanted) => wanted.at_most(&limit),
            None if scope == 0 => Permissions::restricted().at_most(&limit),
            None => limit.clone(),
        };
        match &definition.kind {
            JobKind::Call(call) => {
                if let Err(message) = self.call(place, call, &key, &name, &contexts, permissions) {
                    let mut job = self.record(next_id(), key, name);
                    finish(&mut job, Conclusion::Failure, &message);
                    effects.created.push(job.id);
                    effects.completed.push(job.id);
                    self.scopes[scope].nodes[node].instances[index].conclusion = Some(Conclusion::Failure);
                    self.jobs.insert(job.id, JobState { job, spec: None, group: None, started: true, place, stubborn });
                }
            }
            JobKind::Steps(steps) => {
                if let Some(kept) = self.kept.remove(&key) {
                    self.keep(kept, place, next_id(), effects);
                    return;
                }
                let mut job = self.record(next_id(), key, name);
                let text = |tree: &Tree, field: &str| -> Result<Value, String> {
                    let value = tree.evaluate(&contexts).map_err(|error| error.to_string())?;
                    Ok(match &value {
                        Value::Object(_) => value.get(field),
                        _ => value,
                    })
                };
                let prepared = (|| {
                    job.labels = labels(&steps.runs_on.evaluate(&contexts).map_err(|error| error.to_string())?);
                    if let Some(tree) = &steps.environment {
                        // The URL may use what is known only in the end.
                        let tree = tree.get("name").unwrap_or(tree);
                        job.environment = Some(text(tree, "name")?.to_text()).filter(|name| !name.is_empty());
                    }
                    definition.concurrency.as_ref().map(|tree| evaluate_group(tree, &contexts)).transpose()
                })();
                let group = match prepared {
                    Ok(group) => group,
                    Err(message) => {
                        finish(&mut job, Conclusion::Failure, &message);
                        effects.created.push(job.id);
                        effects.completed.push(job.id);
                        self.scopes[scope].nodes[node].instances[index].conclusion = Some(Conclusion::Failure);
                        self.jobs
                            .insert(job.id, JobState { job, spec: None, group: None, started: true, place, stubborn });
                        return;
                    }
                };
                let spec = JobSpec {
                    run: self.run.clone(),
                    job: job.clone(),
                    workflow: workflow.clone(),
                    id,
                    input: self.input.clone(),
                    matrix: combination.cloned().unwrap_or_default(),
                    strategy: contexts.context("strategy").unwrap_or_default(),
                    needs: contexts.context("needs").unwrap_or_default(),
                    inputs: self.scopes[scope].inputs.clone(),
                    secrets: self.scopes[scope].secrets.clone(),
                    permissions,
                    from: self.input.from.as_ref().filter(|(of, _)| *of == job.key).map(|(_, from)| from.clone()),
                };
                effects.created.push(job.id);
                self.jobs.insert(job.id, JobState { job, spec: Some(spec), group, started: false, place, stubborn });
            }
        }
    }

    /// Takes over the result of a job that need not run again.
    fn keep(&mut self, kept: Job, place: (usize, usize, usize), id: i64, effects: &mut Effects) {
        let mut job = kept;
        if job.attempt != self.run.attempt {
            job.kept_from = Some(job.kept_from.unwrap_or(job.id));
            job.id = id;
            job.attempt = self.run.attempt;
        }
        effects.created.push(job.id);
        effects.completed.push(job.id);
        let (scope, node, index) = place;
        let instance = &mut self.scopes[scope].nodes[node].instances[index];
        instance.conclusion =
            job.conclusion.map(|conclusion| if job.failure_allowed { Conclusion::Success } else { conclusion });
        instance.outputs.clone_from(&job.outputs);
        self.jobs.insert(job.id, JobState { job, spec: None, group: None, started: true, place, stubborn: false });
    }

    /// Opens a scope for a called workflow.
    fn call(
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
        self.scopes.push(ScopeState {
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

    /// Whether all instances of a job are over; its result then counts.
    fn conclude(&mut self, scope: usize, node: usize) -> bool {
        let state = &mut self.scopes[scope].nodes[node];
        if state.instances.iter().any(|instance| instance.conclusion.is_none()) {
            return false;
        }
        let has = |wanted: &str| {
            state.instances.iter().any(|instance| instance.conclusion.is_some_and(|c| c.result() == wanted))
        };
        state.result = if has("failure") {
            Conclusion::Failure
        } else if has("cancelled") {
            Conclusion::Cancelled
        } else if has("success") || state.instances.is_empty() {
            Conclusion::Success
        } else {
            Conclusion::Skipped
        };
        for instance in &state.instances {
            for (name, value) in &instance.outputs {
                // As on GitHub the last instance that set an output to something wins.
                if !value.is_empty() || !state.outputs.contains_key(name) {
                    state.outputs.insert(name.clone(), value.clone());
                }
            }
        }
        state.stage = Stage::Done;
        true
    }

    /// Whether all jobs of a scope are over; the calling job, or the run, then is.
    fn close(&mut self, scope: usize, effects: &mut Effects) -> bool {
        if self.scopes[scope].done || self.scopes[scope].nodes.iter().any(|node| node.stage != Stage::Done) {
            return false;
        }
        self.scopes[scope].done = true;
        let result = self.result(scope);
        match self.scopes[scope].parent {
            None => {
                self.run.status = Status::Completed;
                self.run.conclusion = Some(result);
                self.run.completed_ms = Some(now_ms());
                effects.over = true;
            }
            Some((parent, node, index)) => {
                let outputs = self.call_outputs(scope);
                let instance = &mut self.scopes[parent].nodes[node].instances[index];
                instance.conclusion = Some(result);
                instance.outputs = outputs;
            }
        }
        true
    }

    fn result(&self, scope: usize) -> Conclusion {
        let nodes = &self.scopes[scope].nodes;
        let has = |wanted: &str| nodes.iter().any(|node| node.result.result() == wanted);
        if self.cancelled && scope == 0 && (has("cancelled") || has("failure")) {
            Conclusion::Cancelled
        } else if has("failure") {
            Conclusion::Failure
        } else if has("cancelled") {
            Conclusion::Cancelled
        } else if nodes.iter().all(|node| node.result == Conclusion::Skipped) {
            Conclusion::Skipped
        } else {
            Conclusion::Success
        }
    }

    fn call_outputs(&self, scope: usize) -> BTreeMap<String, String> {
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

    fn name_of(
        &self,
        scope: usize,
        name: &Option<Tree>,
        id: &str,
        contexts: &Contexts,
        combination: Option<&Value>,
    ) -> String {
        let given = name
            .as_ref()
            .and_then(|tree| tree.evaluate(contexts).ok())
            .map(|value| value.to_text())
            .filter(|text| !text.is_empty());
        let literal = name.as_ref().is_none_or(|tree| tree.constant().is_some());
        let mut text = given.unwrap_or_else(|| id.to_owned());
        if literal && let Some(combination) = combination {
            let suffix = matrix::suffix(combination);
            if !suffix.is_empty() {
                text = format!("{text} ({suffix})");
            }
        }
        format!("{}{text}", self.scopes[scope].name_prefix)
    }

    fn record(&self, id: i64, key: String, name: String) -> Job {
        Job {
            id,
            run: self.run.id,
            attempt: self.run.attempt,
            key,
            name,
            status: Status::Queued,
            conclusion: None,
            created_ms: now_ms(),
            started_ms: None,
            completed_ms: None,
            labels: Vec::new(),
            environment: None,
            environment_url: None,
            steps: Vec::new(),
            outputs: BTreeMap::new(),
            annotations: Vec::new(),
            summary: String::new(),
            failure_allowed: false,
            kept_from: None,
        }
    }

    /// A job is over. Fails fast where the matrix wants it.
    pub fn complete(
        &mut self,
        id: i64,
        conclusion: Conclusion,
        outputs: BTreeMap<String, String>,
        failure_allowed: bool,
    ) -> Effects {
        let mut effects = Effects { completed: vec![id], ..Effects::default() };
        let Some(state) = self.jobs.get_mut(&id) else { return effects };
        state.job.status = Status::Completed;
        state.job.conclusion = Some(conclusion);
        state.job.completed_ms = Some(now_ms());
        state.job.failure_allowed = failure_allowed;
        state.job.outputs.clone_from(&outputs);
        state.started = true;
        let (scope, node, index) = state.place;
        let counted = if failure_allowed { Conclusion::Success } else { conclusion };
        let fail_fast = {
            let node = &mut self.scopes[scope].nodes[node];
            let instance = &mut node.instances[index];
            instance.conclusion = Some(counted);
            instance.outputs = outputs;
            node.fail_fast && counted.result() == "failure"
        };
        if fail_fast {
            let others: Vec<i64> = self
                .jobs
                .values()
                .filter(|other| {
                    (other.place.0, other.place.1) == (scope, node) && other.job.status != Status::Completed
                })
                .map(|other| other.job.id)
                .collect();
            self.stop(others, &mut effects);
        }
        effects
    }

    fn stop(&mut self, ids: Vec<i64>, effects: &mut Effects) {
        for id in ids {
            let Some(state) = self.jobs.get_mut(&id) else { continue };
            if state.started {
                effects.cancel.push(id);
            } else {
                let more = self.complete(id, Conclusion::Cancelled, BTreeMap::new(), false);
                effects.completed.extend(more.completed);
            }
        }
    }

    /// The run is to end: jobs that wait are cancelled, jobs that run are told, jobs with `always()` still run.
    pub fn cancel(&mut self, force: bool) -> Effects {
        let mut effects = Effects::default();
        self.cancelled = true;
        let ids: Vec<i64> = self
            .jobs
            .values()
            .filter(|state| state.job.status != Status::Completed && (force || state.started || !state.stubborn))
            .map(|state| state.job.id)
            .collect();
        self.stop(ids, &mut effects);
        effects
    }

    /// Jobs that may start now, as far as `max-parallel` goes.
    pub fn startable(&self) -> Vec<i64> {
        let mut out = Vec::new();
        let mut running: HashMap<(usize, usize), usize> = HashMap::new();
        for state in self.jobs.values().filter(|state| state.started && state.job.status != Status::Completed) {
            *running.entry((state.place.0, state.place.1)).or_default() += 1;
        }
        for state in self.jobs.values().filter(|state| !state.started && state.job.status != Status::Completed) {
            let place = (state.place.0, state.place.1);
            let limit = self.scopes[place.0].nodes[place.1].max_parallel.unwrap_or(usize::MAX);
            let count = running.entry(place).or_default();
            if *count < limit {
                *count += 1;
                out.push(state.job.id);
            }
        }
        out
    }
}

fn nodes(workflow: &Workflow) -> Vec<Node> {
    workflow
        .jobs
        .keys()
        .map(|id| Node {
            id: id.clone(),
            stage: Stage::Waiting,
            instances: Vec::new(),
            fail_fast: true,
            max_parallel: None,
            result: Conclusion::Skipped,
            outputs: BTreeMap::new(),
        })
        .collect()
}

fn finish(job: &mut Job, conclusion: Conclusion, message: &str) {
    job.status = Status::Completed;
    job.conclusion = Some(conclusion);
    job.completed_ms = Some(now_ms());
    if !message.is_empty() {
        job.annotations.push(crate::model::Annotation {
            level: "failure".to_owned(),
            message: message.to_owned(),
            title: None,
            file: None,
            line: None,
            end_line: None,
            column: None,
            end_column: None,
        });
    }
}

fn labels(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(Value::to_text).collect(),
        Value::Object(_) => {
            let mut out = labels(&value.get("labels"));
            let group = value.get("group").to_text();
            if !group.is_empty() {
                out.push(format!("group:{group}"));
            }
            out
        }
        Value::Null => Vec::new(),
        other => vec![other.to_text()],
    }
}

fn evaluate_group(tree: &Tree, scope: &dyn Scope) -> Result<Group, String> {
    let value = tree.evaluate(scope).map_err(|error| error.to_string())?;
    let (name, cancel, queue) = match &value {
        Value::Object(_) => (value.get("group"), value.get("cancel-in-progress"), value.get("queue").to_text()),
        _ => (value.clone(), Value::Bool(false), String::new()),
    };
    let name = name.to_text();
    if name.is_empty() {
        return Err(format!("(Line: {}, Col: {}): the concurrency group is empty", tree.at.line, tree.at.column));
    }
    Ok(Group { name: name.to_lowercase(), cancel_in_progress: cancel.truthy(), keep_all: queue == "max" })
}
