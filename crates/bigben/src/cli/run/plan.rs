//! `--list`, `--graph` and `--dry-run`: what there is, and what would run.

use std::path::Path;

use actions::graph::stages;
use actions::matrix::Strategy;
use actions::workflow::{JobKind, Workflow};
use actions::{Engine, Event};
use anyhow::Result;
use serde_json::{Value, json};

use super::Output;
use crate::text::table;

/// The workflow files of a working copy, with what is wrong with them.
pub fn files(root: &Path) -> Vec<(String, Result<Workflow, String>)> {
    let entries = std::fs::read_dir(root.join(".github/workflows")).into_iter().flatten().flatten();
    let mut out: Vec<_> = entries
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "yml" || end == "yaml"))
        .map(|entry| {
            let path = format!(".github/workflows/{}", entry.file_name().to_string_lossy());
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let (workflow, findings) = actions::workflow::read(&path, &text);
            let first = findings.0.first().map(ToString::to_string).unwrap_or_default();
            (path, workflow.ok_or(first))
        })
        .collect();
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    out
}

/// Prints the workflows and their jobs.
pub fn list(root: &Path, output: Output) {
    let files = files(root);
    if output == Output::Json {
        let all: Vec<Value> = files
            .iter()
            .map(|(path, workflow)| match workflow {
                Ok(workflow) => json!({"path": path, "name": workflow.name, "events": events(workflow),
                    "jobs": workflow.jobs.values().map(|job| json!({"id": job.id, "needs": needs(job)})).collect::<Vec<_>>()}),
                Err(problem) => json!({"path": path, "error": problem}),
            })
            .collect();
        anstream::println!("{}", json!(all));
        return;
    }
    let mut rows = vec![["FILE", "WORKFLOW", "EVENTS", "JOBS"].map(str::to_owned).to_vec()];
    for (path, workflow) in &files {
        rows.push(match workflow {
            Ok(workflow) => vec![
                path.clone(),
                workflow.name.clone(),
                events(workflow).join(", "),
                workflow.jobs.keys().cloned().collect::<Vec<_>>().join(", "),
            ],
            Err(problem) => vec![path.clone(), format!("error: {problem}")],
        });
    }
    anstream::print!("{}", table(&rows));
}

fn events(workflow: &Workflow) -> Vec<String> {
    workflow.on.iter().map(|trigger| trigger.event.clone()).collect()
}

fn needs(job: &actions::workflow::Job) -> Vec<String> {
    job.needs.iter().map(|(need, _)| need.clone()).collect()
}

/// Prints jobs in stages: each waits for the one before.
pub fn graph(workflows: &[(String, Result<Workflow, String>)], output: Output) {
    if output == Output::Json {
        let all: Vec<Value> = workflows
            .iter()
            .map(|(path, workflow)| match workflow {
                Ok(workflow) => json!({"path": path, "name": workflow.name, "stages": stages(&workflow.jobs)}),
                Err(problem) => json!({"path": path, "error": problem}),
            })
            .collect();
        anstream::println!("{}", json!(all));
        return;
    }
    for (path, workflow) in workflows {
        match workflow {
            Ok(workflow) => {
                anstream::println!("{} ({path})", workflow.name);
                staged(workflow);
            }
            Err(problem) => anstream::println!("{path}: error: {problem}"),
        }
    }
}

fn staged(workflow: &Workflow) {
    for (i, stage) in stages(&workflow.jobs).into_iter().enumerate() {
        let jobs: Vec<String> = stage
            .into_iter()
            .map(|id| {
                let job = &workflow.jobs[id];
                let count = combinations(job).map_or(String::new(), |count| format!(" x{count}"));
                let needs = needs(job);
                if needs.is_empty() { format!("{id}{count}") } else { format!("{id}{count} ← {}", needs.join(", ")) }
            })
            .collect();
        anstream::println!("  {}. {}", i + 1, jobs.join("  ·  "));
    }
}

/// How many jobs a matrix makes, when that can be told beforehand.
fn combinations(job: &actions::workflow::Job) -> Option<usize> {
    let strategy = job.strategy.as_ref()?.constant()?;
    let count = Strategy::from_value(&strategy).ok()?.combinations.len();
    matches!(job.kind, JobKind::Steps(_) | JobKind::Call(_)).then_some(count)
}

/// Prints what an event would start, and why the rest does not run.
pub async fn dry_run(engine: &Engine, event: &Event, only: Option<&str>, output: Output) -> Result<()> {
    let mut planned = engine.plan(event).await?;
    planned.retain(|planned| only.is_none_or(|path| planned.path == path));
    for planned in &mut planned {
        if only.is_some() && !planned.runs && planned.file.workflow.is_some() {
            planned.runs = true;
            planned.reason = format!("it is named here ({})", planned.reason);
        }
    }
    if output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&planned)?);
        return Ok(());
    }
    for planned in &planned {
        let word = if planned.runs { "runs" } else { "does not run" };
        anstream::println!("{} ({}) {word}: {}", planned.name, planned.path, planned.reason);
        match &planned.file.workflow {
            Some(workflow) if planned.runs => staged(workflow),
            Some(_) => {}
            None => {
                planned.file.findings.iter().for_each(|finding| anstream::println!("  {}: {finding}", planned.path))
            }
        }
    }
    Ok(())
}
