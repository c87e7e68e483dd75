//! Sending a request to an endpoint, and to another when that one cannot be reached.
//!
//! A request is sent again only when that is safe: nothing of it was sent, or it is idempotent and its body is in memory. When no
//! endpoint can be reached, the next table is waited for a moment: in a rollout it is on its way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::body::{ReplyBody, RequestBody, TooLarge};
use super::pool::{Failed, Lease, Pool};
use super::{Client, Proxy, Reply, headers, reply, upgrade};
use crate::config::FirstResponse;
use crate::model::{Backend, BackendKey, Location, Policy, Protocol, Route};
use crate::watch::Snapshot;

/// Bodies up to this are kept in memory, so that they can be sent again.
const KEPT: u64 = 64 * 1024;
/// Where a round of endpoints begins.
static TURN: AtomicUsize = AtomicUsize::new(0);

struct Attempt<'a> {
    proxy: &'a Arc<Proxy>,
    route: &'a Route,
    head: request::Parts,
    payload: Payload,
    cookie: Option<String>,
    tls: bool,
    client_upgrade: Option<hyper::upgrade::OnUpgrade>,
}

enum Payload {
    Kept(Bytes),
    Stream(Option<Incoming>, Option<u64>),
}

enum Outcome {
    Answer(Box<Reply>),
    /// Could not be reached, or closed before it answered; another may be tried.
    Again(String),
    Failed(StatusCode, String),
}

#[expect(clippy::too_many_arguments, reason = "all of a request's facts, at one place")]
pub(super) async fn forward(
    proxy: &Arc<Proxy>,
    client: Client,
    mut request: Request<Incoming>,
    snapshot: &Snapshot,
    route: &Route,
    location: Option<&Location>,
    host: &str,
    path: &str,
    id: &str,
) -> (Reply, Option<String>) {
    let policy = &route.policy;
    let client_upgrade = Some(hyper::upgrade::on(&mut request));
    let cookie =
        policy.affinity.as_ref().and_then(|a| headers::cookie(request.headers(), &a.cookie)).map(str::to_owned);
    let (head, body) = request.into_parts();
    let payload = match keep(body, &head.method, policy).await {
        Ok(payload) => payload,
        Err(early) => return (early, None),
    };
    let pattern = route.pattern.as_ref().filter(|_| location.is_some());
    let head = match prepare(head, client, host, path, id, policy, pattern) {
        Ok(head) => head,
        Err(why) => return (reply::text(StatusCode::BAD_REQUEST, why), None),
    };
    let mut attempt = Attempt { proxy, route, head, payload, cookie, tls: client.tls, client_upgrade };
    let mut key = route.backend.clone();
    if let Some(backend) = snapshot.table.backends.get(&key)
        && backend.endpoints.is_empty()
        && let Some(other) = &policy.default_backend
    {
        let found = snapshot.table.backends.keys().find(|k| k.namespace == key.namespace && k.service == *other);
        key = found.cloned().unwrap_or(key);
    }
    attempt.run(&key).await
}

impl Attempt<'_> {
    async fn run(&mut self, key: &BackendKey) -> (Reply, Option<String>) {
        let mut changed = self.proxy.current.changed.subscribe();
        let mut last = String::new();
        let mut until = None;
        loop {
            let backend = self.backend(key);
            let Some(backend) = backend.filter(|b| !b.endpoints.is_empty()) else {
                let snapshot = self.proxy.current.snapshot.load();
                let problem = snapshot.table.backends.get(key).and_then(|b| b.problem.as_deref());
                return (reply::no_endpoints(&key.service, problem), None);
            };
            changed.borrow_and_update();
            let mut tried = Vec::new();
            for _ in 0..self.route.policy.tries {
                let Some(index) = self.pick(&backend, &tried, key.protocol) else { break };
                tried.push(index);
                let pool = self.proxy.pools.get(&backend.endpoints[index], key.protocol);
                let to = pool.endpoint().address.to_string();
                match self.once(&pool, key).await {
                    Outcome::Answer(reply) => return (*reply, Some(to)),
                    Outcome::Failed(status, why) => {
                        tracing::warn!(
                            service = key.service,
                            namespace = key.namespace,
                            endpoint = to,
                            why,
                            "request failed"
                        );
                        return (reply::text(status, status.canonical_reason().unwrap_or("failed")), Some(to));
                    }
                    Outcome::Again(why) => {
                        tracing::debug!(service = key.service, endpoint = to, why, "trying another endpoint");
                        last = why;
                    }
                }
            }
            // In a rollout the next table is on its way, perhaps after others.
            let until = *until.get_or_insert_with(|| tokio::time::Instant::now() + self.proxy.patience);
            if !matches!(tokio::time::timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                break;
            }
        }
        tracing::warn!(service = key.service, namespace = key.namespace, why = last, "no endpoint could be reached");
        (reply::text(StatusCode::BAD_GATEWAY, "502 Bad Gateway: no endpoint could be reached"), None)
    }

    fn backend(&self, key: &BackendKey) -> Option<Arc<Backend>> {
        self.proxy.current.snapshot.load().table.backends.get(key).cloned()
    }

    /// An endpoint that was not tried: that of the cookie, else the next in turn, those that rest last.
    fn pick(&self, backend: &Backend, tried: &[usize], protocol: Protocol) -> Option<usize> {
        let all = &backend.endpoints;
        if let (Some(cookie), true) = (&self.cookie, tried.is_empty())
            && let Some(found) = all.iter().position(|e| sticky(&e.address) == *cookie)
        {
            return Some(found);
        }
        let start = TURN.fetch_add(1, Ordering::Relaxed);
        let order = || (0..all.len()).map(|n| (start + n) % all.len()).filter(|n| !tried.contains(n));
        if all.len() == 1 {
            return order().next();
        }
        let awake = |n: &usize| !self.proxy.pools.get(&all[*n], protocol).is_resting();
        order().find(awake).or_else(|| order().next())
    }

    /// One endpoint; a second connection when the first was an idle one that had been closed.
    async fn once(&mut self, pool: &Arc<Pool>, key: &BackendKey) -> Outcome {
        let policy = Arc::clone(&self.route.policy);
        // A connection that was idle may be closing at this moment, and what is not idempotent cannot be sent twice.
        let mut fresh = !idempotent(&self.head.method);
        loop {
            let mut lease = match pool.lease(policy.connect_timeout, fresh).await {
                Ok(lease) => lease,
                Err(error) => {
                    pool.rest();
                    return Outcome::Again(format!("cannot connect: {error}"));
                }
            };
            let Some(request) = self.request() else {
                return Outcome::Failed(StatusCode::BAD_GATEWAY, "the request cannot be sent again".into());
            };
            let sent = tokio::time::timeout(policy.read_timeout, lease.send(request)).await;
            let Failed { error, unsent } = match sent {
                Ok(Ok(response)) => return Outcome::Answer(Box::new(self.answer(response, lease, key))),
                Ok(Err(failed)) => failed,
                Err(_) => {
                    return Outcome::Failed(StatusCode::GATEWAY_TIMEOUT, "the endpoint did not answer in time".into());
                }
            };
            if caused_by_size(&error) {
                return Outcome::Failed(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the request's body is larger than allowed".into(),
                );
            }
            let resendable = match unsent {
                Some(request) => {
                    self.restore(*request);
                    true
                }
                None => matches!(self.payload, Payload::Kept(_)) && idempotent(&self.head.method),
            };
            if !resendable {
                return Outcome::Failed(
                    StatusCode::BAD_GATEWAY,
                    format!("the endpoint closed the connection: {error}"),
                );
            }
            if !lease.reused {
                return Outcome::Again(format!("closed before it answered: {error}"));
            }
            fresh = true;
        }
    }

    fn request(&mut self) -> Option<Request<RequestBody>> {
        let body = match &mut self.payload {
            Payload::Kept(bytes) => RequestBody::Whole(Some(bytes.clone())),
            Payload::Stream(incoming, limit) => RequestBody::Stream(incoming.take()?, *limit),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        if matches!(self.route.backend.protocol, Protocol::Grpc | Protocol::Grpcs) {
            *request.version_mut() = Version::HTTP_2;
            let host = request.headers_mut().remove(header::HOST);
            let authority = host.and_then(|h| h.to_str().ok()?.parse().ok());
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.scheme = Some(http::uri::Scheme::HTTP);
            parts.authority = authority.or(Some(http::uri::Authority::from_static("localhost")));
            *request.uri_mut() = Uri::from_parts(parts).ok()?;
        }
        Some(request)
    }

    fn restore(&mut self, request: Request<RequestBody>) {
        if let (Payload::Stream(place, _), RequestBody::Stream(incoming, _)) = (&mut self.payload, request.into_body())
        {
            *place = Some(incoming);
        }
    }

    fn answer(&mut self, response: Response<Incoming>, mut lease: Lease, key: &BackendKey) -> Reply {
        let policy = &self.route.policy;
        if !lease.pool.answered.swap(true, Ordering::Relaxed)
            && let Some(observer) = &self.proxy.observer
        {
            observer.first_response(&FirstResponse {
                namespace: key.namespace.clone(),
                service: key.service.clone(),
                pod: lease.pool.endpoint().pod.clone(),
                address: lease.pool.endpoint().address.to_string(),
                status: response.status().as_u16(),
            });
        }
        let mut response = response;
        let upgraded =
            (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| hyper::upgrade::on(&mut response));
        let (mut head, incoming) = response.into_parts();
        head.version = Version::HTTP_11;
        head.extensions.clear();
        if let Some(affinity) = &policy.affinity {
            let value = sticky(&lease.pool.endpoint().address);
            if self.cookie.as_deref() != Some(value.as_str()) {
                let path = if policy.use_regex { "/" } else { self.route.path.as_str() };
                headers::set_affinity(&mut head.headers, affinity, &value, path, self.tls);
            }
        }
        if let (Some(endpoint), Some(client)) = (upgraded, self.client_upgrade.take()) {
            lease.detach();
            self.proxy.pools.spawn(upgrade::join(client, endpoint));
            return Response::from_parts(head, ReplyBody::Own(None));
        }
        headers::strip(&mut head.headers);
        let events =
            head.headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/event-stream"));
        let timeout = (policy.read_timeout_set && !events).then_some(policy.read_timeout);
        Response::from_parts(head, ReplyBody::upstream(incoming, lease, timeout))
    }
}

/// Small bodies are read before an endpoint is chosen.
async fn keep(body: Incoming, method: &Method, policy: &Policy) -> Result<Payload, Reply> {
    if body.is_end_stream() {
        return Ok(Payload::Kept(Bytes::new()));
    }
    match body.size_hint().exact() {
        Some(length) if length <= KEPT && idempotent(method) => match Limited::new(body, KEPT as usize).collect().await
        {
            Ok(whole) => Ok(Payload::Kept(whole.to_bytes())),
            Err(_) => Err(reply::text(StatusCode::BAD_REQUEST, "the request's body ended too early")),
        },
        _ => Ok(Payload::Stream(Some(body), policy.body_size)),
    }
}

fn prepare(
    mut head: request::Parts,
    client: Client,
    host: &str,
    path: &str,
    id: &str,
    policy: &Policy,
    pattern: Option<&regex::Regex>,
) -> Result<request::Parts, &'static str> {
    let authority = head.uri.authority().map(ToString::to_string);
    let given = head.headers.get(header::HOST).cloned();
    let original = head.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
    let upgrade = headers::strip(&mut head.headers).filter(|_| head.version == Version::HTTP_11);
    headers::join_cookies(&mut head.headers);
    let shown = given.as_ref().and_then(|v| v.to_str().ok()).map(str::to_owned).or(authority.clone());
    headers::forwarded(&mut head.headers, client, shown.as_deref().unwrap_or(host), id, &original, policy);
    let wanted = match &policy.upstream_vhost {
        Some(vhost) => HeaderValue::from_str(vhost).ok(),
        None => authority.and_then(|a| HeaderValue::from_str(&a).ok()).or(given),
    };
    head.headers.insert(header::HOST, wanted.ok_or("the request names no host")?);
    if let Some(upgrade) = upgrade {
        head.headers.insert(header::UPGRADE, upgrade);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let target = match (&policy.rewrite_target, pattern) {
        (Some(target), Some(pattern)) => {
            let query = head.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
            let rewritten = rewrite(pattern, path, target);
            format!("{rewritten}{query}")
        }
        (Some(target), None) => {
            let query = head.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
            format!("{target}{query}")
        }
        (None, _) => original,
    };
    let target = if target.starts_with('/') { target } else { format!("/{target}") };
    head.uri = target.parse::<Uri>().map_err(|_| "the request's path is not valid")?;
    Ok(head)
}

/// `$1`.. of the target stand for groups of the pattern; the result is encoded again.
fn rewrite(pattern: &regex::Regex, path: &str, target: &str) -> String {
    let Some(groups) = pattern.captures(path) else { return target.to_owned() };
    let mut out = String::new();
    let mut rest = target.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek().and_then(|d| d.to_digit(10))) {
            ('$', Some(n)) => {
                rest.next();
                let text = groups.get(n as usize).map_or("", |g| g.as_str());
                for byte in text.bytes() {
                    match byte {
                        b'A'..=b'Z'
                        | b'a'..=b'z'
                        | b'0'..=b'9'
                        | b'-'
                        | b'.'
                        | b'_'
                        | b'~'
                        | b'/'
                        | b'!'
                        | b'$'
                        | b'&'
                        | b'\''
                        | b'('
                        | b')'
                        | b'*'
                        | b'+'
                        | b','
                        | b';'
                        | b'='
                        | b':'
                        | b'@' => out.push(byte.into()),
                        other => out.push_str(&format!("%{other:02X}")),
                    }
                }
            }
            (other, _) => out.push(other),
        }
    }
    out
}

fn sticky(address: &crate::model::Address) -> String {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

fn caused_by_size(error: &hyper::Error) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if cause.is::<TooLarge>() {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites() {
        let pattern = regex::Regex::new("(?i)^/api(/|$)(.*)").expect("pattern");
        assert_eq!(rewrite(&pattern, "/api/v1/x y", "/$2"), "/v1/x%20y");
        assert_eq!(rewrite(&pattern, "/api", "/base/$2"), "/base/");
        assert_eq!(rewrite(&pattern, "/api/x", "/fixed"), "/fixed");
    }
}
