//! `bigben kubeconfig`.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::InstanceArgs;

/// Print the kubeconfig of the embedded cluster
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Print the path of the file instead
    #[arg(long)]
    path: bool,
}

/// Prints it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let path = args.instance.state()?.join("kubeconfig");
    if args.path {
        anstream::println!("{}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("there is no {}; bring the platform up first: bigben up", path.display()))?;
    anstream::print!("{text}");
    Ok(ExitCode::SUCCESS)
}
