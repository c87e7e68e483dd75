//! Decides what runs next. One task owns all runs that are not over; everything else sends it messages. It writes results to the
//! database before anything that follows from them starts.

mod groups;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::state::{Active, Effects, Group};
use super::{Inner, payload};
use crate::event::short_ref;
use crate::filter::Pattern;
use crate::job::log::Log;
use crate::job::{self, Outcome};
use crate::model::{Conclusion, Input, Job, Run, RunEvent, Status, now_ms};
use crate::store::Change;

/// What the dispatcher is told.
pub(super) enum Message {
    /// Runs that are stored and may start. With results that hold.
    Adopt(Vec<(Run, Arc<Input>, Vec<Job>)>),
    /// A job is over.
    Done { run: i64, job: i64, outcome: Box<Outcome> },
    /// An environment lets a job pass, or not.
    Gate { run: i64, job: i64, result: Result<(), String> },
    /// A run is to end.
    Cancel { run: i64, force: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Run(i64),
    /// A workflow that is called, by its place in its run.
    Call(i64, usize),
    Job(i64, i64),
}

#[derive(Default)]
struct GroupState {
    holder: Option<Holder>,
    waiting: VecDeque<Holder>,
}

struct Running {
    cancel: CancellationToken,
    abort: CancellationToken,
}

enum Gate {
    Open,
    Asked(CancellationToken),
}

pub(super) struct Dispatcher {
    inner: Arc<Inner>,
    active: BTreeMap<i64, Active>,
    /// Runs that wait for their concurrency group.
    held: HashMap<i64, (String, String)>,
    groups: HashMap<(String, String), GroupState>,
    running: HashMap<i64, Running>,
    gates: HashMap<i64, Gate>,
}

impl Dispatcher {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            active: BTreeMap::new(),
            held: HashMap::new(),
            groups: HashMap::new(),
            running: HashMap::new(),
            gates: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let message = tokio::select! {
                () = self.inner.shutdown.cancelled() => return,
                message = messages.recv() => message,
            };
            let Some(message) = message else { return };
            self.handle(message).await;
            self.schedule().await;
            self.inner.changed.send_modify(|count| *count += 1);
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Adopt(runs) => {
                for (run, input, kept) in runs {
                    self.adopt(run, input, kept).await;
                }
            }
            Message::Done { run, job, outcome } => {
                self.running.remove(&job);
                // What could start before could start without this result: it need not wait until that is on disk. A result that may
                // cancel others comes first.
                if outcome.conclusion == Conclusion::Success {
                    self.schedule().await;
                }
                if let Some(active) = self.active.get_mut(&run) {
                    if let Some(state) = active.jobs.get_mut(&job) {
                        state.job.steps = outcome.steps;
                        state.job.annotations = outcome.annotations;
                        state.job.summary = outcome.summary;
                        state.job.environment_url = outcome.environment_url;
                    }
                    let effects = active.complete(job, outcome.conclusion, outcome.outputs, outcome.failure_allowed);
                    self.forward(run, effects).await;
                }
            }
            Message::Gate { run, job, result } => {
                let waiting = self.gates.insert(job, Gate::Open).is_some();
                let Some(active) = self.active.get_mut(&run) else { return };
                let open = active.jobs.get(&job).is_some_and(|state| state.job.status != Status::Completed);
                if let (Err(message), true, true) = (result, waiting, open) {
                    if let Some(state) = active.jobs.get_mut(&job) {
                        state.job.annotations.push(plain(&message));
                    }
                    let effects = active.complete(job, Conclusion::Failure, BTreeMap::new(), false);
                    self.forward(run, effects).await;
                }
            }
            Message::Cancel { run, force } => self.cancel(run, force).await,
        }
    }

    async fn cancel(&mut self, run: i64, force: bool) {
        if force {
            let jobs: Vec<i64> =
                self.active.get(&run).map(|active| active.jobs.keys().copied().collect()).unwrap_or_default();
            for job in jobs {
                if let Some(running) = self.running.get(&job) {
                    running.abort.cancel();
                }
            }
        }
        let held = self.held.remove(&run).is_some();
        let Some(active) = self.active.get_mut(&run) else { return };
        if held {
            active.drop_all();
        }
        let effects = active.cancel(force);
        if held {
            for group in self.groups.values_mut() {
                group.waiting.retain(|holder| *holder != Holder::Run(run));
            }
        }
        self.forward(run, effects).await;
    }

    async fn adopt(&mut self, mut run: Run, input: Arc<Input>, kept: Vec<Job>) {
        let file = super::source::parse(&run.path, input.source.clone());
        let Some(workflow) = file.workflow else {
            run.status = Status::Completed;
            run.conclusion = Some(Conclusion::StartupFailure);
            run.message = file.findings.first().map(ToString::to_string);
            self.write(Change { runs: vec![run], ..Change::default() }).await;
            return;
        };
        let host = &self.inner.services.host;
        let id = run.id;
        let repository = run.repository.to_lowercase();
        let active = Active::new(run, input, workflow, kept, (host.server_url(), host.api_url()));
        let group = active.group();
        self.active.insert(id, active);
        self.publish(id);
        match group {
            Ok(Some(group)) => {
                let key = (repository, group.name.clone());
                if !self.acquire(&key, &group, Holder::Run(id)).await {
                    // It is gone already where too many wait.
                    if let Some(active) = self.active.get_mut(&id) {
                        self.held.insert(id, key);
                        active.run.status = Status::Pending;
                    }
                    self.publish(id);
                    return;
                }
            }
            Ok(None) => {}
            Err(message) => {
                if let Some(active) = self.active.get_mut(&id) {
                    active.run.message = Some(message);
                    let effects = active.cancel(true);
                    self.forward(id, effects).await;
                }
                return;
            }
        }
        self.forward(id, Effects::default()).await;
    }

    /// Moves a run on after something happened to it, writes what is new, and tells everyone.
    async fn forward(&mut self, id: i64, first: Effects) {
        // A run that waits for its group creates no jobs until it is cancelled or has its turn.
        let held = self.held.contains_key(&id);
        let Some(active) = self.active.get_mut(&id) else { return };
        let mut effects = first;
        if !held {
            let inner = self.inner.clone();
            let more = active.advance(&mut || inner.next_job());
            effects.created.extend(more.created);
            effects.completed.extend(more.completed);
            effects.cancel.extend(more.cancel);
            effects.closed.extend(more.closed);
            effects.over |= more.over;
        }
        for job in &effects.cancel {
            if let Some(running) = self.running.get(job) {
                running.cancel.cancel();
            }
        }
        let mut change = Change::default();
        for job in &effects.completed {
            if let Some(state) = active.jobs.get(job) {
                change.jobs.push(state.job.clone());
            }
            if let Some(Gate::Asked(token)) = self.gates.remove(job) {
                token.cancel();
            }
        }
        if effects.over {
            if active.run.started_ms.is_none() {
                active.run.started_ms = Some(active.run.created_ms);
            }
            change.runs.push(active.run.clone());
            let head = super::source_head(&self.inner, &active.run).await;
            change.new_events.push(payload::workflow_run(
                &active.run,
                &active.input,
                "completed",
                &head,
                &self.inner.services.host.server_url(),
                &self.inner.services.host.api_url(),
            ));
        }
        let (run, over) = (active.run.clone(), effects.over);
        let jobs: Vec<Job> = effects
            .created
            .iter()
            .chain(&effects.completed)
            .filter_map(|job| active.jobs.get(job))
            .map(|state| state.job.clone())
            .collect();
        let events = change.new_events.clone();
        let ids = self.write(change).await;
        self.publish(id);
        let mut seen = Vec::new();
        for job in jobs {
            if seen.contains(&job.id) {
                continue;
            }
            seen.push(job.id);
            self.inner.report(&run, &job);
            let event = if job.status == Status::Completed {
                RunEvent::JobCompleted { run: run.clone(), job }
            } else {
                RunEvent::JobQueued { run: run.clone(), job }
            };
            self.inner.tell(event);
        }
        for job in &effects.completed {
            self.release(&run.repository, Holder::Job(id, *job)).await;
        }
        for scope in &effects.closed {
            Box::pin(self.release(&run.repository, Holder::Call(id, *scope))).await;
        }
        if over {
            self.active.remove(&id);
            self.inner.unpublish(id);
            self.inner.tell(RunEvent::RunCompleted { run: run.clone() });
            for (event, id) in events.into_iter().zip(ids) {
                self.inner.process_later(id, event);
            }
            Box::pin(self.release(&run.repository, Holder::Run(id))).await;
        }
    }

    /// Writes to the database; an error there stops nothing that runs, but is loud.
    async fn write(&self, change: Change) -> Vec<i64> {
        match self.inner.store.apply(change).await {
            Ok(ids) => ids,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot store the state of a run");
                Vec::new()
            }
        }
    }

    /// Starts what may start.
    async fn schedule(&mut self) {
        loop {
            let mut started = false;
            let candidates: Vec<(i64, i64)> = self
                .active
                .iter()
                .flat_map(|(run, active)| active.startable().into_iter().map(|job| (*run, job)))
                .collect();
            for (run, job) in candidates {
                let Some(state) = self.active.get(&run).and_then(|active| active.jobs.get(&job)) else { continue };
                if state.started || state.job.status == Status::Completed {
                    continue;
                }
                if let Some(environment) = state.job.environment.clone() {
                    match self.gates.get(&job) {
                        Some(Gate::Open) => {}
                        Some(Gate::Asked(_)) => continue,
                        None => {
                            self.ask(run, job, environment);
                            continue;
                        }
                    }
                }
                if !self.acquire_all(run, job).await {
                    self.mark(run, job, Status::Pending);
                    continue;
                }
                if self.running.len() >= self.inner.services.config.max_parallel {
                    return;
                }
                self.start(run, job).await;
                started = true;
            }
            if !started {
                return;
            }
        }
    }

    fn mark(&mut self, run: i64, job: i64, status: Status) {
        if let Some(state) = self.active.get_mut(&run).and_then(|active| active.jobs.get_mut(&job))
            && state.job.status != status
            && state.job.status != Status::Completed
        {
            state.job.status = status;
            let job = state.job.clone();
            self.publish(run);
            if status == Status::Waiting
                && let Some(active) = self.active.get(&run)
            {
                self.inner.tell(RunEvent::JobWaiting { run: active.run.clone(), job });
            }
        }
    }

    /// Asks the host whether an environment lets a job pass.
    fn ask(&mut self, run: i64, job: i64, environment: String) {
        self.mark(run, job, Status::Waiting);
        let Some(active) = self.active.get(&run) else { return };
        let token = CancellationToken::new();
        self.gates.insert(job, Gate::Asked(token.clone()));
        let (inner, repository) = (self.inner.clone(), active.run.repository.clone());
        let git_ref = active.input.subject.git_ref.clone();
        let created = active.jobs.get(&job).map_or(0, |state| state.job.created_ms);
        self.inner.tracker.spawn(async move {
            let result = tokio::select! {
                () = token.cancelled() => return,
                () = inner.shutdown.cancelled() => return,
                result = gate(&inner, run, &repository, &environment, &git_ref, created) => result,
            };
            inner.send(Message::Gate { run, job, result }).await;
        });
    }

    async fn start(&mut self, run: i64, job: i64) {
        let Some(active) = self.active.get_mut(&run) else { return };
        let first = active.run.status != Status::InProgress;
        active.run.status = Status::InProgress;
        active.run.started_ms.get_or_insert_with(now_ms);
        let record = active.run.clone();
        let Some(state) = active.jobs.get_mut(&job) else { return };
        state.started = true;
        state.job.status = Status::InProgress;
        state.job.started_ms = Some(now_ms());
        let Some(mut spec) = state.spec.take() else { return };
        spec.run = record.clone();
        spec.job = state.job.clone();
        let job_record = state.job.clone();
        let path = self.inner.services.config.log_path(run, job);
        let log = match Log::create(&path) {
            Ok(log) => log,
            Err(error) => {
                let message = job::error_chain(&error);
                state.job.annotations.push(plain(&message));
                let effects = active.complete(job, Conclusion::Failure, BTreeMap::new(), false);
                Box::pin(self.forward(run, effects)).await;
                return;
            }
        };
        self.inner.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(job, log.progress());
        let (cancel, abort) = (CancellationToken::new(), CancellationToken::new());
        self.running.insert(job, Running { cancel: cancel.clone(), abort: abort.clone() });
        self.publish(run);
        if first {
            self.inner.tell(RunEvent::RunStarted { run: record.clone() });
        }
        self.inner.report(&record, &job_record);
        self.inner.tell(RunEvent::JobStarted { run: record, job: job_record });
        let inner = self.inner.clone();
        self.inner.tracker.spawn(async move {
            let (sender, mut receiver) = mpsc::channel(256);
            let work = job::run(spec, inner.services.clone(), log, sender, cancel, abort);
            tokio::pin!(work);
            let outcome = loop {
                tokio::select! {
                    outcome = &mut work => break outcome,
                    Some(update) = receiver.recv() => inner.update(run, job, update),
                    () = inner.shutdown.cancelled() => return,
                }
            };
            inner.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&job);
            inner.send(Message::Done { run, job, outcome: Box::new(outcome) }).await;
        });
    }

    fn publish(&self, run: i64) {
        if let Some(active) = self.active.get(&run) {
            self.inner.publish(&active.run, active.jobs.values().map(|state| &state.job));
        }
    }
}

fn plain(message: &str) -> crate::model::Annotation {
    crate::model::Annotation {
        level: "failure".to_owned(),
        message: message.to_owned(),
        title: None,
        file: None,
        line: None,
        end_line: None,
        column: None,
        end_column: None,
    }
}

/// The protection of an environment: its branches, its wait, its reviewers.
async fn gate(
    inner: &Inner,
    run: i64,
    repository: &str,
    environment: &str,
    git_ref: &str,
    created: i64,
) -> Result<(), String> {
    let info = inner
        .services
        .host
        .environment(repository, environment)
        .await
        .map_err(|error| format!("cannot look up the environment {environment}: {error}"))?;
    if let Some(patterns) = &info.branches {
        let name = short_ref(git_ref);
        let admitted =
            patterns.iter().any(|pattern| Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(name)));
        if !admitted {
            return Err(format!(
                "Branch \"{name}\" is not allowed to deploy to {environment} due to environment protection rules."
            ));
        }
    }
    if !info.reviewers.is_empty() {
        let mut changed = inner.decisions.subscribe();
        loop {
            let decisions = inner.store.decisions(run).await.map_err(|error| error.to_string())?;
            match decisions.iter().find(|(name, _)| name.eq_ignore_ascii_case(environment)) {
                Some((_, true)) => break,
                Some((_, false)) => return Err(format!("The deployment to {environment} was rejected.")),
                None => {}
            }
            if changed.changed().await.is_err() {
                return Err("the engine was stopped".to_owned());
            }
        }
    }
    let waited = u64::try_from(now_ms() - created).unwrap_or(0);
    let left = info.wait.saturating_sub(std::time::Duration::from_millis(waited));
    if !left.is_zero() {
        tokio::time::sleep(left).await;
    }
    Ok(())
}
