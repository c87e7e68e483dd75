//! Commands that the program gives itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::state::StateDir;
use crate::{daemon, machine};

/// The control plane.
#[derive(clap::Args)]
pub struct DaemonArgs {
    #[arg(long)]
    repo: PathBuf,
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    http: Option<u16>,
    #[arg(long)]
    require_signatures: Option<PathBuf>,
}

/// The machine.
#[derive(clap::Args)]
pub struct MachineArgs {
    orders: PathBuf,
}

/// Runs the control plane until it is told to end.
pub fn daemon(args: DaemonArgs) -> Result<ExitCode> {
    let state = StateDir::find(Some(&args.state), &args.repo)?;
    let DaemonArgs { repo, http, require_signatures, .. } = args;
    daemon::run(daemon::Options { repo, state, http, require_signatures })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the machine until it is told to end.
pub fn machine(args: &MachineArgs) -> Result<ExitCode> {
    machine::run(&args.orders)?;
    Ok(ExitCode::SUCCESS)
}
