//! Connections that leave the machine: dialled on the host's side when there is a machine, directly otherwise.

use std::io;
use std::net::Ipv4Addr;
use tokio::net::TcpStream;

/// The way out.
#[derive(Debug, Clone)]
pub(crate) struct Outside(pub(crate) Option<runtime::link::Dialer>);

impl Outside {
    /// Connects as the host would.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        match &self.0 {
            Some(dialer) => dialer.connect(host, port).await,
            None => TcpStream::connect((host, port)).await,
        }
    }

    /// The addresses of a name, by connecting nowhere: only the resolver of this process is at hand, which reads the host's
    /// `/etc/hosts` and, inside a machine, finds no server.
    pub(crate) async fn resolve(&self, host: &str) -> io::Result<Vec<Ipv4Addr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found
            .filter_map(|address| if let std::net::SocketAddr::V4(v4) = address { Some(*v4.ip()) } else { None })
            .collect())
    }
}
