//! `bigben rollback`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::InstanceArgs;
use crate::client::Client;

/// Take an Application back to an earlier deployment, by a new commit
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The Application
    app: String,
    /// The deployment's id in the Application's history [default: the one before]
    #[arg(long)]
    id: Option<i64>,
}

/// Commits the way back.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let body = json!({"application": args.app, "id": args.id});
    let answer: Value = Client::new(&state)?.request("POST", "/rollback", Some(&body))?;
    anstream::println!("{}", answer["message"].as_str().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}
