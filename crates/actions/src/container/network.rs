//! Ways into the networks of services and out of them: sockets whose connections and datagrams are carried to a port elsewhere. Each
//! belongs to a job and ends with it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::time::Duration;

use runtime::net::Visitor;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections a way carries at a time, and how many senders of datagrams.
const MOST_CONNECTIONS: usize = 1024;
const MOST_SENDERS: usize = 256;
/// How long datagrams of a sender are waited for.
const IDLE: Duration = Duration::from_secs(60);

/// The ways of a job.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    pub tracker: TaskTracker,
    pub end: CancellationToken,
}

impl Drop for Forwards {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A port of a service.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The service's network.
    pub to: Arc<Visitor>,
    /// The address there.
    pub at: SocketAddr,
    /// Whether it is for datagrams.
    pub udp: bool,
}

impl Forwards {
    /// Listens on the runner; gives the address, whose port was chosen when it was 0.
    pub fn on_runner(&self, at: SocketAddr, target: Target) -> io::Result<SocketAddr> {
        if target.udp {
            let socket = StdUdpSocket::bind(at)?;
            let at = socket.local_addr()?;
            self.relay(socket, target)?;
            return Ok(at);
        }
        let listener = StdListener::bind(at)?;
        let at = listener.local_addr()?;
        self.serve(listener, target)?;
        Ok(at)
    }

    /// Listens beside the network of a container, where what that container itself listens on is not in the way.
    pub async fn beside(&self, within: Arc<Visitor>, at: SocketAddr, target: Target) -> io::Result<()> {
        if target.udp {
            let socket = blocking(move || within.neighbour_datagrams(at)).await?;
            return self.relay(socket, target);
        }
        let listener = blocking(move || within.neighbour_listen(at)).await?;
        self.serve(listener, target)
    }

    fn serve(&self, listener: StdListener, target: Target) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        self.tracker.spawn(accept(listener, self.end.clone(), move |stream| carry(stream, target.clone())));
        Ok(())
    }

    fn relay(&self, socket: StdUdpSocket, target: Target) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let end = self.end.clone();
        self.tracker.spawn(async move {
            let open = move || {
                let target = target.clone();
                async move {
                    let socket = blocking(move || target.to.datagrams(target.at)).await?;
                    socket.set_nonblocking(true)?;
                    UdpSocket::from_std(socket)
                }
            };
            relay(socket, end, open).await;
        });
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Hands over the connections of a listener until the end.
pub(super) async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    end: CancellationToken,
    handle: impl Fn(TcpStream) -> F,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(handle(stream));
                }
                Err(error) => {
                    tracing::debug!(%error, "a way to a service accepts nothing more");
                    return;
                }
            },
        }
    }
}

async fn carry(outer: TcpStream, target: Target) {
    let Ok(inner) = blocking(move || target.to.connect(target.at)).await else { return };
    if inner.set_nonblocking(true).is_err() {
        return;
    }
    if let Ok(inner) = TcpStream::from_std(inner) {
        join(outer, inner).await;
    }
}

/// Copies both ways until both ends are done, or either breaks off.
pub(super) async fn join(mut outer: TcpStream, mut inner: TcpStream) {
    let _ = outer.set_nodelay(true);
    let _ = inner.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
}

/// Carries datagrams between whoever sends to `socket` and a socket of its own that `open` makes for each sender.
pub(super) async fn relay<F: Future<Output = io::Result<UdpSocket>> + Send + 'static>(
    socket: Arc<UdpSocket>,
    end: CancellationToken,
    open: impl Fn() -> F,
) {
    let mut senders: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut exchanges: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let received = tokio::select! {
            () = end.cancelled() => return,
            Some(ended) = exchanges.join_next(), if !exchanges.is_empty() => {
                if let Ok(from) = ended {
                    senders.remove(&from);
                }
                continue;
            }
            received = socket.recv_from(&mut buffer) => received,
        };
        // An error is a refusal by an earlier receiver.
        let Ok((length, from)) = received else { continue };
        if senders.len() >= MOST_SENDERS && !senders.contains_key(&from) {
            continue;
        }
        let sender = senders.entry(from).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(64);
            let (opening, back) = (open(), socket.clone());
            exchanges.spawn(async move {
                match opening.await {
                    Ok(inner) => exchange(receiver, inner, &back, from).await,
                    Err(error) => tracing::debug!(%error, "datagrams cannot be carried to a service"),
                }
                from
            });
            sender
        });
        // A full queue loses datagrams, as any queue on the way may.
        let _ = sender.try_send(buffer[..length].to_vec());
    }
}

async fn exchange(mut outgoing: mpsc::Receiver<Vec<u8>>, inner: UdpSocket, back: &UdpSocket, from: SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        tokio::select! {
            Some(content) = outgoing.recv() => drop(inner.send(&content).await),
            received = inner.recv(&mut buffer) => {
                // An error says that nobody listens there yet, of which a later datagram may know nothing.
                let Ok(length) = received else { continue };
                let _ = back.send_to(&buffer[..length], from).await;
            }
            () = tokio::time::sleep(IDLE) => return,
        }
    }
}

/// The address that stands for a service inside of the others, where loopback is their own: the same number in another range.
pub(super) fn inside_address(own: Ipv4Addr) -> Ipv4Addr {
    let [_, b, c, d] = own.octets();
    Ipv4Addr::new(100, b, c, d)
}

/// An address of loopback that no other service has.
pub(super) fn own_address() -> Ipv4Addr {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    Ipv4Addr::new(127, 64 | (bytes[0] & 0x3f), bytes[1], 1 + bytes[2] % 254)
}

/// The ports that processes in the network of `pid` listen on for others, and whether they are for datagrams.
pub(super) fn listening(pid: i32) -> BTreeSet<(u16, bool)> {
    // 0A is LISTEN; a datagram socket that is not connected is in state 07.
    [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")]
        .iter()
        .filter_map(|(table, state)| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok()?;
            let udp = table.starts_with("udp");
            // Above are the ports that the kernel gives to those who only ask others.
            let ports = listening_in(&text, state).into_iter().filter(move |port| !udp || *port < 32_768);
            Some(ports.map(move |port| (port, udp)).collect::<Vec<_>>())
        })
        .flatten()
        .collect()
}

fn listening_in(table: &str, state: &str) -> Vec<u16> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (address, port) = fields.next()?.split_once(':')?;
            (fields.nth(1)? == state && !loopback(address)).then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

/// Whether an address of `/proc/net/tcp` (words in the machine's byte order) is loopback.
fn loopback(hex: &str) -> bool {
    let words: Vec<u32> = hex
        .as_bytes()
        .chunks(8)
        .filter_map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .collect();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match (<[u8; 4]>::try_from(bytes.as_slice()), <[u8; 16]>::try_from(bytes.as_slice())) {
        (Ok(v4), _) => IpAddr::from(v4).is_loopback(),
        (_, Ok(v6)) => IpAddr::from(v6).to_canonical().is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let text = "  sl  local_address rem_address   st\n   0: 00000000:18EB 00000000:0000 0A 0\n   1: 0100007F:0050 00000000:0000 0A 0\n   2: 0100007F:18EB 0100007F:9C40 01 0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(listening_in(text, "0A"), [6379]);
            let six = "h\n 0: 00000000000000000000000000000000:1538 00000000000000000000000000000000:0000 0A\n 1: 00000000000000000000000001000000:1539 0:0 0A\n";
            assert_eq!(listening_in(six, "0A"), [5432]);
        }
        assert!(own_address().is_loopback());
        assert_eq!(inside_address(Ipv4Addr::new(127, 77, 1, 2)), Ipv4Addr::new(100, 77, 1, 2));
    }

    #[tokio::test]
    async fn datagrams_there_and_back() {
        let echo = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let to = echo.local_addr().unwrap();
        let (answering, mut tasks) = (echo.clone(), JoinSet::new());
        tasks.spawn(async move {
            let mut buffer = [0; 100];
            loop {
                let (length, from) = answering.recv_from(&mut buffer).await.unwrap();
                answering.send_to(&buffer[..length], from).await.unwrap();
            }
        });
        let (forwards, end) = (Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()), CancellationToken::new());
        let at = forwards.local_addr().unwrap();
        tasks.spawn(relay(forwards, end, move || async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(to).await?;
            Ok(socket)
        }));
        let mut clients = Vec::new();
        for n in 0..3u8 {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect(at).await.unwrap();
            client.send(&[n; 4]).await.unwrap();
            clients.push(client);
        }
        for (n, client) in (0..).zip(clients) {
            let mut buffer = [0; 100];
            let length =
                tokio::time::timeout(Duration::from_secs(120), client.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(&buffer[..length], [n; 4]);
        }
    }
}
