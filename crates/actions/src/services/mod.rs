//! The services that JavaScript and Docker actions talk to while a job runs, over GitHub's own protocols: artifacts and caches of
//! the results service (Twirp, with signed URLs of a blob store), the older cache service, and tokens of OpenID Connect.
//!
//! A job's runtime token opens them, and only for what the job may see: artifacts of its own run, caches of its own ref, of a pull
//! request's base and of the default branch. It stops working when the job ends. The stores are those of the builtin actions, so an
//! artifact that one of them uploads is downloaded by the other.
//!
//! What this does not do: the version 3 artifact protocol, which GitHub has shut down, and caches across operating systems.

mod artifacts;
mod authority;
mod blob;
mod cache;
mod identity;
mod legacy;
mod twirp;
mod uploads;
mod wire;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, header};
use axum::routing::{get, post, put};

pub use authority::{Authority, Grant, Tokens};
pub use identity::claims;
use uploads::Uploads;

use crate::job::Services;

/// What the protocols need besides the stores.
#[derive(Debug)]
pub struct Protocols {
    /// Who may ask.
    pub authority: Authority,
    pub(crate) uploads: Uploads,
    pub(crate) signer: identity::Signer,
}

impl Protocols {
    /// Keeps the key of identity tokens, and uploads that are under way, below `dir`. Uploads of an earlier process are deleted: their
    /// jobs run again.
    pub fn new(dir: &Path) -> Self {
        Self {
            authority: Authority::new(),
            uploads: Uploads::new(dir.join("uploads")),
            signer: identity::Signer::new(dir.join("oidc.der")),
        }
    }

    /// Forgets a job: its tokens stop working and what it began to upload is deleted.
    pub fn dismiss(&self, job: i64) {
        self.authority.dismiss(job);
        self.uploads.abandon(job);
    }
}

/// The paths of all services. They stand at the root of the address that [`crate::Config::services_url`] names: clients keep only
/// the origin of it.
pub fn router(services: Arc<Services>) -> Router {
    // Handlers that stream bodies to disk have no limit; those that read JSON have their own.
    Router::new()
        .route("/twirp/{service}/{method}", post(twirp::serve))
        .route("/_services/blob/{kind}/{id}/{name}", put(blob::write).get(blob::read))
        .route("/_services/token", get(identity::issue).post(identity::issue))
        .route("/_services/token/.well-known/openid-configuration", get(identity::discovery))
        .route("/_services/token/.well-known/jwks", get(identity::keys))
        .route("/_apis/artifactcache/cache", get(legacy::find))
        .route("/_apis/artifactcache/caches", get(legacy::list).post(legacy::reserve))
        .route("/_apis/artifactcache/caches/{id}", axum::routing::patch(legacy::upload).post(legacy::commit))
        .layer(DefaultBodyLimit::disable())
        .with_state(services)
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn file_digest(path: &Path) -> std::io::Result<String> {
    uploads::digest(path).map(|(digest, _)| digest)
}

/// The origin under which the client reaches us.
pub(crate) fn origin(services: &Services, headers: &HeaderMap) -> String {
    match headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("http://{host}"),
        None => services.config.services_url.clone().unwrap_or_default().trim_end_matches('/').to_owned(),
    }
}

/// A signed URL of a finished artifact's content, good for ten minutes.
pub(crate) fn artifact_url(services: &Services, origin: &str, meta: &crate::builtin::artifact::Meta) -> String {
    blob::url(services, origin, 'r', "artifact", &meta.id.to_string(), &meta.file_name())
}
