//! Running workflows by hand.

use std::process::ExitCode;
use std::sync::Arc;

use actions::engine::RunOptions;
use actions::engine::watched::Watched;
use actions::job::tape::{Record, Tape};
use actions::local::{LocalHost, LocalRepository};
use actions::model::{Conclusion, Job, Run, Selection};
use actions::workflow::Workflow;
use actions::{Engine, Event};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::hand::{Hand, Setup};
use super::show::{self, Printer};
use super::{Output, Start, inputs, plan, watch};

/// What an event and the arguments come to.
struct Chosen {
    event: Event,
    /// Paths of workflows; none for all that the event starts.
    only: Option<String>,
    options: RunOptions,
    inputs: Value,
}

/// Runs what was asked for. Exit code 1 when a run did not succeed.
pub async fn run(args: &Start) -> Result<ExitCode> {
    let repo = args.instance.repo()?;
    if args.list {
        plan::list(&repo, args.output);
        return Ok(ExitCode::SUCCESS);
    }
    if args.graph {
        let mut files = plan::files(&repo);
        if let Some(name) = &args.workflow {
            let path = found(&files, name)?.0.clone();
            files.retain(|(known, _)| *known == path);
        }
        plan::graph(&files, args.output);
        return Ok(ExitCode::SUCCESS);
    }
    let replayed = args.replay.as_deref().map(Record::read).transpose().map_err(|problem| anyhow!(problem))?;
    let tape = match (&args.record, &replayed) {
        (Some(_), _) => Some(Arc::new(Tape::recording())),
        (None, Some(record)) => Some(Arc::new(Tape::Playing(record.clone()))),
        (None, None) => None,
    };
    let state = args.instance.state()?;
    let repository = LocalRepository::open(&repo).await?;
    let host = LocalHost {
        commit: repository.head.clone(),
        repository,
        secrets: inputs::secrets(&args.secret)?,
        variables: inputs::pairs(&args.var, "--var")?,
        env: args.env_file.as_deref().map(inputs::env_file).transpose()?.unwrap_or_default(),
        path: Vec::new(),
    };
    let setup = Setup { host, online: !args.offline, tape: tape.clone() };
    let hand = Hand::open(&state, None, setup).await?;
    let outcome = rounds(args, &hand.engine, &repo, replayed.as_ref()).await;
    if let (Some(path), Some(tape)) = (&args.record, &tape) {
        tape.record().write(path).map_err(|problem| anyhow!(problem))?;
        if args.output == Output::Text {
            anstream::eprintln!(
                "recorded in {}; play it back with: bigben run --replay {}",
                path.display(),
                path.display()
            );
        }
    }
    hand.close().await;
    outcome
}

/// One round, or with `--watch` one after each change, until Ctrl-C.
async fn rounds(args: &Start, engine: &Engine, repo: &std::path::Path, replayed: Option<&Record>) -> Result<ExitCode> {
    if !args.watch {
        let repository = LocalRepository::open(repo).await?;
        return round(args, engine, choose(args, &repository, replayed, None).await?).await;
    }
    // One that comes while a run is shown cancels that run, and is known afterwards.
    let mut interrupt = interrupts()?;
    let mut before: Option<String> = None;
    loop {
        let repository = LocalRepository::open(repo).await?;
        let seen = repository.snapshot().await?;
        let done = async { round(args, engine, choose(args, &repository, replayed, before.as_deref()).await?).await };
        let code = done.await.unwrap_or_else(|error| {
            anstream::eprintln!("bigben: {error:#}");
            ExitCode::FAILURE
        });
        if args.dry_run {
            return Ok(code);
        }
        anstream::eprintln!("waiting for a change in {} (Ctrl-C ends it)", repo.display());
        tokio::select! {
            biased;
            _ = interrupt.recv() => return Ok(code),
            changed = watch::changed(&repository, &seen) => changed?,
        }
        before = Some(seen);
    }
}

/// Ctrl-C, from now on.
fn interrupts() -> Result<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")
}

async fn round(args: &Start, engine: &Engine, chosen: Chosen) -> Result<ExitCode> {
    if args.dry_run {
        plan::dry_run(engine, &chosen.event, chosen.only.as_deref(), args.output).await?;
        return Ok(ExitCode::SUCCESS);
    }
    once(args, engine, chosen).await
}

fn found<'a>(
    files: &'a [(String, Result<Workflow, String>)],
    name: &str,
) -> Result<&'a (String, Result<Workflow, String>)> {
    let fits = |(path, workflow): &&(String, Result<Workflow, String>)| {
        let file = path.rsplit('/').next().unwrap_or(path);
        let stem = file.trim_end_matches(".yaml").trim_end_matches(".yml");
        path == name
            || name.ends_with(path.as_str())
            || file == name
            || stem == name
            || workflow.as_ref().is_ok_and(|workflow| workflow.name == name)
    };
    files.iter().find(fits).ok_or_else(|| {
        let known: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        if known.is_empty() {
            anyhow!("there are no workflow files in .github/workflows")
        } else {
            anyhow!("there is no workflow '{name}'; there are: {}", known.join(", "))
        }
    })
}

/// `before`: the commit of what was there in the round before; a push then is of what has changed since.
async fn choose(
    args: &Start,
    repository: &LocalRepository,
    replayed: Option<&Record>,
    before: Option<&str>,
) -> Result<Chosen> {
    let files = plan::files(&repository.root);
    let named = args.workflow.clone().or_else(|| replayed.map(|record| record.workflow.clone()));
    let only = match &named {
        Some(name) => {
            let (path, workflow) = found(&files, name)?;
            let workflow = workflow.as_ref().map_err(|problem| anyhow!("{path}: {problem}"))?;
            Some((path.clone(), workflow))
        }
        None => None,
    };
    let mut given = inputs::pairs(&args.input, "--input")?;
    let event = match (&args.event, replayed, &only) {
        (Some(event), ..) => event.clone(),
        (None, Some(record), _) => record.event.clone(),
        (None, None, Some((_, workflow))) => default_event(workflow, !given.is_empty()),
        (None, None, None) => "push".to_owned(),
    };
    if let Some(record) = replayed
        && given.is_empty()
    {
        let recorded = record.inputs.as_object().into_iter().flatten();
        given = recorded
            .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
    }
    let payload = match &args.event_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?)
        }
        None => before.filter(|_| event == "push").map(|before| json!({"before": before})),
    };
    let event = repository.event(&event, payload, &given).await?;
    if !given.is_empty() && !["workflow_dispatch", "workflow_call"].contains(&event.name.as_str()) {
        bail!("--input is for workflow_dispatch; the event is '{}'", event.name);
    }
    Ok(Chosen {
        inputs: json!(given),
        only: only.map(|(path, _)| path),
        options: RunOptions {
            selection: Selection { job: args.job.clone(), matrix: inputs::matrix(&args.matrix)? },
            github: replayed.map(|record| record.github.clone()).filter(|github| !github.is_null()),
            break_on_failure: args.break_on_failure,
        },
        event,
    })
}

fn default_event(workflow: &Workflow, dispatch: bool) -> String {
    let has = |name: &str| workflow.trigger(name).is_some();
    let wanted = if dispatch { ["workflow_dispatch", "push"] } else { ["push", "workflow_dispatch"] };
    let usual = wanted.into_iter().find(|name| has(name));
    usual
        .or_else(|| workflow.on.first().map(|trigger| trigger.event.as_str()))
        .unwrap_or("workflow_dispatch")
        .to_owned()
}

async fn once(args: &Start, engine: &Engine, chosen: Chosen) -> Result<ExitCode> {
    let Chosen { event, only, options, inputs } = chosen;
    let paths: Vec<String> = match &only {
        Some(path) => vec![path.clone()],
        None => {
            let planned = engine.plan(&event).await?;
            if let Some(broken) = planned.iter().find(|planned| planned.file.workflow.is_none()) {
                let first = broken.file.findings.first().map(ToString::to_string).unwrap_or_default();
                anstream::eprintln!("bigben: {}: {first}", broken.path);
            }
            let running: Vec<String> = planned.iter().filter(|p| p.runs).map(|p| p.path.clone()).collect();
            if running.is_empty() {
                let why: Vec<String> =
                    planned.iter().map(|planned| format!("  {}: {}", planned.path, planned.reason)).collect();
                bail!("the event '{}' starts no workflow:\n{}", event.name, why.join("\n"));
            }
            running
        }
    };
    let dispatch = event.name == "workflow_dispatch";
    let mut ids = Vec::new();
    for path in &paths {
        let inputs = if dispatch { inputs.clone() } else { Value::Object(Default::default()) };
        ids.push(engine.run_workflow_with(event.clone(), path, inputs, options.clone()).await.map_err(explained)?);
    }
    let mut well = true;
    let mut documents = Vec::new();
    for id in ids {
        let (run, jobs) = follow(engine, id, args.output == Output::Text).await?;
        well &= matches!(run.conclusion, Some(Conclusion::Success | Conclusion::Skipped));
        documents.push(show::document(&run, &jobs, true));
    }
    if args.output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&documents)?);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn explained(error: actions::Error) -> anyhow::Error {
    match error.hint() {
        Some(hint) => anyhow!("{}; {hint}", crate::text::chain(&error)),
        None => error.into(),
    }
}

/// Shows a run to its end. Ctrl-C cancels it, a second one ends it at once.
pub async fn follow(engine: &Engine, id: i64, text: bool) -> Result<(Run, Vec<Job>)> {
    let mut stream = engine.watch(id).await?;
    let mut printer = Printer::default();
    let mut interrupted = false;
    // One for the whole run: what comes while a line is printed counts too.
    let mut interrupt = interrupts()?;
    loop {
        let watched = tokio::select! {
            watched = stream.recv() => watched,
            _ = interrupt.recv() => {
                anstream::eprintln!("{}", if interrupted { "ending the run" } else { "cancelling the run; again to end it at once" });
                // It may be over by now.
                let _ = engine.cancel(id, interrupted).await;
                interrupted = true;
                continue;
            }
        };
        let Some(watched) = watched else { bail!("the run {id} was lost") };
        if text {
            printer.print(&watched);
        }
        match watched {
            Watched::Stopped { stop } => {
                let job = stop["job"].as_i64().unwrap_or_default();
                let stop = engine.breaks().next(id, |stop| stop.job == job).await;
                announce(&json!(*stop));
                if let Err(error) = stop.shell().await {
                    anstream::eprintln!("bigben: no shell could be opened: {error}");
                }
                engine.resume(job);
            }
            Watched::Over { run, jobs } => {
                if text {
                    show::summary(&run, &jobs, true, false);
                }
                return Ok((*run, jobs));
            }
            _ => {}
        }
    }
}

/// Says where a shell opens.
pub fn announce(stop: &Value) {
    let text = |field: &str| stop[field].as_str().unwrap_or_default().to_owned();
    anstream::eprintln!("\u{1b}[31m{} / {} failed\u{1b}[0m", text("job_name"), text("step"));
    for error in stop["errors"].as_array().into_iter().flatten() {
        anstream::eprintln!("  {}", error.as_str().unwrap_or_default());
    }
    let words: Vec<&str> = stop["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !words.is_empty() {
        anstream::eprintln!("it ran: {}", words.join(" "));
    }
    anstream::eprintln!("a shell in its environment, in {}; `exit` goes on", text("cwd"));
}
