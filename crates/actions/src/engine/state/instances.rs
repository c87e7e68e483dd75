//! The jobs that one entry of a file makes: one for each combination of its matrix.

use super::*;

impl Active {
    /// Decides about a job whose needs are over: skipped, or expanded into its instances.
    pub(super) fn start(&mut self, scope: usize, node: usize, next_id: &mut dyn FnMut() -> i64, effects: &mut Effects) {
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
        let cancelled = self.cancelled || self.chain(scope).any(|at| self.scopes[at].cancelled);
        let dropped = self.chain(scope).any(|at| self.scopes[at].dropped);
        let job_scope = JobScope { contexts: contexts.clone(), results, cancelled };
        let holds = match &definition.condition {
            _ if dropped => Ok(false),
            None => Ok(!job_scope.cancelled
                && job_scope.results.iter().all(|(_, conclusion)| *conclusion == Conclusion::Success)),
            Some(template) => template.holds(&job_scope),
        };
        // What a cancelled run leaves alone: jobs whose condition holds then too.
        let stubborn = definition.condition.as_ref().is_some_and(|template| {
            let ended = JobScope { contexts: contexts.clone(), results: job_scope.results.clone(), cancelled: true };
            template.holds(&ended).unwrap_or(false)
        });
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
                Some((if cancelled { Conclusion::Cancelled } else { Conclusion::Skipped }, String::new()))
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
    pub(super) fn instance(
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
    pub(super) fn keep(&mut self, kept: Job, place: (usize, usize, usize), id: i64, effects: &mut Effects) {
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

    pub(super) fn name_of(
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

    pub(super) fn record(&self, id: i64, key: String, name: String) -> Job {
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
}
