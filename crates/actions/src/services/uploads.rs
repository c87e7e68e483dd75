//! Uploads that are under way, as files: blocks that arrive in any order, or ranges of one file, until they are finished.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

/// What an upload becomes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// An artifact of an attempt of a run.
    Artifact { run: i64, attempt: i64, name: String },
    /// A cache entry.
    Cache { repository: String, key: String, version: String, scope: String },
}

/// An upload.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub id: i64,
    pub job: i64,
    pub target: Target,
    pub mime: String,
    /// How many days an artifact is to be kept.
    pub days: u32,
    pub dir: PathBuf,
}

impl Upload {
    /// The finished content.
    pub fn content(&self) -> PathBuf {
        self.dir.join("content")
    }

    fn block(&self, id: &str) -> PathBuf {
        self.dir.join(format!("block-{}", hex::encode(&Sha256::digest(id)[..16])))
    }

    /// Keeps one block.
    pub async fn put_block(&self, id: &str, body: Body) -> io::Result<()> {
        let name = self.block(id);
        // A block may be sent twice at once by an impatient client.
        let temp = self.dir.join(format!("part-{}", uuid::Uuid::new_v4()));
        save(body, &temp, 0).await?;
        tokio::fs::rename(temp, name).await
    }

    /// Keeps all of the content.
    pub async fn put_all(&self, body: Body) -> io::Result<()> {
        let temp = self.dir.join(format!("part-{}", uuid::Uuid::new_v4()));
        save(body, &temp, 0).await?;
        tokio::fs::rename(temp, self.content()).await
    }

    /// Keeps a part of the content.
    pub async fn put_range(&self, start: u64, body: Body) -> io::Result<()> {
        save(body, &self.content(), start).await
    }

    /// Puts the blocks together, in this order.
    pub fn commit(&self, blocks: &[String]) -> io::Result<()> {
        let temp = self.dir.join("joined");
        let mut out = File::create(&temp)?;
        for id in blocks {
            let mut block = File::open(self.block(id))?;
            io::copy(&mut block, &mut out)?;
        }
        out.sync_all()?;
        std::fs::rename(&temp, self.content())?;
        for id in blocks {
            // A block may be named twice.
            let _ = std::fs::remove_file(self.block(id));
        }
        Ok(())
    }
}

async fn save(body: Body, path: &Path, start: u64) -> io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().create(true).write(true).truncate(false).open(path).await?;
    file.seek(io::SeekFrom::Start(start)).await?;
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        file.write_all(&piece.map_err(io::Error::other)?).await?;
    }
    file.flush().await
}

/// SHA-256 and length of a file.
pub(crate) fn digest(path: &Path) -> io::Result<(String, u64)> {
    struct Hasher(Sha256);
    impl Write for Hasher {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hasher = Hasher(Sha256::new());
    let size = io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok((hex::encode(hasher.0.finalize()), size))
}

/// All uploads that are under way.
#[derive(Debug)]
pub(crate) struct Uploads {
    dir: PathBuf,
    open: Mutex<HashMap<i64, Upload>>,
    next: AtomicI64,
}

impl Uploads {
    pub fn new(dir: PathBuf) -> Self {
        crate::job::workspace::remove_all(&dir);
        Self { dir, open: Mutex::default(), next: AtomicI64::new(1) }
    }

    /// Starts an upload; none when one for the same target is under way in another job. The same job may start anew.
    pub fn begin(&self, job: i64, target: Target, mime: &str, days: u32) -> io::Result<Option<Upload>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = open.values().find(|upload| upload.target == target) {
            if other.job != job {
                return Ok(None);
            }
            let id = other.id;
            if let Some(old) = open.remove(&id) {
                crate::job::workspace::remove_all(&old.dir);
            }
        }
        let id = self.next.fetch_add(1, Ordering::SeqCst);
        let dir = self.dir.join(id.to_string());
        std::fs::create_dir_all(&dir)?;
        let upload = Upload { id, job, target, mime: mime.to_owned(), days, dir };
        open.insert(id, upload.clone());
        Ok(Some(upload))
    }

    pub fn get(&self, id: i64) -> Option<Upload> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Takes the upload for a target out, to be finished.
    pub fn take(&self, job: i64, target: &Target) -> Option<Upload> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let id = open.values().find(|upload| upload.job == job && upload.target == *target)?.id;
        open.remove(&id)
    }

    /// Deletes what a job left unfinished.
    pub fn abandon(&self, job: i64) {
        let gone: Vec<Upload> = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let ids: Vec<i64> = open.values().filter(|upload| upload.job == job).map(|upload| upload.id).collect();
            ids.iter().filter_map(|id| open.remove(id)).collect()
        };
        gone.iter().for_each(|upload| crate::job::workspace::remove_all(&upload.dir));
    }
}
