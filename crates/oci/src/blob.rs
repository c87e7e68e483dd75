//! Content-addressed files: `blobs/<algorithm>/<hex>` of an OCI image layout.
//!
//! A blob appears under its name only when it is whole, verified and on disk: it is written to `ingest/`, hashed on
//! the way, synced, then renamed. Several stores, processes too, may work on one directory. The store does not know who
//! refers to a blob; that is the business of [`crate::layout::Layout`] and of the registry.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::digest::{Algorithm, Digest, Hasher};

/// Why a blob could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// File system trouble.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Content differs from the digest it was announced with.
    #[error("content has digest {found}, not {expected}")]
    Mismatch {
        /// Announced digest.
        expected: Digest,
        /// Digest of the content.
        found: Digest,
    },
    /// No such blob.
    #[error("blob {0} is not in the store")]
    NotFound(Digest),
    /// Larger than the caller accepts.
    #[error("blob {digest} has {size} bytes; at most {limit} are accepted here")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// What was accepted.
        limit: u64,
    },
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// A directory of blobs.
#[derive(Debug, Clone)]
pub struct BlobStore {
    root: PathBuf,
}

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl BlobStore {
    /// Opens the store in `root`, creating `blobs/` and `ingest/` where they are missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let store = Self { root: root.into() };
        for dir in ["blobs/sha256", "blobs/sha512", "ingest"] {
            let path = store.root.join(dir);
            fs::create_dir_all(&path).map_err(io_error("create directory", &path))?;
        }
        Ok(store)
    }

    /// The directory that was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob lies, whether it exists or not.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Size in bytes, none when it does not exist.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error("look up blob", &path)(e)),
        }
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NotFound(digest.clone()),
            _ => io_error("open blob", &path)(e),
        })
    }

    /// Reads a whole blob of at most `limit` bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, Error> {
        let mut file = self.open_blob(digest)?;
        let path = self.path(digest);
        let size = file.metadata().map_err(io_error("look up blob", &path))?.len();
        if size > limit {
            return Err(Error::TooLarge { digest: digest.clone(), size, limit });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).map_err(io_error("read blob", &path))?;
        Ok(bytes)
    }

    /// Stores `bytes` under their SHA-256 digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if self.size(&digest)? == Some(bytes.len() as u64) {
            self.touch(&digest);
            return Ok(digest);
        }
        let mut writer = self.writer()?;
        let path = writer.path.clone();
        writer.file.write_all(bytes).map_err(io_error("write", &path))?;
        writer.commit(&digest)?;
        Ok(digest)
    }

    /// Starts a blob whose digest is not known or not trusted yet.
    pub fn writer(&self) -> Result<BlobWriter, Error> {
        self.writer_for(Algorithm::Sha256)
    }

    /// Starts a blob to be named by `algorithm`.
    pub fn writer_for(&self, algorithm: Algorithm) -> Result<BlobWriter, Error> {
        let name = format!("{}-{}", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed));
        let path = self.root.join("ingest").join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(io_error("create", &path))?;
        Ok(BlobWriter { store: self.clone(), file, path, hasher: Hasher::new(algorithm), size: 0, done: false })
    }

    /// Takes over a whole file, already verified to have `digest` and synced, by renaming it. The file must be on the same file
    /// system. The name is durable on return.
    pub fn adopt(&self, file: &Path, digest: &Digest) -> Result<(), Error> {
        let path = self.path(digest);
        fs::rename(file, &path).map_err(io_error("rename to blob", &path))?;
        self.sync_dir(digest)
    }

    /// Deletes a blob; false when it did not exist.
    pub fn remove(&self, digest: &Digest) -> Result<bool, Error> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(io_error("delete blob", &path)(e)),
        }
    }

    /// All blobs with size and time of last use.
    pub fn list(&self) -> Result<Vec<Stored>, Error> {
        let mut found = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.root.join("blobs").join(algorithm.name());
            for entry in fs::read_dir(&dir).map_err(io_error("list", &dir))? {
                let entry = entry.map_err(io_error("list", &dir))?;
                let name = entry.file_name();
                let Some(Ok(digest)) = name.to_str().map(|hex| format!("{}:{hex}", algorithm.name()).parse::<Digest>())
                else {
                    continue;
                };
                // A blob deleted since the directory was read is not an error.
                let Ok(metadata) = entry.metadata() else { continue };
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Stored { digest, size: metadata.len(), modified });
            }
        }
        Ok(found)
    }

    /// Marks a blob as just used, so that a collection with a grace time leaves it. Best effort.
    pub fn touch(&self, digest: &Digest) {
        if let Ok(file) = File::open(self.path(digest)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Deletes unfinished files in `ingest/` that nobody wrote to for `age`.
    pub fn sweep_ingest(&self, age: Duration) -> Result<u64, Error> {
        let dir = self.root.join("ingest");
        let mut swept = 0;
        for entry in fs::read_dir(&dir).map_err(io_error("list", &dir))? {
            let entry = entry.map_err(io_error("list", &dir))?;
            let old = entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|elapsed| elapsed >= age));
            if old && fs::remove_file(entry.path()).is_ok() {
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn sync_dir(&self, digest: &Digest) -> Result<(), Error> {
        let dir = self.root.join("blobs").join(digest.algorithm().name());
        File::open(&dir).and_then(|d| d.sync_all()).map_err(io_error("sync", &dir))
    }
}

/// A blob in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was written or last used for a push.
    pub modified: SystemTime,
}

/// An unfinished blob. Dropped without [`finish`](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size: u64,
    done: bool,
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Verifies the digest where one is expected, and makes the blob durable under its name.
    pub fn finish(mut self, expected: Option<&Digest>) -> Result<(Digest, u64), Error> {
        let found = std::mem::take(&mut self.hasher).finish();
        if let Some(expected) = expected
            && *expected != found
        {
            return Err(Error::Mismatch { expected: expected.clone(), found });
        }
        let size = self.size;
        self.commit(&found)?;
        Ok((found, size))
    }

    fn commit(mut self, digest: &Digest) -> Result<(), Error> {
        self.file.sync_all().map_err(io_error("sync", &self.path))?;
        self.store.adopt(&self.path, digest)?;
        self.done = true;
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes `bytes` to `path` so that after a crash either the old or the new content is there, whole.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io_error("create a file in", dir))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    file.as_file().sync_all().map_err(io_error("sync", path))?;
    file.persist(path).map_err(|e| io_error("rename to", path)(e.error))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_verifies_and_leaves_nothing_partial() {
        let dir = tempfile::tempdir().expect("tempdir");
        let store = BlobStore::open(dir.path()).expect("open");
        let digest = store.put(b"hello").expect("put");
        assert_eq!(store.read(&digest, 5).expect("read"), b"hello");
        assert!(matches!(store.read(&digest, 4), Err(Error::TooLarge { .. })));

        let mut writer = store.writer().expect("writer");
        writer.write_all(b"other").expect("write");
        assert!(matches!(writer.finish(Some(&digest)), Err(Error::Mismatch { .. })));
        drop(store.writer().expect("writer"));
        assert_eq!(fs::read_dir(dir.path().join("ingest")).expect("dir").count(), 0);
        assert_eq!(store.list().expect("list").len(), 1);
        assert!(store.remove(&digest).expect("remove"));
        assert!(!store.remove(&digest).expect("remove"));
        assert!(matches!(store.read(&digest, 9), Err(Error::NotFound(_))));
    }
}
