//! `bigben workflow`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use super::Output;
use crate::repository;

/// Look workflow files over
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print errors and warnings with their place, and what would behave differently here than on GitHub
    Check(CheckArgs),
}

#[derive(clap::Args)]
struct CheckArgs {
    /// The files [default: those in .github/workflows]
    files: Vec<PathBuf>,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// Prints the reports. Exit code 1 when a file cannot run.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Command::Check(args) = &args.command;
    let files = if args.files.is_empty() { found()? } else { args.files.clone() };
    let mut texts = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        texts.push((path.to_string_lossy().into_owned(), text));
    }
    let reports = actions::check::check(&texts);
    if args.output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        for report in &reports {
            for finding in &report.findings {
                anstream::println!("{}: {finding}", report.path);
            }
            for difference in &report.differences {
                let actions::check::Difference { at, construct, difference } = difference;
                anstream::println!("{}:{}:{}: portability: {construct}: {difference}", report.path, at.line, at.column);
            }
        }
    }
    let well = reports.iter().all(actions::check::Report::is_ok);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn found() -> Result<Vec<PathBuf>> {
    let dir = repository::top(Path::new("."))?.join(".github/workflows");
    let entries = std::fs::read_dir(&dir)
        .with_context(|| format!("cannot read {}; name the files: bigben workflow check FILE...", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml"))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("there are no workflow files in {}; name the files: bigben workflow check FILE...", dir.display());
    }
    Ok(files)
}
