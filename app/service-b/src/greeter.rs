//! Asking service A for its greeting, over pooled connections and with a deadline.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

/// How long service A may take, connecting included.
const DEADLINE: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A client of service A.
pub struct Greeter {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    deadline: Duration,
}

/// Why there is no greeting. Every text names the URL that was asked.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// No connection, or one that broke.
    #[error("service A is unreachable at {url}: {reason}")]
    Unreachable {
        /// The URL that was asked.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// No complete answer before the deadline.
    #[error("service A at {url} did not answer within {} ms", deadline.as_millis())]
    Timeout {
        /// The URL that was asked.
        url: String,
        /// How long it was given.
        deadline: Duration,
    },
    /// An answer other than 200.
    #[error("service A at {url} answered {status}")]
    Status {
        /// The URL that was asked.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
    /// A 200 without a greeting in it.
    #[error("service A at {url} answered nonsense: {reason}")]
    Nonsense {
        /// The URL that was asked.
        url: String,
        /// What is wrong with the answer.
        reason: &'static str,
    },
}

impl Greeter {
    /// A client of the service at `host` (scheme and host) and `port`.
    pub fn new(host: &str, port: u16) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Self { client, url: format!("{host}:{port}/ping"), deadline: DEADLINE }
    }

    /// Service A's greeting now.
    pub async fn greeting(&self) -> Result<String, GreetingError> {
        tokio::time::timeout(self.deadline, self.ask())
            .await
            .unwrap_or_else(|_| Err(GreetingError::Timeout { url: self.url.clone(), deadline: self.deadline }))
    }

    async fn ask(&self) -> Result<String, GreetingError> {
        let url = || self.url.clone();
        let uri = self.url.parse::<Uri>().map_err(|error| self.unreachable(&error))?;
        let response = self.client.get(uri).await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(GreetingError::Status { url: url(), status });
        }
        let body = Limited::new(response.into_body(), LONGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| self.broken_body(&*error))?
            .to_bytes();
        let nonsense = |reason| GreetingError::Nonsense { url: url(), reason };
        let answer: Value = serde_json::from_slice(&body).map_err(|_| nonsense("the body is not JSON"))?;
        match answer.get("message") {
            Some(Value::String(message)) => Ok(message.clone()),
            _ => Err(nonsense("there is no text in \"message\"")),
        }
    }

    fn broken_body(&self, error: &(dyn std::error::Error + 'static)) -> GreetingError {
        if error.is::<http_body_util::LengthLimitError>() {
            let reason = "the body is longer than 64 KiB";
            return GreetingError::Nonsense { url: self.url.clone(), reason };
        }
        self.unreachable(error)
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> GreetingError {
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        GreetingError::Unreachable { url: self.url.clone(), reason: cause.to_string() }
    }
}
