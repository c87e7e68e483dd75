//! What can go wrong with a repository.

use std::path::PathBuf;

/// A failed operation on a repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The `git` program could not be started or its pipes failed.
    #[error("cannot run git {operation} in {dir}")]
    Spawn {
        /// The subcommand, such as `cat-file`.
        operation: String,
        /// The repository.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// git ended with a failure.
    #[error("git {operation} in {dir} failed ({status}): {message}")]
    Failed {
        /// The subcommand, such as `cat-file`.
        operation: String,
        /// The repository.
        dir: PathBuf,
        /// Exit code, or -1 when a signal ended it.
        status: i32,
        /// What git wrote to its standard error, trimmed.
        message: String,
    },
    /// git answered in a shape that this version of the crate does not understand.
    #[error("git {operation} in {dir} answered something unexpected: {detail}")]
    Unexpected {
        /// The subcommand.
        operation: String,
        /// The repository.
        dir: PathBuf,
        /// What was odd.
        detail: String,
    },
    /// The directory is not a bare repository.
    #[error("{0} is not a bare git repository")]
    NotARepository(PathBuf),
    /// A file operation on the repository's own files failed.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A revision, ref name or path that git must not be given.
    #[error("{0:?} is not a revision, ref name or path that can be used here")]
    BadName(String),
    /// An object that was asked for by id is not there.
    #[error("object {oid} is not in {dir}")]
    MissingObject {
        /// The id.
        oid: String,
        /// The repository.
        dir: PathBuf,
    },
}

impl Error {
    /// What to type next, where there is something to type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Spawn { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("install git 2.38 or later and make sure that it is on PATH".to_owned())
            }
            Error::NotARepository(dir) => Some(format!("git init --bare {}", dir.display())),
            _ => None,
        }
    }
}
