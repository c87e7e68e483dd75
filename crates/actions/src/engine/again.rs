//! One job of a run again, with those that need it.

use std::collections::HashSet;

use super::{Engine, Error};
use crate::model::Status;
use crate::workflow;

/// The jobs, by key in the workflow file, that need this one, directly or through others; it is one of them.
fn dependents(workflow: &workflow::Workflow, id: &str) -> HashSet<String> {
    let mut found = HashSet::from([id.to_owned()]);
    loop {
        let more: Vec<String> = workflow
            .jobs
            .iter()
            .filter(|(name, job)| !found.contains(*name) && job.needs.iter().any(|(need, _)| found.contains(need)))
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

impl Engine {
    /// Runs one job of a finished run again, and the jobs that need it; the others keep their results. A job of a called workflow
    /// runs again with all of that workflow. `actor` is who asks for it.
    ///
    /// # Errors
    /// When there is no such job, or its run is not over.
    pub async fn rerun_job(&self, job: i64, actor: Option<&str>) -> Result<(), Error> {
        let job = self.job(job).await?;
        let run = self.run(job.run).await?;
        if run.status != Status::Completed {
            return Err(Error::StillRunning(run.id));
        }
        let input = self.inner.store.input(run.id).await?.ok_or(Error::NoRun(run.id))?;
        let (workflow, _) = workflow::read(&run.path, &input.source);
        let workflow = workflow.ok_or_else(|| Error::NoWorkflow {
            repository: run.repository.clone(),
            path: run.path.clone(),
            sha: run.head_sha.clone(),
        })?;
        // `test[0]`, `call/test[1]`: the first part names the job in the run's own file.
        let id = |key: &str| key.split(['/', '[']).next().unwrap_or_default().to_owned();
        let again = dependents(&workflow, &id(&job.key));
        let called = job.key.contains('/');
        let all = self.inner.store.jobs(run.id, run.attempt).await?;
        let kept = all.into_iter().filter(|other| {
            let other_id = id(&other.key);
            let sibling = other_id == id(&job.key) && !called && other.key != job.key;
            !again.contains(&other_id) || sibling
        });
        let kept = kept.collect();
        self.begin_attempt(run, input, kept, actor).await
    }
}
