//! Twirp: `POST /twirp/SERVICE/METHOD` with JSON or Protocol Buffers, errors as JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};

use super::wire::{self, Field};
use super::{Grant, artifacts, cache};
use crate::job::Services;

/// The most that a request may hold.
const MOST: usize = 1 << 20;

/// An error in Twirp's shape.
#[derive(Debug)]
pub(crate) struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    pub fn exists(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "already_exists", message)
    }

    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_denied", message)
    }

    pub fn internal(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "{what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status, axum::Json(json!({"code": self.code, "msg": self.message}))).into_response()
    }
}

/// A call, as its handler sees it.
pub(crate) struct Call<'a> {
    pub services: &'a Services,
    pub grant: &'a Grant,
    /// Where the client reaches us.
    pub origin: &'a str,
    message: Map<String, Json>,
}

impl Call<'_> {
    /// A text; empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.message.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// A text that must be there.
    pub fn required(&self, name: &str) -> Result<&str, Error> {
        match self.text(name) {
            "" => Err(Error::invalid(format!("{name} is required"))),
            text => Ok(text),
        }
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let list = self.message.get(name).and_then(Json::as_array);
        list.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
    }

    /// A number, which JSON has as text when it may be long.
    pub fn number(&self, name: &str) -> Option<i64> {
        let value = self.message.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }
}

/// A method: the fields it takes and gives, and what answers it.
pub(crate) struct Method {
    pub name: &'static str,
    pub takes: &'static [Field],
    pub gives: &'static [Field],
    pub run: fn(&Call<'_>) -> Result<Json, Error>,
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

pub(super) async fn serve(
    State(services): State<Arc<Services>>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let grant = services.protocols.authority.bearer(&headers, "runtime").ok_or_else(|| {
        Error::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "the token is not that of a running job; ACTIONS_RUNTIME_TOKEN ends with its job",
        )
    })?;
    let methods = match service.as_str() {
        "github.actions.results.api.v1.ArtifactService" => artifacts::METHODS,
        "github.actions.results.api.v1.CacheService" => cache::METHODS,
        _ => &[],
    };
    let method = methods
        .iter()
        .find(|method| method.name == name)
        .ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "bad_route", format!("there is no {service}/{name} here")))?;
    let body = axum::body::to_bytes(body, MOST).await.map_err(|_| Error::invalid("the message is too large"))?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let binary = kind.starts_with("application/protobuf");
    let message = if binary {
        wire::decode(&body, method.takes).map_err(|error| Error::invalid(error.to_string()))?
    } else if kind.starts_with("application/json") {
        let given: Map<String, Json> = serde_json::from_slice(&body).map_err(|error| {
            Error::new(StatusCode::BAD_REQUEST, "malformed", format!("the JSON is not valid: {error}"))
        })?;
        given.into_iter().map(|(name, value)| (snake(&name), value)).collect()
    } else {
        return Err(Error::new(StatusCode::NOT_FOUND, "bad_route", format!("unexpected Content-Type {kind:?}")));
    };
    let (origin, run) = (super::origin(&services, &headers), method.run);
    let answer = tokio::task::spawn_blocking(move || {
        run(&Call { services: &services, grant: &grant, origin: &origin, message })
    })
    .await
    .map_err(|error| Error::internal("the request failed", &error))??;
    if binary {
        return Ok(
            ([(header::CONTENT_TYPE, "application/protobuf")], wire::encode(&answer, method.gives)).into_response()
        );
    }
    Ok(axum::Json(answer).into_response())
}
