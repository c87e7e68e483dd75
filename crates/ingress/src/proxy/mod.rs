//! Requests: which route, may they, where to, and what comes back.
//!
//! The snapshot is read without a lock and held for one request at most. Connections to endpoints belong to [`pool`].

mod body;
mod forward;
mod headers;
mod pool;
mod reply;
mod select;
mod upgrade;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::access::{Bcrypt, Verdict};
use crate::config::{Config, Observer};
use crate::model::{self, Location, Policy, Route};
use crate::watch::Current;
use body::ReplyBody;
use pool::Pools;
use select::Limits;

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// The port that was connected to.
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

pub(crate) struct Proxy {
    current: Arc<Current>,
    pools: Pools,
    limits: Limits,
    bcrypt: Bcrypt,
    observer: Option<Arc<dyn Observer>>,
    https_port: Option<u16>,
    has_https: bool,
    patience: Duration,
}

type Reply = Response<ReplyBody>;

impl Proxy {
    pub(crate) fn new(config: &Config, current: Arc<Current>) -> Arc<Self> {
        Arc::new(Self {
            current,
            pools: Pools::new(config.dial.clone()),
            limits: Limits::default(),
            bcrypt: Bcrypt::default(),
            observer: config.observer.clone(),
            https_port: config.https_port,
            has_https: !config.https.is_empty(),
            patience: config.patience,
        })
    }

    /// Ends connections to endpoints.
    pub(crate) async fn close(&self) {
        self.pools.close().await;
    }

    /// Answers one request.
    pub(crate) async fn handle(self: &Arc<Self>, client: Client, request: Request<Incoming>) -> Reply {
        let begun = Instant::now();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let host = host_of(&request).to_ascii_lowercase();
        let id = headers::request_id(request.headers());
        let (reply, to) = self.answer(client, request, &host, &id).await;
        tracing::info!(
            target: "ingress::access",
            client = %client.address, %method, host, path, status = reply.status().as_u16(),
            ms = begun.elapsed().as_millis() as u64, to = to.as_deref().unwrap_or("-"), id, "request"
        );
        reply
    }

    async fn answer(
        self: &Arc<Self>,
        client: Client,
        request: Request<Incoming>,
        host: &str,
        id: &str,
    ) -> (Reply, Option<String>) {
        let snapshot = self.current.snapshot.load_full();
        let table = &snapshot.table;
        let found = table.host(host);
        let path = model::normalise(request.uri().path()).into_owned();
        let location = found.location(&path);
        let tls = found.tls;
        let Some(route) = location.map(|l| select::route(l, &request)).or(table.default_backend.as_ref()) else {
            return (reply::not_found(), None);
        };
        let origin = request.headers().get(header::ORIGIN).cloned();
        if let Some(early) = self.early(client, &request, route, host, &path, tls) {
            return (with_cors(early, &route.policy, origin.as_ref()), None);
        }
        if let Some(auth) = &route.policy.auth {
            let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
            let right = match snapshot.passwords.check(auth, given) {
                Verdict::Right => true,
                Verdict::Wrong => false,
                Verdict::Bcrypt { hash, password } => self.bcrypt.matches(hash, password).await,
            };
            if !right {
                return (with_cors(reply::unauthorized(&auth.realm), &route.policy, origin.as_ref()), None);
            }
        }
        let route = Arc::clone(route);
        let (reply, to) = forward::forward(self, client, request, &snapshot, &route, location, host, &path, id).await;
        (with_cors(reply, &route.policy, origin.as_ref()), to)
    }

    /// What is answered without asking an endpoint.
    fn early(
        &self,
        client: Client,
        request: &Request<Incoming>,
        route: &Route,
        host: &str,
        path: &str,
        tls: bool,
    ) -> Option<Reply> {
        let policy = &route.policy;
        if let Some(reason) = &policy.denied {
            return Some(reply::text(StatusCode::SERVICE_UNAVAILABLE, &format!("refused: {reason}")));
        }
        let secure = client.tls || request.headers().get("x-forwarded-proto").is_some_and(|p| p == "https");
        let redirects = policy.force_ssl_redirect || tls && policy.ssl_redirect.unwrap_or(true);
        if !secure && redirects && self.has_https {
            return Some(reply::to_tls(host, request.uri(), self.https_port));
        }
        if let Some(redirect) = &policy.redirect {
            return Some(reply::redirect(redirect.code, &redirect.to));
        }
        if let (Some(root), "/") = (&policy.app_root, path) {
            return Some(reply::redirect(302, root));
        }
        let inside = |ranges: &[model::Cidr]| ranges.iter().any(|r| r.contains(client.address));
        if inside(&policy.deny) || !policy.allow.is_empty() && !inside(&policy.allow) {
            return Some(reply::text(StatusCode::FORBIDDEN, "403 Forbidden"));
        }
        if let Some(limit) = policy.limit_rps
            && !self.limits.allow(&route.ingress, client.address, limit)
        {
            return Some(reply::text(StatusCode::SERVICE_UNAVAILABLE, "too many requests"));
        }
        if policy.cors.is_some() && request.method() == Method::OPTIONS {
            return Some(reply::preflight());
        }
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if let (Some(limit), Some(length)) = (policy.body_size, length)
            && length > limit
        {
            return Some(reply::text(StatusCode::PAYLOAD_TOO_LARGE, "413 Request Entity Too Large"));
        }
        None
    }
}

fn with_cors(mut reply: Reply, policy: &Policy, origin: Option<&http::HeaderValue>) -> Reply {
    if let Some(cors) = &policy.cors {
        headers::cors(reply.headers_mut(), cors, origin);
    }
    reply
}

fn host_of<B>(request: &Request<B>) -> &str {
    let header = || request.headers().get(header::HOST).and_then(|v| v.to_str().ok());
    model::strip_port(request.uri().authority().map(http::uri::Authority::as_str).or_else(header).unwrap_or_default())
}

impl model::Table {
    /// What is protected by passwords.
    pub(crate) fn backends_and_auth(&self) -> impl Iterator<Item = &model::Auth> {
        let hosts = self.hosts.values().chain(self.wildcards.values()).chain([&self.any]);
        let routes = hosts
            .flat_map(|h| &h.locations)
            .flat_map(|l: &Location| std::iter::once(&l.route).chain(l.canaries.iter().map(|(_, route)| route)));
        routes.chain(&self.default_backend).filter_map(|route| route.policy.auth.as_ref())
    }
}
