//! An ingress controller: `networking.k8s.io/v1` Ingress with the annotations of ingress-nginx.
//!
//! An ordinary Kubernetes client on one side, an HTTP proxy on the other, and a routing table between them. The table is a
//! value: [`model`] makes it from objects, without IO; `watch` makes a new one whenever an object changes and swaps it in;
//! `proxy` reads it without a lock. Endpoints are dialled directly, so it runs where pod addresses can be reached.
//! Connections to an endpoint outlive the tables, so a rollout loses no request: what is under way finishes, what is new goes to
//! endpoints that are ready.

mod access;
mod config;
pub mod model;
mod proxy;
mod server;
mod tls;
mod watch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use config::{Config, Dial, FirstResponse, Observer, Publish};

/// Why the ingress ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate for hosts without one could not be made.
    #[error("cannot make the fallback certificate")]
    Certificate(#[source] rcgen::Error),
    /// TLS could not be set up.
    #[error("cannot set up tls")]
    Tls(#[source] rustls::Error),
}

/// Serves until `shutdown`, then lets requests finish for [`Config::drain`].
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let tls = Arc::new(tls::Certificates::new()?);
    let stop = CancellationToken::new();
    let _stop_on_return = stop.clone().drop_guard();
    let watcher = watch::Watcher::start(&config, Arc::clone(&tls), stop.clone());
    let ready = tokio::select! {
        () = watcher.ready() => true,
        () = shutdown.cancelled() => false,
    };
    if ready {
        tracing::info!(http = config.http.len(), https = config.https.len(), "ingress is serving");
        let proxy = proxy::Proxy::new(&config, watcher.table());
        server::serve(config, proxy, &tls, shutdown).await?;
    }
    stop.cancel();
    watcher.stop().await;
    Ok(())
}
