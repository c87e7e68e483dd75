//! Accepting connections, plain and TLS, and draining them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::config::Config;
use crate::proxy::{Client, Proxy};
use crate::tls::{self, Certificates};

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(60);

struct Server {
    proxy: Arc<Proxy>,
    builder: auto::Builder<TokioExecutor>,
    connections: TaskTracker,
    draining: CancellationToken,
    cut: CancellationToken,
}

pub(crate) async fn serve(
    config: Config,
    proxy: Arc<Proxy>,
    certificates: &Arc<Certificates>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let acceptor = TlsAcceptor::from(tls::server_config(Arc::clone(certificates))?);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(128 * 1024);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
    let server = Arc::new(Server {
        proxy,
        builder,
        connections: TaskTracker::new(),
        draining: CancellationToken::new(),
        cut: CancellationToken::new(),
    });
    let mut accepting = tokio::task::JoinSet::new();
    for listener in config.http {
        accepting.spawn(accept(listener, Arc::clone(&server), None, shutdown.clone()));
    }
    for listener in config.https {
        accepting.spawn(accept(listener, Arc::clone(&server), Some(acceptor.clone()), shutdown.clone()));
    }
    shutdown.cancelled().await;
    while accepting.join_next().await.is_some() {}
    server.draining.cancel();
    server.connections.close();
    if tokio::time::timeout(config.drain, server.connections.wait()).await.is_err() {
        tracing::info!("requests were cut off after the drain time");
        server.cut.cancel();
        server.connections.wait().await;
    }
    server.proxy.close().await;
    Ok(())
}

async fn accept(listener: TcpListener, server: Arc<Server>, tls: Option<TlsAcceptor>, shutdown: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: the ones that are open must end first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        server.connections.spawn(connection(Arc::clone(&server), stream, peer, tls.clone()));
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) {
    let local = stream.local_addr().map_or(0, |a| a.port());
    let client = Client { address: peer.ip().to_canonical(), port: local, tls: tls.is_some() };
    match tls {
        None => talk(&server, stream, client).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => talk(&server, stream, client).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "tls handshake failed"),
            Err(_) => tracing::debug!(%peer, "tls handshake took too long"),
        },
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(server: &Server, stream: S, client: Client) {
    let proxy = Arc::clone(&server.proxy);
    let service = service_fn(move |request| {
        let (proxy, client) = (Arc::clone(&proxy), client);
        async move { Ok::<_, Infallible>(proxy.handle(client, request).await) }
    });
    let connection = server.builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = server.draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = server.cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client = %client.address, %error, "connection ended");
    }
}
