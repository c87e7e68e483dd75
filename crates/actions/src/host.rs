//! What the engine asks of the forge it runs for. The binary implements [`Host`] over its forge; [`crate::local`] over a plain
//! working copy; tests over maps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value as Json;

use crate::model::{Conclusion, Status};
use crate::workflow::Permissions;

/// The answer of a [`Host`].
pub type HostResult<'a, T> = BoxFuture<'a, Result<T, HostError>>;

/// Why the host could not answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// What was asked and what went wrong.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HostError {
    /// An error without a further cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// An error with its cause.
    pub fn with(message: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { message: message.into(), source: Some(source.into()) }
    }
}

/// A repository of the forge.
#[derive(Debug, Clone)]
pub struct RepositoryInfo {
    /// `owner/name`.
    pub full_name: String,
    /// The git directory (bare, or a working copy's `.git`), readable by jobs on this machine.
    pub dir: PathBuf,
    /// The name of the default branch.
    pub default_branch: String,
    /// The repository in GitHub's payload shape, as events carry it.
    pub payload: Json,
}

/// A deployment environment.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentInfo {
    /// Logins of whom one must approve; empty for none.
    pub reviewers: Vec<String>,
    /// How long to wait before a job may use it.
    pub wait: Duration,
    /// Patterns of branch and tag names that may deploy to it; none for all.
    pub branches: Option<Vec<String>>,
}

/// The token a job asks for.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// `owner/name`.
    pub repository: String,
    /// What it may do.
    pub permissions: Permissions,
    /// The run it belongs to.
    pub run: i64,
    /// The job it belongs to.
    pub job: i64,
    /// How long it is good for at most; the engine revokes it when the job ends.
    pub lifetime: Duration,
}

/// The job that an environment is prepared for.
#[derive(Debug, Clone)]
pub struct JobInfo {
    /// `owner/name`.
    pub repository: String,
    /// The run.
    pub run: i64,
    /// The job.
    pub job: i64,
    /// The name of the workflow.
    pub workflow: String,
    /// The name of the job.
    pub name: String,
    /// The commit.
    pub sha: String,
    /// The job's token.
    pub token: String,
    /// The job's home directory.
    pub home: PathBuf,
}

/// What the host adds to a job's environment.
#[derive(Debug, Clone, Default)]
pub struct JobEnvironment {
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Directories put in front of `PATH`, first one first.
    pub path: Vec<PathBuf>,
    /// Production URL prefix -> the prefix that answers here: `https://github.com/` -> `http://127.0.0.1:4000/`. Given to git as
    /// `url.<here>.insteadOf`.
    pub git_rewrites: Vec<(String, String)>,
}

/// The state of a job, for commit statuses and check runs.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "fields of GitHub's check run object")]
pub struct CheckRun {
    pub repository: String,
    pub sha: String,
    pub run: i64,
    pub job: i64,
    pub name: String,
    pub workflow: String,
    pub status: Status,
    pub conclusion: Option<Conclusion>,
    pub started_ms: Option<i64>,
    pub completed_ms: Option<i64>,
    /// The step that failed and the error it gave.
    pub summary: Option<String>,
}

/// What a request to the REST API needs of whoever sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// To look: everybody may where the repository is public.
    Read,
    /// To look, and to be known: GitHub gives logs and artifacts to nobody else.
    SignedIn,
    /// To change: the permission `actions: write`.
    Write,
}

/// The host's answer to whoever sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed {
        /// Who it is; empty for nobody in particular.
        login: String,
        /// Whether it administers the repository, and so may pass over its rules.
        admin: bool,
    },
    /// Nobody is named, or the token is not valid.
    Unauthenticated,
    /// It may look but not do this.
    Forbidden,
    /// For whoever this is there is no such repository.
    Hidden,
}

/// The forge, as the engine sees it.
pub trait Host: Send + Sync + 'static {
    /// `https://github.com`: `github.server_url`, a production name.
    fn server_url(&self) -> String {
        "https://github.com".to_owned()
    }

    /// `github.api_url`: where the REST API answers for jobs.
    fn api_url(&self) -> String {
        "https://api.github.com".to_owned()
    }

    /// A repository; none when the forge has none of that name.
    fn repository<'a>(&'a self, repository: &'a str) -> HostResult<'a, Option<RepositoryInfo>>;

    /// Secrets of a repository, and of an environment over them.
    fn secrets<'a>(
        &'a self,
        repository: &'a str,
        environment: Option<&'a str>,
    ) -> HostResult<'a, BTreeMap<String, String>>;

    /// Variables (`vars`) of a repository, and of an environment over them.
    fn variables<'a>(
        &'a self,
        repository: &'a str,
        environment: Option<&'a str>,
    ) -> HostResult<'a, BTreeMap<String, String>>;

    /// A deployment environment; GitHub creates one that a workflow names and that does not exist.
    fn environment<'a>(&'a self, repository: &'a str, name: &'a str) -> HostResult<'a, EnvironmentInfo> {
        let _ = (repository, name);
        Box::pin(async { Ok(EnvironmentInfo::default()) })
    }

    /// Makes the token of a job.
    fn mint_token<'a>(&'a self, request: &'a TokenRequest) -> HostResult<'a, String>;

    /// Ends a token.
    fn revoke_token<'a>(&'a self, token: &'a str) -> HostResult<'a, ()>;

    /// What the host adds to a job's environment.
    fn job_environment<'a>(&'a self, job: &'a JobInfo) -> HostResult<'a, JobEnvironment>;

    /// Whether a request with these headers may do what it asks of the REST API. Nobody may unless the host says so.
    fn authorize<'a>(
        &'a self,
        headers: &'a http::HeaderMap,
        repository: &'a str,
        need: Need,
    ) -> HostResult<'a, Verdict> {
        let _ = (headers, repository, need);
        Box::pin(async { Ok(Verdict::Unauthenticated) })
    }

    /// Reports a job's state on its commit.
    fn check_run<'a>(&'a self, check: &'a CheckRun) -> HostResult<'a, ()> {
        let _ = check;
        Box::pin(async { Ok(()) })
    }
}
