//! Serving over TLS and Unix sockets, and TLS towards kubelets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::pki::identity_of;
use crate::config::Identity;
use crate::{ApiServer, Error};

const HANDSHAKE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: usize = 10_000;

impl ApiServer {
    /// Serves HTTPS until `shutdown`, then drains for a few seconds.
    ///
    /// # Errors
    /// The certificates cannot be made.
    pub async fn serve_tls(&self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), Error> {
        let config = Arc::new(self.api().authority.server_tls(&self.api().serving_names())?);
        let acceptor = tokio_rustls::TlsAcceptor::from(config);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, server, shutdown) = (acceptor.clone(), self.clone(), shutdown.clone());
            connections.spawn(async move {
                let _ = stream.set_nodelay(true);
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
                let peer = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(|c| identity_of(c));
                server.connection(stream, peer, shutdown).await;
            });
        }
        drain(connections).await;
        Ok(())
    }

    /// Serves plain HTTP on a Unix socket until `shutdown`; whoever may open the socket is the administrator.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub async fn serve_unix(&self, path: &Path, shutdown: CancellationToken) -> Result<(), Error> {
        let failed = |source| Error::Socket { path: path.display().to_string(), source };
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failed)?;
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (server, shutdown) = (self.clone(), shutdown.clone());
            connections.spawn(async move { server.connection(stream, Some(Identity::admin()), shutdown).await });
        }
        drain(connections).await;
        let _ = std::fs::remove_file(path);
        Ok(())
    }

    async fn connection(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<Identity>,
        shutdown: CancellationToken,
    ) {
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            let (server, peer) = (self.clone(), peer.clone());
            async move {
                let request = request.map(axum::body::Body::new);
                Ok::<_, std::convert::Infallible>(
                    unread::answered(request, |request| server.respond(peer, request)).await,
                )
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
        builder
            .http2()
            .timer(hyper_util::rt::TokioTimer::new())
            .max_concurrent_streams(1000)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

async fn drain(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, all).await;
}

/// Takes any server certificate, but checks that the server holds its key.
#[derive(Debug)]
pub(crate) struct AnyServer(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
