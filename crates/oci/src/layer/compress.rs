//! Compression of layers, and hashing on both sides of it.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use crate::digest::{Digest, Hasher};
use crate::media;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip with a level from 0 to 9.
    Gzip(u32),
    /// zstd with a level from 1 to 19.
    Zstd(i32),
}

impl Compression {
    /// The OCI media type of such a layer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => media::OCI_LAYER,
            Self::Gzip(_) => media::OCI_LAYER_GZIP,
            Self::Zstd(_) => media::OCI_LAYER_ZSTD,
        }
    }
}

/// Counts and hashes what passes.
#[derive(Debug)]
pub(super) struct Meter<T> {
    inner: T,
    hasher: Hasher,
    pub(super) bytes: u64,
}

impl<T> Meter<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, hasher: Hasher::default(), bytes: 0 }
    }

    pub(super) fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.bytes)
    }
}

impl<W: Write> Write for Meter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

pub(super) enum Encoder<W: Write> {
    None(Box<Meter<W>>),
    Gzip(Box<flate2::write::GzEncoder<Meter<W>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Meter<W>>>),
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(sink: W, compression: Compression) -> io::Result<Self> {
        let sink = Meter::new(sink);
        Ok(match compression {
            Compression::None => Self::None(Box::new(sink)),
            Compression::Gzip(level) => {
                Self::Gzip(Box::new(flate2::write::GzEncoder::new(sink, flate2::Compression::new(level.min(9)))))
            }
            Compression::Zstd(level) => Self::Zstd(Box::new(zstd::stream::write::Encoder::new(sink, level)?)),
        })
    }

    pub(super) fn finish(self) -> io::Result<(W, Digest, u64)> {
        Ok(match self {
            Self::None(sink) => *sink,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        }
        .finish())
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(sink) => sink.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(sink) => sink.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// A [`Meter`] that two owners see: the decoder that reads from it and whoever wants the digest.
pub(super) struct SharedMeter<R>(Rc<RefCell<Meter<R>>>);

impl<R> Clone for SharedMeter<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Read> SharedMeter<R> {
    pub(super) fn new(inner: R) -> Self {
        Self(Rc::new(RefCell::new(Meter::new(inner))))
    }

    pub(super) fn digest(&self) -> Digest {
        self.0.borrow().hasher.clone().finish()
    }
}

impl<R: Read> Read for SharedMeter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// Decompresses by what the first bytes say.
pub(super) fn decoder<'a, R: Read + 'a>(source: R) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(128 * 1024, source);
    let start = loop {
        match source.fill_buf() {
            Ok(bytes) => break bytes,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    };
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(source))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(source)?)
    } else {
        Box::new(source)
    })
}
