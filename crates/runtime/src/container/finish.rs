//! The last steps of a container's process, the same for the first one and for those beside it: terminal, user, capabilities,
//! filter, program.

use super::rootfs::{Failure, step};
use super::setup::fail;
use super::{Report, Seccomp, Spec, user};
use crate::ipc::Channel;
use crate::{capability, sys, userns};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Prepares, reports, waits for the order to start, and execs. Returns an exit code only on failure.
pub(super) fn run(mut channel: Channel, spec: &Spec, first: bool) -> i32 {
    let (home, terminal) = match prepare(spec, first) {
        Ok(prepared) => prepared,
        Err(failure) => return fail(&mut channel, failure, None),
    };
    let fds: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
    if channel.send(&Report::Ready, &fds).is_err() {
        return 70;
    }
    drop(fds);
    drop(terminal);
    // The caller has gone, or gives up: end.
    let Ok(Some(((), _))) = channel.receive::<()>() else { return 70 };
    if spec.init && first {
        channel = match supervise(channel) {
            Ok(channel) => channel,
            Err(code) => return code,
        };
    }
    let program = spec.args.first().cloned().unwrap_or_default();
    let failure = execute(spec, home);
    fail(&mut channel, ("execute".into(), failure), Some(program))
}

fn prepare(spec: &Spec, first: bool) -> Result<(Option<String>, Option<OwnedFd>), Failure> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let owner = user::resolve(&spec.user, &file("/etc/passwd"), &file("/etc/group")).map_err(|message| {
        (format!("find the user {:?}", spec.user), io::Error::new(io::ErrorKind::NotFound, message))
    })?;
    let all_ids = userns::maps_all_ids();
    let terminal = spec.terminal.map(|size| open_terminal(size, all_ids.then_some(owner.uid))).transpose()?;
    if all_ids && terminal.is_none() {
        give_pipes(owner.uid, owner.gid);
    }
    enter_directory(spec, all_ids.then_some((owner.uid, owner.gid)), first)?;
    if !all_ids && first && (owner.uid, owner.gid) != (0, 0) {
        // One id is all there is: inside, it goes by the number that the image asks for.
        userns::enter_single(owner.uid, owner.gid).map_err(|error| match error {
            crate::Error::Io { operation, source } => (operation, source),
            other => (other.to_string(), io::Error::other("failed")),
        })?;
    }
    step(restrict(spec, &owner, all_ids, first), || "give up privileges".into())?;
    Ok((owner.home, terminal))
}

/// Allocates a terminal of the container's own `/dev/pts` and makes it the process's.
fn open_terminal((rows, columns): (u16, u16), owner: Option<u32>) -> Result<OwnedFd, Failure> {
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    let master = step(open("/dev/ptmx", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()), || {
        "open a terminal".into()
    })?;
    let number = step(sys::unlock_pty(master.as_fd()), || "unlock the terminal".into())?;
    let path = format!("/dev/pts/{number}");
    let slave = step(open(path.as_str(), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()), || {
        format!("open {path}")
    })?;
    if let Some(uid) = owner {
        let _ = nix::unistd::chown(path.as_str(), Some(uid.into()), None);
    }
    let _ = sys::set_window_size(slave.as_fd(), rows, columns);
    step(sys::set_controlling_terminal(slave.as_fd()), || "take the terminal".into())?;
    for number in 0..3 {
        step(sys::dup_onto(slave.as_fd(), number), || "connect the terminal".into())?;
    }
    Ok(master)
}

/// Lets the process open its own pipes again by `/dev/stdout` and the like.
fn give_pipes(uid: u32, gid: u32) {
    for fd in [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()] {
        let is_pipe = nix::sys::stat::fstat(fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFIFO);
        if is_pipe {
            let _ = nix::unistd::fchown(fd, Some(uid.into()), Some(gid.into()));
        }
    }
}

fn enter_directory(spec: &Spec, owner: Option<(u32, u32)>, first: bool) -> Result<(), Failure> {
    let cwd: &Path = if spec.cwd.as_os_str().is_empty() { Path::new("/") } else { &spec.cwd };
    if first
        && !cwd.exists()
        && std::fs::create_dir_all(cwd).is_ok()
        && let Some((uid, gid)) = owner
    {
        let _ = nix::unistd::chown(cwd, Some(uid.into()), Some(gid.into()));
    }
    step(nix::unistd::chdir(cwd), || format!("enter the working directory {}", cwd.display()))
}

/// Capabilities, ids, `no_new_privs`, filter, parent-death signal.
fn restrict(spec: &Spec, owner: &user::User, all_ids: bool, first: bool) -> io::Result<()> {
    let everything = u64::MAX >> (64 - capability::ALL.len());
    let wanted = if spec.privileged { everything } else { capability::mask(&spec.capabilities) };
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(40);
    let (restricted, one_user) = (spec.seccomp == Seccomp::Default && !spec.privileged, !all_ids && owner.uid == 0);
    let filter = (restricted || one_user).then(|| crate::seccomp::program(wanted, restricted, one_user));
    // Without no_new_privs a filter takes CAP_SYS_ADMIN, so it is installed while that is still here.
    if let (Some(filter), false) = (&filter, spec.no_new_privs) {
        sys::set_seccomp_filter(filter)?;
    }
    for bit in (0..=last).filter(|bit| wanted & (1 << bit) == 0) {
        sys::drop_bounding(bit)?;
    }
    if all_ids {
        let own: &[u32] = if spec.only_these_groups { &[] } else { &owner.groups };
        let mut groups: Vec<nix::unistd::Gid> =
            own.iter().chain(&spec.supplementary_groups).map(|gid| (*gid).into()).collect();
        groups.insert(0, owner.gid.into());
        groups.dedup();
        nix::unistd::setgroups(&groups)?;
    }
    let (uid, gid) = (owner.uid.into(), owner.gid.into());
    if all_ids || !first || (owner.uid, owner.gid) == (0, 0) || nix::unistd::getuid() != uid {
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
    }
    let kept = if owner.uid == 0 { wanted & (u64::MAX >> (63 - u64::from(last))) } else { 0 };
    let held = kept & permitted();
    sys::capset(held, held, 0)?;
    if spec.no_new_privs {
        sys::set_no_new_privs()?;
        if let Some(filter) = &filter {
            sys::set_seccomp_filter(filter)?;
        }
    }
    if spec.die_with_parent {
        // After the change of user, which clears it.
        sys::set_parent_death_signal(libc::SIGKILL)?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    Ok(())
}

fn permitted() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapPrm:"))
        .and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

/// Replaces this process by the program; gives the reason when that fails.
fn execute(spec: &Spec, home: Option<String>) -> io::Error {
    let mut environment: Vec<(String, String)> = spec.env.clone();
    if !environment.iter().any(|(name, _)| name == "HOME") {
        environment.push(("HOME".into(), home.unwrap_or_else(|| "/".into())));
    }
    let path = environment
        .iter()
        .find(|(name, _)| name == "PATH")
        .map_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", |(_, v)| v.as_str());
    let Some(program) = spec.args.first() else { return io::ErrorKind::InvalidInput.into() };
    let candidates: Vec<String> = if program.contains('/') {
        vec![program.clone()]
    } else {
        path.split(':').map(|dir| format!("{}/{program}", if dir.is_empty() { "." } else { dir })).collect()
    };
    let strings = |items: Vec<String>| items.into_iter().map(sys::c_string).collect::<io::Result<Vec<CString>>>();
    let (arguments, variables) =
        match (strings(spec.args.clone()), strings(environment.iter().map(|(n, v)| format!("{n}={v}")).collect())) {
            (Ok(arguments), Ok(variables)) => (arguments, variables),
            (Err(error), _) | (_, Err(error)) => return error,
        };
    let _ = sys::close_on_exec_from(3);
    sys::reset_signals();
    let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates {
        let Ok(candidate) = sys::c_string(candidate) else { continue };
        let error = sys::exec(&candidate, &arguments, &variables);
        if error.raw_os_error() != Some(libc::ENOENT) {
            reason = error;
        }
    }
    reason
}

/// Stays behind as the first process: forwards signals, reaps orphans, ends with the program's exit code.
///
/// The socket comes back in the forked process, which goes on to the program; in this one, the exit code.
fn supervise(channel: Channel) -> Result<Channel, i32> {
    use nix::sys::signal::{SigSet, Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    let all = SigSet::all();
    if all.thread_block().is_err() {
        return Err(70);
    }
    let child = match sys::fork() {
        Ok(sys::Fork::Child) => {
            let _ = all.thread_unblock();
            return Ok(channel);
        }
        Ok(sys::Fork::Parent(pid)) => nix::unistd::Pid::from_raw(pid),
        Err(_) => return Err(70),
    };
    // Only the program's copy of the socket may tell of the exec.
    drop(channel);
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => {
                while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    match status {
                        WaitStatus::Exited(pid, code) if pid == child => return Err(code),
                        WaitStatus::Signaled(pid, signal, _) if pid == child => return Err(128 + signal as i32),
                        WaitStatus::StillAlive => break,
                        _ => {}
                    }
                }
            }
            Ok(signal) => {
                let _ = kill(child, signal);
            }
            Err(_) => {}
        }
    }
}
