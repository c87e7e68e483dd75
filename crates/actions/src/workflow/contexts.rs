//! Which contexts and functions may be named where: GitHub's "context availability" table.

use std::sync::LazyLock;

use crate::expr::Allowed;

/// A place of a workflow or action file with its own set of contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each names its place in the file")]
pub enum Place {
    None,
    RunName,
    Concurrency,
    WorkflowEnv,
    CallInputDefault,
    CallOutput,
    JobIf,
    Strategy,
    Job,
    JobEnv,
    JobSecrets,
    JobDefaults,
    JobOutputs,
    EnvironmentUrl,
    Credentials,
    ContainerEnv,
    StepIf,
    Step,
    CompositeStepIf,
    CompositeStep,
    ActionOutput,
    ActionInputDefault,
    ActionRunsIf,
    ActionDocker,
}

type Functions = &'static [(&'static str, usize, usize)];

const NEEDS: &[&str] = &["github", "inputs", "vars", "needs"];
const MATRIX: &[&str] = &["github", "inputs", "vars", "needs", "strategy", "matrix"];
const RUNNER: &[&str] =
    &["github", "inputs", "vars", "needs", "strategy", "matrix", "secrets", "steps", "job", "runner", "env"];
const RUNNER_NO_SECRETS: &[&str] =
    &["github", "inputs", "vars", "needs", "strategy", "matrix", "steps", "job", "runner", "env"];
const COMPOSITE: &[&str] = &["github", "inputs", "strategy", "matrix", "steps", "job", "runner", "env", "vars"];
const HASH: Functions = &[("hashFiles", 1, 255)];
const JOB_STATUS: Functions =
    &[("always", 0, 0), ("failure", 0, usize::MAX), ("cancelled", 0, 0), ("success", 0, usize::MAX)];
const STEP_STATUS: Functions =
    &[("always", 0, 0), ("failure", 0, 0), ("cancelled", 0, 0), ("success", 0, 0), ("hashFiles", 1, 255)];

impl Place {
    fn table(self) -> (&'static [&'static str], Functions) {
        match self {
            Place::None => (&[], &[]),
            Place::RunName | Place::Concurrency | Place::CallInputDefault => (&["github", "inputs", "vars"], &[]),
            Place::WorkflowEnv => (&["github", "inputs", "vars", "secrets"], &[]),
            Place::CallOutput => (&["github", "inputs", "vars", "jobs"], &[]),
            Place::JobIf => (NEEDS, JOB_STATUS),
            Place::Strategy => (NEEDS, &[]),
            Place::Job => (MATRIX, &[]),
            Place::JobEnv | Place::JobSecrets => {
                (&["github", "inputs", "vars", "needs", "strategy", "matrix", "secrets"], &[])
            }
            Place::JobDefaults => (&["github", "inputs", "vars", "strategy", "matrix", "needs", "env"], &[]),
            Place::JobOutputs | Place::ContainerEnv => (RUNNER, &[]),
            Place::EnvironmentUrl => (RUNNER_NO_SECRETS, &[]),
            Place::Credentials => (&["github", "inputs", "vars", "secrets", "env", "needs", "strategy", "matrix"], &[]),
            Place::StepIf => (RUNNER_NO_SECRETS, STEP_STATUS),
            Place::Step => (RUNNER, HASH),
            Place::CompositeStepIf => (COMPOSITE, STEP_STATUS),
            Place::CompositeStep | Place::ActionOutput => (COMPOSITE, HASH),
            Place::ActionInputDefault => (&["github", "strategy", "matrix", "job", "runner"], HASH),
            Place::ActionRunsIf => {
                (&["github", "inputs", "strategy", "matrix", "steps", "job", "runner", "env"], STEP_STATUS)
            }
            Place::ActionDocker => (&["inputs"], &[]),
        }
    }

    /// Whether expressions may not stand here at all.
    pub fn allows_nothing(self) -> bool {
        self == Place::None
    }

    /// The contexts and functions of this place.
    pub fn allowed(self) -> &'static Allowed {
        static CACHE: LazyLock<std::sync::Mutex<std::collections::HashMap<Place, &'static Allowed>>> =
            LazyLock::new(Default::default);
        let mut cache = CACHE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.entry(self).or_insert_with(|| {
            let (contexts, functions) = self.table();
            // One small value for each place, for the life of the process.
            Box::leak(Box::new(Allowed::new(contexts, functions)))
        })
    }
}
