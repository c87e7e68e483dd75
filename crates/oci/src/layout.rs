//! An OCI image layout on disk: `oci-layout`, `index.json` and blobs.
//!
//! The index is the only mutable file. It is changed under a lock that other processes see too, by writing a new file and
//! renaming it. Names are `org.opencontainers.image.ref.name` annotations, so `skopeo` and others read them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::blob::{self, BlobStore, io_error, write_atomically};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::manifest::{self, Descriptor, Document, Index, MAX_MANIFEST, Manifest, Platform, REF_NAME};
use crate::media;

/// Largest image configuration that is read, in bytes.
pub const MAX_CONFIG: u64 = 16 * 1024 * 1024;

/// Why an operation on a layout failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A blob could not be stored or read.
    #[error("image layout {}: blob store failed", .0.display())]
    Blob(PathBuf, #[source] blob::Error),
    /// `index.json` is damaged.
    #[error("image layout {}: index.json is damaged", .0.display())]
    Index(PathBuf, #[source] serde_json::Error),
    /// Written by a version that is not understood.
    #[error("image layout {}: version {version:?} is not supported; only 1.0.0 is", root.display())]
    Version {
        /// The layout.
        root: PathBuf,
        /// Its version.
        version: String,
    },
    /// A manifest in the layout is damaged.
    #[error("image layout {}: manifest {digest} is damaged", root.display())]
    Manifest {
        /// The layout.
        root: PathBuf,
        /// The manifest.
        digest: Digest,
        /// What is wrong.
        source: manifest::Error,
    },
    /// An image configuration in the layout is damaged.
    #[error("image layout {}: image configuration {digest} is damaged", root.display())]
    Config {
        /// The layout.
        root: PathBuf,
        /// The configuration.
        digest: Digest,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// No entry for the platform.
    #[error("image {digest} has no manifest for {platform}; it has: {available}")]
    Platform {
        /// The index.
        digest: Digest,
        /// What was asked for.
        platform: String,
        /// What there is.
        available: String,
    },
}

/// A directory that is an OCI image layout.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    blobs: BlobStore,
}

/// An image of one platform in a layout.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration as it is stored.
    pub config_raw: Vec<u8>,
    /// The configuration.
    pub config: ImageConfig,
}

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs deleted.
    pub blobs: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Blobs that stay.
    pub kept: u64,
}

impl Layout {
    /// Opens the layout in `root`, or makes an empty one.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        let blobs = BlobStore::open(&root).map_err(|e| Error::Blob(root.clone(), e))?;
        let layout = Self { root, blobs };
        let marker = layout.root.join("oci-layout");
        match fs::read(&marker) {
            Ok(bytes) => {
                let value: serde_json::Value =
                    serde_json::from_slice(&bytes).map_err(|e| Error::Index(marker.clone(), e))?;
                match value["imageLayoutVersion"].as_str() {
                    Some("1.0.0") => {}
                    other => {
                        let version = other.unwrap_or_default().into();
                        return Err(Error::Version { root: layout.root, version });
                    }
                }
            }
            Err(_) => layout.write(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?,
        }
        if !layout.index_path().exists() {
            let _lock = layout.lock()?;
            if !layout.index_path().exists() {
                layout.write_index(&Index::new(Vec::new()))?;
            }
        }
        Ok(layout)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The blobs.
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// The index as it is now.
    pub fn index(&self) -> Result<Index, Error> {
        let path = self.index_path();
        let bytes = fs::read(&path).map_err(io_error("read", &path)).map_err(|e| self.blob(e))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Index(self.root.clone(), e))
    }

    /// Replaces the index, for an owner that keeps it elsewhere (the registry).
    pub fn replace_index(&self, index: &Index) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.write_index(index)
    }

    /// Gives `descriptor` the name `name`, which may have pointed elsewhere before.
    pub fn tag(&self, name: &str, descriptor: &Descriptor) -> Result<(), Error> {
        let mut entry = descriptor.clone();
        entry.annotations.insert(REF_NAME.into(), name.into());
        self.update(|index| {
            match index.manifests.iter_mut().find(|d| d.ref_name() == Some(name)) {
                Some(old) if *old == entry => return false,
                Some(old) => *old = entry,
                None => index.manifests.push(entry),
            }
            true
        })
        .map(drop)
    }

    /// Removes a name; false when there was none.
    pub fn untag(&self, name: &str) -> Result<bool, Error> {
        self.update(|index| {
            let before = index.manifests.len();
            index.manifests.retain(|d| d.ref_name() != Some(name));
            index.manifests.len() != before
        })
    }

    /// What a name points to.
    pub fn resolve(&self, name: &str) -> Result<Option<Descriptor>, Error> {
        Ok(self.index()?.manifests.into_iter().find(|d| d.ref_name() == Some(name)))
    }

    /// All names, in index order.
    pub fn tags(&self) -> Result<Vec<(String, Descriptor)>, Error> {
        let named = |d: Descriptor| d.ref_name().map(str::to_owned).map(|name| (name, d));
        Ok(self.index()?.manifests.into_iter().filter_map(named).collect())
    }

    /// Stores a value as JSON and describes it.
    pub fn put_json<T: Serialize>(&self, media_type: &str, value: &T) -> Result<Descriptor, Error> {
        let bytes = serde_json::to_vec(value).map_err(|e| Error::Index(self.root.clone(), e))?;
        self.put(media_type, &bytes)
    }

    /// Stores bytes and describes them.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, Error> {
        let digest = self.blobs.put(bytes).map_err(|e| self.blob(e))?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// Reads a manifest or index.
    pub fn document(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Document), Error> {
        let bytes = self.blobs.read(&descriptor.digest, MAX_MANIFEST as u64).map_err(|e| self.blob(e))?;
        let document = Document::parse(&bytes, Some(&descriptor.media_type)).map_err(|source| Error::Manifest {
            root: self.root.clone(),
            digest: descriptor.digest.clone(),
            source,
        })?;
        Ok((bytes, document))
    }

    /// The image for `platform` that `descriptor`, an index or a manifest, leads to. A manifest is taken whatever its
    /// platform.
    pub fn image(&self, descriptor: &Descriptor, platform: &Platform) -> Result<Image, Error> {
        let mut descriptor = descriptor.clone();
        // An index may point to an index; a cycle cannot be made without breaking the hash.
        loop {
            match self.document(&descriptor)?.1 {
                Document::Index(index) => match index.select(platform) {
                    Some(found) => descriptor = found.clone(),
                    None => {
                        let available: Vec<String> = index
                            .manifests
                            .iter()
                            .filter_map(|d| d.platform.as_ref())
                            .map(Platform::to_string)
                            .collect();
                        return Err(Error::Platform {
                            digest: descriptor.digest,
                            platform: platform.to_string(),
                            available: available.join(", "),
                        });
                    }
                },
                Document::Manifest(manifest) => {
                    let config_raw = self.blobs.read(&manifest.config.digest, MAX_CONFIG).map_err(|e| self.blob(e))?;
                    let config = serde_json::from_slice(&config_raw).map_err(|source| Error::Config {
                        root: self.root.clone(),
                        digest: manifest.config.digest.clone(),
                        source,
                    })?;
                    return Ok(Image { descriptor, manifest: *manifest, config_raw, config });
                }
            }
        }
    }

    /// Every blob that `descriptor` leads to, itself included; missing ones are named but not followed.
    pub fn reachable(&self, descriptor: &Descriptor) -> Result<Vec<Descriptor>, Error> {
        let mut seen = HashSet::new();
        let mut todo = vec![descriptor.clone()];
        let mut found = Vec::new();
        while let Some(next) = todo.pop() {
            if !seen.insert(next.digest.clone()) {
                continue;
            }
            let nested = media::is_index(&next.media_type) || media::is_manifest(&next.media_type);
            if nested && self.blobs.size(&next.digest).map_err(|e| self.blob(e))?.is_some() {
                todo.extend(self.document(&next)?.1.children().into_iter().cloned());
            }
            found.push(next);
        }
        Ok(found)
    }

    /// Deletes blobs that no entry of the index leads to and that nobody wrote or used for `grace`.
    pub fn gc(&self, grace: Duration) -> Result<Collected, Error> {
        let _lock = self.lock()?;
        let mut keep = HashSet::new();
        for entry in self.index()?.manifests {
            keep.extend(self.reachable(&entry)?.into_iter().map(|d| d.digest));
        }
        self.blobs.sweep_ingest(grace).map_err(|e| self.blob(e))?;
        let now = SystemTime::now();
        let mut collected = Collected::default();
        for stored in self.blobs.list().map_err(|e| self.blob(e))? {
            let young = now.duration_since(stored.modified).unwrap_or_default() < grace;
            if !young && !keep.contains(&stored.digest) {
                if self.blobs.remove(&stored.digest).map_err(|e| self.blob(e))? {
                    collected.blobs += 1;
                    collected.bytes += stored.size;
                }
            } else {
                collected.kept += 1;
            }
        }
        Ok(collected)
    }

    fn update(&self, change: impl FnOnce(&mut Index) -> bool) -> Result<bool, Error> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let changed = change(&mut index);
        if changed {
            self.write_index(&index)?;
        }
        Ok(changed)
    }

    fn write_index(&self, index: &Index) -> Result<(), Error> {
        let bytes = serde_json::to_vec(index).map_err(|e| Error::Index(self.root.clone(), e))?;
        self.write(&self.index_path(), &bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        write_atomically(path, bytes).map_err(|e| self.blob(e))
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    /// Held until dropped; `flock`, so other processes and other threads wait.
    fn lock(&self) -> Result<File, Error> {
        let path = self.root.join("ingest").join(".lock");
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(io_error("lock", &path))
            .map_err(|e| self.blob(e))
    }

    fn blob(&self, error: blob::Error) -> Error {
        Error::Blob(self.root.clone(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(layout: &Layout, text: &str) -> Descriptor {
        let layer = layout.put(media::OCI_LAYER, text.as_bytes()).expect("layer");
        let config = layout.put_json(media::OCI_CONFIG, &ImageConfig::default()).expect("config");
        layout.put_json(media::OCI_MANIFEST, &Manifest::new(config, vec![layer])).expect("manifest")
    }

    #[test]
    fn names_move_and_garbage_goes() {
        let dir = tempfile::tempdir().expect("tempdir");
        let layout = Layout::open(dir.path()).expect("open");
        let (one, two) = (image(&layout, "one"), image(&layout, "two"));
        layout.tag("a:1", &one).expect("tag");
        layout.tag("a:1", &two).expect("tag");
        layout.tag("b:1", &two).expect("tag");
        assert_eq!(layout.resolve("a:1").expect("resolve").expect("found").digest, two.digest);
        assert_eq!(layout.gc(Duration::from_secs(3600)).expect("gc").blobs, 0);
        let collected = layout.gc(Duration::ZERO).expect("gc");
        assert_eq!((collected.blobs, collected.kept), (2, 3));
        assert!(layout.untag("a:1").expect("untag"));
        assert!(!layout.untag("a:1").expect("untag"));
        let again = Layout::open(dir.path()).expect("reopen");
        assert_eq!(again.tags().expect("tags").len(), 1);
        assert_eq!(again.image(&two, &Platform::host()).expect("image").manifest.layers.len(), 1);
    }

    #[test]
    fn concurrent_tags_are_all_kept() {
        let dir = tempfile::tempdir().expect("tempdir");
        let layout = Layout::open(dir.path()).expect("open");
        let descriptor = image(&layout, "x");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (layout, descriptor) = (Layout::open(dir.path()).expect("open"), descriptor.clone());
                scope.spawn(move || layout.tag(&format!("t:{n}"), &descriptor).expect("tag"));
            }
        });
        assert_eq!(layout.tags().expect("tags").len(), 8);
    }
}
