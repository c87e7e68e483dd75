//! Looking after runs: `view`, `logs`, `rerun`, `cancel`, `review`.

use std::path::PathBuf;
use std::process::ExitCode;

use actions::engine::watched::Watched;
use actions::model::{Conclusion, Job, Run, Status};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::hand::{Hand, Setup, slot, slot_of};
use super::show::{self, Printer};
use super::{InstanceArgs, Output, inputs, start};
use crate::client::Client;
use crate::state::StateDir;

/// Which run.
#[derive(clap::Args)]
struct Which {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The run's number: @7 for one by hand, 7 for one of the daemon
    #[arg(value_name = "ID")]
    id: String,
}

/// Arguments of `view`.
#[derive(clap::Args)]
pub struct View {
    #[command(flatten)]
    which: Which,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// Arguments of `logs`.
#[derive(clap::Args)]
pub struct Logs {
    #[command(flatten)]
    which: Which,
    /// Only this job
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Only jobs that did not succeed
    #[arg(long)]
    failed: bool,
    /// With the time before each line
    #[arg(long)]
    timestamps: bool,
}

/// Arguments of `rerun`.
#[derive(clap::Args)]
pub struct Rerun {
    #[command(flatten)]
    which: Which,
    /// Only jobs that did not succeed, and those that need them
    #[arg(long)]
    failed: bool,
    /// Go on from this step of a job that did not succeed, with the state that it had there: its id, name or number
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// The job of that step
    #[arg(long, value_name = "NAME", requires = "from")]
    job: Option<String>,
    /// Where a step fails, open a shell in its environment
    #[arg(long)]
    break_on_failure: bool,
    /// A secret, for a run by hand; without a value it is taken from the environment, or asked for
    #[arg(long, value_name = "KEY[=VALUE]")]
    secret: Vec<String>,
    /// A variable (`vars`), for a run by hand
    #[arg(long, value_name = "KEY=VALUE")]
    var: Vec<String>,
    /// A file of KEY=VALUE lines for the environment of every step, for a run by hand
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// Arguments of `cancel`.
#[derive(clap::Args)]
pub struct Cancel {
    #[command(flatten)]
    which: Which,
    /// End it at once, without the steps that always run
    #[arg(long)]
    force: bool,
}

/// Arguments of `review`.
#[derive(clap::Args)]
pub struct Review {
    #[command(flatten)]
    which: Which,
    /// The environment that the run waits for
    environment: String,
    /// Refuse it
    #[arg(long)]
    reject: bool,
}

/// Who has a run.
enum Keeper {
    /// A process that serves it on a socket: the daemon, or another `bigben run`.
    Process(StateDir),
    /// This process.
    Here(Box<Hand>),
}

struct Found {
    keeper: Keeper,
    id: i64,
    by_hand: bool,
}

impl Which {
    async fn find(&self, setup: impl AsyncFnOnce() -> Result<Setup>) -> Result<Found> {
        let state = self.instance.state()?;
        let bare = self.id.strip_prefix('@');
        let id: i64 = bare
            .unwrap_or(&self.id)
            .parse()
            .map_err(|_| anyhow!("'{}' is not the number of a run; `bigben runs` lists them", self.id))?;
        if bare.is_none() && state.is_running()? {
            return Ok(Found { keeper: Keeper::Process(state), id, by_hand: false });
        }
        let number = slot_of(id);
        let dir = slot(&state, number)?;
        if id < 1 || !dir.path().is_dir() {
            bail!("there is no run {}; `bigben runs` lists them", self.id);
        }
        let keeper = if dir.is_running()? {
            Keeper::Process(dir)
        } else {
            Keeper::Here(Box::new(Hand::open(&state, Some(number), setup().await?).await?))
        };
        Ok(Found { keeper, id, by_hand: true })
    }

    async fn plain(&self) -> Result<Found> {
        self.find(async || Setup::plain(&self.instance.repo()?).await).await
    }
}

impl Found {
    async fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let path = format!("/actions{path}");
        match &self.keeper {
            Keeper::Process(state) => tokio::task::block_in_place(|| Client::new(state)?.request(method, &path, body)),
            Keeper::Here(hand) => {
                let router = axum::Router::new().nest("/actions", hand.engine.control_router());
                let request = http::Request::builder()
                    .method(method)
                    .uri(path)
                    .header("content-type", "application/json")
                    .body(axum::body::Body::from(body.map(Value::to_string).unwrap_or_default()))
                    .context("a request is always valid")?;
                let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
                let well = answer.status().is_success();
                let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await?;
                let value: Value =
                    serde_json::from_slice(&bytes).with_context(|| String::from_utf8_lossy(&bytes).into_owned())?;
                if !well {
                    bail!("{}", value["error"].as_str().unwrap_or("the engine refused"));
                }
                Ok(value)
            }
        }
    }

    async fn read(&self) -> Result<(Run, Vec<Job>)> {
        let mut found = self.request("GET", &format!("/runs/{}", self.id), None).await?;
        Ok((serde_json::from_value(found["run"].take())?, serde_json::from_value(found["jobs"].take())?))
    }

    async fn close(self) {
        if let Keeper::Here(hand) = self.keeper {
            hand.close().await;
        }
    }
}

fn code(run: &Run) -> ExitCode {
    let well = run.conclusion.is_none_or(|c| matches!(c, Conclusion::Success | Conclusion::Skipped));
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shows a run.
pub async fn view(args: &View) -> Result<ExitCode> {
    let found = args.which.plain().await?;
    let (run, jobs) = found.read().await?;
    if args.output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&show::document(&run, &jobs, found.by_hand))?);
    } else {
        show::summary(&run, &jobs, found.by_hand, true);
    }
    found.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Prints logs; those that still grow are followed to their ends.
pub async fn logs(args: &Logs) -> Result<ExitCode> {
    let found = args.which.plain().await?;
    let (_, jobs) = found.read().await?;
    let wanted = |job: &&Job| {
        let named =
            args.job.as_ref().is_none_or(|name| job.name == *name || job.key == *name || job.id.to_string() == *name);
        let failed =
            !args.failed || job.conclusion.is_some_and(|c| !matches!(c, Conclusion::Success | Conclusion::Skipped));
        named && failed && job.started_ms.is_some()
    };
    let chosen: Vec<&Job> = jobs.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        bail!("the run has no such job with a log; its jobs are: {}", names.join(", "));
    }
    for job in &chosen {
        if chosen.len() > 1 {
            anstream::println!("\u{1b}[1m{}\u{1b}[0m", job.name);
        }
        log(&found, job, args.timestamps).await?;
    }
    found.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn log(found: &Found, job: &Job, timestamps: bool) -> Result<()> {
    let mut writer = Lines { rest: Vec::new(), timestamps };
    match &found.keeper {
        Keeper::Process(state) => tokio::task::block_in_place(|| {
            let path = format!("/actions/jobs/{}/log", job.id);
            Client::new(state)?.stream("GET", &path, None)?.copy(&mut writer)
        }),
        Keeper::Here(hand) => {
            let mut follower = hand.engine.follow(job.id).await?;
            while let Some(piece) = follower.next().await {
                std::io::Write::write_all(&mut writer, &piece)?;
            }
            Ok(())
        }
    }
}

/// Prints a log line by line.
struct Lines {
    rest: Vec<u8>,
    timestamps: bool,
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\n');
            if self.timestamps {
                writeln!(anstream::stdout(), "{line}")?;
            } else if let Some(text) = show::readable(line.split_once(' ').map_or("", |(_, text)| text)) {
                writeln!(anstream::stdout(), "{text}")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a run again and shows it to its end.
pub async fn rerun(args: &Rerun) -> Result<ExitCode> {
    let setup = async || -> Result<Setup> {
        let mut setup = Setup::plain(&args.which.instance.repo()?).await?;
        setup.host.secrets = inputs::secrets(&args.secret)?;
        setup.host.variables = inputs::pairs(&args.var, "--var")?;
        setup.host.env = args.env_file.as_deref().map(inputs::env_file).transpose()?.unwrap_or_default();
        Ok(setup)
    };
    let found = args.which.find(setup).await?;
    let how =
        json!({"failed": args.failed, "from": args.from, "job": args.job, "break_on_failure": args.break_on_failure});
    found.request("POST", &format!("/runs/{}/rerun", found.id), Some(&how)).await?;
    let run = match &found.keeper {
        Keeper::Here(hand) => start::follow(&hand.engine, found.id, true).await?.0,
        Keeper::Process(state) => follow(state, found.id, found.by_hand).await?,
    };
    found.close().await;
    Ok(code(&run))
}

/// Shows a run of another process to its end.
async fn follow(state: &StateDir, id: i64, by_hand: bool) -> Result<Run> {
    let client = Client::new(state)?;
    let mut body = tokio::task::block_in_place(|| client.stream("GET", &format!("/actions/runs/{id}/watch"), None))?;
    let mut printer = Printer::default();
    loop {
        let watched: Option<Watched> = tokio::task::block_in_place(|| body.document())?;
        let Some(watched) = watched else { bail!("the daemon broke off; the run goes on: bigben run view {id}") };
        printer.print(&watched);
        match watched {
            Watched::Stopped { stop } => {
                start::announce(&stop);
                let env: Vec<(String, String)> = serde_json::from_value(stop["env"].clone())?;
                let cwd = PathBuf::from(stop["cwd"].as_str().unwrap_or("/"));
                let outcome = if stop["in_container"] == true {
                    Err(std::io::Error::other(
                        "the step ran in a container of the daemon; run the workflow by hand to look into it: bigben run --break-on-failure",
                    ))
                } else {
                    actions::job::breaks::shell(&env, &cwd).await
                };
                if let Err(error) = outcome {
                    anstream::eprintln!("bigben: no shell could be opened: {error}");
                }
                let job = stop["job"].as_i64().unwrap_or_default();
                let path = format!("/actions/jobs/{job}/resume");
                let _: Value =
                    tokio::task::block_in_place(|| Client::new(state)?.request("POST", &path, Some(&json!({}))))?;
            }
            Watched::Over { run, jobs } => {
                show::summary(&run, &jobs, by_hand, false);
                return Ok(*run);
            }
            _ => {}
        }
    }
}

/// Ends a run.
pub async fn cancel(args: &Cancel) -> Result<ExitCode> {
    let found = args.which.plain().await?;
    found.request("POST", &format!("/runs/{}/cancel", found.id), Some(&json!({"force": args.force}))).await?;
    anstream::println!("the run {} is being cancelled", args.which.id);
    found.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Decides about a protected environment.
pub async fn review(args: &Review) -> Result<ExitCode> {
    let found = args.which.plain().await?;
    let (_, jobs) = found.read().await?;
    let waits = |job: &Job| {
        job.status == Status::Waiting
            && job.environment.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&args.environment))
    };
    if !jobs.iter().any(waits) {
        bail!("no job of the run {} waits for the environment {}", args.which.id, args.environment);
    }
    let body = json!({"environment": args.environment, "who": "bigben", "approved": !args.reject});
    found.request("POST", &format!("/runs/{}/review", found.id), Some(&body)).await?;
    found.close().await;
    Ok(ExitCode::SUCCESS)
}
