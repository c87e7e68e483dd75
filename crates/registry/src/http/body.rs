//! A blob as a response body: read as it is sent, in pieces whose size shrinks as clients become many.
//!
//! A piece that is in the page cache is read on the spot; one that is not is read on a thread for blocking work. So memory is
//! bounded by [`BUDGET`], not by blobs or clients.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::task::JoinHandle;

/// Bytes of pieces under way, in all.
const BUDGET: usize = 16 << 20;
const LARGEST: usize = 256 << 10;
const SMALLEST: usize = 16 << 10;

/// Counts bodies that are being sent.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<AtomicUsize>);

impl Streams {
    fn piece(&self) -> usize {
        (BUDGET / self.0.load(Ordering::Relaxed).max(1)).clamp(SMALLEST, LARGEST)
    }
}

/// Part of a file.
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    end: u64,
    streams: Streams,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// The last piece: once it is sent, its memory takes the next.
    last: Bytes,
}

impl FileBody {
    pub(crate) fn new(file: File, start: u64, end: u64, streams: &Streams) -> Self {
        streams.0.fetch_add(1, Ordering::Relaxed);
        Self { file: Arc::new(file), at: start, end, streams: streams.clone(), reading: None, last: Bytes::new() }
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        self.streams.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
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
                let length = this.streams.piece().min(left);
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
