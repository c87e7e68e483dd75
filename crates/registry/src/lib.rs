//! An OCI distribution 1.1 registry: a directory that is an OCI image layout, served over HTTP.
//!
//! [`Registry`] owns the directory: blobs are stored once for all repositories, what belongs to which repository is in a
//! journal that is synced before anything is acknowledged, and `index.json` follows so that other tools can read the
//! directory. Content streams; nothing holds a blob in memory. A repository that is not here is fetched from its upstream
//! where one is configured. The registry does not know who runs it: users, grants and upstreams come from its [`Config`].

mod auth;
pub mod cli;
mod config;
pub mod control;
mod gc;
mod http;
mod mirror;
mod pace;
mod serve;
mod share;
mod store;

use std::sync::Arc;

pub use auth::{Access, AccessError, Action, Challenge, Grant, Login, Password, User, htpasswd};
pub use config::{Config, MissingContent, Pushed, Upstream};
pub use gc::{GcOptions, GcReport};
pub use store::{Error, RepositoryUsage, Usage};

use share::Shared;
use store::Store;

/// A registry over one directory. Clones share it.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Arc<Store>,
    pub(crate) auth: Arc<auth::Auth>,
    pub(crate) mirror: mirror::Mirror,
    pub(crate) config: Config,
    /// Memory of blobs that are being sent.
    pub(crate) sending: Shared,
    /// Memory of blobs that are being received.
    pub(crate) receiving: Shared,
    pub(crate) pushed: tokio::sync::broadcast::Sender<Pushed>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("dir", &self.0.config.dir).finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the registry in `config.dir`, making an empty one where there is none. Blocking. Fails when another process has
    /// it open.
    pub fn open(config: Config) -> Result<Self, Error> {
        let store = Arc::new(Store::open(&config.dir)?);
        let everything = |access: Access, (name, password): (&String, &String)| {
            access.with_user(name, Password::plain(password), vec![Grant::all("**")])
        };
        let access = config.users.iter().fold(config.access.clone(), everything);
        let auth = Arc::new(auth::Auth::new(access, config.login.clone()));
        let pushed = tokio::sync::broadcast::Sender::new(256);
        let mirror = mirror::Mirror::new(&config, Arc::clone(&store));
        let (sending, receiving) = (Shared::new(http::SENDING), Shared::new(http::RECEIVING));
        Ok(Self(Arc::new(Inner { store, auth, mirror, sending, receiving, pushed, config })))
    }

    /// The HTTP service: `/v2/...` and `/token`.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// What a tag of a repository here points to, without asking an upstream.
    pub fn resolve(&self, repository: &str, reference: &str) -> Option<oci::Descriptor> {
        self.0.store.resolve(repository, reference)
    }

    /// Digest of a tag, or of a digest, of a repository here.
    pub fn has(&self, repository: &str, reference: &str) -> Option<oci::Digest> {
        self.resolve(repository, reference).map(|d| d.digest)
    }

    /// Tells of pushes from now on. A receiver that falls behind by 256 misses the oldest.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<Pushed> {
        self.0.pushed.subscribe()
    }

    /// All repositories with their tags.
    pub fn repositories(&self) -> Vec<(String, Vec<String>)> {
        self.0.store.repositories()
    }

    /// Bytes and counts, by repository and in all.
    pub fn du(&self) -> Usage {
        self.0.store.usage()
    }

    /// Removes what nothing leads to any more. Safe while the registry serves. Blocking.
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport, Error> {
        gc::collect(&self.0.store, options)
    }

    /// Ends downloads from upstreams and writes `index.json`. Dropping the last clone does the same, without waiting for
    /// downloads.
    pub async fn close(&self) {
        self.0.mirror.close().await;
        self.0.store.flush();
    }
}
