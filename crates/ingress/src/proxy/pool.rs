//! Connections to endpoints: made when needed, kept while idle, shared by all tables.
//!
//! A pool belongs to an address, not to a table: a rollout that leaves an endpoint alone leaves its connections alone. A connection
//! of HTTP/1 is driven by the request that it serves, which saves the way to another task and back. One that has to go on while its
//! request waits for something else (a body that still comes, a protocol that changes), and one of HTTP/2, is driven by a task that
//! the pools own.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::RequestBody;
use crate::config::Dial;
use crate::model::{Address, EndpointSpec, Protocol};

/// Shorter than what servers commonly keep, so that we close first.
const IDLE: Duration = Duration::from_secs(45);
const MOST_IDLE: usize = 256;
/// How often connections that nobody needed for that long are closed.
const SWEEP: Duration = Duration::from_secs(15);
/// How long an endpoint that could not be reached is only a second choice.
const REST: Duration = Duration::from_secs(2);

type Key = (EndpointSpec, Protocol);

pub(crate) struct Pools {
    pools: Arc<RwLock<HashMap<Key, Arc<Pool>>>>,
    shared: Arc<Shared>,
}

struct Shared {
    dial: Option<Dial>,
    tls: TlsConnector,
    connections: TaskTracker,
    stop: CancellationToken,
    start: Instant,
    /// Whether a task closes idle connections.
    sweeping: AtomicBool,
}

/// The work on a connection: nothing is sent or received unless it is polled.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection of HTTP/1.
pub(super) struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    /// None when a task drives it, or it has ended.
    driver: Option<Driver>,
}

/// The connections to one endpoint.
pub(crate) struct Pool {
    key: Key,
    /// Those used last are at the end.
    idle: Mutex<VecDeque<(Http1, Instant)>>,
    h2: tokio::sync::Mutex<Option<http2::SendRequest<RequestBody>>>,
    /// Set by the first answer.
    pub(super) answered: AtomicBool,
    /// Milliseconds since the start until which it is only a second choice.
    resting: AtomicU64,
    shared: Arc<Shared>,
}

/// A connection for one request.
pub(crate) struct Lease {
    pub(super) sender: Sender,
    pub(super) pool: Arc<Pool>,
    /// Whether it served requests before, and so may be closed by the other side at any moment.
    pub(super) reused: bool,
}

pub(super) enum Sender {
    H1(Http1),
    H2(http2::SendRequest<RequestBody>),
}

/// Why a request got no answer.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The request, when nothing of it was sent.
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
}

impl Pools {
    pub(super) fn new(dial: Option<Dial>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(any::Certificate(provider)))
            .with_no_client_auth();
        let shared = Shared {
            dial,
            tls: TlsConnector::from(Arc::new(config)),
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
            start: Instant::now(),
            sweeping: AtomicBool::new(false),
        };
        Self { pools: Arc::default(), shared: Arc::new(shared) }
    }

    /// The pool of an endpoint.
    pub(super) fn get(&self, endpoint: &EndpointSpec, protocol: Protocol) -> Arc<Pool> {
        let key = (endpoint.clone(), protocol);
        if let Some(pool) = self.pools.read().unwrap_or_else(|e| e.into_inner()).get(&key) {
            return Arc::clone(pool);
        }
        if !self.shared.sweeping.swap(true, Ordering::Relaxed) {
            self.spawn(sweep(Arc::clone(&self.pools)));
        }
        let mut pools = self.pools.write().unwrap_or_else(|e| e.into_inner());
        // Pools that nobody used for a while belong to endpoints that are gone.
        if pools.len() > 64 {
            pools.retain(|_, pool| Arc::strong_count(pool) > 1 || pool.has_fresh());
        }
        let make = || {
            Arc::new(Pool {
                key: key.clone(),
                idle: Mutex::default(),
                h2: tokio::sync::Mutex::default(),
                answered: AtomicBool::new(false),
                resting: AtomicU64::new(0),
                shared: Arc::clone(&self.shared),
            })
        };
        Arc::clone(pools.entry(key.clone()).or_insert_with(make))
    }

    /// Runs a task that ends with the pools.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shared.stop.clone();
        self.shared.connections.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    pub(super) async fn close(&self) {
        self.pools.write().unwrap_or_else(|e| e.into_inner()).clear();
        self.shared.stop.cancel();
        self.shared.connections.close();
        self.shared.connections.wait().await;
    }
}

impl Pool {
    pub(super) fn endpoint(&self) -> &EndpointSpec {
        &self.key.0
    }

    /// Whether it could not be reached a moment ago.
    pub(super) fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed) > self.now()
    }

    pub(super) fn rest(&self) {
        self.resting.store(self.now() + REST.as_millis() as u64, Ordering::Relaxed);
        self.idle().clear();
    }

    /// An idle connection, or a new one. With `fresh`, always a new one.
    pub(super) async fn lease(self: &Arc<Self>, timeout: Duration, fresh: bool) -> io::Result<Lease> {
        let pool = Arc::clone(self);
        if matches!(self.key.1, Protocol::Grpc | Protocol::Grpcs) {
            return self.lease_h2(timeout, fresh).await;
        }
        let next = || if fresh { None } else { self.idle().pop_back() };
        while let Some((mut connection, since)) = next() {
            if since.elapsed() < IDLE && connection.is_usable().await {
                return Ok(Lease { sender: Sender::H1(connection), pool, reused: true });
            }
        }
        let connect = async {
            match self.connect().await? {
                Stream::Plain(stream) => self.handshake(TokioIo::new(stream)).await,
                Stream::Tls(stream) => self.handshake(TokioIo::new(stream)).await,
            }
        };
        let connection = within(timeout, connect).await?;
        Ok(Lease { sender: Sender::H1(connection), pool, reused: false })
    }

    async fn lease_h2(self: &Arc<Self>, timeout: Duration, fresh: bool) -> io::Result<Lease> {
        let mut shared = self.h2.lock().await;
        if let Some(sender) = shared.as_ref().filter(|s| !fresh && !s.is_closed()) {
            return Ok(Lease { sender: Sender::H2(sender.clone()), pool: Arc::clone(self), reused: true });
        }
        let connect = async {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(20)));
            let stop = self.shared.stop.clone();
            let sender = match self.connect().await? {
                Stream::Plain(stream) => {
                    let (sender, connection) =
                        builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
                    self.shared.connections.spawn(async move { drop(stop.run_until_cancelled(connection).await) });
                    sender
                }
                Stream::Tls(stream) => {
                    let (sender, connection) =
                        builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
                    self.shared.connections.spawn(async move { drop(stop.run_until_cancelled(connection).await) });
                    sender
                }
            };
            Ok(sender)
        };
        let sender: http2::SendRequest<RequestBody> = within(timeout, connect).await?;
        *shared = Some(sender.clone());
        Ok(Lease { sender: Sender::H2(sender), pool: Arc::clone(self), reused: false })
    }

    async fn connect(&self) -> io::Result<Stream> {
        let address = &self.key.0.address;
        let stream = match address {
            Address::Socket(address) => match self.shared.dialled(address.ip(), address.port()) {
                Some(dialled) => dialled.await?,
                None => TcpStream::connect(address).await?,
            },
            Address::Name(name, port) => TcpStream::connect((name.as_str(), *port)).await?,
        };
        stream.set_nodelay(true)?;
        if matches!(self.key.1, Protocol::Http | Protocol::Grpc) {
            return Ok(Stream::Plain(stream));
        }
        let name = match address {
            Address::Socket(address) => ServerName::IpAddress(address.ip().into()),
            Address::Name(name, _) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        };
        Ok(Stream::Tls(Box::new(self.shared.tls.connect(name, stream).await?)))
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, io: TokioIo<S>) -> io::Result<Http1> {
        let (sender, connection) = http1::Builder::new().handshake(io).await.map_err(io::Error::other)?;
        let driver: Driver = Box::pin(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to an endpoint ended");
            }
        });
        Ok(Http1 { sender, driver: Some(driver) })
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Http1, Instant)>> {
        self.idle.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn has_fresh(&self) -> bool {
        self.idle().iter().any(|(connection, since)| since.elapsed() < IDLE && !connection.sender.is_closed())
    }

    /// Closes connections that nobody needed for a while, or that the endpoint closed.
    fn sweep(&self) {
        self.idle().retain_mut(|(connection, since)| {
            connection.rest();
            since.elapsed() < IDLE && !connection.sender.is_closed()
        });
    }

    fn now(&self) -> u64 {
        self.shared.start.elapsed().as_millis() as u64
    }
}

impl Shared {
    fn dialled(&self, ip: IpAddr, port: u16) -> Option<futures::future::BoxFuture<'static, io::Result<TcpStream>>> {
        self.dial.as_ref().and_then(|dial| dial(ip, port))
    }
}

impl Lease {
    /// Sends a request. On failure says whether it can be sent again as it is.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failed> {
        if matches!(request.body(), RequestBody::Stream(..)) {
            self.detach();
        }
        let sent = match &mut self.sender {
            Sender::H1(Http1 { sender, driver }) => {
                let mut answer = pin!(sender.try_send_request(request));
                poll_fn(|cx| {
                    drive(driver, cx);
                    answer.as_mut().poll(cx)
                })
                .await
            }
            Sender::H2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut e| {
            let unsent = e.take_message().map(Box::new);
            Failed { error: e.into_error(), unsent }
        })
    }

    /// Sends and receives what it can, where no task does.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Sender::H1(connection) = &mut self.sender {
            drive(&mut connection.driver, cx);
        }
    }

    /// Has a task drive the connection from now on, whatever becomes of the request.
    pub(super) fn detach(&mut self) {
        if let Sender::H1(connection) = &mut self.sender
            && let Some(driver) = connection.driver.take()
        {
            let shared = &self.pool.shared;
            let stop = shared.stop.clone();
            shared.connections.spawn(async move {
                stop.run_until_cancelled(driver).await;
            });
        }
    }

    /// Keeps the connection for another request.
    pub(super) fn give_back(self) {
        if let Sender::H1(mut connection) = self.sender {
            connection.rest();
            if connection.sender.is_closed() {
                return;
            }
            let mut idle = self.pool.idle();
            if idle.len() < MOST_IDLE {
                idle.push_back((connection, Instant::now()));
            }
        }
    }
}

impl Http1 {
    /// Finishes what the last request left, and sees whether the endpoint closed the connection. Nobody is woken by what comes later.
    fn rest(&mut self) {
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
    }

    /// Whether it takes another request.
    async fn is_usable(&mut self) -> bool {
        if self.driver.is_none() {
            // Fails when the other side closed the connection.
            return !self.sender.is_closed() && self.sender.ready().await.is_ok();
        }
        self.rest();
        self.driver.is_some() && self.sender.is_ready()
    }
}

fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|work| work.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}

async fn sweep(pools: Arc<RwLock<HashMap<Key, Arc<Pool>>>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let all: Vec<_> = pools.read().unwrap_or_else(|e| e.into_inner()).values().cloned().collect();
        all.iter().for_each(|pool| pool.sweep());
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

mod any {
    //! Endpoints have certificates of their own making; like ingress-nginx, the ingress does not judge them.

    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Certificate(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for Certificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
