//! Breakpoints: a run that asked for it stops where a step failed, with everything as the step left it, until someone lets it go on.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use runtime::container::{Container, ExecSpec, Stdio};
use serde::Serialize;
use tokio::sync::watch;

/// A failed step that waits to be looked at.
#[derive(Clone, Serialize)]
pub struct Stop {
    /// The run.
    pub run: i64,
    /// The job.
    pub job: i64,
    /// The job's name.
    pub job_name: String,
    /// The step's name.
    pub step: String,
    /// The errors that the step gave.
    pub errors: Vec<String>,
    /// What ran: the program and its arguments; empty when the step failed before it ran anything.
    pub command: Vec<String>,
    /// The step's whole environment. It holds secrets.
    pub env: Vec<(String, String)>,
    /// The step's directory.
    pub cwd: PathBuf,
    /// Whether the step ran in the job's container.
    pub in_container: bool,
    /// The job's container.
    #[serde(skip)]
    pub(crate) container: Option<Arc<Container>>,
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("job", &self.job).field("step", &self.step).finish_non_exhaustive()
    }
}

impl Stop {
    /// Opens a shell on this process's terminal, in the step's environment, and waits for its end.
    ///
    /// # Errors
    /// When no shell can be started.
    pub async fn shell(&self) -> std::io::Result<()> {
        if let Some(container) = &self.container {
            let exec = ExecSpec {
                args: vec!["sh".to_owned(), "-i".to_owned()],
                env: Some(self.env.clone()),
                cwd: Some(self.cwd.clone()),
                ..ExecSpec::default()
            };
            let process = container.exec(&exec, Stdio::inherit()).await.map_err(std::io::Error::other)?;
            return process.wait().await.map(drop).map_err(std::io::Error::other);
        }
        shell(&self.env, &self.cwd).await
    }
}

/// Opens an interactive shell with an environment, on this process's terminal.
///
/// # Errors
/// When there is neither `bash` nor `sh` on the environment's `PATH`.
pub async fn shell(env: &[(String, String)], cwd: &std::path::Path) -> std::io::Result<()> {
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
    let found = ["bash", "sh"].iter().find_map(|name| super::process::which(name, path));
    let program = found.ok_or_else(|| std::io::Error::other("there is no shell on the step's PATH"))?;
    let mut command = tokio::process::Command::new(&program);
    if program.ends_with("bash") {
        command.args(["--noprofile", "--norc"]);
    }
    command.arg("-i").env_clear().envs(env.iter().map(|(name, value)| (name, value))).current_dir(cwd);
    command.kill_on_drop(true).spawn()?.wait().await.map(drop)
}

/// The breakpoints of an engine.
#[derive(Debug)]
pub struct Breaks {
    runs: Mutex<HashSet<i64>>,
    stops: Mutex<BTreeMap<i64, Arc<Stop>>>,
    changed: watch::Sender<u64>,
}

impl Default for Breaks {
    fn default() -> Self {
        Self { runs: Mutex::default(), stops: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Breaks {
    /// A run stops at failures from now on.
    pub fn arm(&self, run: i64) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
    }

    /// A run no longer stops; what waits goes on.
    pub fn disarm(&self, run: i64) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, stop| stop.run != run);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Whether a run stops at failures.
    pub fn armed(&self, run: i64) -> bool {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).contains(&run)
    }

    /// Lets a job go on.
    pub fn resume(&self, job: i64) {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A stop of a run that a test admits, as soon as there is one.
    pub async fn next(&self, run: i64, admits: impl Fn(&Stop) -> bool) -> Arc<Stop> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let found = {
                let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
                stops.values().find(|stop| stop.run == run && admits(stop)).cloned()
            };
            if let Some(stop) = found {
                return stop;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits at a stop until it is let go.
    pub(crate) async fn wait(&self, stop: Stop) {
        let job = stop.job;
        let mut changed = self.changed.subscribe();
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).insert(job, Arc::new(stop));
        self.changed.send_modify(|count| *count += 1);
        loop {
            changed.borrow_and_update();
            if !self.stops.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&job) {
                return;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// A job is over, however it ended: nobody waits for it any more.
    pub(crate) fn forget(&self, job: i64) {
        if self.stops.lock().unwrap_or_else(PoisonError::into_inner).remove(&job).is_some() {
            self.changed.send_modify(|count| *count += 1);
        }
    }
}
