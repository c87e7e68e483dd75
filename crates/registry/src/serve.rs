//! Serving on a listener, with buffers small enough for a thousand clients.

use std::io;
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::Registry;
use crate::pace::{Sent, Told};
use crate::share::{Budget, Shared};

/// How long requests may go on after shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// Bytes that connections receive at once. Bodies that are sent keep less, see [`crate::pace`].
const RECEIVED: Budget = Budget { all: 32 << 20, most: 512 << 10, least: 16 << 10 };
/// Bytes that a stream of HTTP/2 has waiting to be sent.
const SENT: usize = 16 * 1024;
/// How often uploads that nobody continues are looked for.
const EXPIRY: Duration = Duration::from_secs(600);

impl Registry {
    /// Serves until `shutdown`, then lets requests finish for a few seconds.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let router = self.router();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .max_buf_size(RECEIVED.most)
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30));
        builder.http2().max_send_buf_size(SENT);
        let received = Shared::new(RECEIVED);
        let draining = CancellationToken::new();
        let mut connections = JoinSet::new();
        let mut expiry = tokio::time::interval(EXPIRY);
        let control = crate::control::listen(&self.0.config.dir);
        loop {
            let asked = async {
                match &control {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
                _ = expiry.tick() => {
                    let (store, ttl) = (std::sync::Arc::clone(&self.0.store), self.0.config.upload_ttl);
                    let expired = tokio::task::spawn_blocking(move || store.uploads.expire(ttl)).await.unwrap_or(0);
                    if expired > 0 {
                        tracing::info!(expired, "uploads that nobody continued were dropped");
                    }
                    continue;
                }
                asked = asked => {
                    if let Ok((stream, _)) = asked {
                        connections.spawn(crate::control::answer(self.clone(), stream));
                    }
                    continue;
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the client left: neither ends the registry.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let router = router.clone();
            let sent = Sent::default();
            let told = sent.clone();
            let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request.extensions_mut().insert(told.clone());
                router.clone().oneshot(request.map(axum::body::Body::new))
            });
            let connection = builder
                .serve_connection(TokioIo::new(Told { stream, sent, share: received.join() }), service)
                .into_owned();
            let draining = draining.clone();
            connections.spawn(async move {
                let mut connection = std::pin::pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = draining.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
            });
        }
        drop(listener);
        if control.is_some() {
            crate::control::forget(&self.0.config.dir);
        }
        draining.cancel();
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::info!("requests were cut off after the drain time");
        }
        connections.shutdown().await;
        self.close().await;
        Ok(())
    }
}
