//! The command line: a file per command, each an argument struct and a function.

mod bench;
mod chart;
mod delivery;
mod doctor;
mod down;
mod expr;
mod hosts;
mod internal;
mod kubeconfig;
mod logs;
mod pr;
mod registry;
mod release;
mod rollback;
mod run;
mod secret;
mod status;
mod up;
mod workflow;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::repository;
use crate::state::StateDir;

/// Runs a repository's own GitHub Actions workflows, Dockerfiles, Helm charts and Argo CD Applications on this machine, offline.
#[derive(Parser)]
#[command(name = "bigben", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Args),
    Down(down::Args),
    Status(status::Args),
    Deliveries(delivery::ListArgs),
    Delivery(delivery::ShowArgs),
    Logs(logs::Args),
    Run(Box<run::Args>),
    Runs(run::RunsArgs),
    Release(release::Args),
    Pr(pr::Args),
    Rollback(rollback::Args),
    Secret(secret::Args),
    Kubeconfig(kubeconfig::Args),
    Hosts(hosts::Args),
    Doctor(doctor::Args),
    Bench(bench::Args),
    Template(Box<chart::Template>),
    Lint(Box<chart::Lint>),
    #[command(alias = "inspect")]
    Show(Box<chart::Show>),
    #[command(aliases = ["dep", "dependencies"])]
    Dependency(chart::Dependency),
    Expr(expr::Args),
    Workflow(workflow::Args),
    Registry(registry::Args),
    #[command(hide = true)]
    Daemon(internal::DaemonArgs),
    #[command(hide = true)]
    Machine(internal::MachineArgs),
}

/// Which instance a command is about.
#[derive(Args, Clone)]
struct InstanceArgs {
    /// The repository's working copy [default: the one you stand in]
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// Where the instance keeps its state [default: below XDG_STATE_HOME, one per repository]
    #[arg(long, value_name = "DIR", env = "BIGBEN_STATE")]
    state: Option<PathBuf>,
}

impl InstanceArgs {
    /// The top of the working copy.
    fn repo(&self) -> Result<PathBuf> {
        repository::top(self.repo.as_deref().unwrap_or(Path::new(".")))
    }

    /// The state directory. A state that is named needs no repository.
    fn state(&self) -> Result<StateDir> {
        match &self.state {
            Some(dir) => StateDir::find(Some(dir), Path::new("")),
            None => StateDir::find(None, &self.repo()?),
        }
    }
}

/// How a command prints what it found.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs the command that was typed. Exit codes: 0 well, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_service = matches!(cli.command, Command::Daemon(_) | Command::Machine(_));
    log(is_service);
    let outcome = match cli.command {
        Command::Up(args) => up::run(&args),
        Command::Down(args) => down::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Deliveries(args) => delivery::list(&args),
        Command::Delivery(args) => delivery::show(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Runs(args) => run::list(&args),
        Command::Release(args) => release::run(&args),
        Command::Pr(args) => pr::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        Command::Secret(args) => secret::run(&args),
        Command::Kubeconfig(args) => kubeconfig::run(&args),
        Command::Hosts(args) => hosts::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Template(args) => chart::template(&args),
        Command::Lint(args) => chart::lint(&args),
        Command::Show(args) => chart::show(&args),
        Command::Dependency(args) => chart::dependency(&args),
        Command::Expr(args) => expr::run(&args),
        Command::Workflow(args) => workflow::run(&args),
        Command::Registry(args) => registry::run(&args),
        Command::Daemon(args) => internal::daemon(args),
        Command::Machine(args) => internal::machine(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("bigben: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output has had enough of it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn log(is_service: bool) {
    let default = if is_service { "info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(!is_service).init();
}
