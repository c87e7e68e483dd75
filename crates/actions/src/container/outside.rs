//! The way out for services: TCP connections to any address, and questions to the name server of this machine, go on from the runner.
//!
//! What a service sends goes to the neighbour of its network (see [`runtime::net::Visitor`]). Two ports are open there from the start, for
//! all addresses; the first attempt to reach another port opens that one, and its repetition a second later goes through.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use runtime::net::Visitor;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::network::{accept, join, relay};

/// What stands for the runner itself inside of a service that asked for it (`--add-host NAME:host-gateway`).
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(100, 127, 255, 254);
/// What stands for the runner's name server.
const NAMES: Ipv4Addr = Ipv4Addr::new(100, 127, 255, 253);
/// The ports that are open from the start.
const USUAL: [u16; 2] = [80, 443];
/// How many ports a service may open.
const MOST_PORTS: usize = 256;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// `/etc/resolv.conf` of a service: as the runner's, with the name server in reach. Empty where the runner has none.
pub(super) fn resolv_conf() -> String {
    let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if name_server(&own).is_none() {
        return String::new();
    }
    let rest = own.lines().filter(|line| line.starts_with("search") || line.starts_with("options"));
    let rest: String = rest.map(|line| format!("{line}\n")).collect();
    format!("nameserver {NAMES}\n{rest}")
}

fn name_server(text: &str) -> Option<SocketAddr> {
    let mut servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
    servers.next().map(|ip: std::net::IpAddr| SocketAddr::from((ip, 53)))
}

/// Where a connection that a service makes goes to; none for what is not there.
fn destination(meant: SocketAddr, host: bool, names: Option<SocketAddr>) -> Option<SocketAddr> {
    let SocketAddr::V4(to) = meant else { return None };
    let [a, b, ..] = to.ip().octets();
    match *to.ip() {
        HOST => host.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()))),
        NAMES => names.filter(|_| to.port() == 53),
        // The other services, on ports that they do not listen on.
        _ if a == 100 && (64..128).contains(&b) => None,
        ip if ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() => None,
        _ => Some(meant),
    }
}

/// Opens the way out for a service whose network has a neighbour. `host`: whether it may reach the runner itself.
pub(super) async fn open(
    visitor: Arc<Visitor>,
    host: bool,
    tracker: &TaskTracker,
    end: &CancellationToken,
) -> std::io::Result<()> {
    let names = name_server(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let (within, asks) = (visitor.clone(), names.is_some());
    let opened = tokio::task::spawn_blocking(move || {
        let packets = within.neighbour_packets()?;
        let listeners: Vec<_> =
            USUAL.iter().map(|port| within.neighbour_listen_for_all(*port)).collect::<std::io::Result<_>>()?;
        let questions = if asks { Some(within.neighbour_datagrams(SocketAddr::from((NAMES, 53)))?) } else { None };
        Ok::<_, std::io::Error>((packets, listeners, questions))
    });
    let (packets, listeners, questions) = opened.await.map_err(std::io::Error::other)??;
    let way = Way { host, names, end: end.clone(), tracker: tracker.clone() };
    for listener in listeners {
        way.serve(listener)?;
    }
    if let (Some(socket), Some(server)) = (questions, names) {
        socket.set_nonblocking(true)?;
        let (socket, end) = (Arc::new(UdpSocket::from_std(socket)?), end.clone());
        tracker.spawn(async move {
            let ask = move || async move {
                let local: SocketAddr = if server.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let socket = UdpSocket::bind(local).await?;
                socket.connect(server).await?;
                Ok(socket)
            };
            relay(socket, end, ask).await;
        });
    }
    let packets = runtime::sys::watch_fd(packets)?;
    tracker.spawn(async move { way.watch(packets, visitor).await });
    Ok(())
}

#[derive(Clone)]
struct Way {
    host: bool,
    names: Option<SocketAddr>,
    end: CancellationToken,
    tracker: TaskTracker,
}

impl Way {
    fn serve(&self, listener: std::net::TcpListener) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (host, names) = (self.host, self.names);
        self.tracker.spawn(accept(listener, self.end.clone(), move |stream| async move {
            let Some(to) = stream.local_addr().ok().and_then(|meant| destination(meant, host, names)) else {
                let _ = stream.set_zero_linger();
                return;
            };
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await {
                Ok(Ok(there)) => join(stream, there).await,
                _ => drop(stream.set_zero_linger()),
            }
        }));
        Ok(())
    }

    /// Opens the ports that the service tries.
    async fn watch(&self, packets: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>, visitor: Arc<Visitor>) {
        use nix::sys::socket::{MsgFlags, recv};
        let mut open: Vec<u16> = USUAL.to_vec();
        let mut buffer = vec![0; 256];
        loop {
            let read = tokio::select! {
                () = self.end.cancelled() => return,
                read = packets.async_io(tokio::io::Interest::READABLE, |fd| {
                    Ok(recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?)
                }) => read,
            };
            let Ok(length) = read else { return };
            let Some(to) = buffer.get(14..length).and_then(begins) else { continue };
            if open.contains(&to.port()) || open.len() >= MOST_PORTS || destination(to, self.host, self.names).is_none()
            {
                continue;
            }
            open.push(to.port());
            let (within, port) = (visitor.clone(), to.port());
            let made = tokio::task::spawn_blocking(move || within.neighbour_listen_for_all(port)).await;
            if let Err(error) = made.map_err(std::io::Error::other).flatten().and_then(|listener| self.serve(listener))
            {
                tracing::debug!(%error, port, "a port of the way out cannot be opened");
            }
        }
    }
}

/// Where a packet that begins a TCP connection goes.
fn begins(packet: &[u8]) -> Option<SocketAddr> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    if packet.first()? >> 4 != 4 || header < 20 || packet.get(9) != Some(&6) {
        return None;
    }
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let port: [u8; 2] = packet.get(header + 2..header + 4)?.try_into().ok()?;
    (packet.get(header + 13)? & 0x12 == 0x02).then(|| SocketAddr::from((to, u16::from_be_bytes(port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_connections_go() {
        let names = Some(SocketAddr::from(([10, 0, 0, 53], 53)));
        let to = |text: &str, host| destination(text.parse().unwrap(), host, names).map(|to| to.to_string());
        assert_eq!(to("93.184.216.34:443", false).as_deref(), Some("93.184.216.34:443"));
        assert_eq!(to("100.127.255.253:53", false).as_deref(), Some("10.0.0.53:53"));
        assert_eq!(to("100.127.255.254:8080", true).as_deref(), Some("127.0.0.1:8080"));
        for nowhere in
            ["100.127.255.254:8080", "100.127.255.253:80", "100.65.1.1:5432", "127.0.0.1:80", "169.254.77.1:80"]
        {
            assert_eq!(to(nowhere, false), None, "{nowhere}");
        }
        assert_eq!(
            name_server("# x\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n"),
            Some(SocketAddr::from(([10, 0, 0, 1], 53)))
        );
        assert_eq!(name_server("search x\n"), None);
    }

    #[test]
    fn the_first_packet_of_a_connection() {
        let mut packet = vec![0u8; 40];
        (packet[0], packet[9], packet[33]) = (0x45, 6, 2);
        packet[16..20].copy_from_slice(&[10, 1, 2, 3]);
        packet[22..24].copy_from_slice(&8443u16.to_be_bytes());
        assert_eq!(begins(&packet), Some(SocketAddr::from(([10, 1, 2, 3], 8443))));
        packet[33] = 0x12;
        assert_eq!(begins(&packet), None);
        assert_eq!(begins(&packet[..20]), None);
    }
}
