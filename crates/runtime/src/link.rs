//! Dialling TCP and UDP in another process's network namespace.
//!
//! A [`DialServer`] listens on a Unix socket (which any process that may open its file can reach, whatever its network
//! namespace is). A [`Dialer`] asks it for `host:port`; the server resolves the name, connects in *its* namespace and hands
//! the connected descriptor over with `SCM_RIGHTS`. From then on nothing stands between: no bytes are copied.

use crate::ipc::own;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{TcpStream, UdpSocket, UnixListener, UnixStream};
use tokio::task::JoinSet;

/// How long the server tries to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest request line, in bytes.
const MAX_REQUEST: u64 = 1024;
/// The longest path that fits a Unix socket address.
const MAX_SOCKET_PATH: usize = 100;

#[derive(Serialize, Deserialize)]
struct Request {
    host: String,
    port: u16,
    #[serde(default)]
    udp: bool,
}

/// A socket that is connected, or a UDP socket with a peer.
enum Connected {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl AsRawFd for Connected {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        match self {
            Connected::Tcp(stream) => stream.as_raw_fd(),
            Connected::Udp(socket) => socket.as_raw_fd(),
        }
    }
}

async fn connect(host: &str, port: u16, udp: bool) -> io::Result<Connected> {
    if !udp {
        let stream = TcpStream::connect((host, port)).await?;
        let _ = stream.set_nodelay(true);
        return Ok(Connected::Tcp(stream));
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in tokio::net::lookup_host((host, port)).await? {
        let any: std::net::IpAddr = match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        match socket.connect(address).await {
            Ok(()) => return Ok(Connected::Udp(socket)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Decides what a requested destination means: another host and port, or a refusal with its reason.
pub type Policy = Arc<dyn Fn(&str, u16) -> Result<(String, u16), String> + Send + Sync>;

/// Connects on behalf of others.
pub struct DialServer {
    listener: UnixListener,
    policy: Policy,
    path: Option<PathBuf>,
}

impl DialServer {
    /// Listens at `path` (mode 0600); a socket left there by a process that has ended is replaced.
    pub fn bind(path: &Path) -> io::Result<DialServer> {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::remove_file(path);
        let listener = with_short_path(path, |short| UnixListener::bind(short))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(DialServer {
            listener,
            policy: Arc::new(|host, port| Ok((host.to_owned(), port))),
            path: Some(path.to_owned()),
        })
    }

    /// Sets what destinations mean. Without it every destination is dialled as it is.
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Serves until `shutdown` resolves.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < 4096 => match accepted {
                    Ok((stream, _)) => {
                        let policy = self.policy.clone();
                        connections.spawn(async move {
                            if let Err(error) = answer(stream, policy).await {
                                tracing::debug!(%error, "a dial request ended early");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the dial socket accepts no connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        if let Some(path) = self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn answer(stream: UnixStream, policy: Policy) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    tokio::time::timeout(REQUEST_TIMEOUT, (&mut reader).take(MAX_REQUEST).read_line(&mut line)).await??;
    let request: Request = serde_json::from_str(&line)?;
    let mut stream = reader.into_inner();
    let connected = match policy(&request.host, request.port) {
        Ok((host, port)) => match tokio::time::timeout(CONNECT_TIMEOUT, connect(&host, port, request.udp)).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
        Err(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
    };
    match connected {
        Ok(connected) => {
            let raw = [connected.as_raw_fd()];
            loop {
                stream.writable().await?;
                let sent = stream.try_io(Interest::WRITABLE, || {
                    sendmsg::<()>(
                        stream.as_raw_fd(),
                        &[IoSlice::new(&[0])],
                        &[ControlMessage::ScmRights(&raw)],
                        MsgFlags::MSG_NOSIGNAL,
                        None,
                    )
                    .map_err(io::Error::from)
                });
                match sent {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => return other.map(drop),
                }
            }
        }
        Err(error) => stream.write_all(format!("\u{1}{}\n{error}", error.raw_os_error().unwrap_or(0)).as_bytes()).await,
    }
}

/// Asks a [`DialServer`] for connections.
#[derive(Debug, Clone)]
pub struct Dialer {
    path: PathBuf,
}

impl Dialer {
    /// A dialer for the server that listens at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Dialer {
        Dialer { path: path.into() }
    }

    /// A connection to `host:port`, as the server's side reaches and resolves it.
    ///
    /// The error is the one that the server's side saw, its kind kept.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let connected = std::net::TcpStream::from(self.ask(host, port, false).await?);
        connected.set_nonblocking(true)?;
        TcpStream::from_std(connected)
    }

    /// A UDP socket of the server's side that exchanges datagrams with `host:port`.
    ///
    /// The error is the one that the server's side saw, its kind kept.
    pub async fn connect_udp(&self, host: &str, port: u16) -> io::Result<UdpSocket> {
        let connected = std::net::UdpSocket::from(self.ask(host, port, true).await?);
        connected.set_nonblocking(true)?;
        UdpSocket::from_std(connected)
    }

    async fn ask(&self, host: &str, port: u16, udp: bool) -> io::Result<OwnedFd> {
        let mut stream = connect_unix(&self.path).await?;
        let mut line = serde_json::to_vec(&Request { host: host.to_owned(), port, udp })?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut buffer = [0u8; 512];
        let (length, fd) = loop {
            stream.readable().await?;
            match stream.try_io(Interest::READABLE, || receive(&stream, &mut buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break other?,
            }
        };
        match (buffer.first().filter(|_| length > 0), fd) {
            (Some(0), Some(fd)) => Ok(fd),
            (Some(1), _) => {
                let mut text = buffer[1..length].to_vec();
                stream.read_to_end(&mut text).await?;
                let text = String::from_utf8_lossy(&text);
                let (number, message) = text.split_once('\n').unwrap_or(("0", &text));
                Err(match number.parse::<i32>() {
                    Ok(number) if number > 0 => io::Error::from_raw_os_error(number),
                    _ => io::Error::other(message.to_owned()),
                })
            }
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the dial server closed the connection")),
        }
    }
}

fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = cmsg_space!([i32; 1]);
    let mut vector = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut vector, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fd = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            for one in raw {
                fd = Some(own(one));
            }
        }
    }
    Ok((message.bytes, fd))
}

/// Connects to the Unix socket at `path`, however long the path is.
pub async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let stream = with_short_path(path, |short| std::os::unix::net::UnixStream::connect(short))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Calls `act` with a path that fits a socket address: `path` itself, or one through an open descriptor of its directory.
pub fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return act(path);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return act(path) };
    let directory = std::fs::File::open(parent)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_comes_back_and_so_do_errors() {
        let directory = tempfile::tempdir().expect("a directory");
        let deep = directory.path().join("d".repeat(120));
        std::fs::create_dir(&deep).expect("a directory");
        let path = deep.join("dial");
        let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = target.local_addr().expect("an address").port();
        let server = DialServer::bind(&path).expect("bound").with_policy(Arc::new(|host, port| match host {
            "secret" => Err("no".into()),
            "alias" => Ok(("127.0.0.1".into(), port)),
            other => Ok((other.into(), port)),
        }));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        let dialer = Dialer::new(&path);
        for host in ["127.0.0.1", "localhost", "alias"] {
            let mut connected = dialer.connect(host, port).await.expect(host);
            let (mut accepted, _) = target.accept().await.expect("accepted");
            connected.write_all(b"hi").await.expect("written");
            let mut bytes = [0; 2];
            accepted.read_exact(&mut bytes).await.expect("read");
            assert_eq!(&bytes, b"hi");
        }
        let far = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let near =
            dialer.connect_udp("127.0.0.1", far.local_addr().expect("an address").port()).await.expect("connected");
        near.send(b"ping").await.expect("sent");
        let mut bytes = [0; 4];
        let (_, from) = far.recv_from(&mut bytes).await.expect("received");
        far.send_to(&bytes, from).await.expect("sent");
        assert_eq!(near.recv(&mut bytes).await.expect("received"), 4);
        drop(target);
        assert_eq!(
            dialer.connect("127.0.0.1", port).await.expect_err("refused").kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert_eq!(dialer.connect("secret", 1).await.expect_err("denied").to_string(), "no");
        let _ = stop.send(());
        serving.await.expect("ended");
        assert!(!path.exists());
    }
}
