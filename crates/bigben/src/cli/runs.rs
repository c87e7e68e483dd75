//! `bigben runs`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::{InstanceArgs, Output};
use crate::client::Client;
use crate::text::{duration, table};

/// List the workflow runs, newest first
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// How many at most
    #[arg(short = 'L', long, default_value_t = 20)]
    limit: usize,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// Prints the runs.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let runs: Vec<Value> = Client::new(&state)?.request("GET", &format!("/runs?limit={}", args.limit), None)?;
    if args.output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&runs)?);
        return Ok(ExitCode::SUCCESS);
    }
    let heads = ["RUN", "RESULT", "WORKFLOW", "EVENT", "BRANCH", "COMMIT", "TOOK"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for run in &runs {
        let text = |field: &str| run[field].as_str().unwrap_or_default().to_owned();
        let took = run["completed_ms"].as_i64().zip(run["created_ms"].as_i64());
        let result = if run["conclusion"].is_string() { text("conclusion") } else { text("status") };
        rows.push(vec![
            run["id"].to_string(),
            result,
            text("workflow"),
            text("event"),
            text("head_branch"),
            text("head_sha").get(..7).unwrap_or_default().to_owned(),
            took.map_or_else(|| "-".to_owned(), |(end, start)| duration(end - start)),
        ]);
    }
    anstream::print!("{}", table(&rows));
    Ok(ExitCode::SUCCESS)
}
