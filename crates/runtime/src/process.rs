//! A process inside a container, as its caller sees it.

use crate::error::{Context, Error, Result};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use tokio::sync::watch;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code; 128 plus the signal's number for a process that a signal ended.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the memory limit of its cgroup ended it.
    pub oom_killed: bool,
}

impl ExitStatus {
    /// Whether the exit code is 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// The master end of a process's terminal.
#[derive(Debug)]
pub struct Pty(pub(crate) OwnedFd);

impl Pty {
    /// Tells the terminal's new size.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        sys::set_window_size(self.0.as_fd(), rows, columns).context(|| "resize the terminal".into())
    }

    /// The master end as a file: reading gives the process's output, writing is its input.
    pub fn into_file(self) -> File {
        File::from(self.0)
    }

    /// A second handle for the same terminal.
    pub fn try_clone(&self) -> Result<Pty> {
        self.0.try_clone().map(Pty).context(|| "duplicate the terminal".into())
    }
}

/// A process that this crate started in a container: the first one, or one beside it.
#[derive(Debug)]
pub struct Process {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) status: watch::Receiver<Option<ExitStatus>>,
    pub(crate) pty: Option<Pty>,
    pub(crate) kill_on_drop: bool,
}

impl Process {
    /// Takes over the child `pid` of this process.
    pub(crate) fn adopt(pid: i32, pty: Option<OwnedFd>) -> Result<Process> {
        let pidfd = sys::pidfd_open(pid).context(|| format!("open process {pid}"))?;
        let copy = pidfd.try_clone().context(|| format!("open process {pid}"))?;
        let status = crate::spawner::reap(copy)?;
        Ok(Process { pid, pidfd, status, pty: pty.map(Pty), kill_on_drop: true })
    }

    /// Its process id in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal. One that has ended already is no error.
    pub fn kill(&self, signal: i32) -> Result<()> {
        match sys::pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other.context(|| format!("send signal {signal} to process {}", self.pid)),
        }
    }

    /// Waits for its end. Any number of callers may wait, also afterwards.
    pub async fn wait(&self) -> Result<ExitStatus> {
        let mut status = self.status.clone();
        let value =
            status.wait_for(Option::is_some).await.map_err(|_| Error::HelperGone(format!("process {}", self.pid)))?;
        Ok(value.expect("wait_for returned a value that is some"))
    }

    /// Its exit status, if it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Its terminal's master end, once.
    pub fn take_pty(&mut self) -> Option<Pty> {
        self.pty.take()
    }

    /// Lets it live on when this handle is dropped.
    pub fn detach(&mut self) {
        self.kill_on_drop = false;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop && self.status.borrow().is_none() {
            let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        }
    }
}
