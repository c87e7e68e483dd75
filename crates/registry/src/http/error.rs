//! Errors as the distribution specification has them: one table from code to status.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::auth::{Action, Auth, Refusal};

/// Error codes. The names that clients see are those of the specification, which allows no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    RangeInvalid,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    NotFound,
    TooManyRequests,
    PaginationInvalid,
    Internal,
}

impl Code {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid | Self::RangeInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid | Self::ManifestTooLarge => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            // The specification has no code for a path that is none.
            Self::NameUnknown | Self::NotFound => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            // Nor one for a page that cannot be.
            Self::Unsupported | Self::PaginationInvalid => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Internal => "UNKNOWN",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid
            | Self::PaginationInvalid => StatusCode::BAD_REQUEST,
            Self::ManifestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    /// For the client.
    pub(crate) message: String,
    more: Box<More>,
}

#[derive(Debug, Default)]
struct More {
    detail: Value,
    /// For the log only.
    cause: Option<String>,
    headers: Vec<(&'static str, String)>,
    /// Repository and actions that authorisation is asked for.
    wanted: Option<(String, Vec<Action>)>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), more: Box::default() }
    }

    /// What went wrong, for the log.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.more.cause.as_deref()
    }

    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.more.detail = detail;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.more.headers.push((name, value.into()));
        self
    }

    /// Keeps what went wrong for the log.
    pub(crate) fn because(mut self, source: impl Into<String>) -> Self {
        self.more.cause = Some(source.into());
        self
    }

    /// Hides what went wrong from the client and keeps it for the log.
    pub(crate) fn internal(source: impl std::error::Error) -> Self {
        let mut text = source.to_string();
        let mut next = source.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        Self::new(Code::Internal, "the registry failed; its log says why").because(text)
    }

    /// A method that is none of `allowed`.
    pub(crate) fn method(allowed: &'static str) -> Self {
        Self::new(Code::Unsupported, format!("this method is not supported here; use {allowed}"))
            .header("allow", allowed)
    }

    pub(crate) fn refused(refusal: Refusal, wanted: Option<(String, Vec<Action>)>) -> Self {
        let mut error = match refusal {
            Refusal::Credentials => Self::new(Code::Unauthorized, "user name, password or token is wrong"),
            Refusal::Slow(wait) => Self::new(Code::TooManyRequests, "too many failed logins; try again later")
                .header("retry-after", seconds(wait)),
            Refusal::Unauthorized => Self::new(Code::Unauthorized, "authentication required"),
            Refusal::Denied => Self::new(Code::Denied, "this user may not do that to this repository"),
        };
        error.more.wanted = wanted;
        error
    }

    pub(crate) fn into_response(self, auth: &Auth, base_url: &str, head: bool) -> Response {
        let mut error = json!({"code": self.code.name(), "message": self.message});
        let More { detail, headers: added, wanted, .. } = *self.more;
        if !detail.is_null() {
            error["detail"] = detail;
        }
        let bytes = json!({"errors": [error]}).to_string();
        let length = bytes.len();
        let mut response = Response::new(if head { Body::empty() } else { Body::from(bytes) });
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, length.into());
        for (name, value) in added {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        if self.code == Code::Unauthorized {
            let service = base_url.split_once("://").map_or(base_url, |(_, host)| host);
            let wanted = wanted.as_ref().map(|(name, actions)| (name.as_str(), actions.as_slice()));
            let challenge = auth.challenge(base_url, service, wanted);
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }
}

impl From<crate::store::Error> for ApiError {
    fn from(error: crate::store::Error) -> Self {
        Self::internal(error)
    }
}

/// Whole seconds, rounded up, for `Retry-After`.
pub(crate) fn seconds(wait: Duration) -> String {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1).to_string()
}
