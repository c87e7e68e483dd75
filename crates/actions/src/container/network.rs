//! Ways into the networks of services: listeners whose connections are carried to a port inside. Each belongs to a job and ends with it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use runtime::net::Visitor;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The listeners of a job.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    tracker: TaskTracker,
    end: CancellationToken,
}

impl Drop for Forwards {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Forwards {
    /// Listens on the runner; gives the address, whose port was chosen when it was 0.
    pub fn on_runner(&self, at: SocketAddr, to: Arc<Visitor>, port: u16) -> io::Result<SocketAddr> {
        let listener = StdListener::bind(at)?;
        let at = listener.local_addr()?;
        self.serve(listener, to, port)?;
        Ok(at)
    }

    /// Listens in the network of a container.
    pub async fn in_container(
        &self,
        within: Arc<Visitor>,
        at: SocketAddr,
        to: Arc<Visitor>,
        port: u16,
    ) -> io::Result<()> {
        let listener = tokio::task::spawn_blocking(move || within.listen(at)).await.map_err(io::Error::other)??;
        self.serve(listener, to, port)
    }

    fn serve(&self, listener: StdListener, to: Arc<Visitor>, port: u16) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let end = self.end.clone();
        self.tracker.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    () = end.cancelled() => return,
                    Some(_) = connections.join_next(), if !connections.is_empty() => {}
                    accepted = listener.accept(), if connections.len() < 1024 => match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(carry(stream, to.clone(), port));
                        }
                        Err(error) => {
                            tracing::debug!(%error, port, "a way to a service accepts nothing more");
                            return;
                        }
                    },
                }
            }
        });
        Ok(())
    }
}

async fn carry(mut outer: TcpStream, to: Arc<Visitor>, port: u16) {
    let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connected = tokio::task::spawn_blocking(move || to.connect(inside)).await;
    let Ok(Ok(inner)) = connected else { return };
    if inner.set_nonblocking(true).is_err() {
        return;
    }
    let Ok(mut inner) = TcpStream::from_std(inner) else { return };
    let _ = outer.set_nodelay(true);
    let _ = inner.set_nodelay(true);
    // Either end may break off at any time.
    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
}

/// An address of loopback that no other service has.
pub(super) fn own_address() -> Ipv4Addr {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    Ipv4Addr::new(127, 64 | (bytes[0] & 0x3f), bytes[1], 1 + bytes[2] % 254)
}

/// The TCP ports that processes in the network of `pid` listen on for others.
pub(super) fn listening(pid: i32) -> BTreeSet<u16> {
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|text| listening_in(&text))
        .collect()
}

fn listening_in(table: &str) -> Vec<u16> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (address, port) = fields.next()?.split_once(':')?;
            // 0A is LISTEN.
            (fields.nth(1)? == "0A" && !loopback(address)).then(|| u16::from_str_radix(port, 16).ok())?
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
            assert_eq!(listening_in(text), [6379]);
            let six = "h\n 0: 00000000000000000000000000000000:1538 00000000000000000000000000000000:0000 0A\n 1: 00000000000000000000000001000000:1539 0:0 0A\n";
            assert_eq!(listening_in(six), [5432]);
        }
        assert!(own_address().is_loopback());
    }
}
