//! Takes events in: plans them, stores the runs that they start, hands those to the dispatcher.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value as Json;

use super::dispatcher::Message;
use super::{Inner, Plan, Planned, RunOptions, plan, source, state};
use crate::error::Error;
use crate::event::Event;
use crate::model::{Conclusion, Input, Run, RunEvent, Status, now_ms};
use crate::store::Change;

impl Inner {
    /// Handles a stored event in a task of its own.
    pub(super) fn process_later(self: &Arc<Self>, id: i64, event: Event) {
        let inner = self.clone();
        self.tracker.spawn(async move {
            let work = inner.process(id, event);
            tokio::select! {
                () = inner.shutdown.cancelled() => {}
                () = work => {}
            }
        });
    }

    pub(super) async fn process(self: &Arc<Self>, id: i64, event: Event) {
        let repository = event.repository.clone();
        if let Err(error) = self.take(event, None, None, Some(id), &RunOptions::default()).await {
            tracing::error!(%repository, error = &error as &dyn std::error::Error, "cannot handle a workflow_run event");
            // It would fail again: the repository or its default branch is gone.
            let _ = self.store.apply(Change { done_events: vec![id], ..Change::default() }).await;
        }
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) async fn take(
        self: &Arc<Self>,
        event: Event,
        only: Option<&[String]>,
        inputs: Option<Json>,
        stored: Option<i64>,
        options: &RunOptions,
    ) -> Result<Vec<i64>, Error> {
        if self.shutdown.is_cancelled() {
            return Err(Error::Stopped);
        }
        let mut numbers = self.planning.lock().await;
        if let Some(delivery) = &event.delivery
            && let Some(runs) = self.store.delivered(delivery.clone()).await?
        {
            return Ok(runs);
        }
        let mut change = Change::default();
        change.done_events.extend(stored);
        // What a job's own token did starts nothing, whatever the files say: they need not be read.
        let planned = match plan::is_own_doing(&event) {
            true => None,
            false => plan::plan(&*self.services.host, &self.sources, &event).await?,
        };
        let mut adopted = Vec::new();
        if let Some(plan) = planned {
            let direct = inputs.is_some();
            let vars = self.services.host.variables(&event.repository, None).await?;
            let disabled = self.store.disabled(event.repository.clone()).await?;
            let chosen: Vec<&Planned> = plan
                .workflows
                .iter()
                .filter(|planned| only.is_none_or(|paths| paths.contains(&planned.path)))
                .filter(|planned| direct || (planned.runs && !disabled.contains(&planned.path)))
                .collect();
            if direct && chosen.is_empty() {
                let path = only.and_then(<[String]>::first).cloned().unwrap_or_default();
                return Err(Error::NoWorkflow {
                    repository: event.repository.clone(),
                    path,
                    sha: plan.subject.sha.clone(),
                });
            }
            for planned in chosen {
                let Some(workflow) = &planned.file.workflow else {
                    let first = planned.file.findings.first().map(ToString::to_string).unwrap_or_default();
                    return Err(Error::InvalidWorkflow {
                        path: planned.path.clone(),
                        first,
                        findings: planned.file.findings.clone(),
                    });
                };
                let inputs = match (&inputs, workflow.trigger("workflow_dispatch")) {
                    (given, Some(trigger)) if event.name == "workflow_dispatch" => {
                        plan::dispatch_inputs(trigger, given.as_ref().unwrap_or(&Json::Null))?
                    }
                    (Some(given), _) => given.clone(),
                    (None, _) => Json::Null,
                };
                let key = (event.repository.to_lowercase(), planned.path.clone());
                let number = match numbers.get(&key) {
                    Some(number) => number + 1,
                    None => self.store.greatest_number(event.repository.clone(), planned.path.clone()).await? + 1,
                };
                numbers.insert(key, number);
                let called = plan::called(&*self.services.host, &plan.info, &plan.subject.sha, workflow).await;
                if let Some(job) = &options.selection.job
                    && crate::graph::find(&workflow.jobs, job).is_none()
                {
                    let known: Vec<&str> = workflow.jobs.keys().map(String::as_str).collect();
                    return Err(Error::Inputs(format!(
                        "{} has no job '{job}'; there are: {}",
                        planned.path,
                        known.join(", ")
                    )));
                }
                let (run, mut input) = self.new_run(&event, &plan, planned, number, inputs, &vars, called);
                input.selection = options.selection.clone();
                input.github.clone_from(&options.github);
                if options.break_on_failure {
                    self.services.breaks.arm(run.id);
                }
                if run.status != Status::Completed {
                    adopted.push((run.clone(), Arc::new(input.clone()), Vec::new()));
                }
                change.new_runs.push((run, input));
            }
            // GitHub shows a broken file that a push brings as a run that failed at its start.
            if event.name == "push" && only.is_none() && !event.by_job_token {
                let broken: Vec<&Planned> =
                    plan.workflows.iter().filter(|planned| planned.file.workflow.is_none()).collect();
                let changed =
                    if broken.is_empty() { None } else { source::changed_files(&plan.info, &plan.subject).await };
                for planned in broken
                    .into_iter()
                    .filter(|planned| changed.as_ref().is_some_and(|files| files.contains(&planned.path)))
                {
                    let list: Vec<String> =
                        planned.file.findings.iter().map(|finding| format!("{} {finding}", planned.path)).collect();
                    let number = self.store.greatest_number(event.repository.clone(), planned.path.clone()).await? + 1;
                    let problem = format!("Invalid workflow file: {}", list.join("; "));
                    change.new_runs.push(self.new_run(&event, &plan, planned, number, Json::Null, &vars, Err(problem)));
                }
            }
        }
        let ids: Vec<i64> = change.new_runs.iter().map(|(run, _)| run.id).collect();
        if let Some(delivery) = &event.delivery {
            change.deliveries.push((delivery.clone(), ids.clone()));
        }
        let created: Vec<Run> = change.new_runs.iter().map(|(run, _)| run.clone()).collect();
        self.store.apply(change).await?;
        drop(numbers);
        for run in created {
            if run.status == Status::Completed {
                self.tell(RunEvent::RunCompleted { run });
            } else {
                self.publish(&run, std::iter::empty());
                self.tell(RunEvent::RunQueued { run });
            }
        }
        if !adopted.is_empty() {
            self.send(Message::Adopt(adopted)).await;
        }
        Ok(ids)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a new run")]
    pub(super) fn new_run(
        &self,
        event: &Event,
        plan: &Plan,
        planned: &Planned,
        number: i64,
        inputs: Json,
        vars: &BTreeMap<String, String>,
        called: Result<BTreeMap<String, String>, String>,
    ) -> (Run, Input) {
        let subject = &plan.subject;
        let id = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let pointer = |path: &str| event.payload.pointer(path).and_then(Json::as_str).map(str::to_owned);
        let title = match event.name.as_str() {
            "pull_request" | "pull_request_target" | "pull_request_review" => pointer("/pull_request/title"),
            "issues" | "issue_comment" => pointer("/issue/title"),
            "release" => {
                pointer("/release/name").filter(|name| !name.is_empty()).or_else(|| pointer("/release/tag_name"))
            }
            _ => Some(subject.message.lines().next().unwrap_or_default().to_owned()).filter(|line| !line.is_empty()),
        };
        let (message, called) = match called {
            Ok(called) => (None, called),
            Err(problem) => (Some(problem), BTreeMap::new()),
        };
        let failed = message.is_some();
        let mut run = Run {
            id,
            repository: plan.info.full_name.clone(),
            workflow: planned.name.clone(),
            path: planned.path.clone(),
            title: title.unwrap_or_else(|| planned.name.clone()),
            event: event.name.clone(),
            git_ref: subject.git_ref.clone(),
            head_branch: subject.head_branch.clone(),
            head_sha: subject.head_sha.clone(),
            actor: if subject.actor.is_empty() {
                plan.info.full_name.split('/').next().unwrap_or_default().to_owned()
            } else {
                subject.actor.clone()
            },
            triggering_actor: None,
            number,
            attempt: 1,
            status: if failed { Status::Completed } else { Status::Queued },
            conclusion: failed.then_some(Conclusion::StartupFailure),
            created_ms: now_ms(),
            started_ms: None,
            completed_ms: failed.then(now_ms),
            depth: event.depth,
            parent: event.parent,
            root_sha: event.root_sha.clone().unwrap_or_else(|| subject.head_sha.clone()),
            message,
        };
        let input = Input {
            payload: event.payload.clone(),
            source: planned.file.source.clone(),
            called,
            subject: subject.clone(),
            vars: vars.clone(),
            inputs,
            repository: plan.info.payload.clone(),
            default_branch: plan.info.default_branch.clone(),
            selection: crate::model::Selection::default(),
            github: None,
            from: None,
        };
        if let Some(workflow) = planned.file.workflow.as_ref().filter(|workflow| workflow.run_name.is_some()) {
            let host = &self.services.host;
            let active = state::Active::new(
                run.clone(),
                Arc::new(input.clone()),
                workflow.clone(),
                Vec::new(),
                (host.server_url(), host.api_url()),
            );
            run.title = active.title(&run.title);
        }
        (run, input)
    }
}
