//! What can go wrong with an Application.

use std::path::PathBuf;

/// Each error names the operation and the object; the cause is its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Application's `spec` cannot be used.
    #[error("application {application}: {reason}")]
    Spec {
        /// Its name.
        application: String,
        /// What is wrong.
        reason: String,
    },
    /// The Application asks for something that its AppProject does not allow.
    #[error("application {application}: {reason}")]
    NotPermitted {
        /// Its name.
        application: String,
        /// What is not allowed, by which project.
        reason: String,
    },
    /// The repository could not be fetched.
    #[error("cannot fetch {url}")]
    Fetch {
        /// The URL in the Application.
        url: String,
        /// The cause.
        source: git::Error,
    },
    /// A fetched repository could not be read.
    #[error("cannot read {url} at {revision}")]
    Read {
        /// The URL in the Application.
        url: String,
        /// The commit.
        revision: String,
        /// The cause.
        source: git::Error,
    },
    /// There is no such revision.
    #[error("unable to resolve '{revision}' to a commit SHA in {url}")]
    Revision {
        /// The URL in the Application.
        url: String,
        /// The revision.
        revision: String,
    },
    /// There is no such path in the revision.
    #[error("{path}: app path does not exist at {revision} of {url}")]
    Path {
        /// The URL in the Application.
        url: String,
        /// The commit.
        revision: String,
        /// The path.
        path: String,
    },
    /// A chart could not be had.
    #[error("cannot fetch chart {chart} of {url}: {reason}")]
    Chart {
        /// Its name, or the registry's reference of it.
        chart: String,
        /// The URL in the Application.
        url: String,
        /// Why, in Helm's words.
        reason: String,
    },
    /// Repositories of charts cannot be reached as the Secrets say.
    #[error("cannot reach repositories of charts: {reason}")]
    Reach {
        /// Why.
        reason: String,
    },
    /// A source names a file of another source, or of the network, that cannot be had.
    #[error("{reason}")]
    Reference {
        /// Which, and why.
        reason: String,
    },
    /// Something that this Argo CD does not do.
    #[error("{what} is not supported here")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// A chart could not be read or rendered.
    #[error("cannot render chart {path}")]
    Helm {
        /// The chart's path in the repository.
        path: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that says how a source is to be read cannot be used.
    #[error("error while parsing source parameters: {path}")]
    Override {
        /// The file, in the source's directory.
        path: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A document without a kind.
    #[error("{path}: an object has no kind")]
    Kind {
        /// The file.
        path: String,
    },
    /// A file holds no valid manifests.
    #[error("cannot read manifests in {path}")]
    Manifest {
        /// The file.
        path: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object without a version or name.
    #[error("{path}: {reason}")]
    Object {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The cluster refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] informer::Error),
    /// The cluster does not serve a kind.
    #[error("the cluster does not know the kind {kind} of {api_version}")]
    UnknownKind {
        /// Group and version.
        api_version: String,
        /// Kind.
        kind: String,
    },
    /// The room's directory could not be used.
    #[error("cannot use {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether a file is no manifest at all: no YAML, or of no kind.
    pub(crate) fn is_no_manifest(&self) -> bool {
        matches!(self, Self::Manifest { .. } | Self::Kind { .. })
    }

    /// The error and its causes on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
