//! What a job needs to know before it starts: all of it decided by the scheduler.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::expr::{Contexts, Value};
use crate::host::Host;
use crate::model::{Annotation, Conclusion, Input, Job, Run, Step};
use crate::workflow::{Permissions, StepsJob, Tree, Workflow};

/// Where the engine keeps things and what machine it runs on.
#[derive(Debug, Clone)]
pub struct Config {
    /// The engine's own directory: database, logs, caches, artifacts, work spaces.
    pub dir: PathBuf,
    /// How many jobs may run at once.
    pub max_parallel: usize,
    /// The environment of the user on whose behalf jobs run: `PATH`, locale, proxies are taken from it, the rest is not.
    pub environment: BTreeMap<String, String>,
    /// That user's home, whose toolchains and download caches jobs share.
    pub home: PathBuf,
    /// Labels that `runs-on` may ask for, besides GitHub's names for Linux.
    pub labels: Vec<String>,
    /// Whether work spaces are kept after a job, for looking into them.
    pub keep_workspaces: bool,
    /// Whether actions may be fetched from `github.com` when neither forge nor cache has them.
    pub online: bool,
    /// Records the steps of runs, or plays them back.
    pub tape: Option<Arc<super::tape::Tape>>,
    /// Whether runs that were cut off go on at the next start; otherwise they are cancelled then.
    pub resume: bool,
    /// The smallest id of a run that this engine makes, for engines that share a list.
    pub first_run: i64,
    /// Where [`crate::Engine::services`] is served, for JavaScript actions.
    pub services_url: Option<String>,
}

impl Config {
    /// A configuration for this directory, with two jobs at once and nothing of the user's environment but `PATH`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_parallel: 2,
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
            home: PathBuf::from("/"),
            labels: Vec::new(),
            keep_workspaces: false,
            online: false,
            tape: None,
            resume: true,
            first_run: 1,
            services_url: None,
        }
    }

    /// Whether a machine with these labels is this one.
    pub fn runs_on(&self, label: &str) -> bool {
        let label = label.to_ascii_lowercase();
        let arch = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
        let ubuntu = label.strip_prefix("ubuntu-").is_some_and(|rest| !rest.contains("arm") || arch == "arm64");
        ubuntu
            || ["self-hosted", "linux", arch].contains(&label.as_str())
            || self.labels.iter().any(|own| own.eq_ignore_ascii_case(&label))
    }

    /// Where the log of a job lies.
    pub fn log_path(&self, run: i64, job: i64) -> PathBuf {
        self.dir.join("logs").join(run.to_string()).join(format!("{job}.log"))
    }
}

/// Where the `secrets` context of a job comes from.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// Nothing but the token: a fork, or a called workflow that was given none.
    None,
    /// The forge.
    Forge,
    /// The caller named them.
    Given {
        /// The mapping in the caller's file.
        tree: Tree,
        /// The caller's contexts, without secrets.
        contexts: Contexts,
        /// The caller's own.
        from: Arc<Secrets>,
    },
}

/// A job that is ready to run.
#[derive(Clone)]
pub struct JobSpec {
    /// The run.
    pub run: Run,
    /// The job's record.
    pub job: Job,
    /// The workflow file the job stands in.
    pub workflow: Arc<Workflow>,
    /// The job's key in that file.
    pub id: String,
    /// What started the run.
    pub input: Arc<Input>,
    /// The `matrix` context.
    pub matrix: Value,
    /// The `strategy` context.
    pub strategy: Value,
    /// The `needs` context.
    pub needs: Value,
    /// The `inputs` context.
    pub inputs: Value,
    /// Where secrets come from.
    pub secrets: Arc<Secrets>,
    /// What the token may do.
    pub permissions: Permissions,
    /// The step to go on from, with the state of an earlier attempt.
    pub from: Option<super::checkpoint::From>,
}

impl JobSpec {
    /// The job's definition.
    pub fn definition(&self) -> &StepsJob {
        match &self.workflow.jobs[&self.id].kind {
            crate::workflow::JobKind::Steps(job) => job,
            crate::workflow::JobKind::Call(_) => unreachable!("calls are expanded by the scheduler"),
        }
    }
}

/// What comes of a job.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub conclusion: Conclusion,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What steps announced.
    pub annotations: Vec<Annotation>,
    /// What steps wrote to their summaries.
    pub summary: String,
    /// `environment.url`.
    pub environment_url: Option<String>,
    /// Whether `continue-on-error` held.
    pub failure_allowed: bool,
}

/// Told while a job runs.
#[derive(Debug, Clone)]
pub enum Update {
    /// A step started or ended.
    Step(Step),
    /// The log grew to this many bytes.
    Log(u64),
}

/// Everything jobs share.
pub struct Services {
    /// Where things are.
    pub config: Config,
    /// The forge.
    pub host: Arc<dyn Host>,
    /// Work space slots in use.
    pub slots: super::workspace::Slots,
    /// Looks up actions.
    pub actions: super::resolve::Resolver,
    /// Cache entries.
    pub cache: crate::builtin::cache::CacheStore,
    /// Where runs stop for someone to look.
    pub breaks: super::breaks::Breaks,
    /// Artifacts.
    pub artifacts: crate::builtin::artifact::ArtifactStore,
    /// What JavaScript and Docker actions need to reach caches and artifacts over GitHub's protocols.
    pub protocols: crate::services::Protocols,
}
