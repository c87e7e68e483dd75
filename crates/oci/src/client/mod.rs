//! A registry client: resolve, pull and push over the OCI distribution protocol.
//!
//! Names go through an [`EndpointMap`]; connections through a [`Connect`], so that a caller without a way to the network of
//! its own can supply one. Content is streamed and verified. The client owns its connection pool and its tokens; it keeps no
//! images.

mod auth;
mod error;
mod pull;
mod push;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;

pub use auth::Credentials;
pub use error::Error;
pub use transport::{BoxError, Connect, Tcp};

use crate::digest::Digest;
use crate::endpoint::{Endpoint, EndpointMap};
use crate::manifest::{Descriptor, Index, MAX_MANIFEST};
use crate::media;
use crate::reference::Reference;
use auth::Tokens;
use transport::{Body, Transport};

/// A manifest as the registry has it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Bytes,
}

/// Content that is verified as it streams: the last item is an error when digest or size are not as announced.
pub struct BlobStream {
    /// Size in bytes.
    pub size: u64,
    /// The content.
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobStream").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Hears how a pull or push goes on. Calls are short and come from any thread.
pub trait Progress: Send + Sync {
    /// `done` of `total` bytes of a blob were moved. The first call says 0 when it is moved at all; a blob that was there
    /// already gets a single call with `done == total`.
    fn blob(&self, digest: &Digest, done: u64, total: u64);
}

impl Progress for () {
    fn blob(&self, _: &Digest, _: u64, _: u64) {}
}

/// A registry client. Clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    endpoints: Arc<EndpointMap>,
    credentials: Arc<Credentials>,
    transport: Transport,
    tokens: Arc<Tokens>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

pub(crate) const HEADERS_TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// A client without credentials that dials by itself.
    pub fn new(endpoints: EndpointMap) -> Self {
        Self {
            endpoints: Arc::new(endpoints),
            credentials: Arc::default(),
            transport: Transport::new(Arc::new(Tcp)),
            tokens: Arc::default(),
        }
    }

    /// With credentials.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Arc::new(credentials);
        self.tokens = Arc::default();
        self
    }

    /// With connections made by `connect`.
    pub fn connector(mut self, connect: Arc<dyn Connect>) -> Self {
        self.transport = Transport::new(connect);
        self
    }

    /// With another limit, 15 s otherwise, for look-up of the name, connection and TLS handshake together.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.connect_timeout(timeout);
        self
    }

    /// Checks that the registry answers and takes the credentials (`docker login`).
    pub async fn ping(&self, registry: &str) -> Result<(), Error> {
        let place = Place::new(self.endpoints.resolve(registry), registry, "");
        let url = format!("{}/v2/", place.endpoint.base_url);
        let answer = self.send(&place, "", Method::GET, &url, HeaderMap::new(), Body::empty).await?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.failure(&place, Method::GET, &url, "the registry", answer).await),
        }
    }

    /// Describes what a reference points to, none when the registry does not have it.
    pub async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        let place = self.place(reference);
        let url = place.url(&format!("manifests/{}", reference.reference()));
        let answer = self.send(&place, "pull", Method::HEAD, &url, accept_manifests(), Body::empty).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            _ => return Err(self.failure(&place, Method::HEAD, &url, &reference.to_string(), answer).await),
        }
        let text = |name: header::HeaderName| answer.headers().get(name).and_then(|v| v.to_str().ok());
        let digest = answer.headers().get("docker-content-digest").and_then(|v| v.to_str().ok());
        let digest = digest.and_then(|d| d.parse().ok()).or_else(|| reference.digest().cloned());
        let size = text(header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
        match (text(header::CONTENT_TYPE), digest, size) {
            (Some(media_type), Some(digest), Some(size)) => {
                Ok(Some(Descriptor::new(media::essence(media_type), digest, size)))
            }
            // Some registries leave headers out of HEAD; the body tells.
            _ => match self.manifest(reference).await {
                Ok(fetched) => Ok(Some(fetched.descriptor)),
                Err(Error::NotFound(_)) => Ok(None),
                Err(e) => Err(e),
            },
        }
    }

    /// Fetches a manifest or index, verified against the reference's digest where it has one.
    pub async fn manifest(&self, reference: &Reference) -> Result<Fetched, Error> {
        let place = self.place(reference);
        let url = place.url(&format!("manifests/{}", reference.reference()));
        let answer = self.send(&place, "pull", Method::GET, &url, accept_manifests(), Body::empty).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.failure(&place, Method::GET, &url, &reference.to_string(), answer).await);
        }
        let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let content_type = content_type.map(|t| media::essence(t).to_owned());
        let bytes = read_body(&url, answer, MAX_MANIFEST).await?;
        let digest = match reference.digest() {
            Some(expected) => {
                let mut hasher = crate::Hasher::new(expected.algorithm());
                hasher.update(&bytes);
                let found = hasher.finish();
                if found != *expected {
                    return Err(mismatch(reference.to_string(), expected, &found));
                }
                found
            }
            None => Digest::of(&bytes),
        };
        let inside = || {
            let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
            value["mediaType"].as_str().map(str::to_owned)
        };
        let media_type = content_type.filter(|t| media::is_index(t) || media::is_manifest(t)).or_else(inside);
        let media_type = media_type.unwrap_or_else(|| media::OCI_MANIFEST.into());
        Ok(Fetched { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes })
    }

    /// All tags of the reference's repository.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        let place = self.place(reference);
        let mut url = place.url("tags/list");
        let mut tags = Vec::new();
        loop {
            let answer = self.send(&place, "pull", Method::GET, &url, HeaderMap::new(), Body::empty).await?;
            if answer.status() != StatusCode::OK {
                return Err(self.failure(&place, Method::GET, &url, &reference.name(), answer).await);
            }
            let next = answer.headers().get(header::LINK).and_then(|v| v.to_str().ok()).and_then(next_link);
            let bytes = read_body(&url, answer, 16 * 1024 * 1024).await?;
            let value: serde_json::Value = serde_json::from_slice(&bytes)
                .map_err(|e| Error::Malformed { url: url.clone(), reason: e.to_string() })?;
            let page = value["tags"].as_array().into_iter().flatten();
            tags.extend(page.filter_map(|t| t.as_str()).map(str::to_owned));
            match next {
                Some(next) => url = place.join(&url, &next)?,
                None => return Ok(tags),
            }
        }
    }

    /// Manifests that refer to `digest`.
    pub async fn referrers(&self, reference: &Reference, digest: &Digest) -> Result<Index, Error> {
        let place = self.place(reference);
        let url = place.url(&format!("referrers/{digest}"));
        let answer = self.send(&place, "pull", Method::GET, &url, HeaderMap::new(), Body::empty).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Index::new(Vec::new()));
        }
        if answer.status() != StatusCode::OK {
            return Err(self.failure(&place, Method::GET, &url, &reference.name(), answer).await);
        }
        let bytes = read_body(&url, answer, 16 * 1024 * 1024).await?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Malformed { url, reason: e.to_string() })
    }

    /// Deletes a tag, or the manifest when the reference has a digest.
    pub async fn delete(&self, reference: &Reference) -> Result<(), Error> {
        let place = self.place(reference);
        let url = place.url(&format!("manifests/{}", reference.reference()));
        let answer = self.send(&place, "pull,push,delete", Method::DELETE, &url, HeaderMap::new(), Body::empty).await?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(self.failure(&place, Method::DELETE, &url, &reference.to_string(), answer).await),
        }
    }

    fn place(&self, reference: &Reference) -> Place {
        Place::new(self.endpoints.resolve(reference.registry()), reference.registry(), reference.repository())
    }

    /// Sends a request with authorisation, following redirects of reads and answering one challenge.
    async fn send(
        &self,
        place: &Place,
        actions: &str,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: impl Fn() -> Body,
    ) -> Result<http::Response<hyper::body::Incoming>, Error> {
        let mut url = url.to_owned();
        let mut challenged = false;
        let mut redirects = 0;
        loop {
            let mut headers = headers.clone();
            let own = url.starts_with(&format!("{}/", place.endpoint.base_url));
            if own && let Some(value) = self.tokens.get(&place.registry, &place.repository, actions) {
                headers.insert(header::AUTHORIZATION, value);
            }
            let answer = self.transport.request(method.clone(), &url, headers, body()).await?;
            let status = answer.status();
            if status == StatusCode::UNAUTHORIZED && own && !challenged {
                challenged = true;
                if self.answer_challenge(place, actions, answer.headers()).await? {
                    continue;
                }
            }
            let location = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
            if let Some(location) = location
                && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
                && matches!(method, Method::GET | Method::HEAD)
            {
                redirects += 1;
                if redirects > 5 {
                    return Err(Error::Malformed { url, reason: "more than five redirects".into() });
                }
                url = place.join(&url, location)?;
                continue;
            }
            return Ok(answer);
        }
    }

    /// Turns an answer that is not a success into an error, with the registry's own words.
    async fn failure(
        &self,
        place: &Place,
        method: Method,
        url: &str,
        what: &str,
        answer: http::Response<hyper::body::Incoming>,
    ) -> Error {
        let status = answer.status();
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
        let retry_after = retry_after.and_then(|v| v.parse().ok()).map(Duration::from_secs);
        let bytes = read_body(url, answer, 64 * 1024).await.unwrap_or_default();
        let message =
            message_of(&bytes).unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").into());
        match status {
            StatusCode::NOT_FOUND => Error::NotFound(what.into()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Denied { registry: place.registry.clone(), what: what.into(), message }
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Error::RateLimited { registry: place.registry.clone(), message, retry_after }
            }
            _ => Error::Status { method, url: url.into(), status, message },
        }
    }
}

/// A repository at its endpoint.
#[derive(Clone, Debug)]
struct Place {
    endpoint: Endpoint,
    registry: String,
    /// Name at the endpoint, prefix included.
    repository: String,
}

impl Place {
    fn new(endpoint: Endpoint, registry: &str, repository: &str) -> Self {
        let repository = format!("{}{repository}", endpoint.prefix);
        Self { endpoint, registry: registry.into(), repository }
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.endpoint.base_url, self.repository)
    }

    fn join(&self, base: &str, location: &str) -> Result<String, Error> {
        let joined = url::Url::parse(base).and_then(|base| base.join(location));
        joined.map(String::from).map_err(|e| Error::Malformed { url: base.into(), reason: format!("location: {e}") })
    }
}

fn accept_manifests() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for media_type in media::MANIFESTS {
        headers.append(header::ACCEPT, HeaderValue::from_static(media_type));
    }
    headers
}

fn mismatch(what: String, expected: &Digest, found: &Digest) -> Error {
    Error::Mismatch { what, expected: expected.to_string(), found: found.to_string() }
}

async fn read_body(url: &str, answer: http::Response<hyper::body::Incoming>, limit: usize) -> Result<Bytes, Error> {
    let body = http_body_util::Limited::new(answer.into_body(), limit);
    match tokio::time::timeout(HEADERS_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
            Err(Error::Malformed { url: url.into(), reason: format!("answer has more than {limit} bytes") })
        }
        Ok(Err(source)) => Err(Error::Interrupted { url: url.into(), received: 0, source }),
        Err(_) => Err(Error::Timeout { url: url.into(), after: HEADERS_TIMEOUT }),
    }
}

/// The first message of the distribution specification's error body.
fn message_of(bytes: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let first = &value["errors"][0];
    let code = first["code"].as_str();
    let message = first["message"].as_str().or_else(|| value["details"].as_str()).or_else(|| value["message"].as_str());
    let text = match (code, message) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (one, other) => one.or(other)?.to_owned(),
    };
    Some(text.chars().filter(|c| !c.is_control()).take(500).collect())
}

/// The address of `Link: <...>; rel="next"`.
fn next_link(value: &str) -> Option<String> {
    let (address, rest) = value.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_errors_and_links() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u0007pe"}]}"#;
        assert_eq!(message_of(body).as_deref(), Some("nope (DENIED)"));
        assert_eq!(message_of(b"<html>"), None);
        assert_eq!(
            next_link("</v2/a/tags/list?n=1&last=x>; rel=\"next\"").as_deref(),
            Some("/v2/a/tags/list?n=1&last=x")
        );
        assert_eq!(next_link("nonsense"), None);
    }
}
