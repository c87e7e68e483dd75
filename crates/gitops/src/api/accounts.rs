//! `/api/v1/account`: there is one account, which may do everything.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Answer, Api, Refusal};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/account", get(list))
        .route("/api/v1/account/{name}", get(read))
        .route("/api/v1/account/can-i/{resource}/{action}", get(can_i))
        .route("/api/v1/account/can-i/{resource}/{action}/{*subresource}", get(can_i))
}

fn admin() -> Value {
    json!({"name": "admin", "enabled": true, "capabilities": ["login"]})
}

async fn list() -> Json<Value> {
    Json(json!({"items": [admin()]}))
}

async fn read(Path(name): Path<String>) -> Answer {
    match name.as_str() {
        "admin" => Ok(Json(admin())),
        name => Err(Refusal::new(StatusCode::NOT_FOUND, format!("account '{name}' does not exist"))),
    }
}

async fn can_i() -> Json<Value> {
    Json(json!({"value": "yes"}))
}
