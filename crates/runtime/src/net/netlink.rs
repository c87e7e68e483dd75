//! The few routing netlink requests that a machine needs, blocking, each acknowledged by the kernel.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const REPLACE: u16 = 0x100;
/// `RTNH_F_ONLINK`.
const ONLINK: u32 = 4;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_NEIGHBOUR: u16 = 28;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;

/// The table of ordinary routes.
pub const TABLE_MAIN: u8 = 254;

/// A route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Destination.
    pub to: Ipv4Addr,
    /// Length of the destination's prefix.
    pub prefix: u8,
    /// Next hop.
    pub via: Option<Ipv4Addr>,
    /// Index of the outgoing link.
    pub link: Option<u32>,
    /// Table.
    pub table: u8,
    /// Whether the destination is treated as this machine's own ("AnyIP").
    pub local: bool,
    /// The source address that sockets of this namespace get for it.
    pub source: Option<Ipv4Addr>,
    /// Whether the next hop is on the link although no address says so.
    pub onlink: bool,
    /// Whether senders are told at once that the destination cannot be reached.
    pub unreachable: bool,
}

impl Route {
    /// A route of the ordinary table to one address, directly on a link.
    pub fn host(to: Ipv4Addr, link: u32) -> Route {
        Route {
            to,
            prefix: 32,
            via: None,
            link: Some(link),
            table: TABLE_MAIN,
            local: false,
            source: None,
            onlink: false,
            unreachable: false,
        }
    }

    /// A route of the ordinary table for destinations that are not there.
    pub fn unreachable(to: Ipv4Addr, prefix: u8) -> Route {
        Route { prefix, link: None, unreachable: true, ..Route::host(to, 0) }
    }

    /// The default route of the ordinary table.
    pub fn default_via(via: Ipv4Addr, link: u32) -> Route {
        Route {
            to: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            via: Some(via),
            link: Some(link),
            table: TABLE_MAIN,
            local: false,
            source: None,
            onlink: true,
            unreachable: false,
        }
    }
}

/// A socket to the kernel's routing, bound to the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

/// A request under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        Message(bytes)
    }

    fn link(kind: u16, flags: u16, index: u32, link_flags: u32, change: u32) -> Message {
        let mut message = Message::new(kind, flags);
        message.0.extend([0; 4]);
        message.0.extend(index.to_ne_bytes());
        message.0.extend(link_flags.to_ne_bytes());
        message.0.extend(change.to_ne_bytes());
        message
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.pad();
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
    }
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> io::Result<Netlink> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Netlink { fd, sequence: 0 })
    }

    /// Sends a request and returns the answers before the acknowledgement.
    fn request(&mut self, mut message: Message) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let length = message.0.len() as u32;
        message.0[0..4].copy_from_slice(&length.to_ne_bytes());
        message.0[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        sendto(self.fd.as_raw_fd(), &message.0, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; 32 << 10];
        loop {
            let length = match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            let mut rest = &buffer[..length];
            while rest.len() >= 16 {
                let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                if size < 16 || size > rest.len() {
                    break;
                }
                if kind == 2 && size >= 20 {
                    let code = i32::from_ne_bytes([rest[16], rest[17], rest[18], rest[19]]);
                    return if code == 0 { Ok(answers) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                answers.push(rest[16..size].to_vec());
                rest = &rest[((size + 3) & !3).min(rest.len())..];
            }
        }
    }

    /// The index of a link by its name.
    pub fn index(&mut self, link: &str) -> io::Result<u32> {
        let mut message = Message::link(GET_LINK, ACK, 0, 0, 0);
        message.attribute(3, &name(link));
        let answers = self.request(message)?;
        let first = answers.first().filter(|answer| answer.len() >= 8).ok_or(io::ErrorKind::NotFound)?;
        Ok(u32::from_ne_bytes([first[4], first[5], first[6], first[7]]))
    }

    /// Brings a link up.
    pub fn up(&mut self, index: u32) -> io::Result<()> {
        self.request(Message::link(NEW_LINK, ACK, index, 1, 1)).map(drop)
    }

    /// Sets the largest packet of a link, in bytes.
    pub fn set_mtu(&mut self, index: u32, bytes: u32) -> io::Result<()> {
        let mut message = Message::link(NEW_LINK, ACK, index, 0, 0);
        message.attribute(4, &bytes.to_ne_bytes());
        self.request(message).map(drop)
    }

    /// Makes a pair of links, up on this side, `peer` in the network namespace `namespace` (or here).
    pub fn add_veth(&mut self, link: &str, peer: &str, namespace: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut message = Message::link(NEW_LINK, ACK | CREATE | EXCLUSIVE, 0, 1, 1);
        message.attribute(3, &name(link));
        message.nested(18, |info| {
            info.attribute(1, b"veth");
            info.nested(2, |data| {
                data.nested(1, |other| {
                    other.0.extend([0; 16]);
                    other.attribute(3, &name(peer));
                    if let Some(namespace) = namespace {
                        other.attribute(28, &(namespace.as_raw_fd() as u32).to_ne_bytes());
                    }
                });
            });
        });
        self.request(message).map(drop)
    }

    /// Removes a link.
    pub fn delete_link(&mut self, link: &str) -> io::Result<()> {
        let mut message = Message::link(DELETE_LINK, ACK, 0, 0, 0);
        message.attribute(3, &name(link));
        self.request(message).map(drop)
    }

    /// Gives a link an address.
    pub fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut message = Message::new(NEW_ADDRESS, ACK | CREATE | REPLACE);
        message.0.extend([2, prefix, 0, 0]);
        message.0.extend(index.to_ne_bytes());
        message.attribute(2, &address.octets());
        message.attribute(1, &address.octets());
        self.request(message).map(drop)
    }

    /// Adds a route, or replaces the one for its destination.
    pub fn add_route(&mut self, route: &Route) -> io::Result<()> {
        self.request(Self::route(NEW_ROUTE, ACK | CREATE | REPLACE, route)).map(drop)
    }

    /// Removes a route.
    pub fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        self.request(Self::route(DELETE_ROUTE, ACK, route)).map(drop)
    }

    fn route(kind: u16, flags: u16, route: &Route) -> Message {
        let mut message = Message::new(kind, flags);
        let scope = if route.local {
            254
        } else if route.via.is_some() || route.unreachable {
            0
        } else {
            253
        };
        let route_kind = match (route.local, route.unreachable) {
            (true, _) => 2,
            (false, true) => 7,
            (false, false) => 1,
        };
        message.0.extend([2, route.prefix, 0, 0, route.table, 4, scope, route_kind]);
        message.0.extend((if route.onlink { ONLINK } else { 0 }).to_ne_bytes());
        message.attribute(1, &route.to.octets());
        if let Some(via) = route.via {
            message.attribute(5, &via.octets());
        }
        if let Some(link) = route.link {
            message.attribute(4, &link.to_ne_bytes());
        }
        if let Some(source) = route.source {
            message.attribute(7, &source.octets());
        }
        message
    }

    /// Adds a rule: packets are looked up in `table`, after all rules of lower `priority`.
    pub fn add_rule(&mut self, priority: u32, table: u8) -> io::Result<()> {
        let mut message = Message::new(NEW_RULE, ACK | CREATE | EXCLUSIVE);
        message.0.extend([2, 0, 0, 0, table, 0, 0, 1, 0, 0, 0, 0]);
        message.attribute(6, &priority.to_ne_bytes());
        match self.request(message) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Adds (or removes) the rule that TCP to `address:port` is looked up in `table`, before ordinary routes.
    pub fn tcp_rule(&mut self, add: bool, address: Ipv4Addr, port: u16, table: u8) -> io::Result<()> {
        let (kind, flags) = if add { (NEW_RULE, ACK | CREATE | EXCLUSIVE) } else { (DELETE_RULE, ACK) };
        let mut message = Message::new(kind, flags);
        message.0.extend([2, 32, 0, 0, table, 0, 0, 1, 0, 0, 0, 0]);
        message.attribute(1, &address.octets());
        message.attribute(6, &1000u32.to_ne_bytes());
        message.attribute(22, &[6]);
        message.attribute(24, &[port.to_ne_bytes(), port.to_ne_bytes()].concat());
        match self.request(message) {
            Err(error) if add && error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Adds the rule that TCP to this port which comes in by a link is looked up in `table`, before ordinary routes.
    pub fn port_rule(&mut self, link: &str, port: u16, table: u8) -> io::Result<()> {
        let mut message = Message::new(NEW_RULE, ACK | CREATE | EXCLUSIVE);
        message.0.extend([2, 0, 0, 0, table, 0, 0, 1, 0, 0, 0, 0]);
        message.attribute(3, &name(link));
        message.attribute(6, &1000u32.to_ne_bytes());
        message.attribute(22, &[6]);
        message.attribute(24, &[port.to_ne_bytes(), port.to_ne_bytes()].concat());
        match self.request(message) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Gives a link a hardware address.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> io::Result<()> {
        let mut message = Message::link(NEW_LINK, ACK, index, 0, 0);
        message.attribute(1, &mac);
        self.request(message).map(drop)
    }

    /// Adds a permanent neighbour, so that nothing has to be asked on the link.
    pub fn add_neighbour(&mut self, index: u32, address: Ipv4Addr, mac: [u8; 6]) -> io::Result<()> {
        let mut message = Message::new(NEW_NEIGHBOUR, ACK | CREATE | REPLACE);
        message.0.extend([2, 0, 0, 0]);
        message.0.extend(index.to_ne_bytes());
        message.0.extend(0x80u16.to_ne_bytes());
        message.0.extend([0, 1]);
        message.attribute(1, &address.octets());
        message.attribute(2, &mac);
        self.request(message).map(drop)
    }
}
