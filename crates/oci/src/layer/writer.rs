//! Writing a layer: the same entries always give the same bytes.

use std::io::{self, Read, Write};
use std::path::Path;

use super::compress::{Compression, Encoder, Meter};
use super::tree::{self, TreeOptions};
use super::{Error, OPAQUE, WHITEOUT};
use crate::Digest;
use crate::manifest::Descriptor;
use crate::tar::{self, Entry, Kind};

/// What happens to modification times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Kept, to the second.
    Keep,
    /// All the same, seconds since 1970.
    Fixed(i64),
    /// Kept where older than this, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    Clamp(i64),
}

/// A finished layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the bytes that were written.
    pub digest: Digest,
    /// Bytes that were written.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub unpacked_size: u64,
    /// How it was compressed.
    pub compression: Compression,
}

impl Layer {
    /// Describes it as an OCI layer.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.compression.media_type(), self.digest.clone(), self.size)
    }
}

/// Writes a layer's entries in the order they are given, without access times or names of users.
pub struct Writer<W: Write> {
    sink: Meter<Encoder<W>>,
    times: Times,
    compression: Compression,
}

impl<W: Write> Writer<W> {
    /// Starts a layer.
    pub fn new(sink: W, compression: Compression, times: Times) -> Result<Self, Error> {
        let encoder = Encoder::new(sink, compression).map_err(Error::Sink)?;
        Ok(Self { sink: Meter::new(encoder), times, compression })
    }

    /// Adds one entry with its content; `data` must give exactly `entry.size` bytes for a file, and is not read for
    /// others. A directory's name gets its slash here.
    pub fn append(&mut self, entry: &Entry, data: impl Read) -> Result<(), Error> {
        let mut entry = entry.clone();
        if entry.kind == Kind::Directory && entry.path.last() != Some(&b'/') {
            entry.path.push(b'/');
        }
        if entry.kind != Kind::File {
            entry.size = 0;
        }
        entry.mtime = match self.times {
            Times::Keep => (entry.mtime.0, 0),
            Times::Fixed(at) => (at, 0),
            Times::Clamp(at) => (entry.mtime.0.min(at), 0),
        };
        tar::write_entry(&mut self.sink, &entry).map_err(Error::Sink)?;
        if entry.size == 0 {
            return Ok(());
        }
        let mut data = data.take(entry.size);
        let mut buffer = vec![0; 64 * 1024];
        let mut left = entry.size;
        while left > 0 {
            let n = match data.read(&mut buffer) {
                Ok(0) => {
                    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "file became shorter while it was read");
                    return Err(Error::Source(source));
                }
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::Source(e)),
            };
            self.sink.write_all(&buffer[..n]).map_err(Error::Sink)?;
            left -= n as u64;
        }
        let padding = (512 - entry.size % 512) % 512;
        self.sink.write_all(&[0; 512][..padding as usize]).map_err(Error::Sink)
    }

    /// Adds everything below `root`, sorted by name.
    pub fn append_tree(&mut self, root: &Path, options: &TreeOptions) -> Result<(), Error> {
        tree::append(self, root, options)
    }

    /// Deletes `path` of the layers below.
    pub fn whiteout(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        let at = path.iter().rposition(|b| *b == b'/').map_or(0, |n| n + 1);
        let name = [&path[..at], WHITEOUT, &path[at..]].concat();
        self.append(&Entry { mode: 0, ..Entry::file(name, 0) }, io::empty())
    }

    /// Hides everything that the layers below have in the directory `path`.
    pub fn opaque(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref().strip_suffix(b"/").unwrap_or(path.as_ref());
        let name = if path.is_empty() { OPAQUE.to_vec() } else { [path, b"/", OPAQUE].concat() };
        self.append(&Entry { mode: 0, ..Entry::file(name, 0) }, io::empty())
    }

    /// Ends the archive and returns the sink with the layer's digests.
    pub fn finish(mut self) -> Result<(W, Layer), Error> {
        self.sink.write_all(&[0; 1024]).map_err(Error::Sink)?;
        let (encoder, diff_id, unpacked_size) = self.sink.finish();
        let (sink, digest, size) = encoder.finish().map_err(Error::Sink)?;
        Ok((sink, Layer { digest, size, diff_id, unpacked_size, compression: self.compression }))
    }
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("times", &self.times).field("compression", &self.compression).finish()
    }
}
