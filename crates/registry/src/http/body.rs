//! A blob as a response body: read as it is sent, in pieces whose size shrinks as clients become many.
//!
//! A piece that is in the page cache is read on the spot; one that is not is read on a thread for blocking work. So memory is
//! bounded by [`SENDING`], not by blobs or clients.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::task::JoinHandle;

use crate::pace::Sent;
use crate::share::{Budget, Share};

/// Pieces under way.
pub(crate) const SENDING: Budget = Budget { all: 8 << 20, most: 256 << 10, least: 16 << 10 };

/// Part of a file.
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    end: u64,
    share: Share,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// The last piece: once it is sent, its memory takes the next.
    last: Bytes,
    /// Tells when more of it is sent.
    sent: Option<Sent>,
}

impl FileBody {
    pub(crate) fn new(file: File, start: u64, end: u64, share: Share, sent: Option<Sent>) -> Self {
        Self { file: Arc::new(file), at: start, end, share, reading: None, last: Bytes::new(), sent }
    }

    /// Whether one of many, whose last piece is not sent yet.
    fn is_early(&self) -> bool {
        self.reading.is_none()
            && self.at < self.end
            && self.share.is_small()
            && !self.last.is_empty()
            && !self.last.is_unique()
    }

    /// Has the task woken when the connection sends, where it tells; false where it does not.
    fn waits(&self, cx: &Context<'_>) -> bool {
        self.sent.as_ref().map(|sent| sent.wait(cx)).is_some()
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        // Among many, the next piece is read when the last is sent.
        if this.is_early() && this.waits(cx) {
            return Poll::Pending;
        }
        let bytes = match &mut this.reading {
            Some(reading) => match Pin::new(reading).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(joined) => {
                    this.reading = None;
                    joined.map_err(io::Error::other).and_then(|read| read)
                }
            },
            None if this.at >= this.end => return Poll::Ready(None),
            None => {
                let left = usize::try_from(this.end - this.at).unwrap_or(usize::MAX);
                let length = this.share.bytes().min(left);
                let mut buffer = match std::mem::take(&mut this.last).try_into_mut() {
                    Ok(buffer) if buffer.len() >= length => buffer,
                    _ => BytesMut::zeroed(length),
                };
                buffer.truncate(length);
                match read_cached(&this.file, this.at, &mut buffer) {
                    Some(result) => result.map(|n| {
                        buffer.truncate(n);
                        buffer.freeze()
                    }),
                    None => {
                        let (file, at) = (Arc::clone(&this.file), this.at);
                        let mut reading = tokio::task::spawn_blocking(move || read(&file, at, buffer));
                        match Pin::new(&mut reading).poll(cx) {
                            Poll::Pending => {
                                this.reading = Some(reading);
                                return Poll::Pending;
                            }
                            Poll::Ready(joined) => joined.map_err(io::Error::other).and_then(|read| read),
                        }
                    }
                }
            }
        };
        Poll::Ready(Some(bytes.map(|bytes| {
            this.at += bytes.len() as u64;
            this.last = bytes.clone();
            Frame::data(bytes)
        })))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.end - self.at)
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end && self.reading.is_none()
    }
}

/// Reads without waiting for the disk; none when it would have to wait, or the file system cannot tell.
fn read_cached(file: &File, at: u64, buffer: &mut [u8]) -> Option<io::Result<usize>> {
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    match rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], at, flags) {
        Ok(0) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        Ok(n) => Some(Ok(n)),
        Err(_) => None,
    }
}

fn read(file: &File, at: u64, mut buffer: BytesMut) -> io::Result<Bytes> {
    match file.read_at(&mut buffer, at)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            buffer.truncate(n);
            Ok(buffer.freeze())
        }
    }
}
