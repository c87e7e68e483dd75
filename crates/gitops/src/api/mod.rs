//! Argo CD's API, as its `swagger.json` and its service definitions have it: sessions, accounts, Applications and their objects and logs,
//! projects, clusters, repositories, webhooks.

mod accounts;
mod applications;
mod around;
mod grpc;
mod logs;
mod resources;
mod secrets;
mod session;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::GitOps;
pub use session::Sessions;
pub use tree::resource_tree;

/// The query of a request.
type Parameters = Query<HashMap<String, String>>;
/// What most handlers give.
type Answer = Result<Json<Value>, Refusal>;

/// What every handler needs.
#[derive(Clone)]
struct Api {
    room: Arc<GitOps>,
    sessions: Arc<Sessions>,
}

/// The routes below `/api`. All but the session, the version, the settings and the webhook want a token, as `Authorization: Bearer` or as
/// the cookie `argocd.token`.
pub fn router(room: Arc<GitOps>, sessions: Arc<Sessions>) -> Router {
    let api = Api { room, sessions };
    let closed = Router::new()
        .merge(applications::routes())
        .merge(resources::routes())
        .merge(logs::routes())
        .merge(accounts::routes())
        .merge(around::routes())
        .route("/api/v1/session/userinfo", get(session::user_info))
        .route_layer(from_fn_with_state(api.clone(), require_token));
    let rest = Router::new()
        .merge(closed)
        .route("/api/version", get(version))
        .route("/api/v1/settings", get(settings))
        .route("/api/v1/session", post(session::create).delete(session::delete))
        .route("/api/webhook", post(webhook))
        .with_state(api);
    rest.clone().merge(grpc::router(&rest))
}

/// An answer that is not a success: HTTP status, gRPC code and text, as Argo CD's gateway writes them.
struct Refusal {
    status: StatusCode,
    code: u8,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        // The gateway's table of gRPC codes.
        let code = match status {
            StatusCode::BAD_REQUEST => 3,
            StatusCode::NOT_FOUND => 5,
            StatusCode::CONFLICT => 6,
            StatusCode::FORBIDDEN => 7,
            StatusCode::PRECONDITION_FAILED => 9,
            StatusCode::NOT_IMPLEMENTED => 12,
            StatusCode::UNAUTHORIZED => 16,
            _ => 13,
        };
        Self { status, code, message: message.into() }
    }
}

impl From<informer::Error> for Refusal {
    fn from(error: informer::Error) -> Self {
        let status = error.code().and_then(|code| StatusCode::from_u16(code).ok());
        Self::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.message())
    }
}

impl From<crate::Error> for Refusal {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Cluster(error) => error.into(),
            error => Self::new(StatusCode::BAD_REQUEST, error.chain()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.message, "code": self.code, "message": self.message});
        (self.status, Json(body)).into_response()
    }
}

/// The token in a request's headers.
fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    if let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        return Some(token);
    }
    let cookies = headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| cookie.trim().strip_prefix("argocd.token="))
}

async fn require_token(State(api): State<Api>, request: Request, next: Next) -> Response {
    match token(request.headers()).map(|token| api.sessions.user(token)) {
        Some(Some(_)) => next.run(request).await,
        Some(None) => Refusal::new(StatusCode::UNAUTHORIZED, "invalid session: token is not valid").into_response(),
        None => Refusal::new(StatusCode::UNAUTHORIZED, "no session information").into_response(),
    }
}

async fn version() -> Json<Value> {
    let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
    Json(json!({"Version": concat!("v3.2.0+bigben.", env!("CARGO_PKG_VERSION")), "Platform": platform}))
}

async fn settings(State(api): State<Api>) -> Json<Value> {
    Json(json!({"appLabelKey": "app.kubernetes.io/instance", "trackingMethod": "annotation",
        "userLoginsDisabled": false, "controllerNamespace": api.room.config.namespace}))
}

/// GitHub's `push` webhook: Applications of that repository look at it at once.
async fn webhook(
    State(api): State<Api>,
    headers: HeaderMap,
    Json(payload): Json<Value>,
) -> Result<StatusCode, Refusal> {
    match headers.get("x-github-event").and_then(|event| event.to_str().ok()) {
        Some("push") => {}
        Some(_) => return Ok(StatusCode::OK),
        None => return Err(Refusal::new(StatusCode::BAD_REQUEST, "Unknown webhook event")),
    }
    for field in ["html_url", "clone_url", "ssh_url"] {
        if let Some(url) = payload["repository"][field].as_str() {
            api.room.push(url);
        }
    }
    Ok(StatusCode::OK)
}
