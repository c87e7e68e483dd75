//! `docker` as build scripts call it, without a daemon: the same words, output and exit codes, on the local image store and
//! the registries of the endpoint map.
//!
//! [`main`] is what a binary runs when it is called by the name `docker`. What it does not know it refuses by name. Containers
//! (`run`, `exec`, `compose`) are deliberately not among it.

mod agent;
mod archive;
mod bake;
mod build;
mod builders;
mod buildx;
mod call;
mod context;
mod endpoints;
mod export;
mod flags;
mod format;
mod images;
mod imagetools;
mod info;
mod login;
mod manifest;
mod outputs;
mod perform;
mod render;
mod transfer;
mod usage;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci::EndpointMap;
use oci::client::Credentials;

use crate::build::{Builder, Config, DEFAULT_CACHE_LIMIT, chain};
use crate::dockerfile::edit_distance;

pub use format::size;

/// The names of the environment variables that are read.
pub mod variables {
    /// Directory of the local image store and build cache.
    pub const STATE: &str = "BIGBEN_DOCKER_STATE";
    /// File with a private key: what is pushed is signed with it (see [`crate::sign`]).
    pub const SIGNING_KEY: &str = "BIGBEN_SIGNING_KEY";
    /// Bytes that cached layers may take.
    pub const CACHE_LIMIT: &str = "BIGBEN_DOCKER_CACHE_LIMIT";
    /// Endpoint map: `docker.io=http://127.0.0.1:5000,...`.
    pub const ENDPOINTS: &str = "BIGBEN_ENDPOINTS";
}

/// Where a command reads and writes.
pub struct Stdio {
    /// Standard input.
    pub input: Box<dyn Read + Send>,
    /// Standard output: data.
    pub out: Box<dyn Write + Send>,
    /// Standard error: talk and progress.
    pub err: Box<dyn Write + Send>,
    /// Whether standard error is a terminal.
    pub terminal: bool,
    /// Whether these are the streams of this process.
    pub inherited: bool,
}

impl Stdio {
    /// Those of this process.
    pub fn inherit() -> Stdio {
        use std::io::IsTerminal;
        Stdio {
            input: Box::new(std::io::stdin()),
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            terminal: std::io::stderr().is_terminal(),
            inherited: true,
        }
    }
}

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    pub message: String,
    pub code: u8,
    /// Help is data, not an error.
    pub to_stdout: bool,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1, to_stdout: false }
    }

    /// An error that docker's daemon would answer with.
    pub fn daemon(wrong: &dyn std::error::Error) -> Failure {
        Failure::new(format!("Error response from daemon: {}", chain(wrong)))
    }

    pub fn usage(command: &str, message: impl Into<String>) -> Failure {
        Failure {
            message: format!(
                "{}\n\nUsage:  {}\n\nRun '{} --help' for more information",
                message.into(),
                usage::usage(command),
                format!("docker {command}").trim_end()
            ),
            code: 125,
            to_stdout: false,
        }
    }

    fn help(command: &str, flags: &[flags::Flag]) -> Failure {
        let mut text = format!("Usage:  {}\n", usage::usage(command));
        if !flags.is_empty() {
            text.push_str("\nOptions:\n");
        }
        for flag in flags {
            let short = flag.short.map_or("    ".to_owned(), |c| format!("-{c}, "));
            text.push_str(&format!("  {short}--{}{}\n", flag.name, if flag.takes { " value" } else { "" }));
        }
        Failure { message: text.trim_end().to_owned(), code: 0, to_stdout: true }
    }
}

impl From<std::io::Error> for Failure {
    fn from(wrong: std::io::Error) -> Self {
        Failure::new(wrong.to_string())
    }
}

impl From<crate::images::Error> for Failure {
    fn from(wrong: crate::images::Error) -> Self {
        match wrong {
            crate::images::Error::Reference { text, .. } => {
                Failure::new(format!("invalid argument {text:?}: invalid reference format"))
            }
            wrong => Failure::daemon(&wrong),
        }
    }
}

impl From<oci::layout::Error> for Failure {
    fn from(wrong: oci::layout::Error) -> Self {
        Failure::daemon(&wrong)
    }
}

/// One invocation: surroundings, read once.
pub(crate) struct Docker {
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    pub stdio: Stdio,
    pub config_dir: PathBuf,
}

impl Docker {
    fn state(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = self.env.get(variables::STATE).filter(|dir| !dir.is_empty()) {
            return Ok(self.cwd.join(dir));
        }
        if let Some(dir) = self.env.get("XDG_DATA_HOME").filter(|dir| !dir.is_empty()) {
            return Ok(Path::new(dir).join("bigben/docker"));
        }
        let home = self.env.get("HOME").filter(|dir| !dir.is_empty());
        let home =
            home.ok_or_else(|| Failure::new(format!("docker: no place for images: set {} or HOME", variables::STATE)))?;
        Ok(Path::new(home).join(".local/share/bigben/docker"))
    }

    pub fn endpoints(&self) -> Result<EndpointMap, Failure> {
        let text = self.env.get(variables::ENDPOINTS).map_or("", String::as_str);
        EndpointMap::parse(text)
            .map_err(|wrong| Failure::new(format!("docker: {}: {}", variables::ENDPOINTS, chain(&wrong))))
    }

    pub fn credentials(&self) -> Credentials {
        let text = std::fs::read_to_string(self.config_dir.join("config.json")).unwrap_or_default();
        Credentials::from_docker_config(&text).unwrap_or_default()
    }

    fn cache_limit(&self) -> Result<u64, Failure> {
        match self.env.get(variables::CACHE_LIMIT).filter(|text| !text.is_empty()) {
            None => Ok(DEFAULT_CACHE_LIMIT),
            Some(text) => text.parse().map_err(|_| {
                Failure::new(format!("docker: {}: {text:?} is not a number of bytes", variables::CACHE_LIMIT))
            }),
        }
    }

    pub fn builder(&self) -> Result<Builder, Failure> {
        let state = self.state()?;
        let config = Config {
            cache: state.join("cache"),
            store: state,
            endpoints: self.endpoints()?,
            credentials: self.credentials(),
            cache_limit: self.cache_limit()?,
        };
        Builder::new(config).map_err(|wrong| Failure::new(format!("docker: {}", chain(&wrong))))
    }

    /// Asks whether to go on, as commands that remove things do without `--force`.
    pub fn confirm(&mut self, warning: &str, command: &str) -> Result<(), Failure> {
        write!(self.stdio.out, "{warning}\nAre you sure you want to continue? [y/N] ")?;
        self.stdio.out.flush()?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while answer.len() < 64 && self.stdio.input.read(&mut byte)? == 1 && byte[0] != b'\n' {
            answer.push(byte[0]);
        }
        match answer.trim_ascii() {
            b"y" | b"Y" => Ok(()),
            _ => Err(Failure::new(format!("{command} has been cancelled: answer y, or pass --force"))),
        }
    }

    pub fn say(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.stdio.out, "{}", line.as_ref())?;
        Ok(())
    }

    pub fn talk(&mut self, line: impl AsRef<str>) {
        // Talk to a closed terminal is lost, the work goes on.
        let _ = writeln!(self.stdio.err, "{}", line.as_ref());
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|wrong| Failure::new(format!("docker: cannot start: {wrong}")))
}

/// Why a text is no reference, as docker says it.
pub(crate) fn malformed(text: &str) -> String {
    let (name, _) = text.split_once('@').unwrap_or((text, ""));
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    match oci::Reference::parse(&name.to_lowercase()) {
        Ok(lower) if name != name.to_lowercase() => {
            let rest = name.get(name.len().saturating_sub(lower.repository().len())..).unwrap_or(name);
            let shown = if rest.contains('/') || !lower.repository().starts_with("library/") {
                rest.to_owned()
            } else {
                format!("library/{name}")
            };
            format!("invalid reference format: repository name ({shown}) must be lowercase")
        }
        _ => "invalid reference format".to_owned(),
    }
}

const COMMANDS: &[&str] = &[
    "build", "builder", "buildx", "context", "history", "image", "images", "info", "inspect", "load", "login",
    "logout", "manifest", "pull", "push", "rmi", "save", "system", "tag", "version",
];

/// Runs `docker ARGS` and gives the exit code for the process. `argv[0]` is the program's name.
pub fn main(argv: Vec<String>, env: BTreeMap<String, String>, stdio: Stdio) -> ExitCode {
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    ExitCode::from(run(argv, env, cwd, stdio))
}

/// Runs `docker ARGS` in a directory and gives the exit code.
pub fn run(argv: Vec<String>, env: BTreeMap<String, String>, cwd: PathBuf, stdio: Stdio) -> u8 {
    let config_dir = match (env.get("DOCKER_CONFIG"), env.get("HOME")) {
        (Some(dir), _) if !dir.is_empty() => cwd.join(dir),
        (_, Some(home)) => Path::new(home).join(".docker"),
        _ => cwd.join(".docker"),
    };
    let mut docker = Docker { env, cwd, stdio, config_dir };
    let result = dispatch(&mut docker, argv.get(1..).unwrap_or_default());
    let _ = docker.stdio.out.flush();
    match result {
        Ok(()) => 0,
        Err(failure) => {
            if failure.to_stdout {
                let _ = writeln!(docker.stdio.out, "{}", failure.message);
                let _ = docker.stdio.out.flush();
            } else if !failure.message.is_empty() {
                docker.talk(&failure.message);
            }
            failure.code
        }
    }
}

fn dispatch(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    let mut rest = args;
    while let Some(flag) = rest.first().filter(|arg| arg.starts_with('-')) {
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag.as_str(), None),
        };
        rest = &rest[1..];
        let mut value = || match inline.clone() {
            Some(value) => Ok::<String, Failure>(value),
            None => {
                let (first, tail) =
                    rest.split_first().ok_or_else(|| Failure::new(format!("flag needs an argument: {name}")))?;
                rest = tail;
                Ok(first.clone())
            }
        };
        match name {
            "--config" => {
                let dir = value()?;
                docker.config_dir = docker.cwd.join(dir);
            }
            // There is no daemon to choose: accepted, without effect.
            "-H" | "--host" | "-c" | "--context" | "-l" | "--log-level" => drop(value()?),
            "-D" | "--debug" => {}
            "-v" | "--version" => return info::short_version(docker),
            "-h" | "--help" => return Err(overview(0)),
            _ => {
                return Err(Failure::usage("", format!("unknown flag: {name}")));
            }
        }
    }
    let Some((command, rest)) = rest.split_first() else { return Err(overview(0)) };
    match command.as_str() {
        "build" => build::build(docker, "build", rest),
        "builder" => builder_command(docker, rest),
        "buildx" => buildx::buildx(docker, rest),
        "context" => endpoints::context(docker, rest),
        "history" => images::history(docker, rest),
        "image" => image_command(docker, rest),
        "images" => images::images(docker, rest),
        "info" => info::info(docker, rest),
        "inspect" => images::inspect(docker, "inspect", rest),
        "load" => archive::load(docker, rest),
        "login" => login::login(docker, rest),
        "logout" => login::logout(docker, rest),
        "manifest" => manifest::manifest(docker, rest),
        "pull" => transfer::pull(docker, rest),
        "push" => transfer::push(docker, rest),
        "rmi" => images::remove(docker, rest),
        "save" => archive::save(docker, rest),
        "system" => info::system(docker, rest),
        "tag" => images::tag(docker, rest),
        "version" => info::version(docker, rest),
        "help" => Err(overview(0)),
        other => Err(unknown("", other, COMMANDS)),
    }
}

fn image_command(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const KNOWN: &[&str] =
        &["build", "history", "inspect", "load", "ls", "list", "prune", "pull", "push", "rm", "remove", "save", "tag"];
    let Some((command, rest)) = args.split_first() else { return group(docker, "image", KNOWN) };
    match command.as_str() {
        "build" => build::build(docker, "build", rest),
        "history" => images::history(docker, rest),
        "inspect" => images::inspect(docker, "image inspect", rest),
        "load" => archive::load(docker, rest),
        "ls" | "list" => images::images(docker, rest),
        "prune" => images::prune(docker, rest),
        "pull" => transfer::pull(docker, rest),
        "push" => transfer::push(docker, rest),
        "rm" | "remove" => images::remove(docker, rest),
        "save" => archive::save(docker, rest),
        "tag" => images::tag(docker, rest),
        other => Err(unknown("image ", other, KNOWN)),
    }
}

fn builder_command(docker: &mut Docker, args: &[String]) -> Result<(), Failure> {
    const KNOWN: &[&str] = &["build", "prune"];
    let Some((command, rest)) = args.split_first() else { return group(docker, "builder", KNOWN) };
    match command.as_str() {
        "build" => build::build(docker, "build", rest),
        "prune" => builders::prune(docker, rest),
        other => Err(unknown("builder ", other, KNOWN)),
    }
}

/// What a group of commands has: what it says when none of them is named.
pub(crate) fn group(docker: &mut Docker, name: &str, known: &[&str]) -> Result<(), Failure> {
    docker.say(format!("Usage:  docker {name} COMMAND\n\nCommands:\n  {}", known.join("\n  ")))
}

/// A command that is not known: by name, with the nearest known one.
pub(crate) fn unknown(group: &str, name: &str, known: &[&str]) -> Failure {
    const CONTAINERS: &[&str] = &[
        "run",
        "exec",
        "ps",
        "compose",
        "container",
        "start",
        "stop",
        "rm",
        "logs",
        "create",
        "kill",
        "cp",
        "commit",
        "network",
        "volume",
    ];
    let mut message = format!("docker: '{group}{name}' is not a docker command that this builder has.\n");
    let near = known.iter().filter(|one| edit_distance(one, name) <= 2).min_by_key(|one| edit_distance(one, name));
    if group.is_empty() && CONTAINERS.contains(&name) {
        message.push_str(
            "It builds and moves images and runs no containers; for containers put a real docker first on the PATH.\n",
        );
    } else if let Some(near) = near {
        message.push_str(&format!("Did you mean 'docker {group}{near}'?\n"));
    }
    message.push_str(&format!("It has: {}", known.join(", ")));
    Failure::new(message)
}

fn overview(code: u8) -> Failure {
    let message = format!(
        "Usage:  docker [OPTIONS] COMMAND\n\nBuilds and moves images without a daemon.\n\nCommands:\n  {}\n\nRun 'docker COMMAND --help' for more information on a command.",
        COMMANDS.join("\n  ")
    );
    Failure { message, code, to_stdout: true }
}
