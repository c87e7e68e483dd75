//! `bigben down`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::InstanceArgs;
use crate::client::Client;
use crate::repository;
use crate::state::StateDir;

/// Take the platform down; its state is kept for a fast next `up`
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Also delete the state: repositories, images, the cluster's objects
    #[arg(long)]
    purge: bool,
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the daemon and everything below it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let was_up = state.is_running()?;
    let repo = state.known_instance().ok().flatten().map(|instance| instance.repo);
    if was_up {
        let _: Value = Client::new(&state)?.request("POST", "/shutdown", None)?;
        // The lock is released when the process has ended.
        let deadline = Instant::now() + PATIENCE;
        while state.is_running()? {
            if Instant::now() > deadline {
                bail!("the daemon does not end; its log is {}", state.log().display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    if let Some(repo) = repo {
        remove_remote(&repo);
    }
    if args.purge && state.path().exists() {
        purge(&state)?;
    }
    let text = match (was_up, args.purge) {
        (true, false) => "down; the state is kept",
        (true, true) => "down; the state is deleted",
        (false, true) => "it was not up; the state is deleted",
        (false, false) => "it was not up",
    };
    anstream::eprintln!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Takes out of the working copy what `up` put in. One that is gone needs nothing.
fn remove_remote(repo: &Path) {
    let Ok(url) = repository::git(repo, &["remote", "get-url", "bigben"]) else { return };
    let host = url.trim().split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let section = format!("credential.http://{host}");
    let _ = repository::git(repo, &["remote", "remove", "bigben"]);
    let _ = repository::git(repo, &["config", "--local", "--remove-section", &section]);
}

fn purge(state: &StateDir) -> Result<()> {
    // Either an instance was here, or `up --on` left the files that the tools read.
    let known = ["instance.json", "files"].iter().any(|name| state.join(name).exists());
    if !known && std::fs::read_dir(state.path()).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} does not look like a state directory; it is left alone", state.path().display());
    }
    let machine = state.join("machine");
    if machine.exists() {
        // The Pods' files may belong to subordinate ids.
        runtime::machine::remove_tree(&machine).with_context(|| format!("cannot delete {}", machine.display()))?;
    }
    oci::layer::remove_tree(state.path()).with_context(|| format!("cannot delete {}", state.path().display()))
}
