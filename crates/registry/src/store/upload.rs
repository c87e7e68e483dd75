//! Uploads that are under way: a file that grows, and a digest that grows with it.
//!
//! An upload outlives its connection, and the process: after a restart the file is hashed again when it is continued. It
//! becomes a blob only through [`super::Store::adopt`].

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use oci::{Algorithm, Digest, Hasher};
use rand::Rng;

use super::{Error, now};

/// Bytes after which the disk begins with what is written.
const WRITE_BEHIND: u64 = 1 << 20;

/// All uploads.
pub(crate) struct Uploads {
    dir: PathBuf,
    open: Mutex<HashMap<String, Arc<Upload>>>,
}

/// One upload.
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) repository: String,
    path: PathBuf,
    /// Held by the request that is at work on it.
    pub(crate) turn: tokio::sync::Mutex<()>,
    sink: Mutex<Sink>,
    used: AtomicU64,
}

struct Sink {
    file: Option<File>,
    size: u64,
    /// Bytes that the disk was told to begin with.
    told: u64,
    /// Digest of what is in the file. None while somebody writes, and when it is not known.
    hasher: Option<Hasher>,
    algorithm: Algorithm,
    /// Number of the [`Writing`] that may write.
    writing: u64,
}

/// The right to append to an upload, and the digest of what is in it with what is appended. Whoever has it hashes what is written,
/// while it is written, and gives it back when all is. If it is lost on the way, the file is read again.
pub(crate) struct Writing {
    number: u64,
    pub(crate) hasher: Hasher,
}

impl Uploads {
    pub(crate) fn open(dir: PathBuf) -> Result<Self, Error> {
        let io = |source| Error::Io { action: "open", path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(io)?;
        let mut open = HashMap::new();
        for entry in fs::read_dir(&dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let Some(id) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".repository")) else {
                continue;
            };
            let (Ok(repository), data) = (fs::read_to_string(&path), dir.join(id)) else { continue };
            let size = fs::metadata(&data).map_or(0, |m| m.len());
            let sink = Sink::new(size, None, Algorithm::Sha256);
            open.insert(id.to_owned(), Arc::new(Upload::new(id.to_owned(), repository, data, sink)));
        }
        // Files without a note of their repository were never acknowledged.
        for entry in fs::read_dir(&dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !open.contains_key(name.strip_suffix(".repository").unwrap_or(&name)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { dir, open: Mutex::new(open) })
    }

    pub(crate) fn start(&self, repository: &str, algorithm: Algorithm) -> Arc<Upload> {
        let id = uuid(rand::rng().random());
        let sink = Sink::new(0, Some(Hasher::new(algorithm)), algorithm);
        let path = self.dir.join(&id);
        let upload = Arc::new(Upload::new(id.clone(), repository.to_owned(), path, sink));
        self.lock().insert(id, Arc::clone(&upload));
        upload
    }

    pub(crate) fn find(&self, repository: &str, id: &str) -> Option<Arc<Upload>> {
        let found = self.lock().get(id).filter(|u| u.repository == repository).cloned()?;
        found.used.store(now(), Ordering::Relaxed);
        Some(found)
    }

    /// Ends an upload and removes its files.
    pub(crate) fn end(&self, upload: &Upload) {
        self.lock().remove(&upload.id);
        let _ = fs::remove_file(&upload.path);
        let _ = fs::remove_file(note(&upload.path));
    }

    /// Drops uploads that rest for longer than `ttl`; their number.
    pub(crate) fn expire(&self, ttl: Duration) -> u64 {
        let before = now().saturating_sub(ttl.as_secs());
        let idle = |u: &&Arc<Upload>| u.used.load(Ordering::Relaxed) <= before && u.turn.try_lock().is_ok();
        let expired: Vec<_> = self.lock().values().filter(idle).cloned().collect();
        expired.iter().for_each(|upload| self.end(upload));
        expired.len() as u64
    }

    /// A new file beside the uploads, for content that does not come as an upload.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join(format!("{}.scratch", uuid(rand::rng().random())))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.open.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Upload {
    fn new(id: String, repository: String, path: PathBuf, sink: Sink) -> Self {
        let turn = tokio::sync::Mutex::new(());
        Self { id, repository, path, turn, sink: Mutex::new(sink), used: AtomicU64::new(now()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.sink().size
    }

    /// Begins to append; none when the file must be read for its digest first. Ends the right of whoever had it before, whose writes
    /// may still be on their way.
    pub(crate) fn begin(&self) -> Option<Writing> {
        self.sink().begin()
    }

    /// The same, reading the file where that is needed. Blocking.
    pub(crate) fn begin_again(&self) -> io::Result<Writing> {
        let mut sink = self.sink();
        sink.prepare(&self.path)?;
        sink.begin().ok_or_else(|| io::Error::other("upload was not prepared"))
    }

    /// Appends. Blocking.
    pub(crate) fn write(&self, number: u64, chunks: &[Bytes]) -> io::Result<()> {
        let mut sink = self.sink();
        if sink.writing != number {
            return Err(io::Error::other("another request has gone on with the upload"));
        }
        sink.open(&self.path)?;
        let Sink { file: Some(file), size, told, .. } = &mut *sink else {
            return Err(io::Error::other("upload was not opened"));
        };
        for chunk in chunks {
            if let Err(error) = file.write_all(chunk) {
                // How much was written is not known: the file tells when it is used again.
                sink.file = None;
                sink.writing += 1;
                return Err(error);
            }
            *size += chunk.len() as u64;
        }
        // The disk begins, so that little is left to it when the digest has come. A sync would wait, and commit each time; to say
        // that pages are not needed has them written, and drops only those that are.
        if *size - *told >= WRITE_BEHIND {
            let length = std::num::NonZeroU64::new(*size - *told);
            let _ = rustix::fs::fadvise(&*file, *told, length, rustix::fs::Advice::DontNeed);
            *told = *size;
        }
        Ok(())
    }

    /// Gives the digest back, when everything that went into it is written.
    pub(crate) fn done(&self, writing: Writing) {
        let mut sink = self.sink();
        if sink.writing == writing.number {
            sink.hasher = Some(writing.hasher);
        }
    }

    /// Notes to which repository it belongs, so that it survives the process. Blocking.
    pub(crate) fn keep(&self) -> io::Result<()> {
        fs::write(note(&self.path), &self.repository)
    }

    /// Digest of everything so far, with the file synced when it is the expected one. Blocking.
    pub(crate) fn seal(&self, expected: &Digest) -> io::Result<Digest> {
        let mut sink = self.sink();
        if sink.algorithm != expected.algorithm() {
            sink.algorithm = expected.algorithm();
            sink.hasher = None;
        }
        sink.prepare(&self.path)?;
        let found = sink.hasher.clone().unwrap_or_default().finish();
        if let (true, Some(file)) = (found == *expected, &sink.file) {
            file.sync_all()?;
        }
        Ok(found)
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Writing {
    /// What [`Upload::write`] is to be told.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Sink {
    fn new(size: u64, hasher: Option<Hasher>, algorithm: Algorithm) -> Self {
        Self { file: None, size, told: size, hasher, algorithm, writing: 0 }
    }

    fn begin(&mut self) -> Option<Writing> {
        let hasher = self.hasher.take()?;
        self.writing += 1;
        Some(Writing { number: self.writing, hasher })
    }

    fn open(&mut self, path: &Path) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        }
        Ok(())
    }

    /// Opens the file and, where the digest is not known, reads it again. Nobody may write meanwhile.
    fn prepare(&mut self, path: &Path) -> io::Result<()> {
        self.open(path)?;
        if self.hasher.is_none() {
            self.writing += 1;
            let mut hasher = Hasher::new(self.algorithm);
            let mut file = File::open(path)?;
            let mut buffer = vec![0; 128 * 1024];
            self.size = 0;
            loop {
                let n = file.read(&mut buffer)?;
                if n == 0 {
                    break;
                }
                hasher.update(&buffer[..n]);
                self.size += n as u64;
            }
            self.told = self.size;
            self.hasher = Some(hasher);
        }
        Ok(())
    }
}

fn note(path: &Path) -> PathBuf {
    path.with_extension("repository")
}

fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
