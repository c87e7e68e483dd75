//! Runs, jobs and steps as they are stored and shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The life of a run, job or step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Ready, but nothing executes it yet.
    Queued,
    /// Held back by a concurrency group.
    Pending,
    /// Held back by an environment's protection.
    Waiting,
    /// Executing.
    InProgress,
    /// Over.
    Completed,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// All went well.
    Success,
    /// A step failed.
    Failure,
    /// Someone or something stopped it.
    Cancelled,
    /// Its condition did not hold.
    Skipped,
    /// It took too long.
    TimedOut,
    /// The workflow file cannot run.
    StartupFailure,
}

impl Conclusion {
    /// The word of the `needs`, `steps` and `job` contexts: `success`, `failure`, `cancelled` or `skipped`.
    pub fn result(self) -> &'static str {
        match self {
            Conclusion::Success => "success",
            Conclusion::Failure | Conclusion::TimedOut | Conclusion::StartupFailure => "failure",
            Conclusion::Cancelled => "cancelled",
            Conclusion::Skipped => "skipped",
        }
    }

    /// The word of the REST API.
    pub fn word(self) -> &'static str {
        match self {
            Conclusion::TimedOut => "timed_out",
            Conclusion::StartupFailure => "startup_failure",
            other => other.result(),
        }
    }
}

impl Status {
    /// The word of the REST API.
    pub fn word(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Pending => "pending",
            Status::Waiting => "waiting",
            Status::InProgress => "in_progress",
            Status::Completed => "completed",
        }
    }
}

/// A run of a workflow: one attempt of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields of GitHub's workflow run object")]
pub struct Run {
    pub id: i64,
    pub repository: String,
    pub workflow: String,
    pub path: String,
    pub title: String,
    pub event: String,
    /// `refs/heads/main`.
    #[serde(rename = "ref")]
    pub git_ref: String,
    pub head_branch: String,
    pub head_sha: String,
    pub actor: String,
    /// Who asked for this attempt, where that is not the actor.
    #[serde(default)]
    pub triggering_actor: Option<String>,
    pub number: i64,
    pub attempt: i64,
    pub status: Status,
    pub conclusion: Option<Conclusion>,
    pub created_ms: i64,
    pub started_ms: Option<i64>,
    pub completed_ms: Option<i64>,
    /// How many `workflow_run` events led here.
    pub depth: u32,
    /// The run whose completion started this one.
    pub parent: Option<i64>,
    /// The commit at the beginning of the chain of `workflow_run` events.
    #[serde(default)]
    pub root_sha: String,
    /// Why it never started, or a note such as an invalid workflow file.
    pub message: Option<String>,
}

impl Run {
    /// Who asked for this attempt: who runs a run again, else who started it.
    pub fn triggered_by(&self) -> &str {
        self.triggering_actor.as_deref().unwrap_or(&self.actor)
    }
}

/// A job of a run: one combination of a matrix.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields of GitHub's job object")]
pub struct Job {
    pub id: i64,
    pub run: i64,
    pub attempt: i64,
    /// What identifies it within the run, the same in every attempt: `test[0]`, `call/test[1]`.
    pub key: String,
    pub name: String,
    pub status: Status,
    pub conclusion: Option<Conclusion>,
    pub created_ms: i64,
    pub started_ms: Option<i64>,
    pub completed_ms: Option<i64>,
    pub labels: Vec<String>,
    pub environment: Option<String>,
    /// `environment.url`, once the job is over.
    #[serde(default)]
    pub environment_url: Option<String>,
    pub steps: Vec<Step>,
    pub outputs: BTreeMap<String, String>,
    pub annotations: Vec<Annotation>,
    /// Markdown that steps wrote to `GITHUB_STEP_SUMMARY`.
    #[serde(default)]
    pub summary: String,
    /// `continue-on-error` held when it failed.
    #[serde(default)]
    pub failure_allowed: bool,
    /// The attempt that really executed it, when a rerun kept its result.
    #[serde(default)]
    pub kept_from: Option<i64>,
}

/// A step of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields of GitHub's step object")]
pub struct Step {
    pub number: usize,
    pub id: String,
    pub name: String,
    pub status: Status,
    /// After `continue-on-error`.
    pub conclusion: Option<Conclusion>,
    /// Before `continue-on-error`.
    pub outcome: Option<Conclusion>,
    pub started_ms: Option<i64>,
    pub completed_ms: Option<i64>,
    /// Where its log begins and ends in the job's log, in bytes.
    pub log: (u64, u64),
}

/// An error, warning or notice that a step announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields of GitHub's annotation object")]
pub struct Annotation {
    pub level: String,
    pub message: String,
    pub title: Option<String>,
    pub file: Option<String>,
    pub line: Option<u64>,
    pub end_line: Option<u64>,
    pub column: Option<u64>,
    pub end_column: Option<u64>,
}

/// What happened, for who watches. Events may be lost by a slow watcher, who then reads the run anew.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunEvent {
    /// A run came to be.
    RunQueued {
        /// The run.
        run: Run,
    },
    /// The first job of a run started.
    RunStarted {
        /// The run.
        run: Run,
    },
    /// A run is over.
    RunCompleted {
        /// The run.
        run: Run,
    },
    /// A job waits for its turn.
    JobQueued {
        /// The run.
        run: Run,
        /// The job.
        job: Job,
    },
    /// A job waits for what protects its environment.
    JobWaiting {
        /// The run.
        run: Run,
        /// The job.
        job: Job,
    },
    /// A job started.
    JobStarted {
        /// The run.
        run: Run,
        /// The job.
        job: Job,
    },
    /// A step of a job started or ended.
    Step {
        /// The run's id.
        run: i64,
        /// The job's id.
        job: i64,
        /// The step.
        step: Step,
    },
    /// A job's log grew.
    Log {
        /// The run's id.
        run: i64,
        /// The job's id.
        job: i64,
        /// Bytes in the log now.
        size: u64,
    },
    /// A job is over.
    JobCompleted {
        /// The run.
        run: Run,
        /// The job.
        job: Job,
    },
}

/// What started a run, stored with it so that it can go on after a crash or be run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    /// The event's payload.
    pub payload: Json,
    /// The workflow file.
    pub source: String,
    /// The files of reusable workflows, by `uses`, as they were resolved.
    #[serde(default)]
    pub called: BTreeMap<String, String>,
    /// What the run is about.
    pub subject: crate::event::Subject,
    /// The repository's variables.
    pub vars: BTreeMap<String, String>,
    /// The `inputs` context.
    #[serde(default)]
    pub inputs: Json,
    /// The repository in GitHub's payload shape.
    pub repository: Json,
    /// The default branch.
    pub default_branch: String,
    /// Which of the jobs run.
    #[serde(default)]
    pub selection: Selection,
    /// The `github` context of a recorded run that is played back.
    #[serde(default)]
    pub github: Option<Json>,
    /// The job, by key, that goes on from a step of an earlier attempt.
    #[serde(skip)]
    pub from: Option<(String, crate::job::checkpoint::From)>,
}

/// Which jobs of a workflow run, when not all of them do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only this job, and those that it needs.
    #[serde(default)]
    pub job: Option<String>,
    /// Only combinations of matrices in which these keys, where they exist, have these values.
    #[serde(default)]
    pub matrix: Vec<(String, String)>,
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A time as GitHub's API writes it.
pub fn iso(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}
