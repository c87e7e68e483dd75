//! The way out for pods: TCP connections and UDP datagrams to addresses outside of the machine go on from the host's side.
//!
//! The machine has no link to the host's network. Its default route leads into a pair of links whose far end this module reads
//! as raw packets: what arrives there is addressed to somewhere outside. For a new destination (a SYN) the address is made one
//! of our own (a `local` route, "AnyIP"), a listener is opened on it, and the same packet is given back to the kernel, which now
//! finds the listener. Everything after is an ordinary connection, copied to one that the host's side has dialled. No packet
//! filter is needed, and no privilege beyond our own network namespace.
//!
//! A UDP datagram is read from the packet and sent by a socket of the host's side, one for each pair of addresses; what comes
//! back there goes to the pod as a packet with the far end's address. Other protocols (ICMP) do not leave the machine.

mod udp;

use crate::dial::Outside;
use crate::error::{Context, Result};
use nix::sys::socket::{MsgFlags, recv, send};
use runtime::net::{Netlink, Route};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The end that routes lead into, and the end that is read.
const NEAR: &str = "out0";
const FAR: &str = "out1";
const NEAR_MAC: [u8; 6] = [0x02, 0x42, 0, 0, 0, 2];
/// The table in which every destination is local; rules lead single destinations to it.
const TABLE_TAKEN: u8 = 100;
/// The index of the loopback interface.
const LOOPBACK: u32 = 1;
/// How long a destination's listener waits for another connection.
const IDLE: Duration = Duration::from_secs(60);
/// How many destinations are open at a time.
const MAX_DESTINATIONS: usize = 2048;
/// How many pairs of addresses exchange datagrams at a time.
const MAX_EXCHANGES: usize = 1024;

/// A destination of a packet that begins a TCP connection.
fn syn_destination(packet: &[u8]) -> Option<SocketAddrV4> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 || packet.get(9) != Some(&6) {
        return None;
    }
    let to = Ipv4Addr::new(*packet.get(16)?, *packet.get(17)?, *packet.get(18)?, *packet.get(19)?);
    let port = u16::from_be_bytes([*packet.get(header + 2)?, *packet.get(header + 3)?]);
    let flags = *packet.get(header + 13)?;
    (flags & 0x12 == 0x02 && !to.is_multicast() && !to.is_broadcast() && !to.is_loopback())
        .then_some(SocketAddrV4::new(to, port))
}

/// The TCP packet with its checksum: a pod leaves that to its link, and what is read from there has none yet.
fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let header = usize::from(packet.first().copied().unwrap_or_default() & 0x0f) * 4;
    let total = packet.get(2..4).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    if total < header + 18 || total > packet.len() {
        return packet;
    }
    packet.truncate(total);
    packet[header + 16..header + 18].fill(0);
    let mut summed = packet[12..20].to_vec();
    summed.extend([0, packet[9]]);
    summed.extend(((total - header) as u16).to_be_bytes());
    summed.extend_from_slice(&packet[header..]);
    let sum = udp::checksum(&summed);
    packet[header + 16..header + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The destinations that have a listener.
#[derive(Default)]
struct Open {
    destinations: Mutex<HashSet<SocketAddrV4>>,
}

impl Open {
    /// Opens a destination: `None` when it is open already.
    fn open(&self, destination: SocketAddrV4) -> std::io::Result<Option<TcpListener>> {
        let mut destinations = self.destinations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if destinations.contains(&destination) {
            return Ok(None);
        }
        if destinations.len() >= MAX_DESTINATIONS {
            return Err(std::io::Error::other("too many destinations are open"));
        }
        let listener = TcpListener::from_std(runtime::sys::transparent_listener(destination)?)?;
        Netlink::open()?.tcp_rule(true, *destination.ip(), destination.port(), TABLE_TAKEN)?;
        destinations.insert(destination);
        Ok(Some(listener))
    }

    fn close(&self, destination: SocketAddrV4) {
        let mut destinations = self.destinations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        destinations.remove(&destination);
        let removed = Netlink::open()
            .and_then(|mut netlink| netlink.tcp_rule(false, *destination.ip(), destination.port(), TABLE_TAKEN));
        if let Err(error) = removed {
            tracing::debug!(%destination, %error, "a rule cannot be removed");
        }
    }
}

/// Copies connections to a destination until there have been none for a while.
async fn serve(listener: TcpListener, destination: SocketAddrV4, outside: &Outside, cancel: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < 1024 => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(forward(stream, destination, outside.clone()));
            }
            () = tokio::time::sleep(IDLE), if connections.is_empty() => return,
        }
    }
}

async fn forward(mut inside: TcpStream, destination: SocketAddrV4, outside: Outside) {
    match outside.connect(&destination.ip().to_string(), destination.port()).await {
        Ok(mut there) => {
            let _ = inside.set_nodelay(true);
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut inside, &mut there, 16 << 10, 16 << 10).await;
        }
        Err(error) => {
            tracing::debug!(%destination, %error, "a destination outside cannot be reached");
            let _ = inside.set_zero_linger();
        }
    }
}

/// Serves until cancelled.
pub(crate) async fn run(outside: Outside, cancel: CancellationToken) -> Result<()> {
    let packets = setup()?;
    let packets = runtime::sys::watch_fd(packets).context(|| "watch the way out".into())?;
    let packets = Arc::new(packets);
    let open = Arc::new(Open::default());
    let mut tasks = JoinSet::new();
    let mut pieces = udp::Reassembly::default();
    let mut exchanges: HashMap<(SocketAddrV4, SocketAddrV4), mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut ended: JoinSet<(SocketAddrV4, SocketAddrV4)> = JoinSet::new();
    let mut buffer = vec![0u8; 65_536];
    loop {
        let length = tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            Some(pair) = ended.join_next(), if !ended.is_empty() => {
                if let Ok(pair) = pair {
                    exchanges.remove(&pair);
                }
                continue;
            }
            read = packets.async_io(tokio::io::Interest::READABLE, |fd| Ok(recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?)) => match read {
                Ok(length) => length,
                Err(error) => {
                    tracing::debug!(%error, "the way out cannot be read");
                    continue;
                }
            },
        };
        let Some(packet) = buffer.get(14..length) else { continue };
        if let Some(datagram) = pieces.take(packet, std::time::Instant::now()) {
            let pair = (datagram.from, datagram.to);
            if exchanges.len() >= MAX_EXCHANGES && !exchanges.contains_key(&pair) {
                continue;
            }
            let exchange = exchanges.entry(pair).or_insert_with(|| {
                let (sender, receiver) = mpsc::channel(64);
                let work = exchange(pair, receiver, outside.clone(), packets.clone());
                ended.spawn(async move {
                    work.await;
                    pair
                });
                sender
            });
            // A full queue loses datagrams, as any queue on the way may.
            let _ = exchange.try_send(datagram.content);
            continue;
        }
        let Some(destination) = syn_destination(packet) else { continue };
        match open.open(destination) {
            Ok(Some(listener)) => {
                let (open, outside, cancel) = (open.clone(), outside.clone(), cancel.clone());
                tasks.spawn(async move {
                    serve(listener, destination, &outside, cancel).await;
                    open.close(destination);
                });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%destination, %error, "a destination cannot be opened");
                continue;
            }
        }
        // The same packet again, as if it came in by the link: now there is somebody to answer it.
        give_back(packets.as_raw_fd(), &with_checksum(packet.to_vec()));
    }
    ended.shutdown().await;
    tasks.shutdown().await;
    Ok(())
}

/// Gives a packet to the kernel as if it came in by the link.
fn give_back(link: std::os::fd::RawFd, packet: &[u8]) {
    let mut frame = NEAR_MAC.to_vec();
    frame.extend([0x02, 0x42, 0, 0, 0, 3, 0x08, 0x00]);
    frame.extend_from_slice(packet);
    if let Err(error) = send(link, &frame, MsgFlags::empty()) {
        tracing::debug!(%error, "a packet cannot be given back");
    }
}

/// Carries datagrams between a pod and one address outside until there have been none for a while.
async fn exchange(
    (pod, there): (SocketAddrV4, SocketAddrV4),
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    outside: Outside,
    packets: Arc<tokio::io::unix::AsyncFd<OwnedFd>>,
) {
    let socket = match outside.udp(&there.ip().to_string(), there.port()).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%there, %error, "a destination outside cannot be reached by UDP");
            return;
        }
    };
    let mut buffer = vec![0u8; 65_536];
    loop {
        tokio::select! {
            Some(content) = outgoing.recv() => drop(socket.send(&content).await),
            received = socket.recv(&mut buffer) => {
                // An error is a refusal by the far end, of which a later datagram may know nothing.
                let Ok(length) = received else { continue };
                if let Some(packet) = udp::packet(there, pod, &buffer[..length]) {
                    give_back(packets.as_raw_fd(), &packet);
                }
            }
            () = tokio::time::sleep(IDLE) => return,
        }
    }
}

fn setup() -> Result<OwnedFd> {
    let what = || "make the way out".to_owned();
    let mut netlink = Netlink::open().context(what)?;
    netlink.add_veth(NEAR, FAR, None).context(what)?;
    let (near, far) = (netlink.index(NEAR).context(what)?, netlink.index(FAR).context(what)?);
    netlink.set_mac(near, NEAR_MAC).context(what)?;
    for end in [near, far] {
        // An answer may be as long as a packet can be.
        netlink.set_mtu(end, 65_535).context(what)?;
    }
    netlink.up(near).context(what)?;
    netlink.up(far).context(what)?;
    // A next hop that never has to be asked for: it answers to nothing, it is only read.
    let hop = Ipv4Addr::new(169, 254, 1, 1);
    netlink.add_address(near, Ipv4Addr::new(169, 254, 1, 2), 30).context(what)?;
    netlink.add_neighbour(near, hop, [0x02, 0x42, 0, 0, 0, 3]).context(what)?;
    netlink.add_route(&Route { onlink: false, ..Route::default_via(hop, near) }).context(what)?;
    netlink
        .add_route(&Route {
            prefix: 0,
            table: TABLE_TAKEN,
            local: true,
            ..Route::host(Ipv4Addr::UNSPECIFIED, LOOPBACK)
        })
        .context(what)?;
    // What is given back comes from pods, which are not behind this link.
    runtime::net::accept_any_source(NEAR);
    runtime::sys::packet_socket(far).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_completed() {
        let mut packet = vec![0u8; 40];
        (packet[0], packet[3], packet[9], packet[33]) = (0x45, 40, 6, 2);
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        let mut padded = packet.clone();
        padded.extend([9; 6]);
        let done = with_checksum(padded);
        assert_eq!(done.len(), 40);
        // Addresses, protocol, length and flags, added and complemented by hand.
        assert_eq!(done[36..38], (!(0x0a00u16 + 1 + 0x0a00 + 2 + 6 + 20 + 2)).to_be_bytes());
        assert_eq!(with_checksum(packet[..30].to_vec()), packet[..30]);
    }

    #[test]
    fn only_the_first_packet_of_a_connection_counts() {
        let mut packet = vec![0u8; 40];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[16..20].copy_from_slice(&[93, 184, 216, 34]);
        packet[22..24].copy_from_slice(&443u16.to_be_bytes());
        packet[33] = 0x02;
        assert_eq!(syn_destination(&packet), Some("93.184.216.34:443".parse().expect("an address")));
        for (at, value) in [(33, 0x12), (33, 0x10), (9, 17), (0, 0x60), (16, 224)] {
            let mut other = packet.clone();
            other[at] = value;
            assert_eq!(syn_destination(&other), None, "byte {at} = {value:#x}");
        }
        assert_eq!(syn_destination(&packet[..30]), None);
    }
}
