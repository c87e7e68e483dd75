//! A run while it is not over: which jobs wait, which are ready, what they give each other. Pure: evaluating conditions and
//! matrices needs nothing but the run's input. The dispatcher does what this says.

mod calls;
mod instances;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::expr::{self, Contexts, Object, Scope, Value};
use crate::graph;
use crate::job::scope::{github, strings};
use crate::job::{JobSpec, Secrets};
use crate::matrix::{self, Strategy};
use crate::model::{Conclusion, Input, Job, Run, Status, now_ms};
use crate::workflow::{Access, CallSecrets, JobKind, Permissions, QUEUE_WITH_CANCEL, Tree, Workflow};

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
    /// The concurrency groups that its jobs need: that of the calling job, and that of the called workflow.
    groups: Vec<Group>,
    /// Whether it was cancelled, but not the whole run.
    cancelled: bool,
    /// Whether nothing of it may begin any more, whatever its conditions say: it lost its place before it began.
    dropped: bool,
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
    /// Called workflows that are over.
    pub closed: Vec<usize>,
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
            groups: Vec::new(),
            cancelled: false,
            dropped: false,
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
                effects.closed.push(scope);
                let caller = &mut self.scopes[parent].nodes[node];
                let instance = &mut caller.instances[index];
                instance.conclusion = Some(result);
                instance.outputs = outputs;
                if caller.fail_fast && result == Conclusion::Failure {
                    let beside = |other: &ScopeState| other.parent.is_some_and(|at| (at.0, at.1) == (parent, node));
                    let others: Vec<usize> = (0..self.scopes.len())
                        .filter(|other| beside(&self.scopes[*other]) && !self.scopes[*other].done)
                        .collect();
                    for other in others {
                        self.cancel_scope(other, false, effects);
                    }
                }
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

    /// Ends a called workflow, and what it calls, but not the run. `dropped` if it has not begun and never will.
    fn cancel_scope(&mut self, scope: usize, dropped: bool, effects: &mut Effects) {
        self.scopes[scope].cancelled = true;
        self.scopes[scope].dropped |= dropped;
        let ids: Vec<i64> = self
            .jobs
            .values()
            .filter(|state| state.job.status != Status::Completed && self.chain(state.place.0).any(|at| at == scope))
            .filter(|state| dropped || !state.stubborn)
            .map(|state| state.job.id)
            .collect();
        self.stop(ids, effects);
    }

    /// A called workflow lost its concurrency group, or its place among those who wait for it.
    pub fn evict(&mut self, scope: usize) -> Effects {
        let mut effects = Effects::default();
        let dropped = !self.begun(scope);
        self.cancel_scope(scope, dropped, &mut effects);
        effects
    }

    /// The whole run lost its place among those who wait for its group: nothing of it ever runs.
    pub fn drop_all(&mut self) {
        self.cancelled = true;
        self.scopes[0].dropped = true;
    }

    /// A scope and those that called it, innermost first.
    fn chain(&self, scope: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(scope), |at| self.scopes[*at].parent.map(|(parent, ..)| parent))
    }

    /// Whether a job of a scope has been started.
    fn begun(&self, scope: usize) -> bool {
        self.jobs
            .values()
            .any(|state| state.job.started_ms.is_some() && self.chain(state.place.0).any(|at| at == scope))
    }

    /// The concurrency groups of the workflows that are called on the way to a job, outermost first.
    pub fn groups_around(&self, job: i64) -> Vec<(usize, Group)> {
        let Some(state) = self.jobs.get(&job) else { return Vec::new() };
        let mut scopes: Vec<usize> = self.chain(state.place.0).collect();
        scopes.reverse();
        let groups =
            scopes.into_iter().flat_map(|scope| self.scopes[scope].groups.iter().map(move |group| (scope, group)));
        groups.map(|(scope, group)| (scope, group.clone())).collect()
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
            .filter(|state| state.job.status != Status::Completed && (force || !state.stubborn))
            .map(|state| state.job.id)
            .collect();
        self.stop(ids, &mut effects);
        effects
    }

    /// Jobs that may start now, as far as `max-parallel` goes: of jobs, and of workflows that are called.
    pub fn startable(&self) -> Vec<i64> {
        let mut out = Vec::new();
        let mut running: HashMap<(usize, usize), usize> = HashMap::new();
        for state in self.jobs.values().filter(|state| state.started && state.job.status != Status::Completed) {
            *running.entry((state.place.0, state.place.1)).or_default() += 1;
        }
        let mut admitted = Vec::new();
        for state in self.jobs.values().filter(|state| !state.started && state.job.status != Status::Completed) {
            let place = (state.place.0, state.place.1);
            let limit = self.scopes[place.0].nodes[place.1].max_parallel.unwrap_or(usize::MAX);
            let count = running.get(&place).copied().unwrap_or(0);
            if count < limit && self.admits(place.0, &mut running, &mut admitted) {
                *running.entry(place).or_default() += 1;
                out.push(state.job.id);
            }
        }
        out
    }

    /// Whether a called workflow, and those that called it, have begun or may begin.
    fn admits(&self, scope: usize, running: &mut HashMap<(usize, usize), usize>, admitted: &mut Vec<usize>) -> bool {
        let mut new = Vec::new();
        for at in self.chain(scope) {
            let Some((parent, node, _)) = self.scopes[at].parent else { break };
            let Some(limit) = self.scopes[parent].nodes[node].max_parallel else { continue };
            if admitted.contains(&at) || self.begun(at) {
                continue;
            }
            let count = running.entry((parent, node)).or_insert_with(|| {
                let beside = |other: &ScopeState| other.parent.is_some_and(|at| (at.0, at.1) == (parent, node));
                let all =
                    (0..self.scopes.len()).filter(|other| beside(&self.scopes[*other]) && !self.scopes[*other].done);
                all.filter(|other| self.begun(*other)).count()
            });
            if *count >= limit {
                return false;
            }
            new.push((parent, node, at));
        }
        for (parent, node, at) in new {
            *running.entry((parent, node)).or_default() += 1;
            admitted.push(at);
        }
        true
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
    let failed = |problem: String| Err(format!("(Line: {}, Col: {}): {problem}", tree.at.line, tree.at.column));
    let name = name.to_text();
    if name.is_empty() {
        return failed("the concurrency group is empty".to_owned());
    }
    match queue.as_str() {
        "" | "single" => {}
        "max" if cancel.truthy() => return failed(QUEUE_WITH_CANCEL.to_owned()),
        "max" => {}
        other => {
            return failed(format!("Unexpected value '{other}': the queue of a concurrency group is single or max"));
        }
    }
    Ok(Group { name: name.to_lowercase(), cancel_in_progress: cancel.truthy(), keep_all: queue == "max" })
}
