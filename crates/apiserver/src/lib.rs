//! A Kubernetes API server with an embedded store.
//!
//! Stands in for kube-apiserver and etcd: any Kubernetes client works against it, in this process (no socket), over TLS, or
//! over a Unix socket. Objects are JSON from end to end; kinds are data ([`kinds`]); the [`store`] keeps everything in memory and
//! on disk. It does not run workloads or reconcile anything: controllers and kubelets are its clients.

mod admission;
mod allocate;
mod apiservices;
mod apply;
pub mod auth;
mod availability;
mod client;
mod config;
mod conversion;
mod discovery;
mod gnostic;
mod handlers;
pub mod kinds;
mod links;
mod logs;
mod metrics;
mod negotiate;
mod openapi;
mod proxy;
mod ranges;
mod request;
mod setup;
pub mod store;
mod strategy;
mod tls;

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

pub use auth::pki::Pair;
pub use config::{Config, Dialer, HostDialer, Identity, Ipv4Cidr, MASTERS};

use auth::pki::Authority;
use auth::rbac::Rbac;
use auth::token::Signer;
use kinds::Registry;
use store::{Snapshots, Store};

/// The version that the server reports.
pub const VERSION: &str = "v1.37.0+bigben";

/// A server that cannot start or serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory.
    #[error("state directory {path}")]
    Directory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its store.
    #[error("object store")]
    Store(#[from] store::Error),
    /// Its certificate authority.
    #[error("certificates")]
    Certificates(#[from] auth::pki::Error),
    /// Its token key.
    #[error("service account tokens")]
    Tokens(#[from] auth::token::Error),
    /// A Unix socket.
    #[error("socket {path}")]
    Socket {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An object that a new cluster begins with.
    #[error("initial object {name} cannot be made")]
    Initial {
        /// The object.
        name: String,
        /// Why.
        #[source]
        source: objects::Status,
    },
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) kinds: Registry,
    pub(crate) snapshots: Snapshots,
    pub(crate) rbac: Rbac,
    pub(crate) signer: Signer,
    pub(crate) authority: Authority,
    pub(crate) kubelet_tls: Arc<rustls::ClientConfig>,
    /// Held while addresses and node ports are chosen and the Service is stored.
    pub(crate) allocation: tokio::sync::Mutex<()>,
    /// Held while use is counted against a quota and the object is stored.
    pub(crate) quota: tokio::sync::Mutex<()>,
    /// What aggregated servers serve.
    pub(crate) remote: availability::Remote,
    pub(crate) policies: admission::policy::Compiled<admission::policy::Policy>,
    pub(crate) mutating: admission::policy::Compiled<admission::mutation::Mutating>,
    pub(crate) converted: conversion::Converted,
    pub(crate) flow: handlers::flow::Flow,
    pub(crate) shutdown: CancellationToken,
    /// Passed-through connections.
    pub(crate) tasks: tokio_util::task::TaskTracker,
}

/// The API server. Cloning shares it.
#[derive(Debug, Clone)]
pub struct ApiServer {
    api: Arc<Api>,
}

impl ApiServer {
    /// Opens the server on its directory: store, keys, the objects that every cluster begins with.
    ///
    /// # Errors
    /// The directory, the store or the keys cannot be read or made.
    pub async fn open(config: Config) -> Result<Self, Error> {
        setup::open(config).await.map(|api| Self { api })
    }

    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Answers one request of a known peer (its certificate), or of nobody known yet.
    pub async fn respond(&self, peer: Option<Identity>, request: Request<Body>) -> Response<Body> {
        handlers::respond(Arc::clone(&self.api), peer, request).await
    }

    /// The server as a router, for callers that serve it themselves. A peer's [`Identity`] may stand in the request's
    /// extensions.
    pub fn router(&self) -> axum::Router {
        let server = self.clone();
        axum::Router::new().fallback(move |mut request: Request<Body>| {
            let server = server.clone();
            async move {
                let peer = request.extensions_mut().remove::<Identity>();
                server.respond(peer, request).await
            }
        })
    }

    /// A client in this process: no socket, no TLS.
    pub fn client(&self, identity: Identity) -> kube::Client {
        client::in_process(self.clone(), identity)
    }

    /// A kubeconfig with the administrator's client certificate. It is a credential: write it with mode 0600.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn kubeconfig(&self, server_url: &str) -> Result<String, Error> {
        self.kubeconfig_for(server_url, &Identity::admin())
    }

    /// A kubeconfig with the client certificate of anyone.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn kubeconfig_for(&self, server_url: &str, who: &Identity) -> Result<String, Error> {
        let pair = self.api.authority.client(who)?;
        Ok(client::kubeconfig(
            &self.api.config.cluster_name,
            server_url,
            self.api.authority.certificate(),
            &who.name,
            &pair,
        ))
    }

    /// The certificate of the cluster's authority, in PEM.
    pub fn ca_certificate(&self) -> &str {
        self.api.authority.certificate()
    }

    /// Issues a certificate of the cluster's authority for a server (a kubelet, a webhook).
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn issue_server(&self, name: &str, names: &[String]) -> Result<Pair, Error> {
        Ok(self.api.authority.server(name, names)?)
    }

    /// Issues a certificate of the cluster's authority for a client.
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn issue_client(&self, who: &Identity) -> Result<Pair, Error> {
        Ok(self.api.authority.client(who)?)
    }

    /// Keeps up what hangs on stored objects (namespaces' first objects) until `shutdown`; ends watches then.
    pub async fn run(&self, shutdown: CancellationToken) {
        setup::run(Arc::clone(&self.api), shutdown).await;
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
