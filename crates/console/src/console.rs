//! The console: its routes, who may use them, and what every answer has.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Error};
use crate::session::{Session, Sessions};
use crate::{actions, assets, live, pages};

/// The pages over a backend.
pub struct Console<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) sessions: Sessions,
    /// Ends live streams, so that a server can drain.
    pub(crate) shutdown: CancellationToken,
}

/// What handlers share.
pub(crate) type Shared<B> = State<Arc<Console<B>>>;

impl<B: Backend> Console<B> {
    /// Pages over `backend`; `shutdown` ends streams to browsers.
    pub fn new(backend: Arc<B>, shutdown: CancellationToken) -> Self {
        Self { backend, sessions: Sessions::default(), shutdown }
    }

    /// What answers: `/`, `/login`, `/logout`, `/applications`, `/deliveries`, `/runs`, `/events` and `/assets`. Paths of others, such as
    /// `/api`, may be merged beside them.
    pub fn router(self) -> Router {
        let console = Arc::new(self);
        let private = Router::new()
            .route("/", get(pages::overview::<B>))
            .route("/applications", get(pages::applications::<B>))
            .route("/applications/{name}", get(pages::application::<B>))
            .route("/applications/{name}/diff", get(pages::diff::<B>))
            .route("/applications/{name}/history", get(pages::history::<B>))
            .route("/applications/{name}/manifest", get(pages::manifest::<B>))
            .route("/applications/{name}/sync", post(actions::sync::<B>))
            .route("/applications/{name}/refresh", post(actions::refresh::<B>))
            .route("/applications/{name}/rollback", post(actions::rollback::<B>))
            .route("/deliveries", get(pages::deliveries::<B>))
            .route("/deliveries/{commit}", get(pages::delivery::<B>))
            .route("/runs", get(pages::runs::<B>))
            .route("/runs/{id}", get(pages::run::<B>))
            .route("/runs/{id}/jobs/{job}", get(pages::job::<B>))
            .route("/runs/{id}/rerun", post(actions::rerun::<B>))
            .route("/runs/{id}/cancel", post(actions::cancel::<B>))
            .route("/jobs/{job}/log", get(live::log::<B>))
            .route("/events", get(live::events::<B>))
            .route("/logout", post(actions::logout::<B>))
            .layer(middleware::from_fn_with_state(console.clone(), signed_in::<B>));
        Router::new()
            .route("/login", get(pages::login::<B>).post(actions::login::<B>))
            .route("/assets/{name}", get(assets::serve))
            .merge(private)
            .layer(middleware::from_fn(guarded))
            .with_state(console)
    }
}

/// Lets only signed-in browsers through; others are sent to sign in and back.
async fn signed_in<B: Backend>(State(console): Shared<B>, mut request: Request, next: Next) -> Response {
    if let Some(session) = console.sessions.of(request.headers()) {
        request.extensions_mut().insert(session);
        return next.run(request).await;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let is_page = request.method() == http::Method::GET && !path.starts_with("/events") && !path.starts_with("/jobs/");
    if !is_page {
        return (StatusCode::UNAUTHORIZED, "sign in first\n").into_response();
    }
    if path == "/" {
        return Redirect::to("/login").into_response();
    }
    let to: String = url_encoded(path);
    Redirect::to(&format!("/login?to={to}")).into_response()
}

fn url_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Headers that keep a browser from doing with a page what it should not.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The session of a request that passed [`signed_in`].
pub(crate) type Signed = axum::Extension<Session>;

/// What a backend's refusal is as an answer.
pub(crate) struct Failure(pub Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title) = match &self.0 {
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "Not found"),
            Error::Refused(_) => (StatusCode::CONFLICT, "Not possible"),
            Error::Failed(_) => (StatusCode::BAD_GATEWAY, "Something failed"),
        };
        if let Error::Failed(message) = &self.0 {
            tracing::warn!(message, "a page could not be made");
        }
        (status, pages::failure(title, &self.0.to_string())).into_response()
    }
}
