//! `bigben runs`.

use std::process::ExitCode;

use actions::model::{Conclusion, Run};
use anyhow::Result;

use super::hand::slots;
use super::show::{document, number};
use super::{InstanceArgs, Output};
use crate::client::Client;
use crate::text::{duration, table};

/// List the workflow runs, newest first: the daemon's, and those by hand
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
///
/// # Errors
/// When the daemon, or the database of runs by hand, cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state = args.instance.state()?;
    let mut all: Vec<(Run, bool)> = Vec::new();
    if state.is_running()? {
        let runs: Vec<Run> =
            Client::new(&state)?.request("GET", &format!("/actions/runs?limit={}", args.limit), None)?;
        all.extend(runs.into_iter().map(|run| (run, false)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for (_, slot) in slots(&state)? {
        let path = slot.join("actions/actions.db");
        if path.is_file() {
            let store = actions::store::Store::open(&path)?;
            let runs = runtime.block_on(store.runs(None, args.limit))?;
            all.extend(runs.into_iter().map(|run| (run, true)));
        }
    }
    all.sort_by_key(|(run, _)| std::cmp::Reverse(run.created_ms));
    all.truncate(args.limit);
    if args.output == Output::Json {
        let documents: Vec<_> = all.iter().map(|(run, by_hand)| document(run, &[], *by_hand)).collect();
        anstream::println!("{}", serde_json::to_string_pretty(&documents)?);
        return Ok(ExitCode::SUCCESS);
    }
    let heads = ["RUN", "RESULT", "WORKFLOW", "EVENT", "BRANCH", "COMMIT", "TOOK"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (run, by_hand) in &all {
        let took = run.completed_ms.map(|end| duration(end - run.created_ms));
        rows.push(vec![
            number(run, *by_hand),
            run.conclusion.map_or(run.status.word(), Conclusion::word).to_owned(),
            run.workflow.clone(),
            run.event.clone(),
            run.head_branch.clone(),
            run.head_sha.get(..7).unwrap_or_default().to_owned(),
            took.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    anstream::print!("{}", table(&rows));
    Ok(ExitCode::SUCCESS)
}
