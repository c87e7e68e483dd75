//! From an event to the runs it starts: which workflows take it and why the others do not. Reads the repository; changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;

use super::source::{self, Sources, WorkflowFile};
use crate::action::Reference;
use crate::error::Error;
use crate::event::{self, Decision, Event, Subject};
use crate::expr::{Contexts, Object, Value};
use crate::host::{Host, RepositoryInfo};
use crate::workflow::{JobKind, Step, StepKind, Trigger, Workflow};

/// The deepest chain of `workflow_run` events, as on GitHub.
const MAX_CHAIN: u32 = 3;
/// The deepest nesting of reusable workflows, as on GitHub.
const MAX_NESTING: usize = 10;

/// What an event means for one workflow file.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    /// The file.
    pub path: String,
    /// The workflow's name.
    pub name: String,
    /// Whether it runs.
    pub runs: bool,
    /// Why, or why not.
    pub reason: String,
    /// The jobs it has, in order.
    pub jobs: Vec<String>,
    /// The file itself.
    #[serde(skip)]
    pub file: WorkflowFile,
}

/// What an event means for a repository.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The repository.
    pub info: RepositoryInfo,
    /// What the event is about.
    pub subject: Subject,
    /// Every workflow file.
    pub workflows: Vec<Planned>,
}

/// Plans an event. None when nothing can run for it at all.
pub async fn plan(host: &dyn Host, sources: &Sources, event: &Event) -> Result<Option<Plan>, Error> {
    let info =
        host.repository(&event.repository).await?.ok_or_else(|| Error::NoRepository(event.repository.clone()))?;
    let Some(mut subject) = event::subject(event, &info.default_branch) else { return Ok(None) };
    source::resolve(&info, &mut subject).await?;
    if event.name.starts_with("pull_request") && subject.message.is_empty() {
        subject.message = source::message(&info, &subject.head_sha).await.unwrap_or_default();
    }
    let files = sources.of(&info, &subject.sha).await?;
    let mut changed: Option<Option<Vec<String>>> = None;
    let mut workflows = Vec::new();
    for file in files.iter() {
        let decision = match general_refusal(event, &subject) {
            Some(reason) => Decision::Skip(reason),
            None => match file.workflow.as_ref() {
                None => Decision::Skip("the file has errors".to_owned()),
                Some(workflow) => match workflow.trigger(&event.name) {
                    None => Decision::Skip(format!("it has no '{}' in 'on'", event.name)),
                    Some(trigger) => match event::decide(trigger, event, &subject) {
                        Decision::Files => {
                            if changed.is_none() {
                                changed = Some(source::changed_files(&info, &subject).await);
                            }
                            event::paths(trigger, changed.as_ref().and_then(|files| files.as_deref()))
                        }
                        other => other,
                    },
                },
            },
        };
        let (runs, reason) = match decision {
            Decision::Skip(reason) => (false, reason),
            _ => (true, format!("'{}' matches", event.name)),
        };
        workflows.push(Planned {
            path: file.path.clone(),
            name: file.workflow.as_ref().map_or_else(|| file.path.clone(), |workflow| workflow.name.clone()),
            runs,
            reason,
            jobs: file.workflow.as_ref().map(|workflow| workflow.jobs.keys().cloned().collect()).unwrap_or_default(),
            file: file.clone(),
        });
    }
    Ok(Some(Plan { info, subject, workflows }))
}

/// Whether a job's own token caused the event, so that it starts no run; dispatches are excepted, as on GitHub.
pub fn is_own_doing(event: &Event) -> bool {
    event.by_job_token && !matches!(event.name.as_str(), "workflow_dispatch" | "repository_dispatch" | "workflow_run")
}

fn general_refusal(event: &Event, subject: &Subject) -> Option<String> {
    if is_own_doing(event) {
        return Some("a job's own token caused the event".to_owned());
    }
    if event.name == "workflow_run" && event.depth > MAX_CHAIN {
        return Some(format!("workflow_run events chain at most {MAX_CHAIN} deep"));
    }
    event::skipped_by_message(&event.name, &subject.message)
        .then(|| "the head commit's message asks for no runs".to_owned())
}

/// The files of the reusable workflows that a workflow calls, directly and through others, by what `uses` says.
pub async fn called(
    host: &dyn Host,
    info: &RepositoryInfo,
    sha: &str,
    workflow: &Arc<Workflow>,
) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    // What is to be looked at: the workflow, where its local references lie, how deep it is.
    let mut queue: Vec<(Arc<Workflow>, RepositoryInfo, String, String, usize)> =
        vec![(workflow.clone(), info.clone(), sha.to_owned(), String::new(), 0)];
    while let Some((workflow, info, sha, prefix, depth)) = queue.pop() {
        for job in workflow.jobs.values() {
            let JobKind::Call(call) = &job.kind else { continue };
            let at = format!("{} (Line: {}, Col: {})", workflow.path, call.uses_at.line, call.uses_at.column);
            if depth >= MAX_NESTING {
                return Err(format!("{at}: reusable workflows are nested deeper than {MAX_NESTING}"));
            }
            let key = format!("{prefix}{}", call.uses);
            if out.contains_key(&key) {
                continue;
            }
            let (info, sha, path, prefix) = match call.uses.strip_prefix("./") {
                Some(path) => (info.clone(), sha.clone(), path.to_owned(), prefix.clone()),
                None => {
                    let Ok(Reference::Repository { repository, path, reference }) = Reference::parse(&call.uses) else {
                        return Err(format!("{at}: invalid value workflow reference: '{}'", call.uses));
                    };
                    let info = host
                        .repository(&repository)
                        .await
                        .map_err(|error| format!("{at}: {error}"))?
                        .ok_or_else(|| {
                            format!("{at}: the forge has no repository {repository} to take the reusable workflow from")
                        })?;
                    (info, reference.clone(), path, format!("{repository}@{reference}:"))
                }
            };
            let text = source::file(&info, &sha, &path).await.map_err(|error| format!("{at}: {error}"))?;
            let text = text.ok_or_else(|| {
                format!("{at}: error parsing called workflow \"{}\": workflow was not found.", call.uses)
            })?;
            let file = source::parse(&path, text.clone());
            let Some(inner) = file.workflow else {
                let first = file.findings.first().map(ToString::to_string).unwrap_or_default();
                return Err(format!("{at}: error parsing called workflow \"{}\": {first}", call.uses));
            };
            if inner.trigger("workflow_call").is_none() {
                return Err(format!(
                    "{at}: error parsing called workflow \"{}\": workflow is not reusable as it is missing a `on.workflow_call` trigger",
                    call.uses
                ));
            }
            out.insert(key, text);
            queue.push((inner, info, sha, prefix, depth + 1));
        }
    }
    Ok(out)
}

/// The `inputs` of a dispatch: given values over defaults, each of its type.
pub fn dispatch_inputs(trigger: &Trigger, given: &Json) -> Result<Json, Error> {
    let mut out = Object::new();
    let empty = serde_json::Map::new();
    let given = given.as_object().unwrap_or(&empty);
    for name in given.keys() {
        if !trigger.inputs.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Error::Inputs(format!("Unexpected inputs provided: [\"{name}\"]")));
        }
    }
    for (name, input) in &trigger.inputs {
        let value = given.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| Value::from(value));
        let value = match value {
            Some(value) => input
                .kind
                .coerce(&value)
                .filter(|value| input.options.is_empty() || input.options.contains(&value.to_text()))
                .ok_or_else(|| {
                    Error::Inputs(format!("Provided value '{}' for input '{name}' is not valid", value.to_text()))
                })?,
            None if input.required && input.default.is_none() => {
                return Err(Error::Inputs(format!("Required input '{name}' not provided")));
            }
            None => match input.default.as_ref().map(|tree| tree.evaluate(&Contexts::new())) {
                Some(Ok(value)) => input.kind.coerce(&value).unwrap_or_else(|| input.kind.empty()),
                _ => input.kind.empty(),
            },
        };
        out.insert(name.as_str(), value);
    }
    Ok(Value::object(out).to_json())
}

/// Whether a job of the workflow pushes an image: a step uses `docker/build-push-action`, or its script calls `docker push`, or builds
/// or copies one with `--push` or `imagetools create`.
pub fn publishes(workflow: &Workflow) -> bool {
    workflow.jobs.values().any(|job| match &job.kind {
        JobKind::Call(_) => false,
        JobKind::Steps(job) => job.steps.iter().flat_map(Step::flat).any(|step| match &step.kind {
            StepKind::Uses { action, .. } => action.to_ascii_lowercase().starts_with("docker/build-push-action@"),
            StepKind::Run { script, .. } => {
                let text = script.source();
                text.contains("docker push")
                    || text.contains("docker image push")
                    || (text.contains("docker") && text.contains("--push"))
                    || text.contains("imagetools create")
            }
            _ => false,
        }),
    })
}
