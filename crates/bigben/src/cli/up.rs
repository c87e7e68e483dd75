//! `bigben up`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{InstanceArgs, Output, doctor};
use crate::client::Client;
use crate::daemon::{Progress, Summary};
use crate::on;
use crate::repository;
use crate::state::StateDir;
use crate::text::duration;

/// Bring the platform up and return when every Application is Synced and Healthy
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Port of the ingress [default: 80, or the next that is free]
    #[arg(long, value_name = "PORT")]
    http: Option<u16>,
    /// Where to run: embedded, kind (a real kind cluster), or the name of a kubeconfig context
    #[arg(long, value_name = "embedded|kind|CONTEXT", default_value = "embedded")]
    on: String,
    /// A file of lines `PATTERN KEY[,KEY]`: images whose full name matches start only when one of the keys signed them
    #[arg(long, value_name = "FILE")]
    require_signatures: Option<PathBuf>,
    /// How long to wait, such as 90s or 30m
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = parse_timeout)]
    timeout: Duration,
    /// How to print the result
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let seconds = gitops::application::parse_duration(text).filter(|seconds| *seconds > 0.0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("{text:?} is not a duration such as 90s or 30m"))
}

/// Starts the daemon where none runs, and waits until all is well.
pub fn run(args: &Args) -> Result<ExitCode> {
    let repo = args.instance.repo()?;
    let state = StateDir::find(args.instance.state.as_deref(), &repo)?;
    if args.on != "embedded" {
        return on::up(&repo, &state, &args.on, args.timeout);
    }
    let started = Instant::now();
    state.create()?;
    let mut boot = None;
    if state.is_running()? {
        refuse_other_port(&state, args.http)?;
        if args.require_signatures.is_some() {
            bail!("the platform is up already; `bigben down` first to have it require signatures");
        }
    } else {
        doctor::require()?;
        repository::read(&repo, &repository::head(&repo)?)?;
        start(&repo, &state, args)?;
        boot = Some(started.elapsed());
    }
    let client = Client::new(&state)?;
    let path = format!("/up?timeout={}", args.timeout.as_secs());
    let mut lines = client.stream("POST", &path, None)?;
    let mut display = Display::new(args.output);
    while let Some(progress) = lines.document::<Progress>()? {
        match progress {
            Progress::Done { mut summary } => {
                display.end();
                if let Some(boot) = boot {
                    summary.parts.insert(0, ("boot".to_owned(), boot.as_millis() as i64));
                }
                add_remote(&repo, &state, &summary)?;
                print(args.output, &summary, started.elapsed())?;
                return Ok(ExitCode::SUCCESS);
            }
            Progress::Failed { error } => {
                display.end();
                bail!("{error}");
            }
            other => display.show(other),
        }
    }
    bail!("the daemon ended; its log is {}", state.log().display())
}

fn refuse_other_port(state: &StateDir, http: Option<u16>) -> Result<()> {
    let standing = state.known_instance()?.map(|instance| instance.ports.http);
    match (http, standing) {
        (Some(wanted), Some(standing)) if wanted != standing => {
            bail!("the platform is up on port {standing}; `bigben down` first to have it on {wanted}")
        }
        _ => Ok(()),
    }
}

/// Starts the daemon and waits for its word.
fn start(repo: &Path, state: &StateDir, args: &Args) -> Result<()> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(state.log())
        .with_context(|| format!("cannot open {}", state.log().display()))?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("daemon").arg("--repo").arg(repo).arg("--state").arg(state.path());
    if let Some(port) = args.http {
        command.arg("--http").arg(port.to_string());
    }
    if let Some(file) = &args.require_signatures {
        let file = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
        command.arg("--require-signatures").arg(file);
    }
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the daemon")?;
    let stdout = child.stdout.take().context("the daemon's output is a pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).context("the daemon does not answer")?;
    let word: Value = serde_json::from_str(&line).unwrap_or_default();
    if word["ready"].is_object() {
        return Ok(());
    }
    let _ = child.wait();
    match word["error"].as_str() {
        Some(error) => bail!("{error}"),
        None => bail!("the daemon ended before it was ready; its log is {}", state.log().display()),
    }
}

/// The remote `bigben`, with a credential helper that reads the token from the state directory.
fn add_remote(repo: &Path, state: &StateDir, summary: &Summary) -> Result<()> {
    let Some(instance) = state.known_instance()? else { return Ok(()) };
    let host = summary.remote.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let line = format!("http://{}:{}@{host}\n", crate::daemon::USER, instance.forge_token);
    state.write_private("git-credentials", line.as_bytes())?;
    let helper = format!("store --file='{}'", state.join("git-credentials").display());
    let key = format!("credential.http://{host}.helper");
    let known = repository::git(repo, &["remote", "get-url", "bigben"]);
    match known {
        Ok(url) if url.trim() == summary.remote => {}
        Ok(_) => drop(repository::git(repo, &["remote", "set-url", "bigben", &summary.remote])?),
        Err(_) => drop(repository::git(repo, &["remote", "add", "bigben", &summary.remote])?),
    }
    // The first, empty one keeps helpers of other configurations from seeing the token.
    repository::git(repo, &["config", "--local", "--replace-all", &key, ""])?;
    repository::git(repo, &["config", "--local", "--add", &key, &helper])?;
    Ok(())
}

fn print(output: Output, summary: &Summary, took: Duration) -> Result<()> {
    if output == Output::Json {
        anstream::println!("{}", serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    for (name, urls) in &summary.urls {
        anstream::println!("{name:<20} {}", urls.join("  "));
    }
    if let Some(console) = &summary.console {
        anstream::println!("{:<20} {console}  user {}  password {}", "console", summary.user, summary.password);
    }
    anstream::println!("{:<20} git push bigben main", "deliver");
    anstream::println!("{:<20} export KUBECONFIG={}", "kubectl", summary.kubeconfig);
    let parts: Vec<String> = summary.parts.iter().map(|(part, ms)| format!("{part} {}", duration(*ms))).collect();
    anstream::println!("{:<20} {} ({})", "up after", duration(took.as_millis() as i64), parts.join(", "));
    Ok(())
}

/// Shows progress: on a terminal as lines that change, elsewhere as lines that are added.
struct Display {
    quiet: bool,
    bars: Option<MultiProgress>,
    part: Option<ProgressBar>,
    applications: Option<ProgressBar>,
}

impl Display {
    fn new(output: Output) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            quiet: output == Output::Json && !terminal,
            bars: terminal.then(MultiProgress::new),
            part: None,
            applications: None,
        }
    }

    fn bar(&self, text: String) -> Option<ProgressBar> {
        let bar = self.bars.as_ref()?.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(text);
        bar.enable_steady_tick(Duration::from_millis(100));
        Some(bar)
    }

    fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(text)),
            None if self.quiet => {}
            None => anstream::eprintln!("{text}"),
        }
    }

    fn show(&mut self, progress: Progress) {
        match progress {
            Progress::Began { part } => self.part = self.bar(part),
            Progress::Ended { part, took_ms, note } => {
                if let Some(bar) = self.part.take() {
                    bar.finish_and_clear();
                }
                let note = note.map(|note| format!(": {note}")).unwrap_or_default();
                self.line(&format!("{part:<14} {:>8}{note}", duration(took_ms)));
            }
            Progress::Note { text } => self.line(&text),
            Progress::Applications { states } => self.show_applications(&states),
            Progress::Done { .. } | Progress::Failed { .. } => {}
        }
    }

    fn show_applications(&mut self, states: &BTreeMap<String, (String, String, String)>) {
        let texts: Vec<String> =
            states.iter().map(|(name, (sync, health, _))| format!("{name} {sync}/{health}")).collect();
        match &self.applications {
            Some(bar) => bar.set_message(texts.join("  ")),
            None if self.bars.is_some() => self.applications = self.bar(texts.join("  ")),
            None => self.line(&texts.join("  ")),
        }
    }

    fn end(&mut self) {
        for bar in [self.part.take(), self.applications.take()].into_iter().flatten() {
            bar.finish_and_clear();
        }
    }
}
