//! The machine: a child process in namespaces of its own, which ends with its parent and takes everything with it.
//!
//! ```text
//!  caller ──socket── keeper (host's PID namespace)      removes the cgroups when all is over
//!                      └─ init (PID 1 of the machine)   reaps; ends when the socket to the caller closes
//!                           └─ the program              e.g. `bigben machine`, with inherited descriptors
//! ```
//!
//! The socket to the caller is the life line: when the caller ends, however it ends, init sees the close and ends, and the
//! kernel ends every process of the PID namespace, and with them every mount and network device.

use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::ipc::Channel;
use crate::process::{ExitStatus, Process};
use crate::{reexec, spawner, sys, userns};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The first descriptor number at which the program finds what it inherits.
pub const FIRST_INHERITED_FD: i32 = 3;

/// What the machine runs.
#[derive(Debug)]
pub struct MachineSpec {
    /// A name: host name of the machine.
    pub name: String,
    /// Names of cgroups (below the hierarchies' roots) that are removed when the machine ends.
    pub cgroup_parents: Vec<String>,
    /// The program; `None` is this executable.
    pub program: Option<PathBuf>,
    /// Its arguments, without `argv[0]`.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Descriptors that it inherits, numbered from [`FIRST_INHERITED_FD`] in this order.
    pub inherit: Vec<OwnedFd>,
    /// Its standard output; `None` is `/dev/null`.
    pub stdout: Option<OwnedFd>,
    /// Its standard error; `None` is `/dev/null`.
    pub stderr: Option<OwnedFd>,
}

#[derive(Serialize, Deserialize)]
struct Orders {
    name: String,
    cgroup_parents: Vec<String>,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
enum Report {
    Running,
    Failed { step: String, message: String, errno: i32 },
}

/// A running machine. Dropping it ends it at once.
#[derive(Debug)]
pub struct Machine {
    keeper: Process,
    life_line: UnixStream,
}

/// Starts a machine and returns once its program runs.
pub async fn spawn(spec: MachineSpec) -> Result<Machine> {
    match tokio::task::spawn_blocking(move || spawn_blocking(spec)).await {
        Ok(result) => result,
        Err(error) => Err(Error::io("start the machine", std::io::Error::other(error))),
    }
}

/// [`spawn`] for callers outside of an async runtime.
pub fn spawn_blocking(spec: MachineSpec) -> Result<Machine> {
    let (child, mut channel) = spawner::start_helper("machine", [None, spec.stdout, spec.stderr])?;
    let keeper = Process::adopt(child.id() as i32, None)?;
    let program = match spec.program {
        Some(program) => program,
        None => std::fs::read_link("/proc/self/exe")
            .ok()
            .filter(|path| path.exists())
            .unwrap_or_else(|| "/proc/self/exe".into()),
    };
    let orders = Orders {
        name: spec.name.clone(),
        cgroup_parents: spec.cgroup_parents,
        program,
        args: spec.args,
        env: spec.env,
    };
    let fds: Vec<BorrowedFd<'_>> = spec.inherit.iter().map(AsFd::as_fd).collect();
    channel.send(&orders, &fds).context(|| "give the machine its orders".into())?;
    match channel.receive::<Report>().context(|| "hear from the machine".into())? {
        Some((Report::Running, _)) => {}
        Some((Report::Failed { step, message, errno }, _)) => {
            return Err(Error::Setup { id: spec.name, step, message, errno });
        }
        None => return Err(Error::HelperGone(format!("machine {}", spec.name))),
    }
    Ok(Machine { keeper, life_line: channel.0 })
}

impl Machine {
    /// The process id of the keeper, the machine's one process in the caller's PID namespace that stands for all.
    pub fn pid(&self) -> i32 {
        self.keeper.pid()
    }

    /// Waits for the end of the machine, whoever ended it: the program's exit status.
    pub async fn wait(&self) -> Result<ExitStatus> {
        self.keeper.wait().await
    }

    /// Asks the program to end (`SIGTERM`), for at most `grace`, then ends it; returns when nothing of it is left.
    pub async fn shutdown(&self, grace: Duration) -> Result<ExitStatus> {
        let _ = (&self.life_line).write_all(b"T");
        match tokio::time::timeout(grace, self.wait()).await {
            Ok(status) => status,
            Err(_) => {
                let _ = self.life_line.shutdown(std::net::Shutdown::Both);
                self.wait().await
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.life_line.shutdown(std::net::Shutdown::Both);
        // The keeper ends by itself, once it has removed the cgroups.
        self.keeper.detach();
    }
}

/// Takes over the descriptors that the program inherited, in the order of [`MachineSpec::inherit`]. To be called once, early.
pub fn take_inherited(count: usize) -> Result<Vec<OwnedFd>> {
    (0..count as i32)
        .map(|index| {
            sys::take_inherited(FIRST_INHERITED_FD + index)
                .context(|| format!("take inherited descriptor {}", FIRST_INHERITED_FD + index))
        })
        .collect()
}

/// Removes what a machine has left on disk, also what belongs to subordinate ids of its user. Blocks.
///
/// # Errors
///
/// When something in it cannot be removed. A directory that is not there is no error.
pub fn remove_tree(path: &std::path::Path) -> Result<()> {
    let (mut child, mut channel) = spawner::start_helper("remove", [None, None, None])?;
    channel.send(&path, &[]).context(|| "give the helper its orders".into())?;
    let answer = channel.receive::<Report>().context(|| "hear from the helper".into())?;
    let _ = child.wait();
    match answer {
        Some((Report::Running, _)) => Ok(()),
        Some((Report::Failed { step, message, errno }, _)) => {
            Err(Error::Setup { id: path.display().to_string(), step, message, errno })
        }
        None => Err(Error::HelperGone("remove".into())),
    }
}

/// `bigben-runtime remove`.
pub(crate) fn helper_remove() -> i32 {
    let Ok(socket) = sys::take_inherited(reexec::SOCKET_FD) else { return 64 };
    let mut channel = Channel(UnixStream::from(socket));
    let Ok(Some((path, _))) = channel.receive::<PathBuf>() else { return 64 };
    let removed = if userns::is_capable() { Ok(()) } else { userns::enter_root() }
        .map_err(|error| ("make a user namespace", std::io::Error::other(error)))
        .and_then(|()| match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| ("remove", error)),
        });
    match removed {
        Ok(()) => i32::from(channel.send(&Report::Running, &[]).is_err()),
        Err(failure) => report_failure(&mut channel, failure),
    }
}

type Failure = (&'static str, std::io::Error);

fn step<T, E: Into<std::io::Error>>(
    result: std::result::Result<T, E>,
    name: &'static str,
) -> std::result::Result<T, Failure> {
    result.map_err(|error| (name, error.into()))
}

/// `bigben-runtime machine`: the keeper, and after the fork init.
pub(crate) fn helper() -> i32 {
    let Ok(socket) = sys::take_inherited(reexec::SOCKET_FD) else { return 64 };
    let mut channel = Channel(UnixStream::from(socket));
    let Ok(Some((orders, fds))) = channel.receive::<Orders>() else { return 64 };
    match keeper(&orders) {
        Ok(sys::Fork::Parent(init)) => {
            drop(channel);
            drop(fds);
            keep(init, &orders)
        }
        Ok(sys::Fork::Child) => init(channel, &orders, fds),
        Err(failure) => report_failure(&mut channel, failure),
    }
}

fn report_failure(channel: &mut Channel, (step, error): Failure) -> i32 {
    let _ = channel.send(
        &Report::Failed { step: step.into(), message: error.to_string(), errno: error.raw_os_error().unwrap_or(0) },
        &[],
    );
    70
}

fn keeper(_orders: &Orders) -> std::result::Result<sys::Fork, Failure> {
    step(nix::unistd::setsid(), "start a session")?;
    // Found now: later /proc shows the machine's processes, of which the keeper is none.
    let _ = cgroup::available();
    // A terminal's Ctrl-C, and whoever ends process groups, are for the caller to handle.
    step(SigSet::all().thread_block(), "block signals")?;
    if !userns::is_capable() {
        userns::enter_root().map_err(|error| match error {
            Error::Io { source, .. } => ("make a user namespace", source),
            other => ("make a user namespace", std::io::Error::other(other)),
        })?;
    }
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    step(unshare(flags), "make the machine's namespaces")?;
    step(sys::fork(), "fork")
}

/// Waits for init's end, then removes what the kernel does not remove by itself.
fn keep(init: i32, orders: &Orders) -> i32 {
    let _ = sys::close_from(3);
    let code = loop {
        match waitpid(Pid::from_raw(init), None) {
            Ok(WaitStatus::Exited(_, code)) => break code,
            Ok(WaitStatus::Signaled(_, signal, _)) => break 128 + signal as i32,
            Err(nix::errno::Errno::EINTR) | Ok(_) => {}
            Err(_) => break 70,
        }
    };
    for parent in &orders.cgroup_parents {
        cgroup::remove_tree(parent);
    }
    code
}

fn init(mut channel: Channel, orders: &Orders, fds: Vec<OwnedFd>) -> i32 {
    let started = (|| {
        step(sys::set_parent_death_signal(libc::SIGKILL), "tie the machine to its keeper")?;
        let none: Option<&str> = None;
        step(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none), "make mounts private")?;
        // Among the machine's own: a container may ask to see what another mounts.
        step(mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none), "share mounts inside the machine")?;
        let guarded = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        step(mount(Some("proc"), "/proc", Some("proc"), guarded, none), "mount proc for the machine")?;
        step(nix::unistd::sethostname(&orders.name), "set the machine's host name")?;
        crate::net::loopback_up().map_err(|error| ("bring the loopback interface up", std::io::Error::other(error)))?;
        crate::net::machine_sysctls();
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let signals = step(
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK),
            "watch for ended children",
        )?;
        match step(sys::fork(), "fork")? {
            sys::Fork::Child => Err(program(orders, fds)),
            sys::Fork::Parent(pid) => Ok((Pid::from_raw(pid), signals)),
        }
    })();
    let (program, signals) = match started {
        Ok(started) => started,
        Err(failure) => return report_failure(&mut channel, failure),
    };
    if channel.send(&Report::Running, &[]).is_err() {
        return 70;
    }
    loop {
        let mut ready =
            [PollFd::new(channel.0.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        let [life_line, child] = ready.map(|fd| fd.any().unwrap_or(false));
        if child {
            while matches!(signals.read_signal(), Ok(Some(_))) {}
            while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                match status {
                    WaitStatus::Exited(pid, code) if pid == program => return code,
                    WaitStatus::Signaled(pid, signal, _) if pid == program => return 128 + signal as i32,
                    WaitStatus::StillAlive => break,
                    _ => {}
                }
            }
        }
        if life_line {
            let mut order = [0];
            match channel.0.read(&mut order) {
                Ok(1) => {
                    let _ = kill(program, Signal::SIGTERM);
                }
                // The caller has gone. The end of PID 1 is the end of everything here.
                _ => return 143,
            }
        }
    }
}

/// In the forked process: becomes the program. Returns why it could not.
fn program(orders: &Orders, fds: Vec<OwnedFd>) -> Failure {
    let prepare = || -> std::io::Result<std::io::Error> {
        sys::set_parent_death_signal(libc::SIGKILL)?;
        // First out of the way of the numbers to be filled, then into place.
        let moved = fds
            .iter()
            .map(|fd| sys::dup_above(fd.as_fd(), FIRST_INHERITED_FD + 2 * fds.len() as i32 + 8))
            .collect::<std::io::Result<Vec<_>>>()?;
        let mut arguments = vec![sys::c_string(orders.program.as_os_str().as_encoded_bytes())?];
        for argument in &orders.args {
            arguments.push(sys::c_string(argument.as_str())?);
        }
        let environment = orders
            .env
            .iter()
            .map(|(name, value)| sys::c_string(format!("{name}={value}")))
            .collect::<std::io::Result<Vec<_>>>()?;
        sys::close_on_exec_from(3)?;
        for (index, fd) in moved.iter().enumerate() {
            sys::dup_onto(fd.as_fd(), FIRST_INHERITED_FD + index as i32)?;
        }
        sys::reset_signals();
        Ok(sys::exec(&arguments[0], &arguments, &environment))
    };
    let error = match prepare() {
        Ok(error) | Err(error) => error,
    };
    tracing::debug!(%error, "the machine's program cannot be executed");
    let _ = writeln!(std::io::stderr(), "bigben-runtime: cannot execute {}: {error}", orders.program.display());
    sys::exit_now(127)
}
