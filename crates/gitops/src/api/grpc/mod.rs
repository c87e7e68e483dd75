//! Argo CD's gRPC API, which `argocd` speaks: the REST API in another form. Both framings are served: gRPC over HTTP/2 and gRPC-Web
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, PROTOCOL-WEB.md beside it), which passes any HTTP/1.1 proxy.

mod methods;

use std::convert::Infallible;
use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::{Stream, StreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use objects::protobuf::Messages;
use serde_json::{Value, json};
use tower::ServiceExt;

use methods::{CALLS, Call};

/// The largest message that is taken, in bytes: what a local directory renders to may come with a sync.
const LARGEST: usize = 32 << 20;
/// The header of a message: whether it is compressed, and its length in bytes.
const PREFIX: usize = 5;
/// Marks the trailers of gRPC-Web.
const TRAILERS: u8 = 0x80;

#[expect(clippy::expect_used, reason = "the embedded definitions are read by a test")]
static MESSAGES: LazyLock<Messages> =
    LazyLock::new(|| Messages::parse(include_str!("messages.txt")).expect("the embedded definitions are right"));

/// The methods, each as a request to `rest`.
pub fn router(rest: &Router) -> Router {
    CALLS.iter().fold(Router::new(), |router, call| {
        let rest = rest.clone();
        router.route(call.path, post(move |request| answer(call, rest, request)))
    })
}

/// How a call ends: a code of gRPC and a text.
#[derive(Debug)]
struct Status {
    code: u8,
    message: String,
}

impl Status {
    const OK: Status = Status { code: 0, message: String::new() };

    fn invalid(message: impl ToString) -> Self {
        Self { code: 3, message: message.to_string() }
    }

    fn unimplemented(message: impl ToString) -> Self {
        Self { code: 12, message: message.to_string() }
    }

    fn internal(message: impl ToString) -> Self {
        Self { code: 13, message: message.to_string() }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.code)));
        if let Ok(message) = HeaderValue::from_str(&encoded(&self.message)) {
            headers.insert("grpc-message", message);
        }
        headers
    }
}

/// `grpc-message`: percent-encoded but for what is printable.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The two framings.
#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Http2,
    Web,
}

impl Framing {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let is = |name: &str| kind.strip_prefix(name).is_some_and(|rest| ["", "+proto"].contains(&rest));
        match () {
            () if is("application/grpc") => Some(Self::Http2),
            () if is("application/grpc-web") => Some(Self::Web),
            () => None,
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Http2 => "application/grpc",
            Self::Web => "application/grpc-web+proto",
        })
    }

    fn end(self, status: &Status) -> Frame<Bytes> {
        if self == Self::Http2 {
            return Frame::trailers(status.headers());
        }
        let text = format!("grpc-status:{}\r\ngrpc-message:{}\r\n", status.code, encoded(&status.message));
        Frame::data(framed(TRAILERS, text.as_bytes()))
    }
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(PREFIX + message.len());
    out.push(flag);
    out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(message);
    out.into()
}

async fn answer(call: &'static Call, rest: Router, request: Request<Body>) -> Response {
    let Some(framing) = Framing::of(request.headers()) else {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/grpc or application/grpc-web+proto")
            .into_response();
    };
    let mut response = match parts(call, rest, request).await {
        // The answer ends with its head: what went wrong is in the headers.
        Err(status) => (status.headers(), Body::empty()).into_response(),
        Ok(parts) => {
            // Nothing comes after what says how it ended.
            let mut ended = false;
            let whole = parts.take_while(move |part| {
                let goes_on = !std::mem::replace(&mut ended, part.is_err());
                std::future::ready(goes_on)
            });
            let frames = whole.map(move |part| match part {
                Ok(message) => Frame::data(framed(0, &message)),
                Err(status) => framing.end(&status),
            });
            Response::new(Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>))))
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, framing.content_type());
    response
}

/// The messages of the answer, and at last how it ended.
async fn parts(
    call: &'static Call,
    rest: Router,
    request: Request<Body>,
) -> Result<impl Stream<Item = Result<Vec<u8>, Status>> + use<>, Status> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.map_err(Status::invalid)?;
    let asked = MESSAGES.read(call.request, message(&body)?).map_err(Status::invalid)?;
    let response = match rest.oneshot(rest_request(call, &head.headers, asked)?).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if !response.status().is_success() {
        let body = to_bytes(response.into_body(), LARGEST).await.map_err(Status::internal)?;
        let refusal: Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = refusal["code"].as_u64().and_then(|code| u8::try_from(code).ok()).unwrap_or(2);
        let text = || String::from_utf8_lossy(&body).into_owned();
        return Err(Status { code, message: refusal["message"].as_str().map_or_else(text, str::to_owned) });
    }
    let written = move |value: &Value| MESSAGES.write(call.answer, value).map_err(Status::internal);
    if call.streams {
        let lines = lines(response.into_body()).map(move |line| {
            let line: Value = serde_json::from_slice(&line?).map_err(Status::internal)?;
            written(&line["result"])
        });
        return Ok(lines.chain(futures::stream::once(async { Err(Status::OK) })).boxed());
    }
    let body = response.into_body().collect().await.map_err(Status::internal)?.to_bytes();
    let value: Value = serde_json::from_slice(&body).map_err(Status::internal)?;
    let value = if value.is_object() { value } else { json!({}) };
    Ok(futures::stream::iter([Ok(written(&value)?), Err(Status::OK)]).boxed())
}

/// The one message of a request.
fn message(body: &[u8]) -> Result<&[u8], Status> {
    let (prefix, message) =
        body.split_at_checked(PREFIX).ok_or_else(|| Status::invalid("the request has no message"))?;
    let [flag, length @ ..] = prefix else { return Err(Status::invalid("the request has no message")) };
    if *flag != 0 {
        return Err(Status::unimplemented("compressed messages are not taken"));
    }
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    message.get(..length).ok_or_else(|| Status::invalid("the request's message is cut off"))
}

/// What of `asked` goes into the path, the body and the query of the REST API's request.
fn rest_request(call: &Call, headers: &HeaderMap, mut asked: Value) -> Result<Request<Body>, Status> {
    let mut path = String::new();
    for (at, piece) in call.rest.split(['{', '}']).enumerate() {
        if at % 2 == 0 {
            path.push_str(piece);
            continue;
        }
        let pointer = format!("/{}", piece.replace('.', "/"));
        let value = asked.pointer(&pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if value.is_empty() && !call.rest.ends_with(&format!("{{{piece}}}")) {
            return Err(Status::invalid(format!("{piece} is missing")));
        }
        path.push_str(&segment(&value));
    }
    // An empty one at the end is none.
    let mut path = path.trim_end_matches('/').to_owned();
    let mut query = Vec::new();
    let body = match call.body {
        Some("*") => asked.to_string(),
        field => {
            let body = field
                .and_then(|field| asked.as_object_mut()?.remove(field))
                .map_or_else(String::new, |body| body.to_string());
            for (name, value) in asked.as_object().into_iter().flatten() {
                match value {
                    Value::String(text) => query.push(format!("{name}={}", segment(text))),
                    Value::Bool(_) | Value::Number(_) => query.push(format!("{name}={value}")),
                    Value::Array(items) => {
                        let texts =
                            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                        query.extend(texts.map(|text| format!("{name}={}", segment(&text))));
                    }
                    Value::Null | Value::Object(_) => {}
                }
            }
            body
        }
    };
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query.join("&"));
    }
    let mut request =
        Request::builder().method(call.method.clone()).uri(path).header(header::CONTENT_TYPE, "application/json");
    for name in [header::AUTHORIZATION, header::COOKIE] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    // Where `argocd` has its token.
    if let Some(token) = headers.get("token").and_then(|token| token.to_str().ok()) {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(Body::from(body)).map_err(Status::invalid)
}

/// A text as part of a path or a query.
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The lines of a body as they come.
fn lines(body: Body) -> impl Stream<Item = Result<Vec<u8>, Status>> {
    futures::stream::unfold((body.into_data_stream(), Vec::<u8>::new()), |(mut chunks, mut left)| async move {
        loop {
            if let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                let rest = left.split_off(end + 1);
                left.pop();
                return Some((Ok(left), (chunks, rest)));
            }
            match chunks.next().await {
                Some(Ok(chunk)) => left.extend_from_slice(&chunk),
                Some(Err(error)) => return Some((Err(Status::internal(error)), (chunks, Vec::new()))),
                None => return None,
            }
        }
    })
}
