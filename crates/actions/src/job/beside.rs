//! Steps that run beside the others: `background` and `parallel`, and waiting for or cancelling them.
//!
//! Such a step works on a view of the job as it was when the step began, with a log of its own. What it leaves (outputs,
//! variables, its log, what is to run after the job) joins the job when a `wait`, `wait-all`, `cancel`, the end of its `parallel` group
//! or the end of the job's steps collects it; a failure counts from then on.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Executor;
use super::steps::Frame;
use crate::expr::Object;
use crate::model::{Conclusion, now_ms};
use crate::workflow::{Step, StepKind};

/// How many of a job's steps run beside the others at once, as on GitHub; more of them wait for a place.
const PLACES: usize = 10;

/// The steps of a job that run, or ran, beside the others.
pub(crate) struct Beside {
    tasks: JoinSet<(String, Box<Finished>)>,
    steps: IndexMap<String, Entry>,
    places: Arc<Semaphore>,
}

impl Default for Beside {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), steps: IndexMap::new(), places: Arc::new(Semaphore::new(PLACES)) }
    }
}

/// One of them.
struct Entry {
    name: String,
    /// Where its record is.
    record: usize,
    log: PathBuf,
    cancel: CancellationToken,
    /// The job's variables and path when it began.
    env: IndexMap<String, String>,
    path: Vec<String>,
    finished: Option<Box<Finished>>,
    /// What it came to, once it has been collected.
    conclusion: Option<Conclusion>,
}

/// What is left of one that ended.
struct Finished {
    view: Executor,
    frame: Frame,
    outcome: Conclusion,
    conclusion: Conclusion,
    at_ms: i64,
}

/// The first of these steps that runs in the background and is neither waited for nor cancelled among them.
pub(super) fn left_running(steps: &[Step]) -> Option<&str> {
    let mut running: Vec<&str> = Vec::new();
    for step in steps {
        match &step.kind {
            StepKind::Wait(ids) => running.retain(|id| !ids.iter().any(|other| other == id)),
            StepKind::WaitAll => running.clear(),
            StepKind::Cancel(other) => running.retain(|id| id != other),
            _ if step.background => running.push(&step.id),
            _ => {}
        }
    }
    running.first().copied()
}

impl Executor {
    /// The job as a step sees it that runs beside the others.
    fn view(&self, log: super::log::Log, cancel: CancellationToken) -> Executor {
        Executor {
            spec: self.spec.clone(),
            services: self.services.clone(),
            log,
            workspace: self.workspace.clone(),
            env: self.env.clone(),
            path: self.path.clone(),
            base_env: self.base_env.clone(),
            git_rewrites: self.git_rewrites.clone(),
            added_env: self.added_env.clone(),
            secrets: self.secrets.clone(),
            token: self.token.clone(),
            tokens: self.tokens.clone(),
            vars: self.vars.clone(),
            github: self.github.clone(),
            failed: self.failed,
            cancelled: self.cancelled,
            late: self.late.clone(),
            uses_reference: String::new(),
            action: String::new(),
            survives: false,
            cancel,
            abort: self.abort.clone(),
            // Progress is the job's to tell: nobody listens to this one.
            updates: mpsc::channel(1).0,
            records: Vec::new(),
            annotations: Vec::new(),
            summary: String::new(),
            posts: Vec::new(),
            before: Vec::new(),
            pre_states: self.pre_states.clone(),
            matchers: self.matchers.clone(),
            mark: self.mark.clone(),
            since: self.since,
            debug: self.debug,
            warm_checkout: self.warm_checkout,
            added_masks: Vec::new(),
            last: None,
            step_inputs: None,
            opened_up: self.opened_up,
            spare_files: None,
            spare_script: None,
            more_steps: false,
            containers: self.containers.shared(),
            count: self.count.clone(),
            unheard: super::process::Unheard::default(),
            beside: Beside::default(),
            is_view: true,
        }
    }

    /// Starts a step and does not wait for it.
    pub(super) fn start_beside(&mut self, step: &Step, frame: &Frame) {
        let name = self.display_name(step, frame);
        let record = self.begin(&name, &step.id);
        let path = self.workspace.root.join("_beside").join(format!("{record}.log"));
        let log = match self.log.beside(&path) {
            Ok(log) => log,
            Err(error) => {
                self.fail(&super::error_chain(&error));
                return self.end(record, Conclusion::Failure, None);
            }
        };
        let cancel = if self.cancelled { self.abort.child_token() } else { self.cancel.child_token() };
        let mut view = self.view(log, cancel.clone());
        if self.cancelled {
            view.abort = cancel.clone();
        }
        let (step, mut frame, places, token) =
            (step.clone(), frame.clone(), self.beside.places.clone(), cancel.clone());
        let id = step.id.clone();
        let entry = Entry {
            name,
            record,
            log: path,
            cancel,
            env: self.env.clone(),
            path: self.path.clone(),
            finished: None,
            conclusion: None,
        };
        self.beside.steps.insert(id.clone(), entry);
        self.beside.tasks.spawn(async move {
            let place = tokio::select! {
                place = places.acquire() => place.ok(),
                () = token.cancelled() => None,
            };
            let (outcome, conclusion) = match place {
                Some(_) => view.step_body(&step, &mut frame).await,
                None => (Conclusion::Cancelled, Conclusion::Cancelled),
            };
            view.log.flush();
            (id, Box::new(Finished { view, frame, outcome, conclusion, at_ms: now_ms() }))
        });
    }

    /// Waits until these steps are over, and takes over what they left. Gives what they came to together.
    async fn collect(&mut self, ids: &[String], frame: &mut Frame) -> Conclusion {
        let missing = |beside: &Beside| {
            ids.iter().any(|id| {
                beside.steps.get(id).is_some_and(|entry| entry.finished.is_none() && entry.conclusion.is_none())
            })
        };
        while missing(&self.beside) {
            match self.beside.tasks.join_next().await {
                Some(Ok((id, finished))) => {
                    if let Some(entry) = self.beside.steps.get_mut(&id) {
                        entry.finished = Some(finished);
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "a step in the background broke off");
                }
                None => break,
            }
        }
        let mut worst = Conclusion::Success;
        for id in ids {
            match self.take_over(id, frame) {
                Some(Conclusion::Failure) => worst = Conclusion::Failure,
                Some(Conclusion::Cancelled) if worst == Conclusion::Success => worst = Conclusion::Cancelled,
                _ => {}
            }
        }
        worst
    }

    /// What a step came to; the first time, what it left joins the job.
    fn take_over(&mut self, id: &str, frame: &mut Frame) -> Option<Conclusion> {
        let entry = self.beside.steps.get_mut(id)?;
        if let Some(conclusion) = entry.conclusion {
            return Some(conclusion);
        }
        let record = entry.record;
        let Some(finished) = entry.finished.take() else {
            entry.conclusion = Some(Conclusion::Failure);
            self.error(&format!("the step '{id}' broke off; the platform's own log says why"));
            self.end(record, Conclusion::Failure, None);
            return Some(Conclusion::Failure);
        };
        let Finished { mut view, frame: seen, outcome, conclusion, at_ms } = *finished;
        entry.conclusion = Some(conclusion);
        let (log, env, path) =
            (std::mem::take(&mut entry.log), std::mem::take(&mut entry.env), std::mem::take(&mut entry.path));
        for (name, value) in std::mem::take(&mut view.env) {
            if env.get(&name) != Some(&value) {
                self.env.insert(name, value);
            }
        }
        for dir in std::mem::take(&mut view.path).into_iter().rev().filter(|dir| !path.contains(dir)) {
            self.path.retain(|other| *other != dir);
            self.path.insert(0, dir);
        }
        if let Some(result) = seen.steps.get(id) {
            frame.steps.insert(id, result.clone());
        }
        self.posts.append(&mut view.posts);
        self.annotations.append(&mut view.annotations);
        self.added_masks.append(&mut view.added_masks);
        self.summary.push_str(&view.summary);
        self.matchers.join(std::mem::take(&mut view.matchers));
        self.unheard.join(std::mem::take(&mut view.unheard));
        self.warm_checkout |= view.warm_checkout;
        let begin = self.log.size();
        if let Err(error) = self.log.append(&log) {
            self.log.line(&format!("##[warning]The log of the step '{id}' cannot be read: {error}"));
        }
        let _ = std::fs::remove_file(&log);
        self.records[record].log.0 = begin;
        self.end(record, conclusion, Some(outcome));
        self.records[record].completed_ms = Some(at_ms);
        Some(conclusion)
    }

    /// Runs a step that starts, awaits or cancels others.
    pub(super) async fn control(&mut self, step: &Step, frame: &mut Frame) {
        let mut ids = match &step.kind {
            StepKind::Wait(ids) => ids.clone(),
            StepKind::Cancel(id) => vec![id.clone()],
            StepKind::Parallel(steps) => {
                let mut ids = Vec::new();
                for inner in steps {
                    // Each begins as if it stood here by itself: what its condition says is the same for all.
                    if self.condition(inner, frame) == Ok(true) {
                        self.start_beside(inner, frame);
                        ids.push(inner.id.clone());
                    } else {
                        let inner = Step { background: false, ..inner.clone() };
                        Box::pin(self.step(&inner, frame)).await;
                    }
                }
                ids
            }
            _ => self.open_steps(),
        };
        // Ids differ by case only where somebody wrote them so.
        for id in &mut ids {
            if let Some(known) = self.beside.steps.keys().find(|known| known.eq_ignore_ascii_case(id)) {
                id.clone_from(known);
            }
        }
        let name = self.display_name(step, frame);
        let index = self.begin(&name, &step.id);
        let names: Vec<&str> =
            ids.iter().map(|id| self.beside.steps.get(id).map_or(id.as_str(), |entry| entry.name.as_str())).collect();
        let names = if names.is_empty() { "none is running".to_owned() } else { names.join(", ") };
        let ends = matches!(step.kind, StepKind::Cancel(_));
        self.log.line(&format!("{} steps in the background: {names}", if ends { "Cancelling" } else { "Waiting for" }));
        if ends {
            for entry in ids.iter().filter_map(|id| self.beside.steps.get(id)) {
                entry.cancel.cancel();
            }
        }
        let found = self.collect(&ids, frame).await;
        let outcome = match found {
            _ if ends => Conclusion::Success,
            Conclusion::Cancelled if !self.cancel.is_cancelled() => Conclusion::Success,
            found => found,
        };
        if self.cancel.is_cancelled() {
            self.cancelled = true;
        }
        // The logs of the others stand in between now; this step's own part comes after them.
        self.records[index].log.0 = self.log.size();
        for entry in ids.iter().filter_map(|id| self.beside.steps.get(id)) {
            let result = entry.conclusion.map_or("unknown", |conclusion| conclusion.result());
            self.log.push(&format!("  {}: {result}", entry.name));
        }
        if outcome == Conclusion::Failure {
            self.error("A step in the background failed.");
        }
        let conclusion = self.forgiven(step, frame, outcome);
        // A step that was cancelled on purpose may still have failed before.
        self.failed |= conclusion == Conclusion::Failure || ends && found == Conclusion::Failure;
        if step.named_id {
            let mut entry = Object::new();
            entry.insert("outputs", crate::expr::Value::object(Object::new()));
            entry.insert("outcome", outcome.result());
            entry.insert("conclusion", conclusion.result());
            frame.steps.insert(step.id.as_str(), entry);
        }
        self.end(index, conclusion, Some(outcome));
    }

    /// The steps that nothing has collected yet.
    fn open_steps(&self) -> Vec<String> {
        self.beside.steps.iter().filter(|(_, entry)| entry.conclusion.is_none()).map(|(id, _)| id.clone()).collect()
    }

    /// After the last step: waits for those that nothing waited for. Failures that were waited for with `continue-on-error` stay failures of
    /// the job, as on GitHub.
    pub(super) async fn finish_beside(&mut self, frame: &mut Frame) {
        let open = self.open_steps();
        if !open.is_empty() {
            let index = self.begin("Wait for all background steps", "__wait_all_at_end");
            let found = self.collect(&open, frame).await;
            self.records[index].log.0 = self.log.size();
            self.end(index, found, None);
        }
        if self.cancel.is_cancelled() {
            self.cancelled = true;
        }
        self.failed |= self.beside.steps.values().any(|entry| entry.conclusion == Some(Conclusion::Failure));
    }
}
