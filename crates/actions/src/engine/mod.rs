//! The engine: takes events, starts runs, keeps them.
//!
//! Owner of all state is one dispatcher task (see `dispatcher`) and the database behind it. [`Engine`] is a handle: it plans events,
//! stores the runs they start, and answers questions. A run that was stored goes on after a crash: jobs that were over keep their
//! results, a job that was cut off runs again from its start.

mod again;
mod control;
mod dispatcher;
mod intake;
pub(crate) mod payload;
pub mod plan;
pub mod schedule;
mod source;
mod state;
pub mod watched;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::Value as Json;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use again::Rerun;
pub use plan::{Plan, Planned, publishes};

use self::dispatcher::{Dispatcher, Message};
use crate::error::Error;
use crate::event::Event;
use crate::host::{CheckRun, Host};
use crate::job::log::{Follower, Progress};
use crate::job::{Config, Services, Update};
use crate::model::{Conclusion, Job, Run, RunEvent, Status, now_ms};
use crate::store::{Change, Store};

/// The engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// How a workflow is run by hand.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Which jobs run.
    pub selection: crate::model::Selection,
    /// The `github` context of a recorded run.
    pub github: Option<Json>,
    /// Whether the run stops at each step that fails; see [`Engine::watch`].
    pub break_on_failure: bool,
}

struct View {
    run: Run,
    jobs: BTreeMap<i64, Job>,
}

pub(crate) struct Inner {
    pub(crate) services: Arc<Services>,
    pub(crate) store: Store,
    sources: source::Sources,
    sender: mpsc::Sender<Message>,
    events: broadcast::Sender<RunEvent>,
    /// Runs that are not over, as the dispatcher last had them, with steps as jobs last told.
    views: RwLock<BTreeMap<i64, View>>,
    logs: Mutex<HashMap<i64, watch::Receiver<Progress>>>,
    /// Counts changes of runs, for who waits for one.
    changed: watch::Sender<u64>,
    decisions: watch::Sender<u64>,
    /// Counts events, for schedules that may have changed.
    handled: watch::Sender<u64>,
    reports: mpsc::Sender<CheckRun>,
    planning: tokio::sync::Mutex<HashMap<(String, String), i64>>,
    runs: AtomicI64,
    jobs: AtomicI64,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Engine {
    /// Opens the engine's directory and goes on with what was not over.
    pub async fn open(config: Config, host: Arc<dyn Host>) -> Result<Self, Error> {
        let dir = config.dir.clone();
        for name in ["logs", "work", "cache", "artifacts", "actions", "tools"] {
            let path = dir.join(name);
            std::fs::create_dir_all(&path).map_err(|source| Error::File { what: "create", path, source })?;
        }
        crate::container::sweep(&dir, false);
        let store = Store::open(&dir.join("actions.db"))?;
        let (runs, jobs) = store.greatest_ids().await?;
        let (sender, receiver) = mpsc::channel(1024);
        let (reports, report_queue) = mpsc::channel(1024);
        let services_first = config.first_run;
        let services = Arc::new(Services {
            host,
            slots: crate::job::workspace::Slots::default(),
            actions: crate::job::resolve::Resolver::new(dir.join("actions"), config.online),
            cache: crate::builtin::cache::CacheStore::new(dir.join("cache")),
            artifacts: crate::builtin::artifact::ArtifactStore::new(dir.join("artifacts")),
            protocols: crate::services::Protocols::new(&dir),
            breaks: crate::job::breaks::Breaks::default(),
            config,
        });
        let inner = Arc::new(Inner {
            services,
            store,
            sources: source::Sources::default(),
            sender,
            events: broadcast::Sender::new(4096),
            views: RwLock::default(),
            logs: Mutex::default(),
            changed: watch::Sender::new(0),
            decisions: watch::Sender::new(0),
            handled: watch::Sender::new(0),
            reports,
            planning: tokio::sync::Mutex::default(),
            runs: AtomicI64::new(runs.max(services_first - 1)),
            jobs: AtomicI64::new(jobs),
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        });
        inner.tracker.spawn(Dispatcher::new(inner.clone()).run(receiver));
        inner.tracker.spawn(reporter(inner.clone(), report_queue));
        inner.tracker.spawn_blocking(move || {
            // What an earlier process left: deleted in the background.
            for name in ["trash", "work"] {
                for entry in std::fs::read_dir(dir.join(name)).into_iter().flatten().flatten() {
                    if name == "trash" {
                        crate::job::workspace::remove_all(&entry.path());
                    }
                }
            }
        });
        let engine = Self { inner };
        engine.recover().await?;
        Ok(engine)
    }

    async fn recover(&self) -> Result<(), Error> {
        let mut adopted = Vec::new();
        let resume = self.inner.services.config.resume;
        let open = self.inner.store.open_runs().await?;
        if !open.is_empty() {
            // Of a process that was killed there may be steps that go on: a job must not run twice at once.
            let dir = self.inner.services.config.dir.clone();
            let ended = tokio::task::spawn_blocking(move || crate::job::stragglers::end_leftovers(&dir)).await;
            let ended = ended.unwrap_or_default();
            if !ended.is_empty() {
                tracing::warn!(processes = ended.join(", "), "ended what jobs had left running");
            }
        }
        for (mut run, input) in open {
            if !resume {
                run.status = Status::Completed;
                run.conclusion = Some(Conclusion::Cancelled);
                run.completed_ms = Some(now_ms());
                run.message = Some("the process that ran it ended".to_owned());
                self.inner.store.apply(Change { runs: vec![run], ..Change::default() }).await?;
                continue;
            }
            let kept = self
                .inner
                .store
                .jobs(run.id, run.attempt)
                .await?
                .into_iter()
                .filter(|job| job.status == Status::Completed)
                .collect();
            run.status = Status::Queued;
            adopted.push((run, Arc::new(input), kept));
        }
        if !adopted.is_empty() {
            self.inner.send(Message::Adopt(adopted)).await;
        }
        for (id, event) in self.inner.store.pending_events().await? {
            self.inner.process_later(id, event);
        }
        Ok(())
    }

    /// Stops: no new job starts, running jobs are ended and will run again after the next [`Engine::open`].
    pub async fn shutdown(&self) {
        self.inner.shutdown.cancel();
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
        crate::container::sweep(&self.inner.services.config.dir, true);
    }

    /// Which workflows an event would start, and why the others do not.
    pub async fn plan(&self, event: &Event) -> Result<Vec<Planned>, Error> {
        let plan = plan::plan(&*self.inner.services.host, &self.inner.sources, event).await?;
        Ok(plan.map(|plan| plan.workflows).unwrap_or_default())
    }

    /// Takes an event and starts its runs; when this returns they are on disk. An event of the same delivery gives the same runs.
    pub async fn handle(&self, event: Event) -> Result<Vec<i64>, Error> {
        self.inner.handle(event, None, None).await
    }

    /// As [`Engine::handle`], but only for these workflow files; what follows from them through `workflow_run` follows.
    pub async fn handle_only(&self, event: Event, paths: &[String]) -> Result<Vec<i64>, Error> {
        self.inner.handle(event, Some(paths), None).await
    }

    /// Starts one workflow, whatever its filters say. `inputs` are those of `workflow_dispatch`.
    pub async fn run_workflow(&self, event: Event, path: &str, inputs: Json) -> Result<i64, Error> {
        let ids = self.inner.handle(event, Some(&[path.to_owned()]), Some(inputs)).await?;
        ids.first().copied().ok_or(Error::Stopped)
    }

    /// As [`Engine::run_workflow`], with more to say about how.
    ///
    /// # Errors
    /// When the workflow is not there, has errors, has no such job or does not take these inputs.
    pub async fn run_workflow_with(
        &self,
        event: Event,
        path: &str,
        inputs: Json,
        options: RunOptions,
    ) -> Result<i64, Error> {
        let ids = self.inner.take(event, Some(&[path.to_owned()]), Some(inputs), None, &options).await?;
        ids.first().copied().ok_or(Error::Stopped)
    }

    /// What the command line asks, for a socket that only its owner can reach: nothing in it is authenticated.
    pub fn control_router(&self) -> axum::Router {
        control::router(self.clone())
    }

    /// Lets a job go on that stopped at a failed step.
    pub fn resume(&self, job: i64) {
        self.inner.services.breaks.resume(job);
    }

    /// The breakpoints.
    pub fn breaks(&self) -> &crate::job::breaks::Breaks {
        &self.inner.services.breaks
    }

    /// The REST paths of GitHub Actions below `/repos/OWNER/REPO/actions`; authentication is the caller's business.
    pub fn router(&self) -> axum::Router {
        crate::rest::router(self.clone())
    }

    /// The services that actions talk to while a job runs (see [`crate::services`]), to be served at the root of the address that
    /// [`Config::services_url`] names. They authenticate by the job's own token.
    pub fn services(&self) -> axum::Router {
        crate::services::router(self.inner.services.clone())
    }

    /// Runs, newest first, of a repository or of all.
    pub async fn runs(&self, repository: Option<&str>, limit: usize) -> Result<Vec<Run>, Error> {
        let mut runs = self.inner.store.runs(repository.map(str::to_owned), limit).await?;
        let views = self.inner.views.read().unwrap_or_else(PoisonError::into_inner);
        for run in &mut runs {
            if let Some(view) = views.get(&run.id) {
                run.clone_from(&view.run);
            }
        }
        Ok(runs)
    }

    /// A run.
    pub async fn run(&self, id: i64) -> Result<Run, Error> {
        if let Some(view) = self.inner.views.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(view.run.clone());
        }
        self.inner.store.run(id).await?.ok_or(Error::NoRun(id))
    }

    /// The jobs of the latest attempt of a run.
    pub async fn jobs(&self, run: i64) -> Result<Vec<Job>, Error> {
        if let Some(view) = self.inner.views.read().unwrap_or_else(PoisonError::into_inner).get(&run) {
            return Ok(view.jobs.values().cloned().collect());
        }
        let record = self.inner.store.run(run).await?.ok_or(Error::NoRun(run))?;
        self.inner.store.jobs(run, record.attempt).await
    }

    /// The jobs of an attempt of a run.
    pub async fn jobs_of_attempt(&self, run: i64, attempt: i64) -> Result<Vec<Job>, Error> {
        if self.run(run).await?.attempt == attempt {
            self.jobs(run).await
        } else {
            self.inner.store.jobs(run, attempt).await
        }
    }

    /// A job.
    pub async fn job(&self, id: i64) -> Result<Job, Error> {
        {
            let views = self.inner.views.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(job) = views.values().find_map(|view| view.jobs.get(&id)) {
                return Ok(job.clone());
            }
        }
        self.inner.store.job(id).await?.ok_or(Error::NoJob(id))
    }

    /// The file that holds a job's log; it may not exist yet.
    pub fn log_path(&self, job: &Job) -> PathBuf {
        self.inner.services.config.log_path(job.run, job.kept_from.unwrap_or(job.id))
    }

    /// A job's log from its start, followed to its end.
    pub async fn follow(&self, job: i64) -> Result<Follower, Error> {
        let record = self.job(job).await?;
        let live = self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned();
        Ok(Follower::new(self.log_path(&record), live))
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<RunEvent> {
        self.inner.events.subscribe()
    }

    /// Waits until these runs, and all that follow from them through `workflow_run`, are over; gives them in order.
    pub async fn settled(&self, ids: &[i64]) -> Result<Vec<Run>, Error> {
        let mut changed = self.inner.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let (runs, waits) = self.inner.store.chain(ids.to_vec()).await?;
            if !waits && runs.iter().all(|run| run.status == Status::Completed) {
                return Ok(runs);
            }
            tokio::select! {
                result = changed.changed() => result.map_err(|_| Error::Stopped)?,
                () = self.inner.shutdown.cancelled() => return Err(Error::Stopped),
            }
        }
    }

    /// Asks a run to end. With `force` nothing more of it runs, not even `always()` steps.
    pub async fn cancel(&self, run: i64, force: bool) -> Result<(), Error> {
        if self.run(run).await?.status == Status::Completed {
            return Err(Error::NotRunning(run));
        }
        self.inner.send(Message::Cancel { run, force }).await;
        Ok(())
    }

    /// Decides about a protected environment that a run waits for.
    pub async fn review(&self, run: i64, environment: &str, who: &str, approved: bool) -> Result<(), Error> {
        self.run(run).await?;
        self.inner.store.decide(run, environment.to_owned(), who.to_owned(), approved).await?;
        self.inner.decisions.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Deletes a run that is over, with its logs.
    pub async fn delete(&self, id: i64) -> Result<(), Error> {
        if self.run(id).await?.status != Status::Completed {
            return Err(Error::StillRunning(id));
        }
        self.inner.store.delete_run(id).await?;
        crate::job::workspace::remove_all(&self.inner.services.config.dir.join("logs").join(id.to_string()));
        Ok(())
    }

    /// The artifacts of runs.
    pub fn artifacts(&self) -> &crate::builtin::artifact::ArtifactStore {
        &self.inner.services.artifacts
    }

    /// The caches of repositories.
    pub fn caches(&self) -> &crate::builtin::cache::CacheStore {
        &self.inner.services.cache
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

/// Reports the states of jobs to the host, one after the other.
async fn reporter(inner: Arc<Inner>, mut queue: mpsc::Receiver<CheckRun>) {
    loop {
        let check = tokio::select! {
            () = inner.shutdown.cancelled() => return,
            check = queue.recv() => check,
        };
        let Some(check) = check else { return };
        if let Err(error) = inner.services.host.check_run(&check).await {
            tracing::warn!(run = check.run, job = %check.name, error = &error as &dyn std::error::Error, "cannot report a job to the forge");
        }
    }
}

/// The head commit of a run, for payloads.
async fn source_head(inner: &Inner, run: &Run) -> Json {
    match inner.services.host.repository(&run.repository).await {
        Ok(Some(info)) => inner.sources.head(&info, &run.head_sha).await,
        _ => serde_json::json!({"id": run.head_sha}),
    }
}

impl Inner {
    pub(crate) async fn workflow_files(
        &self,
        repository: &str,
        reference: Option<&str>,
    ) -> Result<(crate::host::RepositoryInfo, String, Arc<Vec<source::WorkflowFile>>), Error> {
        let info = self
            .services
            .host
            .repository(repository)
            .await?
            .ok_or_else(|| Error::NoRepository(repository.to_owned()))?;
        let mut subject =
            crate::event::Subject { git_ref: reference.unwrap_or_default().to_owned(), ..Default::default() };
        source::resolve(&info, &mut subject).await?;
        let files = self.sources.of(&info, &subject.sha).await?;
        Ok((info, subject.sha, files))
    }

    async fn send(&self, message: Message) {
        if self.sender.send(message).await.is_err() {
            tracing::debug!("the dispatcher has stopped");
        }
    }

    fn next_job(&self) -> i64 {
        self.jobs.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn tell(&self, event: RunEvent) {
        // Nobody may be watching.
        let _ = self.events.send(event);
    }

    fn publish<'a>(&self, run: &Run, jobs: impl Iterator<Item = &'a Job>) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        let view = views.entry(run.id).or_insert_with(|| View { run: run.clone(), jobs: BTreeMap::new() });
        view.run.clone_from(run);
        for job in jobs {
            let slot = view.jobs.entry(job.id).or_insert_with(|| job.clone());
            let steps = std::mem::take(&mut slot.steps);
            slot.clone_from(job);
            if job.status != Status::Completed {
                slot.steps = steps;
            }
        }
    }

    fn unpublish(&self, run: i64) {
        self.views.write().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    fn update(&self, run: i64, job: i64, update: Update) {
        match update {
            Update::Log(size) => self.tell(RunEvent::Log { run, job, size }),
            Update::Step(step) => {
                if let Some(job) = self
                    .views
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_mut(&run)
                    .and_then(|view| view.jobs.get_mut(&job))
                {
                    match job.steps.iter_mut().find(|known| known.number == step.number) {
                        Some(known) => known.clone_from(&step),
                        None => job.steps.push(step.clone()),
                    }
                }
                self.tell(RunEvent::Step { run, job, step });
            }
        }
    }

    fn report(&self, run: &Run, job: &Job) {
        let summary = (job.conclusion.is_some_and(|c| c.result() == "failure")).then(|| {
            let step = job
                .steps
                .iter()
                .find(|step| step.conclusion == Some(Conclusion::Failure))
                .map(|step| format!("step \"{}\" failed: ", step.name))
                .unwrap_or_default();
            let message =
                job.annotations.iter().find(|a| a.level == "failure").map(|a| a.message.clone()).unwrap_or_default();
            format!("{step}{message}")
        });
        let check = CheckRun {
            repository: run.repository.clone(),
            sha: run.head_sha.clone(),
            run: run.id,
            job: job.id,
            name: job.name.clone(),
            workflow: run.workflow.clone(),
            status: job.status,
            conclusion: job.conclusion,
            started_ms: job.started_ms,
            completed_ms: job.completed_ms,
            summary,
        };
        if self.reports.try_send(check).is_err() {
            tracing::warn!(run = run.id, job = %job.name, "the forge does not keep up with reports; one was dropped");
        }
    }

    async fn handle(
        self: &Arc<Self>,
        event: Event,
        only: Option<&[String]>,
        inputs: Option<Json>,
    ) -> Result<Vec<i64>, Error> {
        let ids = self.take(event, only, inputs, None, &RunOptions::default()).await;
        self.handled.send_modify(|count| *count += 1);
        ids
    }
}
