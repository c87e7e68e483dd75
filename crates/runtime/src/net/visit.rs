//! Sockets in the network of a running container, opened from outside of it.
//!
//! A helper enters the network namespace of a process (and, as an ordinary user, the user namespace that owns it), opens what it
//! is asked for and hands the descriptors over. From then on the caller owns them; the helper ends with the [`Visitor`].
//!
//! On request it gives that network a neighbour: a network namespace of the helper's own, joined by a pair of links, to which
//! everything goes that is not for the process itself. What listens there, under any address, is not in the way of what the
//! process listens on.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::ipc::Channel;
use crate::net::{Netlink, Route};
use crate::{reexec, spawner, sys, userns};

/// How long the helper tries to connect. Both ends are on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The link of the visited network, and that of its neighbour.
const LINK: &str = "eth0";
const NEAR: &str = "near0";
/// The address of the neighbour on that link.
const HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 77, 1);
/// The routing table of the neighbour in which every address is its own, and rules lead single ports to it.
const TABLE_TAKEN: u8 = 100;
/// The index of the loopback interface.
const LOOPBACK: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Orders {
    target: i32,
}

#[derive(Serialize, Deserialize)]
enum Request {
    Connect(SocketAddr),
    Listen(SocketAddr),
    Datagrams(SocketAddr),
    Neighbour(Ipv4Addr),
    NeighbourListen(SocketAddr),
    NeighbourDatagrams(SocketAddr),
    NeighbourListenForAll(u16),
    NeighbourPackets,
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

    /// A UDP socket in that network that talks to this address. Blocks, one request at a time.
    pub fn datagrams(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        self.ask(&Request::Datagrams(to)).map(UdpSocket::from)
    }

    /// Gives the network the address `own` on a link of its own, and a neighbour to which everything else goes. What nobody takes
    /// there is dropped. Once only, before the following; blocks.
    pub fn neighbour(&self, own: Ipv4Addr) -> io::Result<()> {
        self.ask_for(&Request::Neighbour(own)).map(drop)
    }

    /// A listening socket of the neighbour, under an address that it gets with it. Blocks.
    pub fn neighbour_listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.ask(&Request::NeighbourListen(at)).map(TcpListener::from)
    }

    /// A UDP socket of the neighbour, under an address that it gets with it. Blocks.
    pub fn neighbour_datagrams(&self, at: SocketAddr) -> io::Result<UdpSocket> {
        self.ask(&Request::NeighbourDatagrams(at)).map(UdpSocket::from)
    }

    /// A listening socket of the neighbour for one port of all addresses that nobody else has: an accepted connection's local
    /// address is the one that was meant. Blocks.
    pub fn neighbour_listen_for_all(&self, port: u16) -> io::Result<TcpListener> {
        self.ask(&Request::NeighbourListenForAll(port)).map(TcpListener::from)
    }

    /// A raw, non-blocking socket that sees the frames which come to the neighbour. Blocks.
    pub fn neighbour_packets(&self) -> io::Result<OwnedFd> {
        self.ask(&Request::NeighbourPackets)
    }

    fn ask(&self, request: &Request) -> io::Result<OwnedFd> {
        self.ask_for(request)?.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn ask_for(&self, request: &Request) -> io::Result<Vec<OwnedFd>> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.send(request, &[])?;
        match channel.receive::<Answer>()? {
            Some((Answer::Done, fds)) => Ok(fds),
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
    let mut beside = None;
    while let Ok(Some((request, _))) = channel.receive::<Request>() {
        let made = serve(&request, &mut beside);
        let sent = match &made {
            Ok(Some(fd)) => channel.send(&answer(&made), &[fd.as_fd()]),
            Ok(None) | Err(_) => channel.send(&answer(&made), &[]),
        };
        if sent.is_err() {
            return 70;
        }
    }
    0
}

/// The two networks of a visitor that has a neighbour.
struct Beside {
    visited: File,
    neighbour: File,
}

fn serve(request: &Request, beside: &mut Option<Beside>) -> io::Result<Option<OwnedFd>> {
    if let Request::Neighbour(own) = request {
        *beside = Some(make_neighbour(*own)?);
        return Ok(None);
    }
    let opened = match request {
        Request::Connect(to) => return TcpStream::connect_timeout(to, CONNECT_TIMEOUT).map(|s| Some(s.into())),
        Request::Listen(at) => return TcpListener::bind(at).map(|socket| Some(socket.into())),
        Request::Datagrams(to) => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            return socket.connect(to).map(|()| Some(socket.into()));
        }
        other => other,
    };
    let beside = beside.as_ref().ok_or_else(|| io::Error::other("this network has no neighbour"))?;
    setns(beside.neighbour.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let made = open_beside(opened);
    // Whatever came of it, what is asked next is about the network that is visited.
    setns(beside.visited.as_fd(), CloneFlags::CLONE_NEWNET)?;
    made.map(Some)
}

fn open_beside(request: &Request) -> io::Result<OwnedFd> {
    let address = |at: &SocketAddr| match at.ip() {
        std::net::IpAddr::V4(ip) => Netlink::open()?.add_address(LOOPBACK, ip, 32),
        std::net::IpAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    match request {
        Request::NeighbourListen(at) => {
            address(at)?;
            listener(*at)
        }
        Request::NeighbourDatagrams(at) => {
            address(at)?;
            UdpSocket::bind(at).map(OwnedFd::from)
        }
        Request::NeighbourListenForAll(port) => {
            let listener = listener(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))?;
            // It answers from addresses that are nobody's here.
            nix::sys::socket::setsockopt(&listener, nix::sys::socket::sockopt::IpTransparent, &true)?;
            Netlink::open()?.port_rule(NEAR, *port, TABLE_TAKEN)?;
            Ok(listener)
        }
        Request::NeighbourPackets => {
            let near = Netlink::open()?.index(NEAR)?;
            sys::packet_socket(near)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// A listener for one address beside one for all addresses, on the same port.
fn listener(at: SocketAddr) -> io::Result<OwnedFd> {
    use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
    let SocketAddr::V4(at) = at else { return Err(io::ErrorKind::Unsupported.into()) };
    let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    socket::bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::from(at))?;
    socket::listen(&fd, Backlog::new(256)?)?;
    Ok(fd)
}

/// From the network that is visited, and back in it at the end.
fn make_neighbour(own: Ipv4Addr) -> io::Result<Beside> {
    let here = || File::open("/proc/self/ns/net");
    let visited = here()?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
    let neighbour = here()?;
    setns(visited.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let mut netlink = Netlink::open()?;
    netlink.add_veth(LINK, NEAR, Some(neighbour.as_fd()))?;
    let link = netlink.index(LINK)?;
    netlink.add_address(link, own, 32)?;
    netlink.up(link)?;
    netlink.add_route(&Route::host(HOP, link))?;
    netlink.add_route(&Route::default_via(HOP, link))?;
    setns(neighbour.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let made = (|| {
        // What is for nobody is dropped, so that it comes again when there is somebody; who forwards says no at once.
        super::set("ipv4/ip_forward", "0");
        let mut netlink = Netlink::open()?;
        netlink.up(LOOPBACK)?;
        let near = netlink.index(NEAR)?;
        netlink.up(near)?;
        netlink.add_address(near, HOP, 32)?;
        netlink.add_route(&Route::host(own, near))?;
        let all = Route::host(Ipv4Addr::UNSPECIFIED, LOOPBACK);
        netlink.add_route(&Route { prefix: 0, table: TABLE_TAKEN, local: true, ..all })
    })();
    setns(visited.as_fd(), CloneFlags::CLONE_NEWNET)?;
    made.map(|()| Beside { visited, neighbour })
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
