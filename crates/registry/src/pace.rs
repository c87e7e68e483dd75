//! What a connection has sent, told to the body that it sends.
//!
//! A server collects pieces of a body up to the size of its buffer before it sends them. Receiving wants that buffer large; a thousand
//! downloads do not. A body that waits until its last piece is sent has one piece in memory, however large the buffer is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::share::Share;

/// Wakes the body that waits, whenever its connection has sent something. A connection of HTTP/1 has one body at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicWaker>);

impl Sent {
    /// Wakes this task when something is sent.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        self.0.register(cx.waker());
    }
}

/// A connection that tells what it sends, and receives at once no more than its share.
pub(crate) struct Told<S> {
    pub(crate) stream: S,
    pub(crate) sent: Sent,
    pub(crate) share: Share,
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = this.share.bytes();
        if buffer.remaining() <= most {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        // Whoever makes room for what comes makes less room, once less comes.
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let read = Pin::new(&mut this.stream).poll_read(cx, &mut part);
        let filled = part.filled().len();
        buffer.advance(filled);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if written.is_ready() {
            this.sent.0.wake();
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        if written.is_ready() {
            this.sent.0.wake();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
