//! `bigben release`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::InstanceArgs;
use crate::client::Client;

/// Publish a release; what follows releases is delivered
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The release's tag, such as v1.2.0; made where it does not exist
    tag: String,
    /// What is new
    #[arg(short, long)]
    notes: Option<String>,
    /// The branch or commit that is released
    #[arg(long, default_value = "main")]
    target: String,
    /// Return at once instead of when its workflow runs are over
    #[arg(long)]
    no_wait: bool,
}

/// Publishes, and waits for what it starts.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let client = Client::new(&state)?;
    let body = json!({"tag": args.tag, "notes": args.notes, "target": args.target});
    let answer: Value = client.request("POST", "/release", Some(&body))?;
    anstream::eprintln!("released {}", args.tag);
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    wait(&client, &answer["runs"])
}

/// Waits for runs and those that follow, printing each; an error when one failed.
pub fn wait(client: &Client<'_>, runs: &Value) -> Result<ExitCode> {
    let ended: Vec<Value> = client.request("POST", "/runs/settled", Some(runs))?;
    if ended.is_empty() {
        anstream::eprintln!("no workflow follows");
    }
    let mut failed = Vec::new();
    for run in &ended {
        let conclusion = run["conclusion"].as_str().unwrap_or("unknown");
        anstream::eprintln!("{conclusion:<10} {} (run {})", run["workflow"].as_str().unwrap_or_default(), run["id"]);
        if !matches!(conclusion, "success" | "skipped") {
            failed.push(run["id"].to_string());
        }
    }
    match failed.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(run) => bail!("a workflow failed; its log: bigben logs {run}"),
    }
}
