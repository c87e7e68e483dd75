//! What happens in the rooms, as spans of deliveries.
//!
//! The rooms know nothing of deliveries. A span's commit is data that they have anyway: the head of a run's workflow_run chain,
//! the revision that an Application was synced to, the commit that a job pushed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actions::model::{Conclusion, Job, Run, RunEvent};
use delivery::{Opened, Sink, SpanEvent, SpanState, Stage};
use gitops::health::HealthStatus;
use serde_json::Value;

use super::deliveries::{Deliveries, now_ms};
use crate::workflow_facts;

/// Turns what rooms tell into spans.
pub struct Follower {
    deliveries: Arc<Deliveries>,
    /// What each job does, by workflow path and job id.
    stages: HashMap<(String, String), Stage>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Application to the revision whose rollout is under way.
    rollouts: HashMap<String, String>,
    /// Application to the revision that is waited for at the ingress, and whether it has been asked.
    arrivals: HashMap<String, (String, bool)>,
    /// Applications by sync revision that changed something.
    applications: HashMap<String, ApplicationState>,
    publishing: HashSet<String>,
}

/// The last that was told of an Application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationState {
    /// The commit that it was compared with.
    pub revision: String,
    /// `Synced`, `OutOfSync`, `Unknown`.
    pub sync: String,
    /// Its health.
    pub health: String,
    /// The reason for its health.
    pub message: String,
}

impl ApplicationState {
    /// Whether it is as its source has it, and well.
    pub fn is_settled(&self) -> bool {
        self.sync == "Synced" && self.health == HealthStatus::Healthy.as_str()
    }
}

impl Follower {
    /// A follower of the workflows with these texts, by path. Rollouts that an earlier daemon did not see the end of go on.
    pub fn new(deliveries: Arc<Deliveries>, workflows: &BTreeMap<String, String>) -> Arc<Self> {
        let mut stages = HashMap::new();
        for (path, text) in workflows {
            for (job, stage) in workflow_facts::read(path, text).stages {
                stages.insert((path.clone(), job), stage);
            }
        }
        let mut state = State::default();
        deliveries.read(|ledger| {
            for delivery in ledger.deliveries() {
                let revision = delivery.linked.last().unwrap_or(&delivery.commit);
                let open = delivery.spans.iter().filter(|span| span.state == SpanState::Running);
                for span in open.filter(|span| span.stage == Stage::Rollout) {
                    state.rollouts.insert(span.subject.clone(), revision.clone());
                }
            }
        });
        Arc::new(Self { deliveries, stages, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn span(
        &self,
        commit: &str,
        stage: Stage,
        subject: &str,
        state: SpanState,
        at_ms: i64,
        message: Option<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let event = SpanEvent {
            commit: commit.to_owned(),
            stage,
            subject: subject.to_owned(),
            state,
            at_ms,
            message,
            attributes,
        };
        self.deliveries.emit(event);
    }

    /// A webhook of the forge: a push by a person opens a delivery, a push by a job belongs to the job's.
    pub fn webhook(&self, event: &str, repository: &str, payload: &Value, root_of_run: Option<&str>, at_ms: i64) {
        if event != "push" || payload["deleted"] == true {
            return;
        }
        let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let commit = text("/after");
        if commit.is_empty() || !text("/ref").starts_with("refs/heads/") {
            return;
        }
        let title = text("/head_commit/message").lines().next().unwrap_or_default().to_owned();
        match root_of_run {
            Some(root) => {
                // Also the commits below the tip, each of which another job of the same matrix may have made.
                self.deliveries.linked(commit, root);
                self.span(commit, Stage::Bump, &title, SpanState::Succeeded, at_ms, None, BTreeMap::new());
            }
            None => self.deliveries.opened(Opened {
                repository: repository.to_owned(),
                reference: text("/ref").to_owned(),
                commit: commit.to_owned(),
                title,
                author: text("/pusher/name").to_owned(),
                at_ms,
            }),
        }
    }

    /// An event of the workflow engine.
    pub fn run(&self, event: &RunEvent) {
        match event {
            RunEvent::JobStarted { run, job } => self.job(run, job, SpanState::Running),
            RunEvent::JobCompleted { run, job } => {
                let state = match job.conclusion {
                    Some(Conclusion::Success) => SpanState::Succeeded,
                    Some(Conclusion::Skipped) | None => return,
                    Some(_) if job.failure_allowed => SpanState::Succeeded,
                    Some(_) => SpanState::Failed,
                };
                self.job(run, job, state);
            }
            _ => {}
        }
    }

    fn job(&self, run: &Run, job: &Job, state: SpanState) {
        // `build[0]` and `call/build[0]` are jobs of the id `build`.
        let id = job.key.rsplit('/').next().and_then(|key| key.split('[').next()).unwrap_or_default();
        let stage = self.stages.get(&(run.path.clone(), id.to_owned())).copied().unwrap_or(Stage::Check);
        let subject = format!("{} / {}", run.workflow, job.name);
        let at = if state == SpanState::Running { job.started_ms } else { job.completed_ms };
        let message = (state == SpanState::Failed).then(|| failure(job));
        let attributes = BTreeMap::from([
            ("cicd.pipeline.run.id".to_owned(), run.id.to_string()),
            ("cicd.pipeline.task.run.id".to_owned(), job.id.to_string()),
        ]);
        self.span(&run.root_sha, stage, &subject, state, at.unwrap_or_else(now_ms), message, attributes);
    }

    /// An image arrived in the registry under a tag.
    pub fn published(&self, commit: &str, image: &str, digest: &str) {
        if self.lock().publishing.insert(format!("{image}@{digest}")) {
            let attributes = BTreeMap::from([("oci.manifest.digest".to_owned(), digest.to_owned())]);
            self.span(commit, Stage::Publish, image, SpanState::Succeeded, now_ms(), None, attributes);
        }
    }

    /// An event of `gitops`.
    pub fn application(&self, event: gitops::Event) {
        match event {
            gitops::Event::SyncStarted { application, revision } => {
                self.span(&revision, Stage::Sync, &application, SpanState::Running, now_ms(), None, BTreeMap::new());
            }
            gitops::Event::SyncEnded { application, revision, error } => {
                let state = if error.is_none() { SpanState::Succeeded } else { SpanState::Failed };
                let well = error.is_none();
                self.span(&revision, Stage::Sync, &application, state, now_ms(), error, BTreeMap::new());
                // What is settled at this revision already has nothing to roll out, and no status will tell of its end.
                let is_there = self
                    .lock()
                    .applications
                    .get(&application)
                    .is_some_and(|known| known.is_settled() && known.revision == revision);
                if well && !is_there {
                    let none = BTreeMap::new();
                    self.span(&revision, Stage::Rollout, &application, SpanState::Running, now_ms(), None, none);
                    self.lock().rollouts.insert(application, revision);
                }
            }
            gitops::Event::Status { application, revision, sync, health, message } => {
                self.status(
                    &application,
                    ApplicationState { revision, sync, health: health.as_str().to_owned(), message },
                );
            }
        }
    }

    fn status(&self, application: &str, new: ApplicationState) {
        let ended = {
            let mut state = self.lock();
            state.applications.insert(application.to_owned(), new.clone());
            let failed = new.health == HealthStatus::Degraded.as_str();
            let over = new.is_settled() || failed;
            let revision = over.then(|| state.rollouts.remove(application)).flatten();
            if let Some(revision) = &revision
                && !failed
            {
                state.arrivals.insert(application.to_owned(), (revision.clone(), false));
            }
            revision.map(|revision| (revision, failed))
        };
        let Some((revision, failed)) = ended else { return };
        let (span, message) =
            if failed { (SpanState::Failed, Some(new.message)) } else { (SpanState::Succeeded, None) };
        self.span(&revision, Stage::Rollout, application, span, now_ms(), message, BTreeMap::new());
    }

    /// The Applications whose new version is to be asked for its first answer, with their revisions; each is given once.
    pub fn begin_arrivals(&self) -> Vec<(String, String)> {
        let mut state = self.lock();
        let mut begun = Vec::new();
        for (application, (revision, asked)) in &mut state.arrivals {
            if !std::mem::replace(asked, true) {
                begun.push((application.clone(), revision.clone()));
            }
        }
        begun
    }

    /// What the first request to the new version gave; `None` where there is no host to ask.
    pub fn arrived(&self, application: &str, revision: &str, url: Option<&str>, answer: Option<Result<(), String>>) {
        let attributes = url.map(|url| ("url.full".to_owned(), url.to_owned())).into_iter().collect();
        let (state, message) = match answer {
            Some(Ok(())) => (SpanState::Succeeded, None),
            Some(Err(error)) => (SpanState::Failed, Some(error)),
            None => (SpanState::Succeeded, Some("no Ingress leads to it".to_owned())),
        };
        self.span(revision, Stage::Live, application, state, now_ms(), message, attributes);
        let mut state = self.lock();
        if state.arrivals.get(application).is_some_and(|(known, _)| known == revision) {
            state.arrivals.remove(application);
        }
        drop(state);
        self.deliveries.nudge();
    }

    /// Whether a rollout or first answer of this revision is still to come.
    pub fn expects(&self, revision: &str) -> bool {
        let state = self.lock();
        state.rollouts.values().any(|known| known == revision)
            || state.arrivals.values().any(|(known, _)| known == revision)
    }

    /// The last that was told of every Application.
    pub fn applications(&self) -> HashMap<String, ApplicationState> {
        self.lock().applications.clone()
    }
}

fn failure(job: &Job) -> String {
    let failed = job.steps.iter().find(|step| {
        matches!(step.conclusion, Some(Conclusion::Failure | Conclusion::TimedOut | Conclusion::Cancelled))
    });
    match failed {
        Some(step) => format!("step \"{}\" failed", step.name),
        None => "the job failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use delivery::{DeliveryState, Opened};
    use gitops::Event;

    use super::*;

    #[test]
    fn a_sync_of_what_is_there_rolls_nothing_out() {
        let dir = tempfile::tempdir().unwrap();
        let deliveries = Deliveries::open(&dir.path().join("deliveries.jsonl")).unwrap();
        deliveries.opened(Opened {
            repository: "o/r".to_owned(),
            reference: "refs/heads/main".to_owned(),
            commit: "aa".to_owned(),
            title: String::new(),
            author: String::new(),
            at_ms: 1,
        });
        let follower = Follower::new(Arc::clone(&deliveries), &BTreeMap::new());
        let (application, revision) = ("web".to_owned(), "aa".to_owned());
        let sync = || {
            follower.application(Event::SyncStarted { application: application.clone(), revision: revision.clone() });
            let ended = Event::SyncEnded { application: application.clone(), revision: revision.clone(), error: None };
            follower.application(ended);
        };
        sync();
        assert!(follower.expects("aa"));
        follower.application(Event::Status {
            application: application.clone(),
            revision: revision.clone(),
            sync: "Synced".to_owned(),
            health: HealthStatus::Healthy,
            message: String::new(),
        });
        assert_eq!(follower.begin_arrivals(), [(application.clone(), revision.clone())]);
        follower.arrived(&application, &revision, None, None);
        assert_eq!(deliveries.of("aa").unwrap().state(), DeliveryState::Live);

        // Somebody presses the button again: nothing is to come, and nobody waits for it.
        sync();
        assert!(!follower.expects("aa"));
        assert_eq!(deliveries.of("aa").unwrap().state(), DeliveryState::Live);
    }
}
