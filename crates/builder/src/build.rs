//! A build as a value: what to build, with what, and what came out. The work is done in `solve`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use oci::client::{Client, Credentials};
use oci::{Descriptor, Digest, EndpointMap, ImageConfig, Platform};
use tokio_util::sync::CancellationToken;

use crate::dockerfile::check::Warning;
use crate::dockerfile::{ParseError, Span};
use crate::fs::layers::LayerStore;
use crate::images::ImageStore;
use crate::progress::Progress;
pub use crate::run::Ulimit;
use crate::{fs, images, solve};

/// Where a builder keeps things and whom it may ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// Local images (see [`ImageStore`]).
    pub store: PathBuf,
    /// Layers, step records and cache mounts. Safe to delete when nothing builds.
    pub cache: PathBuf,
    /// Where registry names lead.
    pub endpoints: EndpointMap,
    /// Credentials for registries.
    pub credentials: Credentials,
    /// Bytes that cached layers may take (see [`DEFAULT_CACHE_LIMIT`]).
    pub cache_limit: u64,
}

/// 20 GB of cached layers.
pub const DEFAULT_CACHE_LIMIT: u64 = 20_000_000_000;

/// Builds images. Cheap to clone; several may share directories, in one process or in many.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) config: Config,
    pub(crate) images: ImageStore,
    pub(crate) layers: Arc<LayerStore>,
    pub(crate) client: Client,
}

/// Where a build's files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory.
    Dir(PathBuf),
    /// An image, as if it were a directory (`docker-image://`).
    Image(String),
    /// An image in an OCI layout on disk (`oci-layout://DIR[:tag|@digest]`).
    Layout(String),
    /// Nothing: a Dockerfile alone.
    Empty,
}

/// A secret for `RUN --mount=type=secret`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The bytes. Never written to disk, logs or cache keys.
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Compression of published layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None: fastest to make.
    None,
    /// gzip with a level 0-9.
    Gzip(u32),
    /// zstd with a level 1-22.
    Zstd(i32),
}

impl Default for Compression {
    fn default() -> Self {
        Compression::Gzip(1)
    }
}

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Text of the Dockerfile.
    pub dockerfile: String,
    /// How messages name it.
    pub dockerfile_name: String,
    /// The main context.
    pub context: Source,
    /// `.dockerignore` text for the main context.
    pub ignore: Option<String>,
    /// `--build-context` by name.
    pub contexts: BTreeMap<String, Source>,
    /// `--build-arg`; `None` takes a value away.
    pub build_args: BTreeMap<String, Option<String>>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--annotation` on the manifest.
    pub annotations: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--platform`.
    pub platform: Platform,
    /// `--tag`, parsed.
    pub tags: Vec<oci::Reference>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--no-cache-filter`: stages that are built anew, by name in lower case.
    pub no_cache_stages: Vec<String>,
    /// `--pull`: ask the registry even when the base image is here.
    pub pull: bool,
    /// `--secret` by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh` sockets by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// `--network`.
    pub network: crate::dockerfile::ast::Network,
    /// `--allow security.insecure`.
    pub allow_insecure: bool,
    /// `--add-host` lines for `RUN`.
    pub hosts: Vec<(String, String)>,
    /// `--shm-size`: bytes of `/dev/shm` in a `RUN`.
    pub shm_bytes: Option<u64>,
    /// `--ulimit`: limits of the processes of a `RUN`.
    pub ulimits: Vec<Ulimit>,
    /// `SOURCE_DATE_EPOCH`: the time of everything made, seconds.
    pub epoch: i64,
    /// Layer compression.
    pub compression: Compression,
    /// Docker's media types instead of OCI's. Annotations and zstd need OCI's, so they win.
    pub docker_types: bool,
    /// Attach an SPDX bill of materials.
    pub sbom: bool,
    /// Attach SLSA provenance.
    pub provenance: bool,
    /// `--cache-from`: where step records may come from that this machine does not have.
    pub cache_from: Vec<crate::cache::carried::Place>,
    /// `--cache-to`: where the records and layers of this build's steps go.
    pub cache_to: Vec<crate::cache::carried::Export>,
    /// Ends the build early when cancelled; its containers are killed and nothing is left behind.
    pub cancel: CancellationToken,
}

impl BuildRequest {
    /// A build of this Dockerfile with nothing else said.
    pub fn new(dockerfile: impl Into<String>, context: Source) -> BuildRequest {
        BuildRequest {
            dockerfile: dockerfile.into(),
            dockerfile_name: "Dockerfile".to_owned(),
            context,
            ignore: None,
            contexts: BTreeMap::new(),
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            target: None,
            platform: Platform::host(),
            tags: Vec::new(),
            no_cache: false,
            no_cache_stages: Vec::new(),
            pull: false,
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            network: crate::dockerfile::ast::Network::Default,
            allow_insecure: false,
            hosts: Vec::new(),
            shm_bytes: None,
            ulimits: Vec::new(),
            epoch: 0,
            compression: Compression::default(),
            docker_types: false,
            sbom: false,
            provenance: false,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            cancel: CancellationToken::new(),
        }
    }

    /// The value of an argument that is meant for the builder, when it has one.
    pub(crate) fn built_in(&self, name: &str) -> Option<&str> {
        self.build_args.get(name)?.as_deref().filter(|value| !value.is_empty())
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct BuildResult {
    /// The manifest, in the local store.
    pub descriptor: Descriptor,
    /// The image id: digest of the configuration.
    pub id: Digest,
    /// The configuration.
    pub image: ImageConfig,
    /// Images that it was made from: what was asked for and the digest it had.
    pub materials: Vec<(String, Digest)>,
    /// Manifests that refer to the image: bill of materials, provenance.
    pub attestations: Vec<Descriptor>,
    /// Findings of the build checks.
    pub warnings: Vec<Warning>,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Dockerfile is not valid.
    #[error("{0}")]
    Parse(ParseError),
    /// Something about the request.
    #[error("{0}")]
    Request(String),
    /// A step failed.
    #[error(transparent)]
    Step(Box<StepFailure>),
    /// The local store failed.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// Layers could not be written or read.
    #[error(transparent)]
    Files(#[from] fs::Error),
    /// Build checks found something, and `# check=error=true` forbids it.
    #[error("failed to solve: lint violation found for rules: {}", rules(.0))]
    Checks(Vec<Warning>),
    /// Another step failed first.
    #[error("canceled")]
    Canceled,
}

/// A step that failed, with all that a person needs to see.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct StepFailure {
    /// `[2/3] RUN make`.
    pub step: String,
    /// Where it stands.
    pub span: Span,
    /// Last lines that it printed.
    pub output: Vec<String>,
    /// Why.
    pub cause: Cause,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// What is wrong, in words.
    #[error("{0}")]
    Message(String),
    /// A command ended with a failure.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Exit {
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
    },
    /// Files.
    #[error(transparent)]
    Files(fs::Error),
    /// An image could not be had.
    #[error("{reference}: {}", describe(source))]
    Pull {
        /// Which.
        reference: String,
        /// Why.
        source: Box<oci::client::Error>,
    },
    /// A container could not be run.
    #[error("{message}")]
    Runtime {
        /// Which part.
        message: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn rules(found: &[Warning]) -> String {
    let rules: std::collections::BTreeSet<&str> = found.iter().map(|one| one.rule).collect();
    rules.into_iter().collect::<Vec<_>>().join(", ")
}

fn describe(wrong: &oci::client::Error) -> String {
    chain(wrong)
}

/// An error with its causes, colon separated.
pub fn chain(wrong: &dyn std::error::Error) -> String {
    let mut text = wrong.to_string();
    let mut source = wrong.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

impl Builder {
    /// Opens the directories.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn new(config: Config) -> Result<Builder, Error> {
        let images = ImageStore::open(&config.store)?;
        let layers = Arc::new(LayerStore::open(config.cache.join("layers"))?);
        let client = Client::new(config.endpoints.clone()).credentials(config.credentials.clone());
        Ok(Builder { config, images, layers, client })
    }

    /// The local images.
    pub fn images(&self) -> &ImageStore {
        &self.images
    }

    /// The registry client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Removes what builds left behind that were killed. Builds do this too when they begin.
    pub fn sweep(&self) {
        crate::run::sweep(&self.config.cache.join("work"));
    }

    /// Removes the layers that were used longest ago until the cache is below `limit` bytes, and images that lost their name.
    /// Does nothing while a build runs here.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn trim(&self, limit: u64) -> Result<u64, Error> {
        let mut freed = 0;
        self.images.alone(|| {
            freed = crate::trim::trim(&self.config.cache, limit)?;
            Ok(())
        })?;
        Ok(freed + self.images.collect()?.bytes)
    }

    /// Builds. Must run inside a tokio runtime; the work itself happens on threads of its own.
    ///
    /// # Errors
    /// What failed, and where in the Dockerfile.
    pub async fn build(&self, request: BuildRequest, progress: Arc<dyn Progress>) -> Result<BuildResult, Error> {
        let builder = self.clone();
        let handle = tokio::runtime::Handle::current();
        let joined = tokio::task::spawn_blocking(move || solve::solve(&builder, &request, &*progress, &handle)).await;
        match joined {
            Ok(result) => {
                let result = result?;
                if result.1 {
                    // Another build may run now; then that one cleans up.
                    if let Err(wrong) = self.trim(self.config.cache_limit) {
                        tracing::debug!(error = %wrong, "the build cache was not trimmed");
                    }
                }
                Ok(result.0)
            }
            Err(wrong) => Err(Error::Request(format!("the build ended abnormally: {wrong}"))),
        }
    }
}
