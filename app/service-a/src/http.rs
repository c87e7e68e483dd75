//! The routes of the service.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::config::Config;
use crate::metrics::Metrics;

/// What `/ping` answers.
pub const GREETING: &str = "Greetings from Service A!";

#[derive(Clone)]
struct App {
    version: Arc<str>,
    metrics: Arc<Metrics>,
}

/// Every route, with request logging and metrics around them.
pub fn router(config: &Config) -> Router {
    let app = App { version: config.version.as_str().into(), metrics: Arc::default() };
    Router::new()
        .route("/health", get(health))
        .route("/version", get(version))
        .route("/ping", get(ping))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

async fn health() -> Response {
    Json(json!({"Status": "Success"})).into_response()
}

async fn version(State(app): State<App>) -> Response {
    Json(json!({"version": &*app.version})).into_response()
}

async fn ping() -> Response {
    Json(json!({"message": GREETING})).into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], app.metrics.render()).into_response()
}

async fn not_found(uri: Uri) -> Response {
    let error = format!("no such path: {}", uri.path());
    (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response()
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let error = format!("method {method} is not allowed on {}", uri.path());
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({"error": error}))).into_response()
}

/// Counts the request and writes its one log line.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |route| route.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    app.metrics.record(&method, route, status, elapsed);
    tracing::info!(%method, path, status, duration_ms = elapsed.as_secs_f64() * 1e3, "request");
    response
}
