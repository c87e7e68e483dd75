//! `bigben logs`.

use std::process::ExitCode;

use anyhow::Result;

use super::InstanceArgs;
use crate::client::Client;

/// Print the log of an Application's Pods, or of a workflow run
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// An Application, or a run's number
    #[arg(value_name = "APP|RUN")]
    what: String,
    /// One job of the run
    #[arg(long, value_name = "ID")]
    job: Option<i64>,
    /// Go on as it grows
    #[arg(short, long)]
    follow: bool,
}

/// Prints the log as it comes.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let client = Client::new(&state)?;
    let follow = args.follow;
    let path = match args.what.parse::<i64>() {
        Ok(run) => {
            let job = args.job.map(|job| format!("&job={job}")).unwrap_or_default();
            format!("/logs/run/{run}?follow={follow}{job}")
        }
        Err(_) => format!("/logs/application/{}?follow={follow}", args.what),
    };
    client.stream("GET", &path, None)?.copy(&mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
