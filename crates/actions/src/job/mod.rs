//! Runs one job: its work space, its steps in order, the clean-up after them.
//!
//! The scheduler decides when a job runs and gives it a [`JobSpec`]; [`run`] gives back an [`Outcome`] and tells of its progress on a
//! channel. Nothing here writes to the database.

mod announce;
mod beside;
pub mod breaks;
pub mod checkpoint;
mod docker_action;
pub(crate) mod inside;
pub mod log;
mod matchers;
mod prepare;
pub mod process;
mod recording;
pub mod resolve;
pub mod scope;
pub mod shell;
mod skeleton;
mod spec;
pub mod stragglers;
pub mod tape;
pub(crate) use prepare::error_chain;
pub(crate) mod steps;
mod uses;
pub mod workspace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use spec::{Config, JobSpec, Outcome, Secrets, Services, Update};
pub(crate) use steps as steps_api;

use self::log::Log;
use self::workspace::Workspace;
use crate::expr::{Object, Value};
use crate::model::{Annotation, Conclusion, Status, Step, now_ms};

/// How long a job may go on after it was cancelled, for its `always()` steps, as on GitHub.
const CANCEL_GRACE: Duration = Duration::from_secs(5 * 60);

/// How long a job may run that says nothing about it, as on GitHub.
const LONGEST: Duration = Duration::from_secs(360 * 60);

/// A number of minutes, however large, as a time that clocks can add.
pub(crate) fn span(minutes: f64) -> Duration {
    const YEAR: f64 = 365.0 * 24.0 * 60.0;
    Duration::from_secs_f64(minutes.clamp(0.0, YEAR) * 60.0)
}

/// The state of a job while it runs.
pub(crate) struct Executor {
    pub spec: JobSpec,
    pub services: Arc<Services>,
    pub log: Log,
    pub workspace: Arc<Workspace>,
    /// Workflow and job `env`, and what steps added.
    pub env: IndexMap<String, String>,
    /// Directories that steps put on the path, last one first.
    pub path: Vec<String>,
    /// The environment every process starts from.
    pub base_env: Vec<(String, String)>,
    pub git_rewrites: Vec<(String, String)>,
    /// Names of variables that the host added; containers get them too.
    pub added_env: Vec<String>,
    pub secrets: BTreeMap<String, String>,
    pub token: String,
    /// What opens [`crate::services`]; none where they are not served.
    pub tokens: Option<crate::services::Tokens>,
    pub vars: Value,
    pub github: Object,
    pub failed: bool,
    pub cancelled: bool,
    /// Whether the job's time ran out.
    pub late: Arc<AtomicBool>,
    /// The part after `@` of the action that runs.
    pub uses_reference: String,
    /// `github.action`: the id of the step that runs.
    pub action: String,
    /// Whether the step that runs goes on when the job is cancelled, because its condition holds then too.
    pub survives: bool,
    /// Tells the running process to end.
    pub cancel: CancellationToken,
    /// Ends everything, `always()` steps too.
    pub abort: CancellationToken,
    pub updates: mpsc::Sender<Update>,
    pub records: Vec<Step>,
    pub annotations: Vec<Annotation>,
    pub summary: String,
    pub posts: Vec<uses::Post>,
    /// The states before the job's steps.
    pub before: Vec<checkpoint::Before>,
    /// What `pre` scripts saved, by step.
    pub pre_states: IndexMap<String, IndexMap<String, String>>,
    pub matchers: matchers::Matchers,
    pub mark: String,
    /// When the job began.
    pub since: stragglers::Since,
    pub debug: bool,
    /// Whether the checkout's files were there before the job.
    pub warm_checkout: bool,
    /// Values that steps asked to hide.
    pub added_masks: Vec<String>,
    /// What the step that runs ran last.
    pub last: Option<process::Command>,
    /// What went into the step that runs, when there is a tape.
    pub step_inputs: Option<serde_json::Value>,
    /// Whether containers write where steps write.
    pub opened_up: bool,
    /// What `container` and `services` asked for.
    pub containers: inside::Containers,
    /// Files of a step that is over, for the next one.
    pub spare_files: Option<steps::Files>,
    /// An empty file for the next step's script.
    pub spare_script: Option<steps::ScriptFile>,
    /// Whether a step follows the one that runs.
    pub more_steps: bool,
    /// Counts steps for files.
    pub count: Arc<AtomicUsize>,
    /// Output of what steps left running.
    pub unheard: process::Unheard,
    /// Steps that run beside the others.
    pub beside: beside::Beside,
    /// Whether this is only the view of one step of it that runs beside the others.
    pub is_view: bool,
}

/// Runs a job to its end. `cancel` asks it to stop: the running step is ended, `always()` and `cancelled()` steps still run.
/// `abort` ends it at once.
pub async fn run(
    spec: JobSpec,
    services: Arc<Services>,
    log: Log,
    updates: mpsc::Sender<Update>,
    cancel: CancellationToken,
    abort: CancellationToken,
) -> Outcome {
    let failed = |log: &Log, message: String| {
        for line in message.lines() {
            log.line(&format!("##[error]{line}"));
        }
        Outcome {
            conclusion: Conclusion::Failure,
            outputs: BTreeMap::new(),
            steps: Vec::new(),
            annotations: vec![announce::plain("failure", &message)],
            summary: String::new(),
            environment_url: None,
            failure_allowed: false,
        }
    };
    let token = CancellationToken::new();
    let prepared = prepare::prepare(spec, services.clone(), log.clone(), updates, token.clone(), abort.clone()).await;
    let mut executor = match prepared {
        Ok(executor) => executor,
        Err(message) => {
            let outcome = failed(&log, message);
            log.finish();
            return outcome;
        }
    };
    let minutes = executor.timeout();
    let grace = executor.cancel_grace();
    let deadline = minutes.map(|minutes| Instant::now() + minutes);
    // Turns the wish to cancel, or the end of the job's time, into the end of the running step and then of all.
    let late = Arc::new(AtomicBool::new(false));
    executor.late = late.clone();
    let watchdog = {
        let (token, abort) = (token.clone(), abort.clone());
        async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = abort.cancelled() => {}
                () = async { match deadline { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {
                    late.store(true, Ordering::Relaxed);
                }
            }
            token.cancel();
            tokio::select! {
                () = tokio::time::sleep(grace) => abort.cancel(),
                () = abort.cancelled() => {}
            }
        }
    };
    let outcome = {
        let work = executor.execute();
        tokio::pin!(work, watchdog);
        tokio::select! {
            outcome = &mut work => outcome,
            () = &mut watchdog => work.await,
        }
    };
    let token = std::mem::take(&mut executor.token);
    if let Err(error) = services.host.revoke_token(&token).await {
        tracing::warn!(%error, "cannot revoke a job's token");
    }
    services.breaks.forget(executor.spec.job.id);
    log.finish();
    outcome
}

impl Drop for Executor {
    /// Whatever way the job ends, nothing that it started outlives it.
    fn drop(&mut self) {
        if self.is_view {
            return;
        }
        if !self.mark.is_empty() {
            stragglers::end_stragglers(&self.mark, self.since);
        }
        self.services.protocols.dismiss(self.spec.job.id);
    }
}

impl Executor {
    fn timeout(&self) -> Option<Duration> {
        let definition = self.spec.definition();
        let Some(tree) = definition.timeout_minutes.as_ref() else { return Some(LONGEST) };
        let minutes = tree.evaluate(&self.scope(&steps::Frame::default())).ok()?.to_number();
        (minutes > 0.0).then(|| span(minutes))
    }

    /// `cancel-timeout-minutes`: how long the job may go on after it was cancelled.
    fn cancel_grace(&self) -> Duration {
        let (tree, frame) = (self.spec.definition().cancel_timeout_minutes.as_ref(), steps::Frame::default());
        let minutes = tree.and_then(|tree| tree.evaluate(&self.scope(&frame)).ok());
        let minutes = minutes.map(|value| value.to_number()).filter(|minutes| *minutes >= 0.0);
        minutes.map_or(CANCEL_GRACE, span)
    }

    async fn execute(&mut self) -> Outcome {
        let workflow = self.spec.workflow.clone();
        let crate::workflow::JobKind::Steps(definition) = &workflow.jobs[&self.spec.id].kind else {
            unreachable!("calls are expanded by the scheduler");
        };
        let mut frame = steps::Frame::default();
        let playing = self.services.config.tape.as_ref().is_some_and(|tape| tape.is_playing());
        if !self.failed && !playing {
            self.start_containers().await;
        }
        let mut first = 0;
        if let Some(from) = self.spec.from.clone() {
            first = definition.steps.iter().position(|step| step.id == from.step).unwrap_or(0);
            if let Err(problem) = self.restore(&from.step, &definition.steps[..first], &mut frame) {
                self.fail(&problem);
            }
        } else if !playing {
            self.pre_steps(&definition.steps).await;
        }
        for (index, step) in definition.steps.iter().enumerate().skip(first) {
            if self.abort.is_cancelled() {
                break;
            }
            self.more_steps = index + 1 < definition.steps.len();
            self.checkpoint(&step.id, &frame);
            self.step(step, &mut frame).await;
        }
        self.finish_beside(&mut frame).await;
        let posts = self.posts_to_keep();
        self.post_steps(&frame).await;
        self.stop_containers().await;
        self.complete(definition, &frame, posts)
    }

    fn complete(
        &mut self,
        definition: &crate::workflow::StepsJob,
        frame: &steps::Frame,
        posts: Vec<uses::SavedPost>,
    ) -> Outcome {
        if self.late.load(Ordering::Relaxed) {
            let minutes = self.timeout().map_or(0.0, |time| time.as_secs_f64() / 60.0);
            self.error(&format!("The job has exceeded the maximum execution time of {minutes} minutes."));
        }
        let number = self.begin("Complete job", "__complete");
        let stragglers = stragglers::end_stragglers(&std::mem::take(&mut self.mark), self.since);
        if !stragglers.is_empty() {
            self.log.line(&format!("Cleaning up orphan processes: {}", stragglers.join(", ")));
        }
        let mut outputs = BTreeMap::new();
        let mut problem = None;
        if let Some(tree) = &definition.outputs {
            let scope = self.scope(frame);
            match tree.evaluate(&scope) {
                Ok(Value::Object(object)) => {
                    for (name, value) in object.iter() {
                        let value = value.to_text();
                        if self.holds_secret(&value) {
                            self.log.line(&format!("##[warning]Skip output '{name}' since it may contain secret."));
                            continue;
                        }
                        outputs.insert(name.to_owned(), value);
                    }
                }
                Ok(_) => {}
                Err(error) => problem = Some(error.to_string()),
            }
        }
        let url = definition.environment.as_ref().and_then(|tree| tree.get("url"));
        let environment_url = match url.map(|tree| tree.evaluate(&self.scope(frame))) {
            Some(Ok(value)) => Some(self.log.masked(&value.to_text())).filter(|url| !url.is_empty()),
            Some(Err(error)) => {
                problem.get_or_insert_with(|| error.to_string());
                None
            }
            None => None,
        };
        if let Some(url) = &environment_url {
            self.log.line(&format!("Evaluated environment url: {url}"));
        }
        if let Some(problem) = problem {
            self.fail(&problem);
        }
        self.end(number, Conclusion::Success, None);
        if self.failed || self.cancelled {
            self.keep(frame, posts);
            self.workspace.keep_for(self.spec.job.id);
        }
        let conclusion = if self.cancel.is_cancelled() && self.cancelled {
            Conclusion::Cancelled
        } else if self.failed {
            Conclusion::Failure
        } else {
            Conclusion::Success
        };
        let failure_allowed = conclusion == Conclusion::Failure
            && definition.continue_on_error.as_ref().is_some_and(|tree| {
                let scope = self.scope(frame);
                tree.evaluate(&scope).is_ok_and(|value| value.truthy())
            });
        Outcome {
            conclusion,
            outputs,
            steps: std::mem::take(&mut self.records),
            annotations: std::mem::take(&mut self.annotations),
            summary: std::mem::take(&mut self.summary),
            environment_url,
            failure_allowed,
        }
    }

    /// Whether a text would be changed by masking.
    pub(crate) fn holds_secret(&self, text: &str) -> bool {
        !text.is_empty() && self.log.masked(text) != text
    }

    /// Fails the job with a message in its log.
    pub(crate) fn fail(&mut self, message: &str) {
        self.error(message);
        self.failed = true;
    }

    /// Puts an error into the log and among the annotations.
    pub(crate) fn error(&mut self, message: &str) {
        self.log.line(&format!("##[error]{message}"));
        self.annotations.push(announce::plain("failure", &self.log.masked(message)));
    }

    /// Starts a step's record and tells of it.
    pub(crate) fn begin(&mut self, name: &str, id: &str) -> usize {
        let size = self.log.size();
        let step = Step {
            number: self.records.len() + 1,
            id: id.to_owned(),
            name: self.log.masked(name),
            status: Status::InProgress,
            conclusion: None,
            outcome: None,
            started_ms: Some(now_ms()),
            completed_ms: None,
            log: (size, size),
        };
        self.tell(Update::Step(step.clone()));
        self.records.push(step);
        self.records.len() - 1
    }

    /// Ends a step's record and tells of it.
    pub(crate) fn end(&mut self, index: usize, conclusion: Conclusion, outcome: Option<Conclusion>) {
        let size = self.log.size();
        let step = &mut self.records[index];
        step.status = Status::Completed;
        step.conclusion = Some(conclusion);
        step.outcome = Some(outcome.unwrap_or(conclusion));
        step.completed_ms = Some(now_ms());
        step.log.1 = size;
        let step = step.clone();
        self.tell(Update::Step(step));
    }

    /// Progress is for watchers: when they are slow it is dropped, and the record at the end has it all.
    fn tell(&self, update: Update) {
        let _ = self.updates.try_send(update);
    }

    pub(crate) fn tell_log(&self) {
        self.log.flush();
        self.tell(Update::Log(self.log.progress().borrow().size));
    }
}
