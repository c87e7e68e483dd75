//! What can go wrong in the engine, apart from the jobs it runs.

use std::path::PathBuf;

/// Why the engine could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    #[error("cannot {what} the database of runs")]
    Store { what: &'static str, source: rusqlite::Error },
    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the host could not answer")]
    Host(#[from] crate::host::HostError),
    #[error("cannot read the repository {repository}")]
    Git { repository: String, source: git::Error },
    #[error("the forge has no repository {0}")]
    NoRepository(String),
    #[error("{repository} has no commit for {reference}")]
    NoCommit { repository: String, reference: String },
    #[error("{repository} has no workflow {path} at {sha}")]
    NoWorkflow { repository: String, path: String, sha: String },
    #[error("the workflow {path} has errors: {first}")]
    InvalidWorkflow { path: String, first: String, findings: Vec<crate::workflow::Diagnostic> },
    #[error("the workflow {path} cannot be started by {event}")]
    NotTriggered { path: String, event: String },
    #[error("{0}")]
    Inputs(String),
    #[error("there is no run {0}")]
    NoRun(i64),
    #[error("there is no job {0}")]
    NoJob(i64),
    #[error("the run {0} is not over yet")]
    StillRunning(i64),
    #[error("the run {0} is over already")]
    NotRunning(i64),
    #[error("the engine was stopped")]
    Stopped,
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::InvalidWorkflow { path, .. } => Some(format!("bigben workflow check {path}")),
            Error::StillRunning(id) => Some(format!("bigben run cancel {id}")),
            Error::NotTriggered { event, .. } => Some(format!("add '{event}' to its 'on'")),
            _ => None,
        }
    }
}
