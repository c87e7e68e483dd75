//! `bigben run`: workflows by hand, and what became of runs.
//!
//! By hand a workflow runs in this process, against the working copy as it is; the daemon is not needed. Its runs are kept beside the
//! instance's state and are numbered `@1`, `@2`, …; runs of the daemon have plain numbers.

mod hand;
mod inputs;
mod past;
mod plan;
mod runs;
mod show;
mod start;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;

use super::{InstanceArgs, Output};

pub use runs::{Args as RunsArgs, run as list};

/// Run workflows of this repository here and now, without a daemon; or look after runs
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    start: Start,
}

/// What is to run, and how.
#[derive(clap::Args, Clone)]
struct Start {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The workflow: its file or its name [default: all that the event starts]
    workflow: Option<String>,
    /// The event [default: push, or for a workflow that is named what it can be started by]
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// A file with the event's payload; what it lacks is filled in
    #[arg(long, value_name = "FILE.json")]
    event_file: Option<PathBuf>,
    /// Run only this job and those that it needs
    #[arg(long)]
    job: Option<String>,
    /// Run only combinations of a matrix that have this value; of several for one key any
    #[arg(long, value_name = "KEY:VALUE")]
    matrix: Vec<String>,
    /// An input of workflow_dispatch
    #[arg(long, value_name = "KEY=VALUE")]
    input: Vec<String>,
    /// A secret; without a value it is taken from the environment, or asked for
    #[arg(long, value_name = "KEY[=VALUE]")]
    secret: Vec<String>,
    /// A variable (`vars`)
    #[arg(long, value_name = "KEY=VALUE")]
    var: Vec<String>,
    /// A file of KEY=VALUE lines for the environment of every step
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Run again whenever a file of the working copy changes
    #[arg(long)]
    watch: bool,
    /// Print the workflows and their jobs, and run nothing
    #[arg(long, conflicts_with_all = ["graph", "dry_run"])]
    list: bool,
    /// Print which jobs wait for which, and run nothing
    #[arg(long, conflicts_with = "dry_run")]
    graph: bool,
    /// Print what the event would start and why, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Where a step fails, open a shell in its environment
    #[arg(long)]
    break_on_failure: bool,
    /// Keep what each step was given and gave in this file
    #[arg(long, value_name = "FILE.json", conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Take what steps give from this file instead of running them
    #[arg(long, value_name = "FILE.json", conflicts_with = "watch")]
    replay: Option<PathBuf>,
    /// Fetch no actions from upstream
    #[arg(long)]
    offline: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Subcommand)]
enum Command {
    /// Show a run, its jobs and steps
    View(past::View),
    /// Print the logs of a run
    Logs(past::Logs),
    /// Run a run again: all of it, only what failed, or from a step on
    Rerun(past::Rerun),
    /// End a run
    Cancel(past::Cancel),
    /// Let a run use a protected environment, or refuse it
    Review(past::Review),
}

/// Runs workflows, or does what is asked about a run.
///
/// # Errors
/// Says what is missing. A workflow that fails is no error but exit code 1.
pub fn run(args: &Args) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        match &args.command {
            None => start::run(&args.start).await,
            Some(Command::View(args)) => past::view(args).await,
            Some(Command::Logs(args)) => past::logs(args).await,
            Some(Command::Rerun(args)) => past::rerun(args).await,
            Some(Command::Cancel(args)) => past::cancel(args).await,
            Some(Command::Review(args)) => past::review(args).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}
