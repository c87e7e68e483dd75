//! `bigben pr`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{InstanceArgs, release};
use crate::client::Client;
use crate::repository;

/// Open pull requests
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Open a pull request for a pushed branch, and show how its checks end
    Create(CreateArgs),
}

#[derive(clap::Args)]
struct CreateArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The branch to propose [default: the one that is checked out]
    #[arg(short = 'H', long)]
    head: Option<String>,
    /// The branch to change
    #[arg(short = 'B', long, default_value = "main")]
    base: String,
    /// Its title [default: that of the branch's last commit]
    #[arg(short, long)]
    title: Option<String>,
    /// Its text
    #[arg(short, long)]
    body: Option<String>,
    /// Return at once instead of when its checks are over
    #[arg(long)]
    no_wait: bool,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Command::Create(args) = &args.command;
    let state = args.instance.state()?;
    let client = Client::new(&state)?;
    let head = match &args.head {
        Some(head) => head.clone(),
        None => {
            let dir = args.instance.repo.as_deref().unwrap_or(Path::new("."));
            let branch = repository::git(dir, &["symbolic-ref", "--short", "HEAD"])
                .context("no branch is checked out; name one with --head BRANCH")?;
            branch.trim().to_owned()
        }
    };
    if head == args.base {
        bail!("{head} is the branch to change; check another branch out, or name one with --head BRANCH");
    }
    let body = json!({"head": head, "base": args.base, "title": args.title, "body": args.body});
    let pull: Value = client.request("POST", "/pulls", Some(&body))?;
    anstream::println!("pull request #{}: {}", pull["number"], pull["title"].as_str().unwrap_or_default());
    if args.no_wait { Ok(ExitCode::SUCCESS) } else { release::wait(&client, &pull["runs"]) }
}
