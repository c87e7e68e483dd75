//! The log of a job: one file, each line with its time, every secret replaced before it is written. Followers wait on a
//! watch channel; nothing polls. Memory does not grow with the log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::Error;
use crate::mask::Masks;

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes written.
    pub size: u64,
    /// Whether nothing more will come.
    pub done: bool,
}

/// A log that is being written; clones write to the same file.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Mutex<Inner>>,
    masks: Arc<Mutex<Masks>>,
    progress: watch::Sender<Progress>,
}

struct Inner {
    file: File,
    size: u64,
    buffer: String,
}

impl Log {
    /// Creates the file, and its directory.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::File { what: "create the log", path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let file = File::create(path).map_err(fail)?;
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner { file, size: 0, buffer: String::new() })),
            masks: Arc::new(Mutex::new(Masks::new())),
            progress: watch::Sender::new(Progress::default()),
        })
    }

    /// A log of its own that hides the same secrets, those added later too.
    pub fn beside(&self, path: &Path) -> Result<Self, Error> {
        Ok(Self { masks: self.masks.clone(), ..Self::create(path)? })
    }

    /// Adds what stands in another log, as it is.
    pub fn append(&self, path: &Path) -> std::io::Result<()> {
        self.flush();
        let mut from = File::open(path)?;
        let mut inner = self.lock();
        let copied = std::io::copy(&mut from, &mut inner.file)?;
        inner.size += copied;
        let size = inner.size;
        drop(inner);
        self.progress.send_modify(|progress| progress.size = size);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn masks(&self) -> std::sync::MutexGuard<'_, Masks> {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers secrets; they are hidden from here on.
    pub fn mask<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        self.masks().add_all(secrets);
    }

    /// The text with secrets hidden.
    pub fn masked(&self, text: &str) -> String {
        self.masks().apply(text)
    }

    /// Adds a text of one or more lines, without making it visible yet.
    pub fn push(&self, text: &str) {
        let masks = self.masks();
        let masked = if masks.is_empty() { std::borrow::Cow::Borrowed(text) } else { masks.apply(text).into() };
        drop(masks);
        let mut inner = self.lock();
        let stamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string();
        for line in masked.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            inner.buffer.push_str(&stamp);
            inner.buffer.push(' ');
            inner.buffer.push_str(line);
            inner.buffer.push('\n');
        }
        if inner.buffer.len() > 1 << 16 {
            drop(inner);
            self.flush();
        }
    }

    /// Writes out what was pushed and wakes the followers.
    pub fn flush(&self) {
        let mut inner = self.lock();
        if inner.buffer.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut inner.buffer);
        // A full disk must not kill the job whose log it is; the size then stays behind.
        if inner.file.write_all(buffer.as_bytes()).is_ok() {
            inner.size += buffer.len() as u64;
        }
        let size = inner.size;
        inner.buffer = buffer;
        inner.buffer.clear();
        drop(inner);
        self.progress.send_modify(|progress| progress.size = size);
    }

    /// Adds a text and makes it visible.
    pub fn line(&self, text: &str) {
        self.push(text);
        self.flush();
    }

    /// Bytes written so far, all included.
    pub fn size(&self) -> u64 {
        self.flush();
        self.lock().size
    }

    /// Nothing more will come.
    pub fn finish(&self) {
        self.flush();
        self.progress.send_modify(|progress| progress.done = true);
    }

    /// Tells how far the log has come, now and later.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

/// Reads a log from the start and follows it to its end.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    offset: u64,
    live: Option<watch::Receiver<Progress>>,
}

impl Follower {
    /// `live` is none when the log is complete.
    pub fn new(path: PathBuf, live: Option<watch::Receiver<Progress>>) -> Self {
        Self { path, offset: 0, live }
    }

    /// Skips what comes before an offset.
    #[must_use]
    pub fn from(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let done = self.live.as_mut().is_none_or(|live| live.borrow_and_update().done);
            let (path, offset) = (self.path.clone(), self.offset);
            let piece = tokio::task::spawn_blocking(move || read_piece(&path, offset)).await.ok()??;
            if !piece.is_empty() {
                self.offset += piece.len() as u64;
                return Some(piece);
            }
            if done {
                return None;
            }
            // An error means the writer is gone: what is there is all there will be.
            if self.live.as_mut()?.changed().await.is_err() {
                self.live = None;
            }
        }
    }
}

fn read_piece(path: &Path, offset: u64) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut piece = Vec::new();
    file.take(1 << 18).read_to_end(&mut piece).ok()?;
    Some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn followers_see_all_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.log");
        let log = Log::create(&path).unwrap();
        log.mask(["hunter2"]);
        log.line("one hunter2");
        let mut follower = Follower::new(path, Some(log.progress()));
        let first = String::from_utf8(follower.next().await.unwrap()).unwrap();
        assert!(first.ends_with("Z one ***\n"), "{first}");
        let reader = tokio::spawn(async move {
            let mut rest = Vec::new();
            while let Some(piece) = follower.next().await {
                rest.extend(piece);
            }
            String::from_utf8(rest).unwrap()
        });
        log.line("two\nthree");
        log.finish();
        let rest = reader.await.unwrap();
        assert_eq!(rest.lines().map(|line| line.split_once(' ').unwrap().1).collect::<Vec<_>>(), ["two", "three"]);
    }
}
