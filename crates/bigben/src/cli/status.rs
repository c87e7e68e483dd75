//! `bigben status`.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;

use super::{InstanceArgs, Output};
use crate::client::Client;
use crate::daemon::Status;
use crate::text::table;

/// Show the Applications, what they run and where they answer
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Show it again at every change
    #[arg(short, long)]
    watch: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// Prints the status, once or at every change. Exit code 1 when an Application is not well.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let client = Client::new(&state)?;
    if !args.watch {
        let status: Status = client.request("GET", "/status", None)?;
        print(args.output, &status)?;
        let well = status.applications.iter().all(|app| app.sync == "Synced" && app.health == "Healthy");
        return Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut lines = client.stream("GET", "/watch", None)?;
    let mut last = String::new();
    while let Some(status) = lines.document::<Status>()? {
        let text = serde_json::to_string(&status)?;
        if text == last {
            continue;
        }
        last = text;
        if args.output == Output::Text && std::io::stdout().is_terminal() {
            anstream::print!("\x1b[2J\x1b[H");
        }
        print(args.output, &status)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(output: Output, status: &Status) -> Result<()> {
    if output == Output::Json {
        anstream::println!("{}", serde_json::to_string(status)?);
        return Ok(());
    }
    let short = |commit: &str| commit.get(..7).unwrap_or(commit).to_owned();
    anstream::println!("{} at {}", status.repository, short(&status.main));
    let heads = ["APPLICATION", "SYNC", "HEALTH", "REVISION", "IMAGES", "URL"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for app in &status.applications {
        rows.push(vec![
            app.name.clone(),
            app.sync.clone(),
            app.health.clone(),
            short(&app.revision),
            app.images.join(","),
            app.urls.first().cloned().unwrap_or_default(),
        ]);
    }
    anstream::print!("{}", table(&rows));
    for app in status.applications.iter().filter(|app| !app.message.is_empty()) {
        anstream::println!("{}: {}", app.name, app.message);
    }
    for commit in &status.running {
        anstream::println!("delivery {} is under way: bigben delivery {}", short(commit), short(commit));
    }
    Ok(())
}
