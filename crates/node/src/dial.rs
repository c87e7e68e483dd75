//! Connections that leave the machine: dialled on the host's side when there is a machine, directly otherwise.

use std::io;
use tokio::net::{TcpStream, UdpSocket};

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

    /// A UDP socket of the host's side that exchanges datagrams with one address.
    pub(crate) async fn udp(&self, host: &str, port: u16) -> io::Result<UdpSocket> {
        match &self.0 {
            Some(dialer) => dialer.connect_udp(host, port).await,
            None => {
                let socket = UdpSocket::bind("0.0.0.0:0").await?;
                socket.connect((host, port)).await?;
                Ok(socket)
            }
        }
    }
}
