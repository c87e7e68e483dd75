//! Requests as they are, in process.

#![allow(dead_code, reason = "each test binary looks at its part")]

use apiserver::{ApiServer, Identity};
use axum::body::Body;
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::Value;

/// An answer; each test looks at some of it.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub warnings: Vec<String>,
    pub content_type: String,
    pub bytes: Vec<u8>,
    pub body: Value,
}

impl Answer {
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or("")
    }
}

/// Sends a request as the administrator.
pub async fn send(server: &ApiServer, method: &str, path: &str, body: Value) -> Answer {
    send_as(server, Identity::admin(), method, path, body, &[]).await
}

/// Sends a request as anyone, with headers. A patch is a merge patch.
pub async fn send_as(
    server: &ApiServer,
    who: Identity,
    method: &str,
    path: &str,
    body: Value,
    headers: &[(&str, &str)],
) -> Answer {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = server.respond(Some(who), request.body(body).expect("a request")).await;
    let (parts, body) = response.into_parts();
    let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let bytes = body.collect().await.expect("a body").to_bytes().to_vec();
    Answer {
        code: parts.status.as_u16(),
        warnings: parts.headers.get_all("warning").iter().map(text).collect(),
        content_type: parts.headers.get(header::CONTENT_TYPE).map(text).unwrap_or_default(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        bytes,
    }
}
