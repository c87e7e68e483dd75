//! `bigben doctor`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use runtime::caps_probe::{self, Check};

/// Say what this machine allows, and what to change where something is missing
#[derive(clap::Args)]
pub struct Args {}

/// Prints every check. Exit code 1 when a required one fails.
pub fn run(_args: &Args) -> Result<ExitCode> {
    let checks = checks();
    for check in &checks {
        let mark = match (check.ok, check.required) {
            (true, _) => "ok",
            (false, true) => "MISSING",
            (false, false) => "limited",
        };
        anstream::println!("{mark:<8} {:<24} {}", check.name, check.detail);
        if let Some(hint) = check.hint.as_ref().filter(|_| !check.ok) {
            anstream::println!("{:<8} {:<24} -> {hint}", "", "");
        }
    }
    let well = checks.iter().all(|check| check.ok || !check.required);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Refuses where the platform cannot run, naming everything that is missing.
///
/// # Errors
/// What is missing and what to change.
pub fn require() -> Result<()> {
    let missing: Vec<String> = checks()
        .into_iter()
        .filter(|check| check.required && !check.ok)
        .map(|check| match check.hint {
            Some(hint) => format!("{}: {}; {hint}", check.name, check.detail),
            None => format!("{}: {}", check.name, check.detail),
        })
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        bail!("this machine cannot run the platform yet:\n  {}", missing.join("\n  "))
    }
}

fn checks() -> Vec<Check> {
    let mut checks = vec![git()];
    checks.extend(caps_probe::probe(Path::new("/tmp")));
    checks
}

fn git() -> Check {
    let version = Command::new("git").arg("--version").output().ok().filter(|output| output.status.success());
    let detail = version
        .as_ref()
        .map_or_else(|| "not found".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Check {
        name: "git".to_owned(),
        ok: version.is_some(),
        required: true,
        detail,
        hint: Some("install git 2.38 or newer".to_owned()),
    }
}
