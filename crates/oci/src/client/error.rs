//! Why a registry operation failed, and what to try next.

use std::time::Duration;

use http::{Method, StatusCode};

use super::BoxError;
use crate::layout;

/// Why a registry operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry could not be reached.
    #[error("cannot reach registry at {url}")]
    Unreachable {
        /// Address that was tried.
        url: String,
        /// Why.
        source: BoxError,
    },
    /// The connection failed in the middle of content.
    #[error("{url}: connection lost after {received} bytes")]
    Interrupted {
        /// Address.
        url: String,
        /// Bytes that came.
        received: u64,
        /// Why.
        source: BoxError,
    },
    /// No answer in time.
    #[error("{url}: no answer in {} s", after.as_secs())]
    Timeout {
        /// Address.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// The registry does not have it.
    #[error("{0} is not in the registry")]
    NotFound(String),
    /// The registry wants other credentials.
    #[error("{registry} refused access to {what}: {message}")]
    Denied {
        /// Registry host as in the reference.
        registry: String,
        /// What was asked for.
        what: String,
        /// The registry's words.
        message: String,
    },
    /// The registry asks to slow down.
    #[error("{registry} limits the rate of requests: {message}")]
    RateLimited {
        /// Registry host.
        registry: String,
        /// The registry's words.
        message: String,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// Another answer than expected.
    #[error("{method} {url}: unexpected answer {status}: {message}")]
    Status {
        /// Request method.
        method: Method,
        /// Address.
        url: String,
        /// Status.
        status: StatusCode,
        /// The registry's words.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("{url}: malformed answer: {reason}")]
    Malformed {
        /// Address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Content differs from its digest or size.
    #[error("{what} from the registry is not what its descriptor says: expected {expected}, found {found}")]
    Mismatch {
        /// Which content.
        what: String,
        /// What was announced.
        expected: String,
        /// What came.
        found: String,
    },
    /// The local store failed.
    #[error("local image store failed")]
    Layout(#[source] Box<layout::Error>),
    /// A worker thread died.
    #[error("a worker thread of the registry client ended unexpectedly")]
    Worker(#[source] tokio::task::JoinError),
}

impl From<layout::Error> for Error {
    fn from(error: layout::Error) -> Self {
        Self::Layout(Box::new(error))
    }
}

impl Error {
    /// What to try next, for people.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { registry, .. } => Some(format!("log in with: docker login {registry}")),
            Self::RateLimited { retry_after: Some(after), .. } => Some(format!("try again in {} s", after.as_secs())),
            Self::RateLimited { .. } => Some("try again later, or log in for a higher limit".into()),
            Self::Unreachable { .. } => Some("check the address, and that the registry runs".into()),
            _ => None,
        }
    }

    /// Whether the same request may succeed when tried again at once.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Interrupted { .. } | Self::Timeout { .. } => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}
