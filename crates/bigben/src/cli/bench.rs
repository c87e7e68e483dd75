//! `bigben bench`: how fast the loop is for this repository on this machine.
//!
//! A clone of the repository gets an instance of its own in a temporary directory; the working copy and its instance are left
//! alone. Every figure is a median, and the platform's time stands beside the time of the repository's own tests and compilers in
//! the same runs, so that a slow machine does not make a slow platform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::Output;
use crate::client::Client;
use crate::daemon::Memory;
use crate::state::StateDir;
use crate::text::{duration, table};
use crate::{repository, workflow_facts};

/// Measure the loop: boot, start with state kept, push to live, memory
#[derive(clap::Args)]
pub struct Args {
    /// The repository's working copy [default: the one you stand in]
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// How many pushes to measure
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
    pushes: u32,
    /// The file that each push adds an empty line to [default: one whose push leads to an image]
    #[arg(long, value_name = "FILE")]
    change: Option<String>,
    /// How to print the figures
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// The figures; times in milliseconds, memory in bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    /// The first `up`, with the images that it builds.
    first_up_ms: i64,
    /// An `up` with the state kept.
    second_up_ms: i64,
    /// The parts of that `up`.
    second_up_parts: Vec<(String, i64)>,
    /// What the platform's own processes hold when nothing happens, shared pages counted once.
    idle_bytes: u64,
    /// What the delivered workloads hold.
    workloads_bytes: u64,
    /// Each push.
    pushes: Vec<Push>,
    /// Median of the pushes' way to live.
    to_live_ms: i64,
    /// Median of the repository's own part of it.
    own_ms: i64,
    /// Median of the platform's part of it.
    platform_ms: i64,
    /// The way to live, as a multiple of the repository's own part.
    ratio: f64,
}

/// One push.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Push {
    commit: String,
    /// From the push to the first answer of the new version.
    to_live_ms: i64,
    /// The jobs that check and build, overlapping times counted once.
    own_ms: i64,
    /// The rest.
    platform_ms: i64,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<ExitCode> {
    let origin = repository::top(args.repo.as_deref().unwrap_or(Path::new(".")))?;
    super::doctor::require()?;
    let dir = tempfile::Builder::new().prefix("bigben-bench-").tempdir().context("cannot make a directory")?;
    let bench = Bench { repo: dir.path().join("repo"), state: dir.path().join("state") };
    let measured = bench.measure(&origin, args);
    // However it went: nothing stays.
    let ended = bench.bigben(&["down", "--purge"]).map(drop);
    let figures = measured?;
    ended?;
    print(args.output, &figures)?;
    Ok(ExitCode::SUCCESS)
}

struct Bench {
    repo: PathBuf,
    state: PathBuf,
}

impl Bench {
    fn measure(&self, origin: &Path, args: &Args) -> Result<Figures> {
        let commit = repository::head(origin)?;
        let clone = self.repo.to_string_lossy();
        repository::git(origin, &["clone", "--quiet", ".", &clone])?;
        repository::git(&self.repo, &["checkout", "--quiet", "-B", "main", &commit])?;
        for (key, value) in [("user.name", "bigben bench"), ("user.email", "bench@localhost")] {
            repository::git(&self.repo, &["config", key, value])?;
        }
        let change = match &args.change {
            Some(file) => file.clone(),
            None => self.file_to_change(&commit)?,
        };

        let note = |text: &str| anstream::eprintln!("{text}");
        note("up, with everything to build");
        let (first_up_ms, _) = self.up()?;
        note("down, and up with the state kept");
        self.bigben(&["down"])?;
        let (second_up_ms, summary) = self.up()?;
        let second_up_parts = serde_json::from_value(summary["parts"].clone()).unwrap_or_default();
        let state = StateDir::find(Some(&self.state), &self.repo)?;
        let memory: Memory = Client::new(&state)?.request("GET", "/memory", None)?;

        let mut pushes = Vec::new();
        for number in 1..=args.pushes {
            note(&format!("push {number} of {}: {change} and an empty line more", args.pushes));
            pushes.push(self.push(&change)?);
        }
        let median_of = |figure: fn(&Push) -> i64| median(pushes.iter().map(figure).collect());
        let (to_live_ms, own_ms) = (median_of(|push| push.to_live_ms), median_of(|push| push.own_ms));
        Ok(Figures {
            first_up_ms,
            second_up_ms,
            second_up_parts,
            idle_bytes: memory.platform,
            workloads_bytes: memory.workloads,
            to_live_ms,
            own_ms,
            platform_ms: median_of(|push| push.platform_ms),
            ratio: to_live_ms as f64 / own_ms.max(1) as f64,
            pushes,
        })
    }

    /// Runs this program on the instance and gives what it prints.
    fn bigben(&self, args: &[&str]) -> Result<Value> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.args(args).arg("--state").arg(&self.state).arg("--repo").arg(&self.repo);
        let output = command.stdin(Stdio::null()).output().context("cannot run this program again")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("bigben {} failed: {}", args.join(" "), said.trim());
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    fn up(&self) -> Result<(i64, Value)> {
        // A free port: the usual one may be another instance's.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = port.context("no port is free")?.port().to_string();
        let started = Instant::now();
        let summary = self.bigben(&["up", "--output", "json", "--http", &port])?;
        Ok((started.elapsed().as_millis() as i64, summary))
    }

    /// The first file of which a push starts a workflow that leads to an image.
    fn file_to_change(&self, commit: &str) -> Result<String> {
        let workflows = repository::read(&self.repo, commit)?.workflows;
        for path in crate::daemon::leading_to_images(&workflows, "push") {
            let patterns = workflow_facts::read(&path, &workflows[&path]).push_paths;
            let mut args = vec!["ls-files".to_owned(), "-z".to_owned(), "--".to_owned()];
            args.extend(patterns.iter().map(|pattern| format!(":(glob){pattern}")));
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let listed = repository::git(&self.repo, &args)?;
            if let Some(file) = listed.split('\0').find(|file| !file.is_empty()) {
                return Ok(file.to_owned());
            }
        }
        bail!("no workflow that a push starts leads to an image; name a file to change with --change FILE")
    }

    fn push(&self, change: &str) -> Result<Push> {
        use std::io::Write as _;
        repository::git(&self.repo, &["pull", "--quiet", "--rebase", "bigben", "main"])?;
        let path = self.repo.join(change);
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot change {}", path.display()))?;
        file.write_all(b"\n").with_context(|| format!("cannot change {}", path.display()))?;
        repository::git(&self.repo, &["commit", "--quiet", "--all", "--message", "bench: an empty line more"])?;
        let commit = repository::head(&self.repo)?;
        repository::git(&self.repo, &["push", "--quiet", "bigben", "main"])?;
        let delivery = self.bigben(&["delivery", &commit, "--wait", "--output", "json"])?;
        let Some(to_live_ms) = delivery["commit_to_live_ms"].as_i64() else {
            bail!("{commit} did not go live: {}; does a push of {change} lead to an image?", delivery["state"]);
        };
        let own_ms = delivery["own_work_ms"].as_i64().unwrap_or_default();
        Ok(Push { commit, to_live_ms, own_ms, platform_ms: to_live_ms - own_ms })
    }
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn print(output: Output, figures: &Figures) -> Result<()> {
    if output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(figures)?);
        return Ok(());
    }
    let parts: BTreeMap<&str, String> =
        figures.second_up_parts.iter().map(|(part, ms)| (part.as_str(), duration(*ms))).collect();
    let parts: Vec<String> = parts.into_iter().map(|(part, took)| format!("{part} {took}")).collect();
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let rows = [
        ["first up".to_owned(), duration(figures.first_up_ms), String::new()],
        ["second up".to_owned(), duration(figures.second_up_ms), parts.join(", ")],
        ["push to live".to_owned(), duration(figures.to_live_ms), format!("median of {}", figures.pushes.len())],
        ["  repository".to_owned(), duration(figures.own_ms), "its jobs that check and build".to_owned()],
        ["  platform".to_owned(), duration(figures.platform_ms), "everything else".to_owned()],
        ["  ratio".to_owned(), format!("{:.2}", figures.ratio), "push to live / repository".to_owned()],
        ["idle".to_owned(), mib(figures.idle_bytes), "the platform's processes".to_owned()],
        [String::new(), mib(figures.workloads_bytes), "the workloads".to_owned()],
    ];
    anstream::print!("{}", table(&rows.map(Vec::from)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3, 1, 2]), 2);
        assert_eq!(median(vec![4, 1, 3, 2]), 3);
        assert_eq!(median(Vec::new()), 0);
    }
}
