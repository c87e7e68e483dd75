//! What can go wrong in the forge, as a library.

use std::path::PathBuf;

/// A failed operation of the forge.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the forge's state could not be used.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The database refused an operation.
    #[error("the forge's database failed at {operation}")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored document does not have the shape that this version writes.
    #[error("a stored {kind} cannot be read")]
    Document {
        /// The kind of document.
        kind: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A git operation failed.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// Something that was named does not exist.
    #[error("{what} {name} does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something that must be new exists already.
    #[error("{what} {name} exists already")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A value that the forge does not take.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// Somebody else moved a ref first.
    #[error("{name} moved meanwhile: it is no longer at {expected}")]
    RefMoved {
        /// The ref.
        name: String,
        /// Where it was expected.
        expected: String,
    },
    /// Merging gave conflicts.
    #[error("merge conflict in {}", paths.join(", "))]
    Conflict {
        /// The files.
        paths: Vec<String>,
    },
    /// A secret could not be opened with this instance's key.
    #[error("secret {0} was not sealed for this forge's key")]
    Sealed(String),
    /// Another process has the state directory open.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// Git could not pack a repository's objects; nothing is lost.
    #[error("the objects of {repository} cannot be packed: {message}")]
    Maintenance {
        /// `OWNER/NAME`.
        repository: String,
        /// What git said.
        message: String,
    },
    /// A worker of the runtime ended before its time.
    #[error("the forge is shutting down")]
    Stopped,
}

impl Error {
    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Error::NotFound { what, name: name.into() }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Error::Invalid { field, reason: reason.into() }
    }

    /// What to do next, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Git(error) => error.hint(),
            Error::RefMoved { .. } => Some("fetch and try again".to_owned()),
            Error::Locked(_) => Some("stop the other process, or choose another state directory".to_owned()),
            Error::Sealed(_) => Some("fetch the public key again and seal the value for it".to_owned()),
            _ => None,
        }
    }
}

/// Wraps an IO error with its path.
pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { path, source }
}
