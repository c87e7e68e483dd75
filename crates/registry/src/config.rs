//! What a registry is opened with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oci::Digest;
use oci::client::Client;

use crate::auth::{Access, Login};

/// How a registry is to work.
#[derive(Clone)]
pub struct Config {
    /// The directory, an OCI image layout.
    pub dir: PathBuf,
    /// Who may do what.
    pub access: Access,
    /// Users and passwords that may do everything, besides those of `access`.
    pub users: BTreeMap<String, String>,
    /// Knows users besides those; asked when `users` and `access` do not know name and password.
    pub login: Option<Arc<dyn Login>>,
    /// Where repositories that are not here come from; the longest matching prefix counts.
    pub upstreams: Vec<Upstream>,
    /// First parts of the names of repositories that are only ever here (`user/`): no upstream is asked for them.
    pub own: Vec<String>,
    /// What happens to manifests whose content was not pushed before.
    pub missing_content: MissingContent,
    /// Address under which clients see the registry; from the request's `Host` when not set.
    pub public_url: Option<String>,
    /// How long an upload may rest before it is dropped.
    pub upload_ttl: Duration,
    /// How long a mirrored tag is served before the upstream is asked again.
    pub mirror_ttl: Duration,
}

impl Config {
    /// A registry in `dir` that lets anyone read and nobody write, without upstreams.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            access: Access::anonymous_read(),
            users: BTreeMap::new(),
            login: None,
            upstreams: Vec::new(),
            own: Vec::new(),
            missing_content: MissingContent::Index,
            public_url: None,
            upload_ttl: Duration::from_secs(24 * 3600),
            mirror_ttl: Duration::from_secs(15 * 60),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("dir", &self.dir).field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

/// A registry that is mirrored.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Repositories whose name starts with this come from here, with the prefix taken off; empty for all others, else
    /// ending in a slash (`ghcr.io/`).
    pub prefix: String,
    /// The registry's name (`docker.io`).
    pub registry: String,
    /// Reaches it; holds endpoints and credentials.
    pub client: Client,
}

/// Whether a manifest may be pushed before its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingContent {
    /// Never.
    Refuse,
    /// An index may lack manifests (a multi-platform image copied in part); an image may not lack blobs.
    Index,
    /// Always.
    Allow,
}

/// A pushed manifest, durable by the time it is told.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Repository.
    pub repository: String,
    /// Tag that it was pushed under; none when by digest only.
    pub tag: Option<String>,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The manifest it refers to.
    pub subject: Option<Digest>,
}
