//! `bigben secret`.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::InstanceArgs;
use crate::client::Client;

/// Set secrets that workflows use
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set a secret; its value is read from standard input
    Set(SetArgs),
}

#[derive(clap::Args)]
struct SetArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Its name
    name: String,
    /// The deployment environment that it belongs to [default: the repository]
    #[arg(short, long, value_name = "ENVIRONMENT")]
    env: Option<String>,
}

/// Sets it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Command::Set(args) = &args.command;
    let state = args.instance.state()?;
    let client = Client::new(&state)?;
    if std::io::stdin().is_terminal() {
        anstream::eprintln!("Value of {} (end with Ctrl-D):", args.name);
    }
    let mut value = String::new();
    std::io::stdin().read_to_string(&mut value).context("cannot read the value from standard input")?;
    let value = value.trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        bail!("the value is empty");
    }
    let body = json!({"name": args.name, "value": value, "environment": args.env});
    let _: Value = client.request("POST", "/secrets", Some(&body))?;
    Ok(ExitCode::SUCCESS)
}
