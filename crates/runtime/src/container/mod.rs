//! One container: a root file system and a process tree in namespaces and a cgroup.
//!
//! ```text
//!  caller ── spawner thread ──> helper (argv[0] "bigben-runtime")     namespaces, cgroup; ends once it has forked
//!                     └───────> first process, a *sibling* of the helper: mounts, pivot_root, user, capabilities, exec
//! ```
//!
//! The first process is a child of the caller, so that its exit status reaches the caller with no process in between.
//! All mounts happen in the container's own mount namespace: when its processes end, the kernel takes everything back.

mod finish;
mod rootfs;
mod setup;
mod spec;
mod user;

pub use crate::cgroup::{Limits, Stats};
pub use crate::process::{ExitStatus, Process, Pty};
pub use crate::seccomp::Seccomp;
pub use spec::{ExecSpec, Mount, Network, Processes, Rootfs, Source, Spec, Stdio};

pub(crate) use setup::{helper_create, helper_exec, helper_pause};

use crate::cgroup::{self, Cgroup};
use crate::error::{Context, Error, Result};
use crate::ipc::Channel;
use crate::spawner;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a helper is told.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    spec: Spec,
    cgroup: Option<Cgroup>,
    /// Whether descriptors of net, uts and ipc namespaces come along.
    joins_pod: bool,
    /// For `exec`: the process whose namespaces are entered.
    target: Option<i32>,
}

/// What a helper and the first process report.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    /// The process exists (its id for the caller).
    Pid(i32),
    /// Everything is in place; a terminal's master may come along.
    Ready,
    /// A step failed.
    Failed { step: String, message: String, errno: i32, exec: Option<String> },
}

/// A container. Dropping it kills it.
#[derive(Debug)]
pub struct Container {
    spec: Spec,
    cgroup: Option<Cgroup>,
    process: Process,
    /// The namespace that holds all of its processes and nothing else: pid, or mnt where the PID namespace is shared.
    namespace: (&'static str, Option<std::path::PathBuf>),
    start: Option<Channel>,
}

/// A PID namespace with nothing in it but a first process that takes exit statuses: for containers that see each other's
/// processes ([`Processes::Of`] its id). Its end is theirs; dropping it ends it.
///
/// Blocks for some milliseconds.
pub fn shared_processes() -> Result<Process> {
    let (mut helper, mut channel) = spawner::start_helper("pause", [None, None, None])?;
    let made = match report("pause", &mut channel) {
        Ok((Report::Pid(pid), _)) => Process::adopt(pid, None),
        Ok((other, _)) => Err(unexpected("pause", &other)),
        Err(error) => Err(error),
    };
    let _ = helper.wait();
    made
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channel")
    }
}

/// Runs a container to its end and removes its cgroup. When the future is dropped, the container is killed.
pub async fn run_once(spec: &Spec, stdio: Stdio) -> Result<ExitStatus> {
    let mut container = Container::create(spec, stdio).await?;
    let status = match container.start().await {
        Ok(()) => container.wait().await,
        Err(error) => Err(error),
    };
    container.delete().await?;
    status
}

impl Container {
    /// Makes a container up to the point where only its program is missing.
    pub async fn create(spec: &Spec, stdio: Stdio) -> Result<Container> {
        let spec = spec.clone();
        blocking(move || Self::create_blocking(spec, stdio)).await
    }

    /// [`Container::create`] for callers outside of an async runtime.
    pub fn create_blocking(spec: Spec, stdio: Stdio) -> Result<Container> {
        let cgroup = Cgroup::create(&spec.cgroup_parent, &spec.id, &spec.limits);
        let made = launch("container", spec, cgroup.clone(), None, stdio);
        match made {
            Ok((spec, process, channel)) => {
                let kind = if spec.processes == Processes::Own { "pid" } else { "mnt" };
                let namespace = (kind, setup::namespace_of(process.pid, kind));
                Ok(Container { spec, cgroup, process, namespace, start: Some(channel) })
            }
            Err(error) => {
                if let Some(cgroup) = cgroup {
                    cgroup.remove();
                }
                Err(error)
            }
        }
    }

    /// Lets the program run. Fails with [`Error::Exec`] when it cannot be executed.
    pub async fn start(&mut self) -> Result<()> {
        let Some(channel) = self.start.take() else { return Ok(()) };
        let id = self.spec.id.clone();
        blocking(move || begin(&id, channel)).await
    }

    /// The first process's id, in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// User, group and supplementary groups of its first process, where they are what the container asked for: not where one
    /// user is mapped. They are known from its creation on; of a process that has ended nothing can be told.
    pub fn identity(&self) -> Option<(u32, u32, Vec<u32>)> {
        if !crate::userns::maps_all_ids() {
            return None;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid)).ok()?;
        let numbers = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>())
        };
        Some((*numbers("Uid:")?.get(1)?, *numbers("Gid:")?.get(1)?, numbers("Groups:")?))
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.spec.id
    }

    /// What it was made from.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Sends its first process a signal.
    pub fn kill(&self, signal: i32) -> Result<()> {
        self.process.kill(signal)
    }

    /// Waits for its end. Any number of callers may wait, also afterwards.
    pub async fn wait(&self) -> Result<ExitStatus> {
        self.process.wait().await.map(|status| self.with_oom(status))
    }

    /// Its exit status, if it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        self.process.status().map(|status| self.with_oom(status))
    }

    fn with_oom(&self, mut status: ExitStatus) -> ExitStatus {
        status.oom_killed = status.code == 137 && self.cgroup.as_ref().is_some_and(|cgroup| cgroup.oom_kills() > 0);
        status
    }

    /// Runs another process in it.
    pub async fn exec(&self, exec: &ExecSpec, stdio: Stdio) -> Result<Process> {
        let mut spec = self.spec.clone();
        spec.args = exec.args.clone();
        spec.terminal = exec.terminal;
        spec.init = false;
        spec.env = exec.env.clone().unwrap_or(spec.env);
        spec.cwd = exec.cwd.clone().unwrap_or(spec.cwd);
        if let Some(user) = &exec.user {
            spec.user = user.clone();
        }
        let (cgroup, pid) = (self.cgroup.clone(), self.process.pid);
        blocking(move || {
            let (spec, process, channel) = launch("exec", spec, cgroup, Some(pid), stdio)?;
            begin(&spec.id, channel)?;
            Ok(process)
        })
        .await
    }

    /// Its terminal's master end, once; `None` without [`Spec::terminal`].
    pub fn take_pty(&mut self) -> Option<Pty> {
        self.process.take_pty()
    }

    /// The processes in it, as the caller sees them.
    pub fn pids(&self) -> Vec<i32> {
        match &self.cgroup {
            Some(cgroup) => cgroup.pids(),
            None => self.pids_of_namespace(),
        }
    }

    fn pids_of_namespace(&self) -> Vec<i32> {
        self.namespace.1.as_deref().map(|own| setup::pids_in(self.namespace.0, own)).unwrap_or_default()
    }

    /// What it uses.
    pub fn stats(&self) -> Stats {
        self.cgroup.as_ref().and_then(Cgroup::stats).unwrap_or_else(|| cgroup::stats_of(&self.pids()))
    }

    /// Changes its limits.
    pub fn limit(&self, limits: &Limits) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.limit(limits);
        }
    }

    /// Ends it if it still runs, and removes its cgroup.
    pub async fn delete(self) -> Result<()> {
        self.remove().await
    }

    /// [`Container::delete`] for a container that is shared.
    pub async fn remove(&self) -> Result<()> {
        self.kill(libc::SIGKILL)?;
        self.process.wait().await?;
        if self.spec.processes != Processes::Own {
            // No PID namespace ends with this one, so what it left is ended one by one; twice, for what was forked meanwhile.
            for _ in 0..2 {
                for pid in self.pids_of_namespace() {
                    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
                }
            }
        }
        if let Some(cgroup) = self.cgroup.clone() {
            blocking(move || {
                cgroup.remove();
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::io("run a blocking step", std::io::Error::other(error))),
    }
}

/// Starts a helper, gives it its orders and waits until the process that it leaves is ready to exec.
fn launch(
    mode: &'static str,
    spec: Spec,
    cgroup: Option<Cgroup>,
    target: Option<i32>,
    stdio: Stdio,
) -> Result<(Spec, Process, Channel)> {
    let id = spec.id.clone();
    let (mut helper, mut channel) = spawner::start_helper(mode, [stdio.stdin, stdio.stdout, stdio.stderr])?;
    let pod = spec.pod.clone().filter(|_| target.is_none());
    let fds: Vec<BorrowedFd<'_>> =
        pod.iter().flat_map(|pod| [pod.net.as_fd(), pod.uts.as_fd(), pod.ipc.as_fd()]).collect();
    let orders = Orders { spec, cgroup, joins_pod: pod.is_some(), target };
    let talk = (|| {
        channel.send(&orders, &fds).context(|| format!("give orders to the helper of container {id}"))?;
        let process = match report(&id, &mut channel)? {
            (Report::Pid(pid), _) => Process::adopt(pid, None)?,
            (other, _) => return Err(unexpected(&id, &other)),
        };
        match report(&id, &mut channel)? {
            (Report::Ready, mut fds) => {
                let mut process = process;
                process.pty = fds.pop().map(Pty);
                Ok(process)
            }
            (other, _) => Err(unexpected(&id, &other)),
        }
    })();
    // The helper has ended, or is about to.
    let _ = helper.wait();
    talk.map(|process| (orders.spec, process, channel))
}

fn unexpected(id: &str, report: &Report) -> Error {
    Error::Setup {
        id: id.into(),
        step: "talk to the helper".into(),
        message: format!("unexpected report {report:?}"),
        errno: 0,
    }
}

/// The next report; a failure reported is an error here.
fn report(id: &str, channel: &mut Channel) -> Result<(Report, Vec<OwnedFd>)> {
    let received = channel.receive::<Report>().context(|| format!("hear from the helper of container {id}"))?;
    match received.ok_or_else(|| Error::HelperGone(format!("container {id}")))? {
        (Report::Failed { message, errno, exec: Some(program), .. }, _) => {
            Err(Error::Exec { id: id.into(), program, message, errno })
        }
        (Report::Failed { step, message, errno, exec: None }, _) => {
            Err(Error::Setup { id: id.into(), step, message, errno })
        }
        other => Ok(other),
    }
}

/// Lets a ready process exec: its end of the socket closes by that, or a failure comes back.
fn begin(id: &str, mut channel: Channel) -> Result<()> {
    channel.send(&(), &[]).context(|| format!("start container {id}"))?;
    match channel.receive::<Report>() {
        Ok(None) => Ok(()),
        Ok(Some((Report::Failed { message, errno, exec, step }, _))) => Err(match exec {
            Some(program) => Error::Exec { id: id.into(), program, message, errno },
            None => Error::Setup { id: id.into(), step, message, errno },
        }),
        Ok(Some((other, _))) => Err(unexpected(id, &other)),
        // Killed between the order and the exec: its exit status tells.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(Error::io(format!("start container {id}"), error)),
    }
}
