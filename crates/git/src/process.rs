//! Running the `git` program hermetically.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::Error;

/// Variables that would point git at another repository, another configuration or a terminal.
const REMOVED: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ASKPASS",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_SYSTEM",
    "GIT_DEFAULT_HASH",
    "GIT_DIR",
    "GIT_EXEC_PATH",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_PROTOCOL",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE_PACKET",
    "GIT_WORK_TREE",
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_DATE",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_DATE",
    "SSH_ASKPASS",
    "XDG_CONFIG_HOME",
    "TZ",
];

/// Settings that every call has, whatever the repository's own file says.
const SETTINGS: &[(&str, &str)] = &[
    // The caller chose the directory; who owns it is not git's question here.
    ("safe.directory", "*"),
    ("core.hooksPath", "/dev/null"),
    // Nothing is acknowledged before it is on disk.
    ("core.fsync", "committed,derived-metadata,reference"),
    ("core.fsyncMethod", "fsync"),
    ("core.quotePath", "false"),
    ("core.logAllRefUpdates", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("diff.renames", "false"),
    ("core.useReplaceRefs", "false"),
    // Milliseconds to wait for whoever holds a ref, such as a git that packs; by default a tenth of a second, which a busy machine exceeds.
    ("core.filesRefLockTimeout", "5000"),
    ("core.packedRefsTimeout", "5000"),
];

/// A `git` command that runs in `dir` and sees neither the user's nor the system's configuration, no hooks, no prompts and no
/// other repository. The process is killed when its handle is dropped.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    for name in REMOVED {
        command.env_remove(name);
    }
    command
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_LITERAL_PATHSPECS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_COUNT", SETTINGS.len().to_string());
    for (index, (key, value)) in SETTINGS.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What a finished git said.
pub(crate) struct Output {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// One call of git: the repository, the arguments, what is fed to it, extra environment.
pub(crate) struct Call<'a> {
    pub dir: &'a Path,
    pub args: Vec<&'a str>,
    pub stdin: Option<&'a [u8]>,
    pub env: Vec<(String, String)>,
}

impl<'a> Call<'a> {
    pub fn new(dir: &'a Path, args: &[&'a str]) -> Self {
        Self { dir, args: args.to_vec(), stdin: None, env: Vec::new() }
    }

    pub fn arg(mut self, arg: &'a str) -> Self {
        self.args.push(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args);
        self
    }

    pub fn stdin(mut self, bytes: &'a [u8]) -> Self {
        self.stdin = Some(bytes);
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    fn operation(&self) -> String {
        self.args.first().copied().unwrap_or("").to_owned()
    }

    pub fn unexpected(dir: &Path, operation: &str, detail: impl Into<String>) -> Error {
        Error::Unexpected { operation: operation.to_owned(), dir: dir.to_owned(), detail: detail.into() }
    }

    /// Runs git to its end and returns whatever it said, failed or not.
    pub async fn output(self) -> Result<Output, Error> {
        let spawn_error = |source| Error::Spawn { operation: self.operation(), dir: self.dir.to_owned(), source };
        let mut command = command(self.dir);
        command.args(&self.args);
        for (name, value) in &self.env {
            command.env(name, value);
        }
        if self.stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(spawn_error)?;
        let pipe = child.stdin.take();
        let feed = async {
            if let (Some(mut pipe), Some(bytes)) = (pipe, self.stdin) {
                // A git that ends early closes its end; its exit status says why.
                let _ = pipe.write_all(bytes).await;
                let _ = pipe.shutdown().await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.map_err(spawn_error)?;
        Ok(Output {
            status: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs git and returns its standard output; any exit code but zero is an error.
    pub async fn run(self) -> Result<Vec<u8>, Error> {
        let (operation, dir) = (self.operation(), self.dir);
        let output = self.output().await?;
        output.ok(&operation, dir)
    }

    /// As [`Call::run`], as text without the final newline.
    pub async fn text(self) -> Result<String, Error> {
        let bytes = self.run().await?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }
}

impl Output {
    pub fn ok(self, operation: &str, dir: &Path) -> Result<Vec<u8>, Error> {
        if self.status == 0 { Ok(self.stdout) } else { Err(self.failure(operation, dir)) }
    }

    pub fn failure(self, operation: &str, dir: &Path) -> Error {
        Error::Failed {
            operation: operation.to_owned(),
            dir: dir.to_owned(),
            status: self.status,
            message: self.stderr,
        }
    }
}

/// Refuses what git would take for an option, and what cannot be an argument at all.
pub(crate) fn checked(name: &str) -> Result<&str, Error> {
    if name.is_empty() || name.starts_with('-') || name.contains(['\0', '\n']) {
        return Err(Error::BadName(name.to_owned()));
    }
    Ok(name)
}
