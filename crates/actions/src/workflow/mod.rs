//! The model of a workflow file: what GitHub's schema allows, each part at its place in the file.
//!
//! [`read`] turns text into a [`Workflow`] and diagnostics. An unknown key, a wrong type, a context that may not be used at a
//! place, a cycle of `needs` is an error with line and column; nothing is dropped. Parts that may hold expressions stay a
//! [`Tree`] until a run evaluates them. Nothing here does IO.

mod contexts;
mod events;
mod job;
mod permissions;
mod read;
mod schema;
mod steps;
mod tree;
mod trigger;

use indexmap::IndexMap;

pub use contexts::Place;
pub use events::{EventKind, event_kind};
pub(crate) use job::QUEUE_WITH_CANCEL;
pub use job::{CallJob, CallSecrets, Job, JobKind, StepsJob};
pub use permissions::{Access, Permissions, SCOPES};
pub use read::read;
pub(crate) use steps::read_steps;
pub use steps::{Step, StepKind};
pub use tree::{EvaluationError, Tree, TreeKind};
pub use trigger::{CallTrigger, Filter, Input, InputKind, Schedule, Trigger};

use crate::expr::Template;
pub use crate::yaml::Position;

/// A workflow file that has no errors.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// The path in the repository, such as `.github/workflows/ci.yaml`.
    pub path: String,
    /// `name`, or the path.
    pub name: String,
    /// `run-name`.
    pub run_name: Option<Template>,
    /// What starts it, in order of writing.
    pub on: Vec<Trigger>,
    /// `env`.
    pub env: Option<Tree>,
    /// `defaults.run`.
    pub defaults: Option<Tree>,
    /// `permissions`.
    pub permissions: Option<Permissions>,
    /// `concurrency`.
    pub concurrency: Option<Tree>,
    /// The jobs in order of writing.
    pub jobs: IndexMap<String, Job>,
}

impl Workflow {
    /// The trigger for an event, if it has one.
    pub fn trigger(&self, event: &str) -> Option<&Trigger> {
        self.on.iter().find(|trigger| trigger.event == event)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The workflow cannot run.
    Error,
    /// The workflow runs, but probably not as meant.
    Warning,
}

/// A finding in a workflow file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// Where.
    #[serde(flatten)]
    pub at: Position,
    /// How bad.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// How to put it right, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "(Line: {}, Col: {}): {}", self.at.line, self.at.column, self.message)
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Diagnostic>);

impl Findings {
    pub(crate) fn error(&mut self, at: Position, message: impl Into<String>) {
        self.0.push(Diagnostic { at, severity: Severity::Error, message: message.into(), hint: None });
    }

    pub(crate) fn error_with_hint(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Diagnostic { at, severity: Severity::Error, message: message.into(), hint: Some(hint.into()) });
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }
}

#[cfg(test)]
mod tests;
