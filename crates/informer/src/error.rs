//! What can go wrong while a controller talks to the cluster.

use std::time::Duration;

/// An operation on the cluster that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or the connection failed.
    #[error("{operation} {object}")]
    Api {
        /// What was attempted: `create`, `patch`, `list`, ...
        operation: &'static str,
        /// The path of the object or collection.
        object: String,
        /// The cause, as the client gives it.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time; whether it did what was asked is not known.
    #[error("{operation} {object}: no answer within {seconds} s")]
    Deadline {
        /// What was attempted.
        operation: &'static str,
        /// The path of the object or collection.
        object: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A request could not be built.
    #[error("build request for {object}")]
    Request {
        /// The path of the object or collection.
        object: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object holds something that the controller cannot work with; retrying will not help until it is changed.
    #[error("{object}: {problem}")]
    Object {
        /// Kind, namespace and name.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A condition that another writer has to fulfil first; retried with back-off.
    #[error("{object} waits: {reason}")]
    NotYet {
        /// Kind, namespace and name.
        object: String,
        /// What it waits for.
        reason: String,
    },
    /// A controller's task ended although nobody asked it to.
    #[error("task {name} ended unexpectedly")]
    Task {
        /// The task's name.
        name: String,
        /// The panic, when there was one.
        #[source]
        source: Option<tokio::task::JoinError>,
    },
}

impl Error {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Error::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// The HTTP code of the API server's answer, if there was one.
    pub fn code(&self) -> Option<u16> {
        self.status().map(|s| s.code)
    }

    /// The machine-readable reason of the API server's answer.
    pub fn reason(&self) -> Option<&str> {
        self.status().map(|s| s.reason.as_str())
    }

    /// The API server's own words, or the error itself.
    pub fn message(&self) -> String {
        match self.status() {
            Some(status) => status.message.clone(),
            None => chain(self),
        }
    }

    /// The object does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Somebody else changed the object first.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409) && self.reason() != Some("AlreadyExists")
    }

    /// An object of that name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some("AlreadyExists")
    }

    /// Creation was refused because the namespace is going away.
    pub fn is_namespace_terminating(&self) -> bool {
        self.status()
            .and_then(|s| s.details.as_ref())
            .is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"))
            || (self.code() == Some(403) && self.message().contains("because it is being terminated"))
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.status()?.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}

/// The error and its causes on one line, for logs.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let part = e.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = e.source();
    }
    text
}

/// Shorthand used throughout the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
