//! The HTTP side: one parser for paths, one table of errors, a file per kind of thing.
//!
//! Handlers decide and answer; content is read and written by [`crate::store`]. Every request passes [`handle`].

mod blobs;
mod body;
mod error;
mod manifests;
mod range;
mod route;
mod tags;
mod token;
mod uploads;

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use serde_json::json;

pub(crate) use body::SENDING;
pub(crate) use error::{ApiError, Code, seconds};
pub(crate) use manifests::scratch;
pub(crate) use route::Reference;
pub(crate) use uploads::RECEIVING;

use crate::Registry;
use crate::auth::{Action, Identity, Refusal};
use crate::pace::Sent;
use route::{Query, Route};

pub(crate) fn router(registry: Registry) -> axum::Router {
    axum::Router::new().fallback(handle).with_state(registry)
}

/// What a handler knows about the request besides its body.
struct Context<'a> {
    registry: &'a Registry,
    identity: Identity,
    method: Method,
    headers: HeaderMap,
    query: Query,
    sent: Option<Sent>,
}

/// Where a request comes from.
struct Caller {
    peer: Option<IpAddr>,
    /// What its connection has sent, where the answer's body should wait for that.
    sent: Option<Sent>,
}

async fn handle(State(registry): State<Registry>, request: Request) -> Response {
    unread::answered(request, |request| handled(registry, request)).await
}

async fn handled(registry: Registry, request: Request) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    // Streams of HTTP/2 have limits of their own.
    let sent = request.extensions().get::<Sent>().filter(|_| request.version() <= Version::HTTP_11).cloned();
    let caller = Caller { peer, sent };
    let (parts, body) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let base_url = base_url(&registry, &parts.headers);
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let path = parts.uri.path().to_owned();
    let result = answer(&registry, parts.method, &path, query, parts.headers, caller, body).await;
    let mut response = match result {
        Ok(response) => response,
        Err(error) => {
            if error.code.status().is_server_error() {
                tracing::error!(path, code = error.code.name(), cause = error.cause(), "request failed");
            } else {
                tracing::debug!(path, code = error.code.name(), message = error.message, "request refused");
            }
            error.into_response(&registry.0.auth, &base_url, head)
        }
    };
    let headers = response.headers_mut();
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn answer(
    registry: &Registry,
    method: Method,
    path: &str,
    query: Query,
    headers: HeaderMap,
    caller: Caller,
    body: Body,
) -> Result<Response, ApiError> {
    let Caller { peer, sent } = caller;
    if path == "/token" {
        return token::answer(registry, &method, &query, &headers, peer, body).await;
    }
    let route = route::parse(path)?;
    let identity = identify(registry, &headers, peer).await?;
    let context = Context { registry, identity, method, headers, query, sent };
    match route {
        Route::Base => base(&context),
        Route::Catalog => tags::catalog(&context),
        Route::Tags { name } => tags::list(&context, &name).await,
        Route::Referrers { name, digest } => manifests::referrers(&context, &name, &digest).await,
        Route::Manifest { name, reference } => manifests::answer(&context, &name, &reference, body).await,
        Route::Blob { name, digest } => blobs::answer(&context, &name, &digest).await,
        Route::Uploads { name } => uploads::start(&context, &name, body).await,
        Route::Upload { name, id } => uploads::continue_(&context, &name, &id, body).await,
    }
}

async fn identify(registry: &Registry, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Identity, ApiError> {
    registry.0.auth.identify(headers, peer).await.map_err(|refusal| ApiError::refused(refusal, None))
}

/// `/v2/`: tells Docker whether there is something to log in to.
fn base(context: &Context<'_>) -> Result<Response, ApiError> {
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method("GET, HEAD"));
    }
    if context.registry.0.auth.has_users() && matches!(context.identity, Identity::Anonymous) {
        return Err(ApiError::refused(Refusal::Unauthorized, None));
    }
    Ok(json_response(StatusCode::OK, "application/json", &json!({})))
}

impl Context<'_> {
    /// Fails unless the sender may act on the repository. The error asks for all of `wanted`.
    fn allow(&self, name: &str, action: Action, wanted: &[Action]) -> Result<(), ApiError> {
        let allowed = self.registry.0.auth.allow(&self.identity, name, action);
        allowed.map_err(|refusal| ApiError::refused(refusal, Some((name.to_owned(), wanted.to_vec()))))
    }

    fn allow_pull(&self, name: &str) -> Result<(), ApiError> {
        self.allow(name, Action::Pull, &[Action::Pull])
    }

    fn allow_push(&self, name: &str) -> Result<(), ApiError> {
        self.allow(name, Action::Push, &[Action::Pull, Action::Push])
    }

    fn allow_delete(&self, name: &str) -> Result<(), ApiError> {
        self.allow(name, Action::Delete, &[Action::Pull, Action::Push, Action::Delete])
    }

    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Whether the client says that it has this digest already.
    fn has_already(&self, etag: &str) -> bool {
        let listed = |value: &HeaderValue| {
            value.to_str().is_ok_and(|text| {
                text.split(',')
                    .map(|t| t.trim().trim_start_matches("W/").trim_matches('"'))
                    .any(|t| t == "*" || t == etag)
            })
        };
        self.headers.get_all(header::IF_NONE_MATCH).iter().any(listed)
    }
}

fn base_url(registry: &Registry, headers: &HeaderMap) -> String {
    if let Some(url) = &registry.0.config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text("host").filter(|h| h.parse::<http::uri::Authority>().is_ok()).unwrap_or("localhost");
    let scheme = text("x-forwarded-proto").filter(|s| matches!(*s, "http" | "https")).unwrap_or("http");
    format!("{scheme}://{host}")
}

fn json_response(status: StatusCode, media_type: &str, value: &serde_json::Value) -> Response {
    let bytes = value.to_string();
    response(status)
        .header(header::CONTENT_TYPE, media_type)
        .header(header::CONTENT_LENGTH, bytes.len())
        .body(Body::from(bytes))
        .unwrap_or_else(|_| internal())
}

fn response(status: StatusCode) -> http::response::Builder {
    Response::builder().status(status)
}

/// For headers that turned out not to be valid, which digests and checked names always are.
fn internal() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn empty(builder: http::response::Builder) -> Response {
    builder.header(header::CONTENT_LENGTH, 0).body(Body::empty()).unwrap_or_else(|_| internal())
}
