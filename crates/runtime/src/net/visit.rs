//! Sockets in the network of a running container, opened from outside of it.
//!
//! A helper enters the network namespace of a process (and, as an ordinary user, the user namespace that owns it), opens what it
//! is asked for and hands the descriptors over. From then on the caller owns them; the helper ends with the [`Visitor`].

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::ipc::Channel;
use crate::{reexec, spawner, sys, userns};

/// How long the helper tries to connect. Both ends are on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Orders {
    target: i32,
}

#[derive(Serialize, Deserialize)]
enum Request {
    Connect(SocketAddr),
    Listen(SocketAddr),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done,
    Failed { message: String, errno: i32 },
}

/// A foot in the network of a process. Dropping it ends the helper.
#[derive(Debug)]
pub struct Visitor {
    channel: Mutex<Channel>,
    child: Mutex<Child>,
}

impl Visitor {
    /// Enters the network of the process `pid`. Blocks for the time of a fork and an exec.
    pub fn enter(pid: i32) -> Result<Visitor> {
        let (child, mut channel) = spawner::start_helper("visit", [None, None, None])?;
        channel.send(&Orders { target: pid }, &[]).context(|| format!("enter the network of process {pid}"))?;
        match channel.receive::<Answer>().context(|| format!("enter the network of process {pid}"))? {
            Some((Answer::Done, _)) => Ok(Visitor { channel: Mutex::new(channel), child: Mutex::new(child) }),
            Some((Answer::Failed { message, errno }, _)) => {
                Err(Error::io(format!("enter the network of process {pid}"), reason(&message, errno)))
            }
            None => Err(Error::HelperGone(format!("the network of process {pid}"))),
        }
    }

    /// A connection to an address as that network sees it. Blocks, one request at a time.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.ask(&Request::Connect(address)).map(TcpStream::from)
    }

    /// A listening socket in that network. Blocks, one request at a time.
    pub fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.ask(&Request::Listen(address)).map(TcpListener::from)
    }

    fn ask(&self, request: &Request) -> io::Result<OwnedFd> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.send(request, &[])?;
        match channel.receive::<Answer>()? {
            Some((Answer::Done, mut fds)) => fds.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Some((Answer::Failed { message, errno }, _)) => Err(reason(&message, errno)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let channel = self.channel.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = channel.0.shutdown(std::net::Shutdown::Both);
        let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

fn reason(message: &str, errno: i32) -> io::Error {
    if errno > 0 { io::Error::from_raw_os_error(errno) } else { io::Error::other(message.to_owned()) }
}

/// `bigben-runtime visit`.
pub(crate) fn helper() -> i32 {
    let Ok(socket) = sys::take_inherited(reexec::SOCKET_FD) else { return 64 };
    let mut channel = Channel(UnixStream::from(socket));
    let Ok(Some((orders, _))) = channel.receive::<Orders>() else { return 64 };
    let entered = enter(orders.target);
    if channel.send(&answer(&entered), &[]).is_err() || entered.is_err() {
        return 70;
    }
    while let Ok(Some((request, _))) = channel.receive::<Request>() {
        let made = match request {
            Request::Connect(to) => TcpStream::connect_timeout(&to, CONNECT_TIMEOUT).map(OwnedFd::from),
            Request::Listen(at) => TcpListener::bind(at).map(OwnedFd::from),
        };
        let sent = match &made {
            Ok(fd) => channel.send(&answer(&made), &[fd.as_fd()]),
            Err(_) => channel.send(&answer(&made), &[]),
        };
        if sent.is_err() {
            return 70;
        }
    }
    0
}

fn answer<T>(result: &io::Result<T>) -> Answer {
    match result {
        Ok(_) => Answer::Done,
        Err(error) => Answer::Failed { message: error.to_string(), errno: error.raw_os_error().unwrap_or(0) },
    }
}

fn enter(target: i32) -> io::Result<()> {
    sys::set_parent_death_signal(libc::SIGKILL)?;
    let net = File::open(format!("/proc/{target}/ns/net"))?;
    if !userns::is_capable() {
        let owner = sys::owning_userns(net.as_fd())?;
        setns(owner.as_fd(), CloneFlags::CLONE_NEWUSER)?;
    }
    setns(net.as_fd(), CloneFlags::CLONE_NEWNET)?;
    Ok(())
}
