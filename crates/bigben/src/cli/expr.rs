//! `bigben expr`.

use std::path::PathBuf;
use std::process::ExitCode;

use actions::expr::{self, Contexts};
use anyhow::{Context, Result};
use serde_json::Value;

/// Evaluate an expression of the workflow language and print its value as JSON
#[derive(clap::Args)]
pub struct Args {
    /// The expression, with or without ${{ }} around it
    expression: String,
    /// A file with the contexts: {"github": {...}, "matrix": {...}}
    #[arg(long, value_name = "FILE.json")]
    context: Option<PathBuf>,
}

/// Prints the value.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut contexts = Contexts::new();
    if let Some(path) = &args.context {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let given: serde_json::Map<String, Value> =
            serde_json::from_str(&text).with_context(|| format!("{} is not an object of contexts", path.display()))?;
        for (name, value) in given {
            contexts.set(&name, value);
        }
    }
    let text = args.expression.trim();
    let bare = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(text);
    let value = expr::evaluate(bare.trim(), &contexts)?;
    anstream::println!("{}", value.to_json());
    Ok(ExitCode::SUCCESS)
}
