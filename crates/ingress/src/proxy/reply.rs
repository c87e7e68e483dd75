//! Answers that the ingress makes itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Uri, header};

use super::Reply;
use super::body::ReplyBody;

pub(super) fn text(status: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(ReplyBody::Own(Some(Bytes::from(format!("{text}\n")))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

pub(super) fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "default backend - 404")
}

pub(super) fn no_endpoints(service: &str, problem: Option<&str>) -> Reply {
    let why = problem.map(|p| format!(": {p}")).unwrap_or_default();
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        &format!("503 Service Unavailable: service {service} has no endpoint that is ready{why}"),
    )
}

pub(super) fn redirect(code: u16, to: &str) -> Reply {
    let mut reply = Response::new(ReplyBody::Own(None));
    *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::FOUND);
    match HeaderValue::from_str(to) {
        Ok(value) => drop(reply.headers_mut().insert(header::LOCATION, value)),
        Err(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "the redirect's address is not valid"),
    }
    reply
}

pub(super) fn to_tls(host: &str, uri: &Uri, port: Option<u16>) -> Reply {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let port = port.filter(|p| *p != 443).map(|p| format!(":{p}")).unwrap_or_default();
    redirect(308, &format!("https://{host}{port}{path}"))
}

pub(super) fn preflight() -> Reply {
    let mut reply = Response::new(ReplyBody::Own(None));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

pub(super) fn unauthorized(realm: &str) -> Reply {
    let mut reply = text(StatusCode::UNAUTHORIZED, "401 Authorization Required");
    let value = HeaderValue::from_str(&format!("Basic realm=\"{realm}\""));
    reply.headers_mut().insert(header::WWW_AUTHENTICATE, value.unwrap_or(HeaderValue::from_static("Basic")));
    reply
}
