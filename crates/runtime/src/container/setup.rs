//! The two helpers: one makes a container's namespaces, one enters them. Both leave one process and end.

use super::rootfs::{Failure, step};
use super::{Network, Orders, Processes, Report, finish, rootfs};
use crate::ipc::Channel;
use crate::{reexec, sys, userns};
use nix::sched::{CloneFlags, setns, unshare};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Takes the helper's socket and its orders.
fn orders() -> Option<(Channel, Orders, Vec<OwnedFd>)> {
    let socket = sys::take_inherited(reexec::SOCKET_FD).ok()?;
    let mut channel = Channel(UnixStream::from(socket));
    let (orders, fds) = channel.receive::<Orders>().ok()??;
    Some((channel, orders, fds))
}

/// Reports a failure and gives the helper's exit code.
pub(super) fn fail(channel: &mut Channel, failure: Failure, exec: Option<String>) -> i32 {
    let (step, error) = failure;
    let errno = error.raw_os_error().unwrap_or(0);
    let _ = channel.send(&Report::Failed { step, message: error.to_string(), errno, exec }, &[]);
    70
}

/// `bigben-runtime container`.
pub(crate) fn helper_create() -> i32 {
    let Some((mut channel, orders, fds)) = orders() else { return 64 };
    match create(&orders, fds) {
        Ok((sys::Fork::Parent(pid), _gate)) => i32::from(channel.send(&Report::Pid(pid), &[]).is_err()),
        Ok((sys::Fork::Child, gate)) => {
            gate.pass();
            let own_network = orders.joins_pod || orders.spec.network == Network::None;
            match inside(&orders, own_network) {
                Ok(()) => finish::run(channel, &orders.spec, true),
                Err(failure) => fail(&mut channel, failure, None),
            }
        }
        Err(failure) => fail(&mut channel, failure, None),
    }
}

fn create(orders: &Orders, fds: Vec<OwnedFd>) -> Result<(sys::Fork, Gate), Failure> {
    let spec = &orders.spec;
    if let Some(cgroup) = &orders.cgroup {
        step(cgroup.join(), || "join the cgroup".into())?;
    }
    if !userns::is_capable() {
        userns::enter_single(0, 0).map_err(flatten)?;
    }
    let mut flags = CloneFlags::CLONE_NEWNS;
    match spec.processes {
        Processes::Own => flags |= CloneFlags::CLONE_NEWPID,
        Processes::Of(pid) => {
            let namespace = step(std::fs::File::open(format!("/proc/{pid}/ns/pid")), || {
                format!("open the pid namespace of process {pid}")
            })?;
            step(setns(namespace.as_fd(), CloneFlags::CLONE_NEWPID), || "join the pid namespace".into())?;
        }
        Processes::Host => {}
    }
    if orders.joins_pod {
        for fd in fds {
            step(setns(fd.as_fd(), CloneFlags::empty()), || "join the pod's namespaces".into())?;
        }
    } else {
        flags |= CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
        if spec.network == Network::None {
            flags |= CloneFlags::CLONE_NEWNET;
        }
    }
    if orders.cgroup.is_some() {
        flags |= CloneFlags::CLONE_NEWCGROUP;
    }
    step(unshare(flags), || "make namespaces".into())?;
    let gate = Gate::new()?;
    step(sys::fork_sibling(), || "fork".into()).map(|fork| (fork, gate))
}

/// In the first process: everything up to the user and the program.
fn inside(orders: &Orders, own_network: bool) -> Result<(), Failure> {
    let spec = &orders.spec;
    step(nix::unistd::setsid(), || "start a session".into())?;
    if !orders.joins_pod {
        if let Some(name) = &spec.hostname {
            step(nix::unistd::sethostname(name), || format!("set the host name {name}"))?;
        }
        if spec.network == Network::None {
            crate::net::loopback_up().map_err(flatten)?;
            crate::net::container_sysctls();
        }
    }
    if let Some(score) = spec.oom_score_adj {
        // Lowering it takes a privilege that an ordinary user lacks; the score is then as good as it was.
        let _ = std::fs::write("/proc/self/oom_score_adj", score.to_string());
    }
    rootfs::enter(spec, own_network, orders.cgroup.as_ref())
}

/// A step's failure from an error of this crate.
fn flatten(error: crate::Error) -> Failure {
    match error {
        crate::Error::Io { operation, source } => (operation, source),
        other => (other.to_string(), std::io::Error::other("failed")),
    }
}

/// `bigben-runtime pause`: leaves the first process of a PID namespace, which only takes exit statuses.
pub(crate) fn helper_pause() -> i32 {
    let Ok(socket) = sys::take_inherited(reexec::SOCKET_FD) else { return 64 };
    let mut channel = Channel(UnixStream::from(socket));
    let made = (|| -> Result<sys::Fork, Failure> {
        if !userns::is_capable() {
            userns::enter_single(0, 0).map_err(flatten)?;
        }
        step(unshare(CloneFlags::CLONE_NEWPID), || "make a pid namespace".into())?;
        step(sys::fork_sibling(), || "fork".into())
    })();
    match made {
        Ok(sys::Fork::Parent(pid)) => i32::from(channel.send(&Report::Pid(pid), &[]).is_err()),
        Ok(sys::Fork::Child) => {
            drop(channel);
            pause()
        }
        Err(failure) => fail(&mut channel, failure, None),
    }
}

fn pause() -> i32 {
    use nix::sys::signal::{SigSet, Signal};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    let _ = sys::close_from(3);
    let all = SigSet::all();
    if nix::unistd::setsid().is_err() || all.thread_block().is_err() {
        return 70;
    }
    if sys::set_parent_death_signal(libc::SIGKILL).is_err() {
        return 70;
    }
    loop {
        match all.wait() {
            Ok(Signal::SIGTERM | Signal::SIGINT) => return 0,
            _ => while !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_)) {},
        }
    }
}

/// `bigben-runtime exec`.
pub(crate) fn helper_exec() -> i32 {
    let Some((mut channel, orders, _)) = orders() else { return 64 };
    match enter(&orders) {
        Ok((sys::Fork::Parent(pid), _, _gate)) => i32::from(channel.send(&Report::Pid(pid), &[]).is_err()),
        Ok((sys::Fork::Child, nested, gate)) => {
            gate.pass();
            let joined = step(nix::unistd::setsid(), || "start a session".into()).and_then(|_| {
                nested.map_or(Ok(()), |user| {
                    step(setns(user, CloneFlags::CLONE_NEWUSER), || "enter the user namespace".into())
                })
            });
            match joined {
                Ok(()) => finish::run(channel, &orders.spec, false),
                Err(failure) => fail(&mut channel, failure, None),
            }
        }
        Err(failure) => fail(&mut channel, failure, None),
    }
}

/// Enters the namespaces of the target. The descriptor is its user namespace, when that is below the one that owns its mounts.
fn enter(orders: &Orders) -> Result<(sys::Fork, Option<OwnedFd>, Gate), Failure> {
    let target = orders.target.unwrap_or(0);
    let open = |name: &str| {
        step(std::fs::File::open(format!("/proc/{target}/ns/{name}")).map(OwnedFd::from), || {
            format!("open the {name} namespace of process {target}")
        })
    };
    let same = |a: &OwnedFd, b: &OwnedFd| {
        let (a, b) = (nix::sys::stat::fstat(a), nix::sys::stat::fstat(b));
        matches!((a, b), (Ok(a), Ok(b)) if a.st_ino == b.st_ino && a.st_dev == b.st_dev)
    };
    if let Some(cgroup) = &orders.cgroup {
        step(cgroup.join(), || "join the cgroup".into())?;
    }
    let (user, mnt) = (open("user")?, open("mnt")?);
    // A namespace that is shared with the caller needs no entering, and may not be enterable (its owner may be the host).
    let shared = |name: &str| {
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
        link("self") == link(&target.to_string())
    };
    let others: Vec<_> =
        ["ipc", "uts", "net", "cgroup", "pid"].into_iter().filter(|name| !shared(name)).map(open).collect();
    let owner = step(sys::owning_userns(mnt.as_fd()), || "find the owner of the mount namespace".into())?;
    if !userns::is_capable() {
        step(setns(owner.as_fd(), CloneFlags::CLONE_NEWUSER), || "enter the container's user namespace".into())?;
    }
    for namespace in others {
        step(setns(namespace?.as_fd(), CloneFlags::empty()), || "enter the container's namespaces".into())?;
    }
    step(setns(mnt.as_fd(), CloneFlags::CLONE_NEWNS), || "enter the container's mounts".into())?;
    let nested = (!same(&user, &owner)).then_some(user);
    let gate = Gate::new()?;
    step(sys::fork_sibling(), || "fork".into()).map(|fork| (fork, nested, gate))
}

/// Holds the forked process back until the helper has reported its id and ended, so that reports come in order.
struct Gate(OwnedFd, OwnedFd);

impl Gate {
    fn new() -> Result<Gate, Failure> {
        let (read, write) = step(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC), || "make a pipe".into())?;
        Ok(Gate(read, write))
    }

    /// In the forked process: waits until the helper's copy of the write end is gone.
    fn pass(self) {
        drop(self.1);
        let mut byte = [0];
        while matches!(nix::unistd::read(&self.0, &mut byte), Err(nix::errno::Errno::EINTR)) {}
    }
}

/// The namespace `kind` of a process, in a form that can be compared.
pub(super) fn namespace_of(pid: i32, kind: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}

/// The processes in a namespace of a kind, as this process sees them.
pub(super) fn pids_in(kind: &str, own: &std::path::Path) -> Vec<i32> {
    let inode = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()) && inode(name).as_deref() == Some(own))
        .filter_map(|name| name.parse().ok())
        .collect()
}
