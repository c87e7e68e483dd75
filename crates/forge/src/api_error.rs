//! Errors as GitHub's API answers them, and the one table from the library's errors to them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::Error;

/// An answer that is not a success: status, `message`, and the entries of `errors`.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub message: String,
    pub errors: Vec<Value>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: Vec::new() }
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub fn bad_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Bad credentials")
    }

    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Requires authentication")
    }

    /// What GitHub says to a job's token that lacks a permission.
    pub fn not_accessible() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Resource not accessible by integration")
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// `Validation Failed` with one entry, as GitHub has it.
    pub fn validation(resource: &str, field: &str, code: &str, message: &str) -> Self {
        let mut entry = json!({"resource": resource, "field": field, "code": code});
        if !message.is_empty() {
            entry["message"] = json!(message);
        }
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, message: "Validation Failed".into(), errors: vec![entry] }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, message) = match &error {
            Error::NotFound { .. } => (StatusCode::NOT_FOUND, "Not Found".to_owned()),
            Error::Exists { .. } | Error::Invalid { .. } | Error::Sealed(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            Error::RefMoved { .. } | Error::Conflict { .. } => (StatusCode::CONFLICT, error.to_string()),
            Error::Git(git::Error::BadName(_)) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            Error::Git(git::Error::MissingObject { .. }) => (StatusCode::NOT_FOUND, "Not Found".to_owned()),
            Error::Stopped => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Error::Locked(_)
            | Error::Io { .. }
            | Error::Database { .. }
            | Error::Document { .. }
            | Error::Maintenance { .. }
            | Error::Git(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "request failed inside the forge");
                (StatusCode::INTERNAL_SERVER_ERROR, "Server Error".to_owned())
            }
        };
        Self::new(status, message)
    }
}

impl From<git::Error> for ApiError {
    fn from(error: git::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": self.status.as_u16().to_string(),
        });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors);
        }
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let realm = HeaderValue::from_static("Basic realm=\"GitHub\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}
