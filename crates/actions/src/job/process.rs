//! Runs one process of a step and streams its output. Each is a process group of its own and carries the job's mark, by which
//! [`super::stragglers`] finds what is left of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stragglers;

/// How long a cancelled process has after SIGINT, and then after SIGTERM.
const GRACE: [(Signal, Duration); 2] =
    [(Signal::SIGINT, Duration::from_millis(7500)), (Signal::SIGTERM, Duration::from_millis(2500))];

/// After a process ended: how long what it left running may be silent, and how long it is listened to in all, as on GitHub.
const SILENCE: Duration = Duration::from_millis(500);
const AFTERWARDS: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program, looked up on the `PATH` of `env` when it has no slash.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its directory.
    pub cwd: PathBuf,
    /// What it reads.
    pub stdin: Option<Vec<u8>>,
    /// Whether it runs on the runner though the job's steps run in a container.
    pub on_runner: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It was told to stop.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// It could not be started.
    NotStarted(std::io::Error),
}

impl End {
    /// Whether it ended by itself with code 0.
    pub fn success(&self) -> bool {
        matches!(self, End::Exited(status) if status.success())
    }

    /// What the log says of a bad end.
    pub fn message(&self) -> Option<String> {
        use std::os::unix::process::ExitStatusExt;
        match self {
            End::Exited(status) if status.success() => None,
            End::Exited(status) => Some(match (status.code(), status.signal()) {
                (Some(code), _) => format!("Process completed with exit code {code}."),
                // As a shell counts: 128 and the signal.
                (None, Some(signal)) => format!("Process completed with exit code {}.", 128 + signal),
                _ => "Process ended in an unknown way.".to_owned(),
            }),
            End::Cancelled => Some("The operation was canceled.".to_owned()),
            End::TimedOut => Some("The step has timed out.".to_owned()),
            End::NotStarted(error) => Some(format!("The process could not be started: {error}")),
        }
    }
}

/// Finds a program on a `PATH`.
pub fn which(program: &str, path: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable =
        |path: &Path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| executable(path));
    }
    path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(program)).find(|path| executable(path))
}

/// Runs a command to its end. Standard output and error share one pipe, so that lines keep their order. `line` gets each line,
/// without its end; a line longer than a mebibyte comes in pieces. None means that output pauses.
pub async fn run(
    command: &Command,
    deadline: Option<Instant>,
    cancel: &CancellationToken,
    sink: impl FnMut(Option<&str>),
) -> End {
    match spawn(command) {
        Ok((child, reader)) => attend(child, reader, command.stdin.clone(), deadline, cancel, None, sink).await,
        Err(error) => End::NotStarted(error),
    }
}

/// A process that runs, on this machine or in a container.
pub(crate) enum Child {
    /// A child of this process.
    Own(Box<tokio::process::Child>),
    /// A process beside the first one of a container.
    Beside(Box<runtime::Process>, Option<pipe::Sender>),
    /// The first process of a container of its own.
    First(Box<runtime::container::Container>),
}

impl Child {
    /// Its process group: each is a group of its own.
    fn group(&self) -> Option<Pid> {
        match self {
            Child::Own(child) => child.id().map(|id| Pid::from_raw(id.cast_signed())),
            Child::Beside(process, _) => Some(Pid::from_raw(process.pid())),
            Child::First(container) => Some(Pid::from_raw(container.pid())),
        }
    }

    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        match self {
            Child::Own(child) => child.stdin.take().map(|stdin| Box::new(stdin) as Box<dyn AsyncWrite + Send + Unpin>),
            Child::Beside(_, stdin) => stdin.take().map(|stdin| Box::new(stdin) as Box<dyn AsyncWrite + Send + Unpin>),
            Child::First(_) => None,
        }
    }

    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        use std::os::unix::process::ExitStatusExt;
        let inside = match self {
            Child::Own(child) => return child.wait().await,
            Child::Beside(process, _) => process.wait().await,
            Child::First(container) => container.wait().await,
        };
        let status = inside.map_err(std::io::Error::other)?;
        Ok(match status.signal {
            Some(signal) => ExitStatus::from_raw(signal),
            None => ExitStatus::from_raw(status.code << 8),
        })
    }

    /// Everything that it started ends too, where that can be known.
    async fn finish(&self) {
        if let Child::First(container) = self
            && let Err(error) = container.remove().await
        {
            tracing::warn!(%error, "a container was not removed");
        }
    }
}

/// What processes in the background write after the step that started them is over: it is read until the job ends, and goes nowhere. A
/// server whose output nobody read would stop, or be ended by the first line that it writes.
#[derive(Default)]
pub(crate) struct Unheard(tokio::task::JoinSet<()>);

impl Unheard {
    /// Takes over what is listened to elsewhere.
    pub(crate) fn join(&mut self, mut other: Self) {
        if !other.0.is_empty() {
            self.0.spawn(async move { while other.0.join_next().await.is_some() {} });
        }
    }

    fn listen(&mut self, mut reader: pipe::Receiver) {
        while self.0.try_join_next().is_some() {}
        self.0.spawn(async move {
            let mut buffer = vec![0; 1 << 12];
            while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        });
    }
}

/// Follows a process to its end; see [`run`].
pub(crate) async fn attend(
    child: Child,
    reader: pipe::Receiver,
    input: Option<Vec<u8>>,
    deadline: Option<Instant>,
    cancel: &CancellationToken,
    unheard: Option<&mut Unheard>,
    mut sink: impl FnMut(Option<&str>),
) -> End {
    let mut child = child;
    let group = child.group();
    let feeding = child.stdin().zip(input);
    let mut lines = Lines::default();
    let mut reader = reader;
    let mut buffer = vec![0; 1 << 16];
    let mut open = true;
    let mut stopped = None;
    let expiry = async {
        match deadline {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let feed = async {
        if let Some((mut stdin, bytes)) = feeding {
            use tokio::io::AsyncWriteExt;
            // A program that does not read its input is within its rights.
            let _ = stdin.write_all(&bytes).await;
        }
    };
    tokio::pin!(expiry, feed);
    let mut fed = false;
    let mut stopping: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    let status = loop {
        tokio::select! {
            biased;
            read = reader.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(n) => {
                    lines.feed(&buffer[..n], &mut sink);
                    sink(None);
                }
            },
            () = &mut feed, if !fed => fed = true,
            status = child.wait() => break status,
            () = cancel.cancelled(), if stopped.is_none() => {
                stopped = Some(End::Cancelled);
                stopping = Some(Box::pin(stop(group)));
            }
            () = &mut expiry, if stopped.is_none() => {
                stopped = Some(End::TimedOut);
                stopping = Some(Box::pin(stop(group)));
            }
            () = async { match &mut stopping { Some(stopping) => stopping.await, None => std::future::pending().await } } => stopping = None,
        }
    };
    if stopped.is_some()
        && let Some(group) = group
    {
        let _ = killpg(group, Signal::SIGKILL);
    }
    child.finish().await;
    // What it wrote before it ended is there already, and what filters its output (`exec > >(tee log)`) is about to write. A process
    // that is left in the background may keep the pipe open for ever, and write for ever.
    let last = Instant::now() + AFTERWARDS;
    while open && Instant::now() < last {
        let until = last.min(Instant::now() + SILENCE);
        match tokio::time::timeout_at(until, reader.read(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => lines.feed(&buffer[..n], &mut sink),
            Ok(_) => open = false,
            Err(_) => break,
        }
    }
    if let Some(unheard) = unheard.filter(|_| open) {
        unheard.listen(reader);
    }
    lines.finish(&mut sink);
    sink(None);
    match (stopped, status) {
        (Some(end), _) => end,
        (None, Ok(status)) => End::Exited(status),
        (None, Err(error)) => End::NotStarted(error),
    }
}

pub(crate) fn spawn(command: &Command) -> std::io::Result<(Child, pipe::Receiver)> {
    let path = command.env.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
    let program = command.program.to_string_lossy();
    let program = which(&program, path).ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::NotFound, format!("{program}: command not found on PATH"))
    })?;
    let (reader, writer) = std::io::pipe()?;
    let mut builder = std::process::Command::new(program);
    builder
        .args(&command.args)
        .env_clear()
        .envs(command.env.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .current_dir(&command.cwd)
        .stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut builder = tokio::process::Command::from(builder);
    builder.process_group(0).kill_on_drop(true);
    let child = builder.spawn()?;
    drop(builder);
    if let Some(pid) = child.id() {
        stragglers::sign(pid.cast_signed(), &command.env);
    }
    Ok((Child::Own(Box::new(child)), pipe::Receiver::from_owned_fd(reader.into())?))
}

async fn stop(group: Option<Pid>) {
    let Some(group) = group else { return };
    for (signal, grace) in GRACE {
        let _ = killpg(group, signal);
        tokio::time::sleep(grace).await;
    }
    let _ = killpg(group, Signal::SIGKILL);
}

/// Cuts a stream of bytes into lines.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
}

const LONGEST: usize = 1 << 20;

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Option<&str>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            if self.partial.is_empty() {
                emit(&bytes[..end], sink);
            } else {
                self.partial.extend_from_slice(&bytes[..end]);
                emit(&std::mem::take(&mut self.partial), sink);
            }
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LONGEST {
            emit(&std::mem::take(&mut self.partial), sink);
        }
    }

    fn finish(&mut self, sink: &mut impl FnMut(Option<&str>)) {
        if !self.partial.is_empty() {
            emit(&std::mem::take(&mut self.partial), sink);
        }
    }
}

fn emit(bytes: &[u8], sink: &mut impl FnMut(Option<&str>)) {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    sink(Some(&String::from_utf8_lossy(bytes)));
}

#[cfg(test)]
mod tests {
    use super::super::stragglers::{MARK, Since, end_stragglers};
    use super::*;

    fn shell(script: &str) -> Command {
        Command {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into()), (MARK.into(), uuid::Uuid::new_v4().to_string())],
            cwd: "/".into(),
            ..Command::default()
        }
    }

    async fn output(command: &Command, deadline: Option<Instant>, cancel: &CancellationToken) -> (End, Vec<String>) {
        let mut lines = Vec::new();
        let end = run(command, deadline, cancel, |line| lines.extend(line.map(str::to_owned))).await;
        (end, lines)
    }

    #[tokio::test]
    async fn order_and_code() {
        let (end, lines) =
            output(&shell("echo a; echo b >&2; printf c; exit 3"), None, &CancellationToken::new()).await;
        assert_eq!(lines, ["a", "b", "c"]);
        assert_eq!(end.message().unwrap(), "Process completed with exit code 3.");
        let mut command = shell("");
        command.program = "no-such-program".into();
        assert!(output(&command, None, &CancellationToken::new()).await.0.message().unwrap().contains("not found"));
    }

    #[tokio::test]
    async fn cancelling_ends_all() {
        let cancel = CancellationToken::new();
        let command = shell("setsid sh -c 'echo up; exec sleep 1000' & wait");
        let token = cancel.clone();
        let mut lines = 0;
        let since = Since::now();
        let end = run(&command, None, &cancel, |line| {
            lines += usize::from(line.is_some());
            token.cancel();
        })
        .await;
        assert!(matches!(end, End::Cancelled));
        assert_eq!(lines, 1);
        let mark = command.env[1].1.clone();
        assert_eq!(end_stragglers(&mark, since), ["sleep"]);
        assert!(end_stragglers(&mark, since).is_empty());
    }

    #[tokio::test]
    async fn time_runs_out() {
        let deadline = Instant::now() + Duration::from_millis(50);
        let (end, _) = output(&shell("exec sleep 1000"), Some(deadline), &CancellationToken::new()).await;
        assert!(matches!(end, End::TimedOut));
    }

    #[tokio::test]
    async fn a_process_in_the_background_does_not_hold_the_step() {
        let command = shell("sleep 1000 & echo done");
        let since = Since::now();
        let (end, lines) = output(&command, None, &CancellationToken::new()).await;
        assert!(end.success());
        assert_eq!(lines, ["done"]);
        assert_eq!(end_stragglers(&command.env[1].1, since), ["sleep"]);
    }

    #[tokio::test]
    async fn what_writes_for_ever_does_not_hold_the_step() {
        let command = shell("{ while :; do echo more; sleep 0.05; done; } & echo done");
        let since = Since::now();
        let (end, lines) = output(&command, None, &CancellationToken::new()).await;
        assert!(end.success());
        assert!(lines.iter().any(|line| line == "done"));
        // Nobody reads what it writes any more, so it may have ended by itself.
        end_stragglers(&command.env[1].1, since);
    }
}
