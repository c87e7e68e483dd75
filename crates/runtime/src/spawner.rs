//! Two threads that live as long as the process: one starts helpers, one takes exit statuses.
//!
//! The kernel ties a parent-death signal to the *thread* that made the child, so children must come from a thread that
//! does not end before the process does; worker threads of an async runtime do not promise that.

use crate::error::{Context, Error, Result};
use crate::ipc::Channel;
use crate::process::ExitStatus;
use crate::{reexec, sys};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio as ProcessStdio};
use std::sync::{Mutex, OnceLock, mpsc};
use tokio::sync::watch;

/// What a helper gets as standard input, output and error; `None` is `/dev/null`.
pub(crate) type Standard = [Option<OwnedFd>; 3];

struct Order {
    mode: &'static str,
    standard: Standard,
    socket: Channel,
    answer: mpsc::SyncSender<std::io::Result<Child>>,
}

static SPAWNER: OnceLock<mpsc::SyncSender<Order>> = OnceLock::new();

/// Starts a helper in `mode`; the other end of its socket is returned. Blocks for the time of a fork and an exec.
pub(crate) fn start_helper(mode: &'static str, standard: Standard) -> Result<(Child, Channel)> {
    let (ours, theirs) = Channel::pair().context(|| "make a socket pair".into())?;
    let (answer, result) = mpsc::sync_channel(1);
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, queue) = mpsc::sync_channel::<Order>(64);
        let thread = std::thread::Builder::new().name("spawner".into()).stack_size(128 << 10);
        thread
            .spawn(move || {
                for order in queue {
                    let _ = order.answer.send(spawn(order.mode, order.standard, &order.socket));
                }
            })
            .expect("the first thread of a process can be started");
        orders
    });
    let gone = || Error::HelperGone(mode.into());
    spawner.send(Order { mode, standard, socket: theirs, answer }).map_err(|_| gone())?;
    let child = result.recv().map_err(|_| gone())?.context(|| format!("start the {mode} helper"))?;
    Ok((child, ours))
}

fn spawn(mode: &str, standard: Standard, socket: &Channel) -> std::io::Result<Child> {
    let mut command = Command::new(reexec::helper());
    command.arg0(reexec::HELPER_NAME).arg(mode).env_clear();
    let [stdin, stdout, stderr] = standard.map(|fd| fd.map_or_else(ProcessStdio::null, ProcessStdio::from));
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let raw = socket.0.as_raw_fd();
    #[expect(unsafe_code, reason = "CommandExt::pre_exec is the only way to place a descriptor")]
    // SAFETY: between fork and exec only dup2 and fcntl are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if raw == reexec::SOCKET_FD {
                nix::fcntl::fcntl(
                    std::os::fd::BorrowedFd::borrow_raw(raw),
                    nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
                )?;
            } else if libc::dup2(raw, reexec::SOCKET_FD) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn()
}

struct Watched {
    pidfd: OwnedFd,
    status: watch::Sender<Option<ExitStatus>>,
}

struct Reaper {
    incoming: Mutex<Vec<Watched>>,
    wake: UnixStream,
}

static REAPER: OnceLock<Reaper> = OnceLock::new();

/// Takes the exit status of a child of this process as soon as it ends, whoever waits for it or not.
pub(crate) fn reap(pidfd: OwnedFd) -> Result<watch::Receiver<Option<ExitStatus>>> {
    let (status, receiver) = watch::channel(None);
    let reaper = REAPER.get_or_init(|| {
        let (wake, woken) = UnixStream::pair().expect("a socket pair can be made");
        woken.set_nonblocking(true).expect("a socket can be made non-blocking");
        let thread = std::thread::Builder::new().name("reaper".into()).stack_size(128 << 10);
        thread.spawn(move || reap_all(woken)).expect("a thread can be started");
        Reaper { incoming: Mutex::new(Vec::new()), wake }
    });
    reaper.incoming.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Watched { pidfd, status });
    (&reaper.wake).write_all(&[0]).context(|| "wake the reaper".into())?;
    Ok(receiver)
}

fn reap_all(mut woken: UnixStream) {
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let ready: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            fds.extend(watched.iter().map(|w| PollFd::new(w.pidfd.as_fd(), PollFlags::POLLIN)));
            if nix::poll::poll(&mut fds, PollTimeout::NONE).is_err() {
                continue;
            }
            fds.iter().map(|fd| fd.any().unwrap_or(false)).collect()
        };
        let mut index = 0;
        watched.retain(|entry| {
            index += 1;
            if !ready[index] {
                return true;
            }
            match sys::pidfd_wait(entry.pidfd.as_fd()) {
                Ok(None) => true,
                Ok(Some(waited)) => {
                    entry.status.send_replace(Some(ExitStatus {
                        code: waited.code,
                        signal: waited.signal,
                        oom_killed: false,
                    }));
                    false
                }
                Err(_) => {
                    entry.status.send_replace(Some(ExitStatus { code: 255, signal: None, oom_killed: false }));
                    false
                }
            }
        });
        if ready[0] {
            let mut bytes = [0u8; 64];
            while matches!(woken.read(&mut bytes), Ok(n) if n > 0) {}
            if let Some(reaper) = REAPER.get() {
                watched.append(&mut reaper.incoming.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            }
        }
    }
}
