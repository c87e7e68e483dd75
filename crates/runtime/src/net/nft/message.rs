//! The nf_tables messages that a [`super::Filter`] is made of, and the transaction that carries them.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
    sockopt,
};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// `NFNL_SUBSYS_NFTABLES`, in the high byte of a message's type.
const NFTABLES: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = NFTABLES;
const DELETE_TABLE: u16 = NFTABLES | 2;
const NEW_CHAIN: u16 = NFTABLES | 3;
const NEW_RULE: u16 = NFTABLES | 6;
const NEW_SET: u16 = NFTABLES | 9;
const NEW_ELEMENT: u16 = NFTABLES | 12;

/// `NFPROTO_IPV4`.
const FAMILY: u8 = 2;
const NESTED: u16 = 0x8000;
/// The first register for values; register 0 takes verdicts.
const REGISTER: u32 = 1;

const ACCEPT: i32 = 1;
const DROP: i32 = 0;
const JUMP: i32 = -3;
const RETURN: i32 = -5;

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// Attributes under construction.
#[derive(Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.0.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }

    fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes)) -> &mut Self {
        let mut inner = Attributes::default();
        fill(&mut inner);
        self.put(kind | NESTED, &inner.0)
    }
}

/// One message of a transaction.
pub(super) struct Message {
    kind: u16,
    flags: u16,
    attributes: Attributes,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        Message { kind, flags, attributes: Attributes::default() }
    }

    /// Makes a table, or deletes it with everything in it.
    pub(super) fn table(name: &str, make: bool) -> Message {
        let mut message = if make { Message::new(NEW_TABLE, CREATE) } else { Message::new(DELETE_TABLE, 0) };
        message.attributes.text(1, name);
        message
    }

    /// A chain that the kernel enters with every packet that comes in, after it has found the packet's connection.
    pub(super) fn base_chain(table: &str, name: &str) -> Message {
        const PREROUTING: u32 = 0;
        const MANGLE: i32 = -150;
        let mut message = Message::chain(table, name);
        message.attributes.nest(4, |hook| {
            hook.number(1, PREROUTING).number(2, MANGLE as u32);
        });
        message.attributes.number(5, ACCEPT as u32).text(7, "filter");
        message
    }

    /// A chain that rules jump to.
    pub(super) fn chain(table: &str, name: &str) -> Message {
        let mut message = Message::new(NEW_CHAIN, CREATE);
        message.attributes.text(1, table).text(3, name);
        message
    }

    /// A set of address ranges.
    pub(super) fn set(table: &str, name: &str, id: u32) -> Message {
        const INTERVAL: u32 = 4;
        /// `ipv4_addr`, as the `nft` program numbers types, so that it can list the set.
        const ADDRESS: u32 = 7;
        let mut message = Message::new(NEW_SET, CREATE);
        message.attributes.text(1, table).text(2, name).number(3, INTERVAL).number(4, ADDRESS).number(5, 4);
        message.attributes.number(10, id);
        message
    }

    /// Elements of a set of address ranges.
    pub(super) fn elements(table: &str, set: &str, elements: &[(u32, bool)]) -> Message {
        const INTERVAL_END: u32 = 1;
        let mut message = Message::new(NEW_ELEMENT, CREATE);
        message.attributes.text(1, table).text(2, set);
        message.attributes.nest(3, |list| {
            for (address, end) in elements {
                list.nest(1, |element| {
                    element.nest(1, |key| {
                        key.put(1, &address.to_be_bytes());
                    });
                    if *end {
                        element.number(3, INTERVAL_END);
                    }
                });
            }
        });
        message
    }

    fn write(&self, sequence: u32, ack: bool, out: &mut Vec<u8>) {
        let flags = REQUEST | self.flags | if ack { ACK } else { 0 };
        frame(out, self.kind, flags, sequence, FAMILY, 0, &self.attributes.0);
    }
}

fn frame(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, body: &[u8]) {
    out.extend(((20 + body.len()) as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    out.extend(body);
}

/// A rule under construction: conditions in order, then a verdict.
pub(super) struct Rule {
    message: Message,
    expressions: Attributes,
}

impl Rule {
    pub(super) fn new(table: &str, chain: &str) -> Rule {
        let mut message = Message::new(NEW_RULE, CREATE | APPEND);
        message.attributes.text(1, table).text(2, chain);
        Rule { message, expressions: Attributes::default() }
    }

    pub(super) fn finish(mut self) -> Message {
        self.message.attributes.put(4 | NESTED, &self.expressions.0);
        self.message
    }

    fn expression(mut self, name: &str, fill: impl FnOnce(&mut Attributes)) -> Rule {
        self.expressions.nest(1, |element| {
            element.text(1, name).nest(2, fill);
        });
        self
    }

    fn load(self, base: u32, offset: u32, length: u32) -> Rule {
        self.expression("payload", |data| {
            data.number(1, REGISTER).number(2, base).number(3, offset).number(4, length);
        })
    }

    fn compare(self, operator: u32, value: &[u8]) -> Rule {
        self.expression("cmp", |data| {
            data.number(1, REGISTER).number(2, operator).nest(3, |inner| {
                inner.put(1, value);
            });
        })
    }

    fn look_up(self, set: &str) -> Rule {
        self.expression("lookup", |data| {
            data.text(1, set).number(2, REGISTER);
        })
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Rule {
        self.expression("immediate", |data| {
            data.number(1, 0).nest(2, |inner| {
                inner.nest(2, |verdict| {
                    verdict.number(1, code as u32);
                    if let Some(chain) = chain {
                        verdict.text(2, chain);
                    }
                });
            });
        })
    }

    /// The packet belongs to a connection that was let through, or is an error message about one.
    pub(super) fn connection_known(self) -> Rule {
        const STATE: u32 = 0;
        /// Bits of `established` and `related`.
        const KNOWN: u32 = 2 | 4;
        let rule = self.expression("ct", |data| {
            data.number(1, REGISTER).number(2, STATE);
        });
        let rule = rule.expression("bitwise", |data| {
            data.number(1, REGISTER).number(2, REGISTER).number(3, 4);
            data.nest(4, |mask| {
                mask.put(1, &KNOWN.to_ne_bytes());
            });
            data.nest(5, |xor| {
                xor.put(1, &[0; 4]);
            });
        });
        rule.compare(NOT_EQUAL, &[0; 4])
    }

    /// The packet came in by a link whose name begins otherwise.
    pub(super) fn not_from(self, prefix: &str) -> Rule {
        const LINK_NAME: u32 = 6;
        let rule = self.expression("meta", |data| {
            data.number(1, REGISTER).number(2, LINK_NAME);
        });
        rule.compare(NOT_EQUAL, prefix.as_bytes())
    }

    pub(super) fn source_in(self, set: &str) -> Rule {
        self.load(NETWORK_HEADER, 12, 4).look_up(set)
    }

    pub(super) fn destination_in(self, set: &str) -> Rule {
        self.load(NETWORK_HEADER, 16, 4).look_up(set)
    }

    pub(super) fn destination(self, address: Ipv4Addr) -> Rule {
        self.load(NETWORK_HEADER, 16, 4).compare(EQUAL, &address.octets())
    }

    pub(super) fn protocol(self, number: u8) -> Rule {
        const TRANSPORT_PROTOCOL: u32 = 16;
        let rule = self.expression("meta", |data| {
            data.number(1, REGISTER).number(2, TRANSPORT_PROTOCOL);
        });
        rule.compare(EQUAL, &[number])
    }

    /// The destination port, of protocols that have it where TCP has it.
    pub(super) fn port(self, (first, last): (u16, u16)) -> Rule {
        let rule = self.load(TRANSPORT_HEADER, 2, 2);
        if first == last {
            return rule.compare(EQUAL, &first.to_be_bytes());
        }
        rule.compare(AT_LEAST, &first.to_be_bytes()).compare(AT_MOST, &last.to_be_bytes())
    }

    pub(super) fn accept(self) -> Rule {
        self.verdict(ACCEPT, None)
    }

    pub(super) fn drop_packet(self) -> Rule {
        self.verdict(DROP, None)
    }

    pub(super) fn jump(self, chain: &str) -> Rule {
        self.verdict(JUMP, Some(chain))
    }

    /// Back to the chain that jumped here.
    pub(super) fn back(self) -> Rule {
        self.verdict(RETURN, None)
    }
}

/// A transaction: all messages take effect together, or none.
pub(super) struct Batch {
    messages: Vec<Message>,
}

impl Batch {
    pub(super) fn begin() -> Batch {
        Batch { messages: Vec::new() }
    }

    pub(super) fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Sends it and waits for the kernel's verdict.
    pub(super) fn commit(self) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame(&mut bytes, BATCH_BEGIN, REQUEST, 1, 0, NFTABLES >> 8, &[]);
        let last = self.messages.len();
        for (index, message) in self.messages.iter().enumerate() {
            message.write(index as u32 + 2, index + 1 == last, &mut bytes);
        }
        frame(&mut bytes, BATCH_END, REQUEST, last as u32 + 2, 0, NFTABLES >> 8, &[]);
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        if bytes.len() > 64 << 10 && setsockopt(&fd, sockopt::SndBufForce, &(bytes.len() * 2)).is_err() {
            let _ = setsockopt(&fd, sockopt::SndBuf, &(bytes.len() * 2));
        }
        sendto(fd.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; 32 << 10];
        loop {
            let length = match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            let mut rest = &buffer[..length];
            while rest.len() >= 16 {
                let word = |at: usize| u32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
                let (size, kind, sequence) = (word(0) as usize, u16::from_ne_bytes([rest[4], rest[5]]), word(8));
                if size < 16 || size > rest.len() {
                    break;
                }
                if kind == 2 && size >= 20 {
                    let code = word(16) as i32;
                    if code != 0 {
                        return Err(io::Error::from_raw_os_error(-code));
                    }
                    if sequence == last as u32 + 1 {
                        return Ok(());
                    }
                }
                rest = &rest[((size + 3) & !3).min(rest.len())..];
            }
        }
    }
}
