//! The journal: one line of JSON for each change, synced in groups.
//!
//! A thread owns the file. Changes are sent in the order in which they were made, and acknowledged after a sync that covers
//! all that wait. A line cut off by a crash is dropped when the journal is read; it was never acknowledged.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(crate) enum Record {
    /// A blob belongs to a repository.
    Link { repository: String, digest: Digest, at: u64 },
    /// It no longer does.
    Unlink { repository: String, digest: Digest },
    /// A manifest belongs to a repository.
    Manifest {
        repository: String,
        digest: Digest,
        media_type: String,
        at: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mirrored: bool,
    },
    /// It no longer does, nor do its tags.
    DropManifest { repository: String, digest: Digest },
    /// A tag points to a manifest. `mirrored` is when an upstream confirmed it.
    Tag {
        repository: String,
        tag: String,
        digest: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mirrored: Option<u64>,
    },
    /// A tag is gone.
    Untag { repository: String, tag: String },
}

type Ack = oneshot::Sender<Result<(), Arc<io::Error>>>;

enum Message {
    Write {
        lines: Vec<u8>,
        needs: Needs,
        ack: Ack,
    },
    /// Starts over with these lines.
    Replace {
        lines: Vec<u8>,
        ack: Ack,
    },
    Flush {
        ack: Ack,
    },
}

/// What must be on disk with, or before, a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    /// Directories in which a blob got its name: SHA-256, SHA-512.
    dirs: [bool; 2],
    /// The names come first: the change replaces something, so that losing it would lose what was there before. A link to a blob that
    /// is not on disk is dropped when the journal is read, and nothing is lost.
    before: bool,
}

impl Needs {
    fn of(records: &[Record], new_blob: Option<Algorithm>) -> Self {
        let links = records.iter().all(|record| matches!(record, Record::Link { .. }));
        let dirs = [Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| new_blob == Some(algorithm));
        Self { dirs, before: new_blob.is_some() && !links }
    }

    fn and(self, other: Self) -> Self {
        let dirs = [self.dirs[0] || other.dirs[0], self.dirs[1] || other.dirs[1]];
        Self { dirs, before: self.before || other.before }
    }
}

/// Does the work that follows a change but is not waited for.
pub(crate) trait Export: Send {
    fn export(&mut self);
}

pub(crate) struct Journal {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    bytes: Arc<AtomicU64>,
}

/// Completes when the change is durable.
#[must_use = "a change is acknowledged only when it is durable"]
pub(crate) struct Pending(oneshot::Receiver<Result<(), Arc<io::Error>>>);

impl Pending {
    pub(crate) async fn durable(self) -> Result<(), Arc<io::Error>> {
        self.0.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Waits on this thread, wherever it is called; for code that is blocking anyway.
    pub(crate) fn wait(self) -> Result<(), Arc<io::Error>> {
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut durable = pin!(self.durable());
        loop {
            match durable.as_mut().poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

fn ended() -> Arc<io::Error> {
    Arc::new(io::Error::other("the journal's thread has ended"))
}

impl Journal {
    /// `blob_dirs` are those of SHA-256 and SHA-512.
    pub(crate) fn start(path: PathBuf, blob_dirs: [PathBuf; 2], export: Box<dyn Export>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let bytes = Arc::new(AtomicU64::new(file.metadata()?.len()));
        let (sender, receiver) = channel();
        let mut writer = Writer { path, file, blob_dirs, failed: None, bytes: Arc::clone(&bytes) };
        writer.file.seek(SeekFrom::End(0))?;
        let thread =
            std::thread::Builder::new().name("registry-journal".into()).spawn(move || writer.run(&receiver, export))?;
        Ok(Self { sender: Some(sender), thread: Some(thread), bytes })
    }

    /// Appends records. To be called while the lock is held under which the change was made, so that the order is the same.
    /// `new_blob` is the algorithm of a blob that got its name in the same change.
    pub(crate) fn append(&self, records: &[Record], new_blob: Option<Algorithm>) -> Pending {
        let mut lines = Vec::with_capacity(records.len() * 160);
        for record in records {
            // A record is plain strings and numbers: writing it to memory cannot fail.
            let _ = serde_json::to_writer(&mut lines, record);
            lines.push(b'\n');
        }
        let needs = Needs::of(records, new_blob);
        self.send(|ack| Message::Write { lines, needs, ack })
    }

    /// Replaces the journal by an equal, shorter one. Same rule about the lock.
    pub(crate) fn replace(&self, records: impl Iterator<Item = Record>) -> Pending {
        let mut lines = Vec::new();
        for record in records {
            let _ = serde_json::to_writer(&mut lines, &record);
            lines.push(b'\n');
        }
        self.send(|ack| Message::Replace { lines, ack })
    }

    /// Waits until all before is durable and exported.
    pub(crate) fn flush(&self) -> Pending {
        self.send(|ack| Message::Flush { ack })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn send(&self, message: impl FnOnce(Ack) -> Message) -> Pending {
        let (ack, receiver) = oneshot::channel();
        if let Some(sender) = &self.sender {
            // A failed send drops the acknowledgement, which the waiter sees.
            let _ = sender.send(message(ack));
        }
        Pending(receiver)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the registry's journal thread panicked");
        }
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    blob_dirs: [PathBuf; 2],
    /// Set by the first failure: what follows would build on something that is not on disk.
    failed: Option<Arc<io::Error>>,
    bytes: Arc<AtomicU64>,
}

/// Changes close together are exported once.
const EXPORT_DELAY: Duration = Duration::from_millis(100);
const EXPORT_AT_LATEST: Duration = Duration::from_secs(2);

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>, mut export: Box<dyn Export>) {
        let mut dirty_since: Option<Instant> = None;
        loop {
            let first = match dirty_since {
                None => match receiver.recv() {
                    Ok(message) => message,
                    Err(_) => return,
                },
                Some(since) if since.elapsed() > EXPORT_AT_LATEST => {
                    export.export();
                    dirty_since = None;
                    continue;
                }
                Some(_) => match receiver.recv_timeout(EXPORT_DELAY) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        export.export();
                        dirty_since = None;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        export.export();
                        return;
                    }
                },
            };
            let mut acks = Vec::new();
            let mut lines = Vec::new();
            let mut needs = Needs::default();
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Write { lines: more, needs: also, ack } => {
                        lines.extend_from_slice(&more);
                        needs = needs.and(also);
                        acks.push(ack);
                    }
                    Message::Replace { lines: all, ack } => {
                        // What was collected so far is part of the replacement.
                        let result = self.replace(&all);
                        lines.clear();
                        acks.push(ack);
                        if let Err(e) = result {
                            self.failed.get_or_insert(e);
                        }
                    }
                    Message::Flush { ack } => {
                        let result = self.write(&lines, needs);
                        lines.clear();
                        acks.drain(..).for_each(|waiting: Ack| drop(waiting.send(result.clone())));
                        export.export();
                        dirty_since = None;
                        let _ = ack.send(result);
                    }
                }
                if lines.len() < 1 << 20 {
                    next = receiver.try_recv().ok();
                }
            }
            if !acks.is_empty() {
                let result = self.write(&lines, needs);
                acks.into_iter().for_each(|ack| drop(ack.send(result.clone())));
                dirty_since.get_or_insert_with(Instant::now);
            }
        }
    }

    fn write(&mut self, lines: &[u8], needs: Needs) -> Result<(), Arc<io::Error>> {
        if let Some(failed) = &self.failed {
            return Err(Arc::clone(failed));
        }
        let attempt = || -> io::Result<()> {
            let dirs = || {
                let mut dirs = self.blob_dirs.iter().zip(needs.dirs).filter(|(_, changed)| *changed);
                dirs.try_for_each(|(dir, _)| File::open(dir)?.sync_all())
            };
            if needs.before || lines.is_empty() {
                dirs()?;
            }
            if lines.is_empty() {
                return Ok(());
            }
            (&self.file).write_all(lines)?;
            if needs.before || needs.dirs == [false; 2] {
                return self.file.sync_data();
            }
            // At once, so that the file system needs one commit for both.
            std::thread::scope(|scope| {
                let names = scope.spawn(dirs);
                self.file.sync_data()?;
                names.join().unwrap_or_else(|_| Err(io::Error::other("syncing a directory panicked")))
            })
        };
        match attempt() {
            Ok(()) => {
                self.bytes.fetch_add(lines.len() as u64, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the registry's journal cannot be written; it takes no more changes");
                let error = Arc::new(error);
                self.failed = Some(Arc::clone(&error));
                Err(error)
            }
        }
    }

    fn replace(&mut self, lines: &[u8]) -> Result<(), Arc<io::Error>> {
        if let Some(failed) = &self.failed {
            return Err(Arc::clone(failed));
        }
        oci::blob::write_atomically(&self.path, lines).map_err(|e| Arc::new(io::Error::other(e)))?;
        let reopened = OpenOptions::new().read(true).append(true).open(&self.path);
        self.file = reopened.map_err(Arc::new)?;
        self.bytes.store(lines.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Reads the journal at `path`, nothing where there is none, and cuts off an unfinished end.
pub(crate) fn read(path: &Path, mut apply: impl FnMut(Record)) -> io::Result<u64> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut reader = BufReader::new(&file);
    let mut line = Vec::new();
    let (mut good, mut at, mut count) = (0, 0, 0);
    loop {
        line.clear();
        let n = reader.read_until(b'\n', &mut line)?;
        if n == 0 {
            break;
        }
        at += n as u64;
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) if line.ends_with(b"\n") => {
                apply(record);
                good = at;
                count += 1;
            }
            _ => {
                tracing::warn!(path = %path.display(), offset = at - n as u64, "unreadable line in the registry's journal")
            }
        }
    }
    if good < at {
        file.set_len(good)?;
        file.sync_all()?;
    }
    Ok(count)
}
