//! Bodies on their way: requests that may be sent again, answers that give their connection back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::pool::Lease;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body towards an endpoint.
pub(crate) enum RequestBody {
    /// Whole in memory, can be sent again.
    Whole(Option<Bytes>),
    /// As it comes, once, with what may still come.
    Stream(Incoming, Option<u64>),
}

/// The client sent more than it may.
#[derive(Debug)]
pub(super) struct TooLarge;

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("request body is larger than allowed")
    }
}

impl std::error::Error for TooLarge {}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Stream(incoming, left) => {
                let frame = match ready!(Pin::new(incoming).poll_frame(cx)) {
                    Some(Ok(frame)) => frame,
                    Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                    None => return Poll::Ready(None),
                };
                if let (Some(left), Some(data)) = (left, frame.data_ref()) {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) => *left = rest,
                        None => return Poll::Ready(Some(Err(Box::new(TooLarge)))),
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(incoming, _) => incoming.size_hint(),
        }
    }
}

/// An answer's body towards the client.
pub(crate) enum ReplyBody {
    /// Made here.
    Own(Option<Bytes>),
    /// From an endpoint.
    Upstream(Box<Upstream>),
}

pub(crate) struct Upstream {
    incoming: Incoming,
    lease: Option<Lease>,
    timeout: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl ReplyBody {
    pub(super) fn upstream(incoming: Incoming, lease: Lease, timeout: Option<Duration>) -> Self {
        let timeout = timeout.map(|t| (t, Box::pin(tokio::time::sleep(t))));
        let mut upstream = Upstream { incoming, lease: Some(lease), timeout };
        upstream.give_back_at_end();
        Self::Upstream(Box::new(upstream))
    }
}

impl Upstream {
    /// The next frame, which somebody has to receive.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // Twice, because only being asked tells the connection to receive more.
        for _ in 0..2 {
            if let Some(lease) = &mut self.lease {
                lease.drive(cx);
            }
            if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
                return Poll::Ready(frame);
            }
        }
        Poll::Pending
    }

    /// A connection whose answer is read to its end can serve another request.
    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let upstream = match self.get_mut() {
            Self::Own(bytes) => return Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Upstream(upstream) => upstream,
        };
        match upstream.poll_incoming(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((after, sleep)) = &mut upstream.timeout {
                    sleep.as_mut().reset(Instant::now() + *after);
                }
                upstream.give_back_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(e))) => Poll::Ready(Some(Err(e.into()))),
            Poll::Ready(None) => {
                if let Some(lease) = upstream.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Pending => match &mut upstream.timeout {
                Some((_, sleep)) => {
                    ready!(sleep.as_mut().poll(cx));
                    Poll::Ready(Some(Err("the endpoint sent nothing for too long".into())))
                }
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Upstream(upstream) => upstream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Upstream(upstream) => upstream.incoming.size_hint(),
        }
    }
}
