//! Runs again: all of a run, what did not succeed, one job with those that need it, or from a step on.

use std::collections::HashSet;
use std::sync::Arc;

use super::dispatcher::Message;
use super::{Engine, Error};
use crate::model::{Conclusion, Input, Job, Run, Status};
use crate::store::Change;
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

/// How a run is run again.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Rerun {
    /// Only jobs that did not succeed and those that need them.
    pub failed: bool,
    /// A step, by id, name or number, from which the job goes on with the state that it had there. Jobs that succeeded are kept.
    pub from: Option<String>,
    /// The job of that step, by name, where more than one has it.
    pub job: Option<String>,
    /// Whether the run stops at each step that fails.
    pub break_on_failure: bool,
    /// Who asks for it, `github.triggering_actor`; the run's actor when it is none.
    pub actor: Option<String>,
}

impl Engine {
    /// Runs a run again; see [`Rerun`].
    ///
    /// # Errors
    /// When the run is not over, or there is no state of the step to go on from.
    pub async fn rerun_with(&self, id: i64, how: &Rerun) -> Result<(), Error> {
        if how.break_on_failure {
            self.inner.services.breaks.arm(id);
        }
        match &how.from {
            Some(step) => self.rerun_from(id, how, step).await,
            None => self.rerun_as(id, how.failed, how.actor.as_deref(), None).await,
        }
    }

    pub(super) async fn rerun_from(&self, id: i64, how: &Rerun, step: &str) -> Result<(), Error> {
        let job = how.job.as_deref();
        let run = self.run(id).await?;
        if run.status != Status::Completed {
            return Err(Error::StillRunning(id));
        }
        let jobs = self.jobs(id).await?;
        let named = |found: &Job| {
            job.is_none_or(|name| {
                found.name == name
                    || found.key == name
                    || found.key == format!("{name}[0]")
                    || found.id.to_string() == name
            })
        };
        let mut candidates: Vec<(&Job, String)> = Vec::new();
        for found in jobs.iter().filter(|found| named(found) && found.conclusion != Some(Conclusion::Success)) {
            let fits = |known: &&crate::model::Step| {
                known.id == step || known.name.eq_ignore_ascii_case(step) || known.number.to_string() == step
            };
            if let Some(known) = found.steps.iter().find(fits) {
                candidates.push((found, known.id.clone()));
            }
        }
        let (found, step_id) = match candidates.as_slice() {
            [one] => one.clone(),
            [] => {
                let names: Vec<String> = jobs
                    .iter()
                    .filter(|found| found.conclusion != Some(Conclusion::Success))
                    .flat_map(|found| found.steps.iter().map(move |step| format!("{} / {}", found.name, step.name)))
                    .collect();
                return Err(Error::Inputs(format!(
                    "no job of the run {id} that did not succeed has a step '{step}'; there are: {}",
                    names.join(", ")
                )));
            }
            many => {
                let names: Vec<&str> = many.iter().map(|(job, _)| job.name.as_str()).collect();
                return Err(Error::Inputs(format!(
                    "more than one job has a step '{step}': say which with --job: {}",
                    names.join(", ")
                )));
            }
        };
        let dir = crate::job::checkpoint::kept_dir(&self.inner.services.config.dir, found.id);
        if !dir.is_dir() {
            return Err(Error::Inputs(format!(
                "the state of the job '{}' is no longer kept; run it again from its start: bigben run rerun {id} --failed",
                found.name
            )));
        }
        let from = (found.key.clone(), crate::job::checkpoint::From { dir, step: step_id });
        self.rerun_as(id, true, how.actor.as_deref(), Some(from)).await
    }

    /// Runs a run again as its next attempt: all of it, or only the jobs that did not succeed and those that need them.
    pub async fn rerun(&self, id: i64, failed_only: bool) -> Result<(), Error> {
        self.rerun_as(id, failed_only, None, None).await
    }

    pub(super) async fn rerun_as(
        &self,
        id: i64,
        failed_only: bool,
        actor: Option<&str>,
        from: Option<(String, crate::job::checkpoint::From)>,
    ) -> Result<(), Error> {
        let run = self.run(id).await?;
        if run.status != Status::Completed {
            return Err(Error::StillRunning(id));
        }
        let mut input = self.inner.store.input(id).await?.ok_or(Error::NoRun(id))?;
        input.from = from;
        let kept = if failed_only {
            self.inner
                .store
                .jobs(id, run.attempt)
                .await?
                .into_iter()
                .filter(|job| job.conclusion == Some(Conclusion::Success))
                .collect()
        } else {
            Vec::new()
        };
        self.begin_attempt(run, input, kept, actor).await
    }

    /// Begins the next attempt of a run that is over; `kept` are the jobs whose results stay.
    pub(super) async fn begin_attempt(
        &self,
        mut run: Run,
        input: Input,
        kept: Vec<Job>,
        actor: Option<&str>,
    ) -> Result<(), Error> {
        run.triggering_actor = actor.map(str::to_owned);
        run.attempt += 1;
        run.status = Status::Queued;
        run.conclusion = None;
        run.completed_ms = None;
        run.started_ms = None;
        self.inner.store.apply(Change { runs: vec![run.clone()], ..Change::default() }).await?;
        self.inner.publish(&run, std::iter::empty());
        self.inner.send(Message::Adopt(vec![(run, Arc::new(input), kept)])).await;
        Ok(())
    }
}
