//! UDP to the outside: datagrams taken from the packets that leave, and packets made for the answers. Pure, but for [`Exchange`].

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// The IP protocol number of UDP.
const UDP: u8 = 17;
/// How long the pieces of a datagram wait for the others.
const PIECES: Duration = Duration::from_secs(10);
/// How many datagrams are pieced together at a time.
const MAX_PARTIAL: usize = 64;

/// A datagram of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) content: Vec<u8>,
}

/// What identifies the pieces of one packet: source, destination, number.
type Key = (Ipv4Addr, Ipv4Addr, u16);

struct Partial {
    since: Instant,
    pieces: Vec<(usize, Vec<u8>)>,
    /// The length of the whole, once the last piece is there.
    total: Option<usize>,
}

/// Puts datagrams together that came in several packets (RFC 791, section 3.2).
#[derive(Default)]
pub(super) struct Reassembly {
    partial: HashMap<Key, Partial>,
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
}

fn address(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::new(*packet.get(at)?, *packet.get(at + 1)?, *packet.get(at + 2)?, *packet.get(at + 3)?))
}

impl Reassembly {
    /// The datagram that a packet completes; `None` for other packets and for pieces that wait for more.
    pub(super) fn take(&mut self, packet: &[u8], now: Instant) -> Option<Datagram> {
        let first = *packet.first()?;
        let header = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || header < 20 || *packet.get(9)? != UDP {
            return None;
        }
        let (from, to, length) = (address(packet, 12)?, address(packet, 16)?, usize::from(word(packet, 2)?));
        if to.is_multicast() || to.is_broadcast() || to.is_loopback() {
            return None;
        }
        let body = packet.get(header..length.max(header).min(packet.len()))?;
        let fragment = word(packet, 6)?;
        let (more, offset) = (fragment & 0x2000 != 0, usize::from(fragment & 0x1fff) * 8);
        if !more && offset == 0 {
            return datagram(from, to, body);
        }
        self.partial.retain(|_, partial| now.duration_since(partial.since) < PIECES);
        let key = (from, to, word(packet, 4)?);
        if self.partial.len() >= MAX_PARTIAL && !self.partial.contains_key(&key) {
            return None;
        }
        let partial =
            self.partial.entry(key).or_insert_with(|| Partial { since: now, pieces: Vec::new(), total: None });
        if offset + body.len() > 65_535 || partial.pieces.len() > 64 {
            self.partial.remove(&key);
            return None;
        }
        partial.pieces.push((offset, body.to_vec()));
        if !more {
            partial.total = Some(offset + body.len());
        }
        let whole = partial.whole()?;
        self.partial.remove(&key);
        datagram(from, to, &whole)
    }
}

impl Partial {
    fn whole(&mut self) -> Option<Vec<u8>> {
        let total = self.total?;
        self.pieces.sort_by_key(|(offset, _)| *offset);
        let mut whole = Vec::with_capacity(total);
        for (offset, piece) in &self.pieces {
            if *offset > whole.len() {
                return None;
            }
            whole.truncate(*offset);
            whole.extend_from_slice(piece);
        }
        (whole.len() == total).then_some(whole)
    }
}

fn datagram(from: Ipv4Addr, to: Ipv4Addr, body: &[u8]) -> Option<Datagram> {
    let length = usize::from(word(body, 4)?);
    Some(Datagram {
        from: SocketAddrV4::new(from, word(body, 0)?),
        to: SocketAddrV4::new(to, word(body, 2)?),
        content: body.get(8..length)?.to_vec(),
    })
}

/// The IP packet of an answer. `None` when it is longer than a packet can be.
pub(super) fn packet(from: SocketAddrV4, to: SocketAddrV4, content: &[u8]) -> Option<Vec<u8>> {
    let total = u16::try_from(28 + content.len()).ok()?;
    let mut out = vec![0x45, 0];
    out.extend(total.to_be_bytes());
    out.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
    out.extend(from.ip().octets());
    out.extend(to.ip().octets());
    let sum = checksum(&out);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    for number in [from.port(), to.port(), total - 20, 0] {
        // A checksum of 0 says that there is none; the packet does not leave the machine.
        out.extend(number.to_be_bytes());
    }
    out.extend_from_slice(content);
    Some(out)
}

/// The checksum of an IP header and others (RFC 1071).
pub(super) fn checksum(header: &[u8]) -> u16 {
    let mut sum: u32 =
        header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (SocketAddrV4, SocketAddrV4) {
        ("10.244.0.5:5000".parse().expect("an address"), "9.9.9.9:53".parse().expect("an address"))
    }

    #[test]
    fn a_packet_that_was_made_is_taken() {
        let (from, to) = ends();
        let made = packet(from, to, b"hello").expect("short enough");
        assert_eq!(checksum(&made[..20]), 0);
        let taken = Reassembly::default().take(&made, Instant::now());
        assert_eq!(taken, Some(Datagram { from, to, content: b"hello".to_vec() }));
        assert_eq!(packet(from, to, &vec![0; 65_508]), None);
        let mut tcp = made;
        tcp[9] = 6;
        assert_eq!(Reassembly::default().take(&tcp, Instant::now()), None);
    }

    #[test]
    fn whatever_comes_is_survived() {
        let mut state = 7u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let (from, to) = ends();
        let mut reassembly = Reassembly::default();
        for round in 0..20_000usize {
            let mut bytes = packet(from, to, &vec![0; round % 70]).expect("short enough");
            for _ in 0..3 {
                let at = usize::from(byte()) % bytes.len();
                bytes[at] = byte();
            }
            bytes.truncate(usize::from(byte()));
            let _ = reassembly.take(&bytes, Instant::now());
            let _ = super::super::syn_destination(&bytes);
        }
        assert!(reassembly.partial.len() <= MAX_PARTIAL);
    }

    #[test]
    fn pieces_in_any_order() {
        let (from, to) = ends();
        let content: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
        let whole = packet(from, to, &content).expect("short enough");
        let body = &whole[20..];
        let piece = |first: usize, last: usize| {
            let mut out = whole[..20].to_vec();
            out[2..4].copy_from_slice(&((20 + last - first) as u16).to_be_bytes());
            let more = if last < body.len() { 0x2000 } else { 0 };
            out[6..8].copy_from_slice(&(more | (first / 8) as u16).to_be_bytes());
            out.extend(&body[first..last]);
            out
        };
        let (a, b, c) = (piece(0, 1480), piece(1480, 2960), piece(2960, body.len()));
        for order in [[&a, &b, &c], [&c, &a, &b], [&b, &c, &a]] {
            let mut reassembly = Reassembly::default();
            let now = Instant::now();
            assert_eq!(reassembly.take(order[0], now), None);
            assert_eq!(reassembly.take(order[1], now), None);
            assert_eq!(reassembly.take(order[2], now).expect("whole").content, content);
            assert!(reassembly.partial.is_empty());
        }
        assert_eq!(Reassembly::default().take(&a[..10], Instant::now()), None);
    }
}
