//! What a container is to be.

use crate::cgroup::Limits;
use crate::net::PodNamespaces;
use crate::seccomp::Seccomp;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Everything about a container and its first process.
///
/// The default is what container engines give: the default capabilities and seccomp profile, masked `/proc` paths, no network.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// A name that is unique on this machine; also the name of its cgroup.
    pub id: String,
    /// The cgroup below which its own is made. Who chose it removes it ([`crate::cgroup::remove_tree`]).
    pub cgroup_parent: String,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Program and arguments. A program without a slash is looked up in `PATH` of `env`.
    pub args: Vec<String>,
    /// The whole environment. `HOME` is added from the user's entry when it is missing.
    pub env: Vec<(String, String)>,
    /// Working directory; made when it does not exist.
    pub cwd: PathBuf,
    /// `uid`, `uid:gid`, `name` or `name:group`, looked up in the root file system; empty is 0.
    pub user: String,
    /// Groups beside the user's own.
    pub supplementary_groups: Vec<u32>,
    /// Whether the groups that the root file system gives the user are left out.
    pub only_these_groups: bool,
    /// The host name, when the container has a UTS namespace of its own (no `pod`).
    pub hostname: Option<String>,
    /// Mounts, in order, after `/proc`, `/dev` and `/sys`.
    pub mounts: Vec<Mount>,
    /// The network, unless `pod` says so.
    pub network: Network,
    /// Namespaces to join.
    #[serde(skip)]
    pub pod: Option<PodNamespaces>,
    /// The processes that it sees.
    pub processes: Processes,
    /// Capabilities of the first process and the bound of all others.
    pub capabilities: Vec<String>,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// Whether programs may not gain privileges by `execve`.
    pub no_new_privs: bool,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// Whether nothing of `/proc` is hidden or read-only.
    pub unmasked_proc: bool,
    /// All capabilities, no seccomp, nothing masked.
    pub privileged: bool,
    /// Rows and columns of a terminal to allocate; see [`super::Container::take_pty`].
    pub terminal: Option<(u16, u16)>,
    /// Limits.
    pub limits: Limits,
    /// Whether a tiny init that reaps orphans runs as the first process.
    pub init: bool,
    /// Whether the container ends when the calling process ends.
    pub die_with_parent: bool,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: u64,
    /// The adjustment of the score by which the kernel chooses whom to end when memory runs out (-1000 to 1000).
    pub oom_score_adj: Option<i32>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            id: String::new(),
            cgroup_parent: format!("bigben-{}", std::process::id()),
            rootfs: Rootfs::Dir(PathBuf::new()),
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: String::new(),
            supplementary_groups: Vec::new(),
            only_these_groups: false,
            hostname: None,
            mounts: Vec::new(),
            network: Network::None,
            pod: None,
            processes: Processes::Own,
            capabilities: crate::capability::DEFAULT.iter().map(|name| (*name).to_owned()).collect(),
            seccomp: Seccomp::Default,
            no_new_privs: false,
            readonly_rootfs: false,
            unmasked_proc: false,
            privileged: false,
            terminal: None,
            limits: Limits::default(),
            init: false,
            die_with_parent: true,
            shm_bytes: 64 << 20,
            oom_score_adj: None,
        }
    }
}

/// A root file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Rootfs {
    /// A directory, used as it is.
    Dir(PathBuf),
    /// An overlay, mounted inside the container's own mount namespace, so that nothing is ever left to unmount.
    ///
    /// It is mounted with `userxattr`, as root too: whiteouts are character devices 0:0, opaque directories carry the
    /// extended attribute `user.overlay.opaque=y`, in all layers.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// What is written; an empty directory on a file system that can hold whiteouts.
        upper: PathBuf,
        /// An empty directory on the same file system as `upper`.
        work: PathBuf,
    },
}

/// One mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: Source,
    /// Where, inside the container. Made when missing; symbolic links are followed inside the root only.
    pub target: PathBuf,
    /// Whether it is read-only.
    pub readonly: bool,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Source {
    /// A file or a directory of the caller's mount namespace, with all mounts below it.
    Bind(PathBuf),
    /// Like [`Source::Bind`], with what is mounted below it later in the caller's mount namespace (whose mounts must be shared,
    /// as a machine's are).
    Live {
        /// The directory.
        path: PathBuf,
        /// Whether what the container mounts below it is seen by the caller too.
        both_ways: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Its size in bytes; half of the memory when `None`.
        size: Option<u64>,
        /// The mode of its root, such as 0o1777.
        mode: u32,
    },
}

/// The PID namespace of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Processes {
    /// A new one: it ends with the first process.
    Own,
    /// That of the process with this id, as the caller sees it. What the container leaves behind is ended by its removal.
    Of(i32),
    /// That of the caller.
    Host,
}

/// The network of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// That of the caller.
    Host,
    /// A new one with nothing but the loopback interface.
    None,
}

/// Standard input, output and error of a process; `None` is `/dev/null`.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
}

impl Stdio {
    /// Nothing: `/dev/null` three times.
    pub fn null() -> Self {
        Self::default()
    }

    /// The caller's own.
    pub fn inherit() -> Self {
        Stdio {
            stdin: std::io::stdin().as_fd().try_clone_to_owned().ok(),
            stdout: std::io::stdout().as_fd().try_clone_to_owned().ok(),
            stderr: std::io::stderr().as_fd().try_clone_to_owned().ok(),
        }
    }
}

/// A process to run beside the first one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// The whole environment; `None` is the container's.
    pub env: Option<Vec<(String, String)>>,
    /// The working directory; `None` is the container's.
    pub cwd: Option<PathBuf>,
    /// The user; `None` is the container's.
    pub user: Option<String>,
    /// Rows and columns of a terminal to allocate.
    pub terminal: Option<(u16, u16)>,
}
