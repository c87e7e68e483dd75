//! The syntax tree. Words are kept as written; expansion happens when a stage is planned.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::Warning;
use super::lines::Directives;

/// Lines of the Dockerfile, 1-based and inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// First line.
    pub start: usize,
    /// Last line.
    pub end: usize,
}

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Dockerfile {
    /// `# escape=` and friends.
    pub directives: Directives,
    /// `ARG`s before the first `FROM`.
    pub meta_args: Vec<(Span, Vec<KeyValue>)>,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// What was found while reading; [`super::check::check`] finds more.
    pub warnings: Vec<Warning>,
    /// Comments right above an instruction, by its first line.
    pub comments: BTreeMap<usize, Vec<String>>,
}

impl Dockerfile {
    /// What the comments above an instruction say of a stage or an argument: `# NAME what it is`. Empty when they say nothing.
    pub fn description(&self, at: Span, name: &str) -> &str {
        let above = self.comments.get(&at.start).into_iter().flatten();
        above.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).next().unwrap_or_default()
    }
}

/// One `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Where the `FROM` stands.
    pub span: Span,
    /// The `FROM` line, as written.
    pub source: String,
    /// The image or stage it starts from, unexpanded.
    pub base: String,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// The instructions after the `FROM`.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// Where it stands.
    pub span: Span,
    /// Joined text, as written.
    pub source: String,
    /// What it is.
    pub kind: Kind,
}

/// `name=value`; the value is missing only for `ARG name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Name, unexpanded.
    pub key: String,
    /// Value, unexpanded, quotes included.
    pub value: Option<String>,
}

/// The arguments of `RUN`, `CMD`, `ENTRYPOINT` and health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// JSON form: run as given.
    Exec(Vec<String>),
    /// Shell form: given to the shell.
    Shell(String),
}

/// A file written in the Dockerfile itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it; also the file's name for `COPY` and `ADD`.
    pub name: String,
    /// Whether variables are expanded (the name was not quoted).
    pub expand: bool,
    /// `<<-`: leading tabs are dropped.
    pub chomp: bool,
    /// File descriptor for `RUN`; 0 when none was written.
    pub fd: u32,
    /// The text, with its last newline.
    pub content: String,
}

impl Heredoc {
    /// The text after `<<-` has dropped leading tabs.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// `ADD` and `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddCopy {
    /// Sources as written; heredoc markers are not among them.
    pub sources: Vec<String>,
    /// Files written in place, as sources.
    pub heredocs: Vec<Heredoc>,
    /// Destination as written.
    pub dest: String,
    /// `--from`: stage, image or named context (`COPY` only).
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`: the layer does not depend on what is below it.
    pub link: bool,
    /// `--parents`: sources keep their directories (`COPY` only).
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// `--checksum` (`ADD` only).
    pub checksum: Option<String>,
    /// `--keep-git-dir` (`ADD` only).
    pub keep_git_dir: bool,
    /// `--unpack`: force or forbid unpacking (`ADD` only).
    pub unpack: Option<bool>,
}

/// How concurrent builds share a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Each its own when it is taken.
    Private,
    /// One after the other.
    Locked,
}

/// What a `RUN --mount` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that survives builds.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret given to the build.
    Secret,
    /// An agent socket given to the build.
    Ssh,
}

/// One `RUN --mount`. Text fields are unexpanded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// `type=`.
    pub kind: MountKind,
    /// `from=`.
    pub from: Option<String>,
    /// `source=` / `src=`.
    pub source: Option<String>,
    /// `target=` / `dst=` / `destination=`.
    pub target: Option<String>,
    /// `id=`.
    pub id: Option<String>,
    /// `readonly` / `ro` / `readwrite` / `rw`, when written.
    pub readonly: Option<bool>,
    /// `sharing=`.
    pub sharing: Sharing,
    /// `required`.
    pub required: bool,
    /// `mode=` in octal.
    pub mode: Option<u32>,
    /// `uid=`.
    pub uid: Option<u32>,
    /// `gid=`.
    pub gid: Option<u32>,
    /// `size=` of a tmpfs, in bytes.
    pub size: Option<u64>,
    /// `env=`: a secret as a variable.
    pub env: Option<String>,
}

/// `--network` of a `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// What the build was told.
    #[default]
    Default,
    /// No network.
    None,
    /// The host's.
    Host,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// `HEALTHCHECK NONE`.
    None,
    /// `HEALTHCHECK CMD`.
    Check {
        /// What to run.
        command: Command,
        /// `--interval`.
        interval: Option<Duration>,
        /// `--timeout`.
        timeout: Option<Duration>,
        /// `--start-period`.
        start_period: Option<Duration>,
        /// `--start-interval`.
        start_interval: Option<Duration>,
        /// `--retries`.
        retries: Option<u32>,
    },
}

/// The instructions, without `FROM`.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `ADD`.
    Add(AddCopy),
    /// `ARG`.
    Arg(Vec<KeyValue>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(AddCopy),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`.
    Env(Vec<KeyValue>),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Health),
    /// `LABEL`.
    Label(Vec<KeyValue>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`, with the trigger as written.
    Onbuild(String),
    /// `RUN`.
    Run {
        /// What to run.
        command: Command,
        /// Scripts and inputs written in place.
        heredocs: Vec<Heredoc>,
        /// `--mount`.
        mounts: Vec<Mount>,
        /// `--network`.
        network: Network,
        /// `--security=insecure`.
        insecure: bool,
    },
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    Stopsignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

impl Dockerfile {
    /// Stage number for a name or a number, as `COPY --from` and `--target` look it up: the last of that name wins.
    pub fn stage(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, stage) in self.stages.iter().enumerate().take(before) {
            if let Some(name) = &stage.name {
                names.insert(name, at);
            }
        }
        names
            .get(lower.as_str())
            .copied()
            .or_else(|| name.parse().ok().filter(|at| *at < before.min(self.stages.len())))
    }
}
