//! Why an upstream did not give what was asked for, how that is told, and how long it is then left alone.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use oci::client;

use super::lock;
use crate::http::{ApiError, Code, seconds};

/// How long an upstream that did not answer is not asked again.
const REST: Duration = Duration::from_secs(30);
/// How long one request waits for an upstream that took the connection.
const ANSWER: Duration = Duration::from_secs(10);

/// Why an upstream did not give what was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    NotThere,
    Silent(String),
    Slow(String, Option<Duration>),
    Storage(String),
}

/// Upstreams that did not answer, with the time until which they are not asked, and why.
#[derive(Default)]
pub(super) struct Silence(Mutex<HashMap<String, (Instant, String)>>);

impl Silence {
    /// Fails while the upstream rests. After that one request tries it, and the others go on failing until that one is
    /// answered: whoever is offline waits once in a while, not with every request.
    pub(super) fn check(&self, registry: &str) -> Result<(), Failure> {
        let mut silent = lock(&self.0);
        let Some((until, why)) = silent.get_mut(registry) else { return Ok(()) };
        let now = Instant::now();
        if now < *until {
            return Err(Failure::Silent(why.clone()));
        }
        *until = now + ANSWER;
        Ok(())
    }

    /// Waits for an answer, not too long, and notes whether there was one.
    pub(super) async fn ask<T>(
        &self,
        registry: &str,
        request: impl Future<Output = Result<T, client::Error>>,
    ) -> Result<T, Failure> {
        let failure = match tokio::time::timeout(ANSWER, request).await {
            Ok(Ok(answer)) => {
                self.answered(registry);
                return Ok(answer);
            }
            Ok(Err(error)) => classify(&error),
            Err(_) => Failure::Silent(format!("no answer in {} s", ANSWER.as_secs())),
        };
        self.note(registry, &failure);
        Err(failure)
    }

    /// Notes a failure: silence begins a rest, and anything else is an answer.
    pub(super) fn note(&self, registry: &str, failure: &Failure) {
        match failure {
            Failure::Silent(why) => {
                tracing::info!(registry, why, rest = REST.as_secs(), "the upstream is left alone for a while");
                lock(&self.0).insert(registry.to_owned(), (Instant::now() + REST, why.clone()));
            }
            Failure::Storage(_) => {}
            Failure::NotThere | Failure::Slow(..) => self.answered(registry),
        }
    }

    /// Ends a rest.
    pub(super) fn answered(&self, registry: &str) {
        lock(&self.0).remove(registry);
    }
}

pub(super) fn classify(error: &client::Error) -> Failure {
    match error {
        // Docker Hub says "denied" of repositories that do not exist.
        client::Error::NotFound(_) | client::Error::Denied { .. } => Failure::NotThere,
        client::Error::RateLimited { message, retry_after, .. } => Failure::Slow(message.clone(), *retry_after),
        client::Error::Layout(_) | client::Error::Worker(_) | client::Error::Mismatch { .. } => {
            Failure::Storage(error.to_string())
        }
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                cause = inner.source();
            }
            Failure::Silent(text)
        }
    }
}

/// The answer to a client.
pub(super) fn refuse(failure: &Failure, what: &str, registry: &str, code: Code) -> ApiError {
    match failure {
        Failure::NotThere => ApiError::new(code, format!("{what} is neither here nor at upstream {registry}")),
        Failure::Silent(why) => {
            let message = format!(
                "{what} is not here, and upstream {registry} cannot be reached ({why}); push it here, or pull it once while online"
            );
            ApiError::new(code, message)
        }
        Failure::Slow(why, after) => {
            let error = ApiError::new(
                Code::TooManyRequests,
                format!("{what} is not here, and upstream {registry} limits requests: {why}"),
            );
            match after {
                Some(after) => error.header("retry-after", seconds(*after)),
                None => error,
            }
        }
        Failure::Storage(why) => ApiError::new(
            Code::Internal,
            format!("{what} could not be mirrored from {registry}; the registry's log says why"),
        )
        .because(why.clone()),
    }
}
