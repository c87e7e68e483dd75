//! The errors of this crate.

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the node could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API refused or could not be reached.
    #[error("{operation}")]
    Api {
        /// Verb and path.
        operation: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A container, namespace or link failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// A file or socket operation failed.
    #[error("{operation}")]
    Io {
        /// What was being done, naming the object.
        operation: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// An image could not be had.
    #[error("image {image}: {message}")]
    Image {
        /// The reference as the Pod names it.
        image: String,
        /// The reason, on one line.
        message: String,
    },
    /// An image lacks the signature that the node is told to require.
    #[error("image {image}: {message}")]
    Signature {
        /// The reference as the Pod names it.
        image: String,
        /// The reason, on one line.
        message: String,
    },
    /// A Pod asks for something that cannot be given.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// An [`Error::Io`].
    pub(crate) fn io(operation: impl Into<String>, source: impl Into<std::io::Error>) -> Error {
        Error::Io { operation: operation.into(), source: source.into() }
    }

    /// The HTTP status of an API error.
    pub(crate) fn api_code(&self) -> Option<u16> {
        match self {
            Error::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// This error and its causes on one line, for events and statuses.
    pub(crate) fn line(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// Names the operation of an IO failure.
pub(crate) trait Context<T> {
    /// Names it.
    fn context(self, operation: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, operation: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::io(operation(), error))
    }
}
