//! The store: blobs on disk, state in memory, the journal between them.
//!
//! Every change is made under one lock, in which the file is renamed or deleted too, so that a push and a collection
//! never see half of each other. It is acknowledged when the journal has synced it. The lock is never held across a sync or
//! an await.

mod cache;
mod journal;
mod state;
mod upload;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use oci::blob::BlobStore;
use oci::layout::Layout;
use oci::{Algorithm, Descriptor, Digest, Document, Index, REF_NAME};

pub(crate) use cache::MAX_ITEM;
pub(crate) use journal::{Pending, Record};
pub(crate) use state::{Child, Meta, Repository, State};
pub(crate) use upload::{Upload, Uploads};

use cache::Cache;
use journal::{Export, Journal};

/// Why the registry's storage failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory could not be opened.
    #[error("cannot open registry storage {}", dir.display())]
    Open {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: oci::layout::Error,
    },
    /// Another process has it.
    #[error("registry storage {} is in use by another process", .0.display())]
    Busy(PathBuf),
    /// A file operation failed.
    #[error("registry storage: cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal took no more changes.
    #[error("registry storage: the change could not be made durable")]
    Journal(#[source] Arc<io::Error>),
    /// A request that cannot be fulfilled, in words for people.
    #[error("{0}")]
    Refused(String),
    /// A blob operation failed.
    #[error("registry storage: blob operation failed")]
    Blob(#[from] oci::blob::Error),
}

/// Bytes and counts of the whole registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Blobs on disk, manifests included.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// By repository; a blob in two repositories is counted in both.
    pub repositories: Vec<RepositoryUsage>,
}

/// Bytes and counts of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUsage {
    /// Its name.
    pub name: String,
    /// Number of tags.
    pub tags: u64,
    /// Number of manifests.
    pub manifests: u64,
    /// Number of blobs, without manifests.
    pub blobs: u64,
    /// Bytes of blobs and manifests.
    pub bytes: u64,
}

pub(crate) struct Store {
    blobs: BlobStore,
    state: Arc<RwLock<State>>,
    cache: Cache,
    pub(crate) uploads: Uploads,
    journal: Journal,
    /// Held for the life of the store, so that no second process writes here.
    _lock: File,
}

impl Store {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let layout = Layout::open(dir).map_err(|source| Error::Open { dir: dir.to_owned(), source })?;
        let lock_path = dir.join("registry.lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|source| Error::Io { action: "open", path: lock_path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Busy(dir.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => {
                return Err(Error::Io { action: "lock", path: lock_path, source });
            }
        }
        let blobs = layout.blobs().clone();
        blobs.sweep_ingest(std::time::Duration::ZERO)?;
        let mut state = State::default();
        for stored in blobs.list()? {
            state.blobs.insert(stored.digest, stored.size);
        }
        let load = |digest: &Digest, media_type: &str| {
            let bytes = blobs.read(digest, oci::MAX_MANIFEST as u64).ok()?;
            Some((Document::parse(&bytes, Some(media_type)).ok()?, bytes.len() as u64))
        };
        let path = dir.join("journal.jsonl");
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        let known = path.exists();
        let count = journal::read(&path, |record| state.apply(record, load)).map_err(io("read", &path))?;
        state.settle();
        if !known {
            import(&layout, &mut state)?;
        }
        let compact = !known || count > 2 * state.records().count() as u64 + 1000;
        if compact {
            let mut lines = Vec::new();
            for record in state.records() {
                let _ = serde_json::to_writer(&mut lines, &record);
                lines.push(b'\n');
            }
            oci::blob::write_atomically(&path, &lines)?;
        }
        let uploads = Uploads::open(dir.join("uploads"))?;
        let state = Arc::new(RwLock::new(state));
        let export = IndexExport { layout: layout.clone(), state: Arc::clone(&state), last: None };
        let dirs = [Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| dir.join("blobs").join(algorithm.name()));
        let journal = Journal::start(path.clone(), dirs, Box::new(export)).map_err(io("open", &path))?;
        Ok(Self { blobs, state, cache: Cache::default(), uploads, journal, _lock: lock })
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        // A panic under the lock leaves maps that are whole: every change is one insertion or removal.
        self.state.read().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Appends to the journal; the guard proves that the order is right. `new_blob` is the algorithm of a blob that was placed.
    pub(crate) fn append(&self, _state: &mut State, records: &[Record], new_blob: Option<Algorithm>) -> Pending {
        self.journal.append(records, new_blob)
    }

    pub(crate) fn flush(&self) {
        if let Err(error) = self.journal.flush().wait() {
            tracing::error!(%error, "the registry's journal could not be flushed");
        }
    }

    /// Shortens the journal when most of it is history.
    pub(crate) fn compact(&self) -> Result<(), Error> {
        if self.journal.bytes() < 1 << 20 {
            return Ok(());
        }
        let pending = {
            let state = self.write();
            self.journal.replace(state.records())
        };
        pending.wait().map_err(Error::Journal)
    }

    /// Size of a blob that may be read in a repository. Marks it as used when `touch`.
    pub(crate) fn blob_size(&self, repository: &str, digest: &Digest, touch: bool) -> Option<u64> {
        let state = self.read();
        let used = state.repositories.get(repository)?.blobs.get(digest)?;
        if touch {
            used.store(now(), Ordering::Relaxed);
        }
        state.blobs.get(digest).copied()
    }

    /// Marks a manifest as used: who asks whether it is here may be about to push an index, or what refers to it.
    pub(crate) fn touch_manifest(&self, repository: &str, digest: &Digest) {
        if let Some(meta) = self.read().repositories.get(repository).and_then(|found| found.manifests.get(digest)) {
            meta.at.store(now(), Ordering::Relaxed);
        }
    }

    /// Adds a blob of another repository, when the other has it. None when it has not.
    pub(crate) fn mount(&self, from: &[String], to: &str, digest: &Digest) -> Option<Pending> {
        let mut state = self.write();
        let there = from.iter().any(|name| state.repositories.get(name).is_some_and(|r| r.blobs.contains_key(digest)));
        if !there || !state.blobs.contains_key(digest) {
            return None;
        }
        let at = now();
        state.link(to, digest, at);
        let record = Record::Link { repository: to.to_owned(), digest: digest.clone(), at };
        Some(self.append(&mut state, &[record], None))
    }

    /// Gives a synced, verified file its name as a blob of a repository.
    pub(crate) fn adopt(&self, file: &Path, repository: &str, digest: &Digest, size: u64) -> Result<Pending, Error> {
        let mut state = self.write();
        self.place(&mut state, file, digest, size)?;
        let at = now();
        state.link(repository, digest, at);
        let record = Record::Link { repository: repository.to_owned(), digest: digest.clone(), at };
        Ok(self.append(&mut state, &[record], Some(digest.algorithm())))
    }

    /// Renames a synced file into the blobs, or drops it when the blob is there.
    pub(crate) fn place(&self, state: &mut State, file: &Path, digest: &Digest, size: u64) -> Result<(), Error> {
        let io = |action| move |source| Error::Io { action, path: file.to_owned(), source };
        if state.blobs.contains_key(digest) {
            return std::fs::remove_file(file).map_err(io("remove"));
        }
        std::fs::rename(file, self.blobs.path(digest)).map_err(io("rename"))?;
        state.blobs.insert(digest.clone(), size);
        Ok(())
    }

    /// Reads small content through the cache.
    pub(crate) fn read_small(&self, digest: &Digest) -> Result<Bytes, Error> {
        if let Some(bytes) = self.cache.get(digest) {
            return Ok(bytes);
        }
        let bytes = Bytes::from(self.blobs.read(digest, oci::MAX_MANIFEST as u64)?);
        self.cache.put(digest, &bytes);
        Ok(bytes)
    }

    pub(crate) fn forget_cached(&self, digest: &Digest) {
        self.cache.remove(digest);
    }

    /// Descriptor of a tag or digest in a repository.
    pub(crate) fn resolve(&self, repository: &str, reference: &str) -> Option<Descriptor> {
        let state = self.read();
        candidates(repository).iter().find_map(|name| {
            let repository = state.repositories.get(name.as_str())?;
            let digest = match repository.tags.get(reference) {
                Some(tag) => tag.digest.clone(),
                None => reference.parse().ok()?,
            };
            Some(repository.manifests.get(&digest)?.descriptor(&digest))
        })
    }

    pub(crate) fn repositories(&self) -> Vec<(String, Vec<String>)> {
        let state = self.read();
        state.repositories.iter().map(|(name, r)| (name.clone(), r.tags.keys().cloned().collect())).collect()
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.read();
        let size = |digest: &Digest| state.blobs.get(digest).copied().unwrap_or(0);
        let repositories = state.repositories.iter().map(|(name, r)| RepositoryUsage {
            name: name.clone(),
            tags: r.tags.len() as u64,
            manifests: r.manifests.len() as u64,
            blobs: r.blobs.len() as u64,
            bytes: r.blobs.keys().map(size).sum::<u64>() + r.manifests.values().map(|m| m.size).sum::<u64>(),
        });
        Usage {
            blobs: state.blobs.len() as u64,
            bytes: state.blobs.values().sum(),
            repositories: repositories.collect(),
        }
    }
}

/// Names under which a repository is looked for: Docker Hub's are known with and without `docker.io/` and `library/`.
pub(crate) fn candidates(name: &str) -> Vec<String> {
    let bare = name.strip_prefix("docker.io/").unwrap_or(name);
    let mut names = vec![name.to_owned()];
    if bare != name {
        names.push(bare.to_owned());
    }
    match bare.strip_prefix("library/") {
        Some(short) if !short.contains('/') => names.push(short.to_owned()),
        None if !bare.contains('/') => names.push(format!("library/{bare}")),
        _ => {}
    }
    names
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Takes over a layout that another tool wrote: names of the form `repository:tag`.
fn import(layout: &Layout, state: &mut State) -> Result<(), Error> {
    let open = |source| Error::Open { dir: layout.root().to_owned(), source };
    let at = now();
    for (name, descriptor) in layout.tags().map_err(open)? {
        let Ok(reference) = oci::Reference::parse(&name) else {
            tracing::warn!(name, "entry of index.json is not a repository and tag, left out");
            continue;
        };
        let repository = reference.repository().to_owned();
        for found in layout.reachable(&descriptor).map_err(open)? {
            match layout.document(&found) {
                Ok((bytes, document)) if !matches!(found.media_type.as_str(), "") && is_manifest(&found) => {
                    let meta = Meta::new(&document, &found.media_type, bytes.len() as u64, at, false);
                    state.add_manifest(&repository, &found.digest, meta);
                }
                _ if state.blobs.contains_key(&found.digest) => state.link(&repository, &found.digest, at),
                _ => {}
            }
        }
        state.tag(&repository, reference.tag().unwrap_or("latest"), &descriptor.digest, None);
    }
    Ok(())
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    oci::media::is_manifest(&descriptor.media_type) || oci::media::is_index(&descriptor.media_type)
}

/// Writes `index.json` after changes, for other tools.
struct IndexExport {
    layout: Layout,
    state: Arc<RwLock<State>>,
    last: Option<Index>,
}

impl Export for IndexExport {
    fn export(&mut self) {
        let mut index = Index::new(Vec::new());
        {
            let state = self.state.read().unwrap_or_else(|e| e.into_inner());
            for (name, repository) in &state.repositories {
                for (tag, entry) in &repository.tags {
                    if let Some(meta) = repository.manifests.get(&entry.digest) {
                        let mut descriptor = meta.descriptor(&entry.digest);
                        descriptor.annotations.insert(REF_NAME.into(), format!("{name}:{tag}"));
                        index.manifests.push(descriptor);
                    }
                }
            }
        }
        if self.last.as_ref() == Some(&index) {
            return;
        }
        match self.layout.replace_index(&index) {
            Ok(()) => self.last = Some(index),
            Err(error) => tracing::warn!(%error, "index.json of the registry could not be written"),
        }
    }
}
