//! Answers that are given before the request's body was read whole.
//!
//! A connection of HTTP/1.1 can only go on after the body, and a client that is still sending when the connection is closed may lose
//! the answer with it, or find its next request refused on a connection that it took for open (RFC 9112 sections 9.3 and 9.6). So what
//! a handler left unread is read on and dropped, within limits; beyond them the answer says that the connection ends.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

/// Bytes that are read on.
const MOST: usize = 32 << 20;
/// How long they are waited for in all, and how long for the next of them.
const LONGEST: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(5);

/// What a handler leaves of a body.
#[derive(Default)]
struct Rest {
    body: Mutex<Option<Body>>,
    /// Whether the handler asked for any of it: from then on the client sends.
    asked: AtomicBool,
}

/// A body that gives itself back when it is dropped before its end.
struct Lent {
    body: Option<Body>,
    rest: Arc<Rest>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.rest.asked.store(true, Ordering::Relaxed);
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            this.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.rest.body.lock().unwrap_or_else(|e| e.into_inner()) = Some(body);
        }
    }
}

/// Answers a request, and sees to what `answer` does not read of its body: at most 32 MiB of it are read on, in 30
/// seconds and without a pause of 5, else the response has `connection: close`. Streams of HTTP/2 are left as they are.
pub async fn answered<F: Future<Output = Response>>(request: Request, answer: impl FnOnce(Request) -> F) -> Response {
    // Streams of HTTP/2 end one by one.
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return answer(request).await;
    }
    let waits =
        request.headers().get(header::EXPECT).is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let rest = Arc::new(Rest::default());
    let lent = Arc::clone(&rest);
    let mut response = answer(request.map(|body| Body::new(Lent { body: Some(body), rest: lent }))).await;
    let left = rest.body.lock().unwrap_or_else(|e| e.into_inner()).take();
    let Some(left) = left else { return response };
    // Who waits to be asked for the body has not sent it, and need not.
    let unasked = waits && !rest.asked.load(Ordering::Relaxed);
    if unasked || !read_on(left).await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the end came.
async fn read_on(mut body: Body) -> bool {
    let reading = async {
        let mut read = 0;
        loop {
            let Ok(next) = tokio::time::timeout(SILENCE, body.frame()).await else { return false };
            let Some(frame) = next else { return true };
            let Ok(frame) = frame else { return false };
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MOST {
                return false;
            }
        }
    };
    tokio::time::timeout(LONGEST, reading).await.unwrap_or(false)
}
