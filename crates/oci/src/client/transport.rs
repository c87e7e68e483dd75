//! HTTP over connections that the caller may make: a pool of hyper's, TLS by rustls.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Error, HEADERS_TIMEOUT};

/// An error of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes TCP connections. The default dials from this process; the machine's node dials from another one.
pub trait Connect: Send + Sync {
    /// Connects to `host` (name or address) and `port`.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<TcpStream>>;
}

/// Dials from this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<TcpStream>> {
        let host = host.trim_matches(['[', ']']).to_owned();
        Box::pin(async move { TcpStream::connect((host, port)).await })
    }
}

/// A request body.
pub(super) struct Body(UnsyncBoxBody<Bytes, BoxError>);

impl Body {
    pub(super) fn empty() -> Self {
        Self(http_body_util::Empty::new().map_err(|e| match e {}).boxed_unsync())
    }

    pub(super) fn full(bytes: Bytes) -> Self {
        Self(http_body_util::Full::new(bytes).map_err(|e| match e {}).boxed_unsync())
    }

    pub(super) fn stream(stream: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        use futures::StreamExt;
        let frames = stream.map(|chunk| chunk.map(hyper::body::Frame::data).map_err(BoxError::from));
        Self(http_body_util::StreamBody::new(frames).boxed_unsync())
    }
}

#[derive(Clone)]
pub(super) struct Transport {
    client: legacy::Client<Connector, UnsyncBoxBody<Bytes, BoxError>>,
    connector: Connector,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl Transport {
    pub(super) fn new(connect: Arc<dyn Connect>) -> Self {
        Self::with(Connector { connect, tls: Arc::default(), timeout: CONNECT_TIMEOUT })
    }

    /// The same with another limit for name look-up, connection and TLS handshake together.
    pub(super) fn connect_timeout(&self, timeout: Duration) -> Self {
        Self::with(Connector { timeout, ..self.connector.clone() })
    }

    fn with(connector: Connector) -> Self {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector.clone());
        Self { client, connector }
    }

    pub(super) async fn request(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<http::Response<Incoming>, Error> {
        let malformed = |reason: String| Error::Malformed { url: url.into(), reason };
        let uri: Uri = url.parse().map_err(|e: http::uri::InvalidUri| malformed(e.to_string()))?;
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(into) = request.headers_mut() {
            *into = headers;
            into.entry(http::header::USER_AGENT).or_insert(http::HeaderValue::from_static("bigben/0.1"));
        }
        let request = request.body(body.0).map_err(|e| malformed(e.to_string()))?;
        match tokio::time::timeout(HEADERS_TIMEOUT, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) if e.is_connect() => Err(Error::Unreachable { url: url.into(), source: e.into() }),
            Ok(Err(e)) => Err(Error::Interrupted { url: url.into(), received: 0, source: e.into() }),
            Err(_) => Err(Error::Timeout { url: url.into(), after: HEADERS_TIMEOUT }),
        }
    }
}

#[derive(Clone)]
struct Connector {
    connect: Arc<dyn Connect>,
    tls: Arc<OnceLock<TlsConnector>>,
    timeout: Duration,
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default().to_owned();
        let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let dial = self.connect.connect(&host, port);
        let tls = secure.then(|| self.tls.get_or_init(tls_connector).clone());
        let timeout = self.timeout;
        Box::pin(async move {
            let connect = async {
                let stream = dial.await?;
                stream.set_nodelay(true)?;
                let Some(tls) = tls else { return Ok(Stream::Plain(TokioIo::new(stream))) };
                let name = rustls::pki_types::ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(io::Error::other)?;
                Ok(Stream::Tls(TokioIo::new(Box::new(tls.connect(name, stream).await?))))
            };
            match tokio::time::timeout(timeout, connect).await {
                Ok(result) => result,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
}

fn tls_connector() -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    for error in loaded.errors {
        tracing::warn!(%error, "a certificate of the system could not be read");
    }
    roots.add_parsable_certificates(loaded.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(TokioIo<Box<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
