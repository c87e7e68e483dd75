//! Collects images that no Pod has, once they take more than their share of the disk: those that were used longest ago go first, as the
//! kubelet has it (Kubernetes, "Garbage collection of unused containers and images").

use super::Images;
use crate::error::{Error, Result};
use oci::{Descriptor, Digest};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, SystemTime};

/// How often the store is looked at, if something was pulled since.
pub(crate) const PERIOD: Duration = Duration::from_secs(300);
/// What was used within this time stays.
pub(crate) const YOUNG: Duration = Duration::from_secs(120);

/// A named image, with what of the store it needs.
struct Named {
    name: String,
    descriptor: Descriptor,
    blobs: Vec<Digest>,
    layers: Vec<PathBuf>,
    used: SystemTime,
}

/// Sizes in bytes, and how many need each.
struct Needs<K> {
    all: BTreeMap<K, (u64, usize)>,
}

impl<K: Ord + Clone> Needs<K> {
    fn new(sizes: impl Iterator<Item = (K, u64)>) -> Self {
        Self { all: sizes.map(|(key, size)| (key, (size, 0))).collect() }
    }

    fn add(&mut self, keys: &[K]) {
        for key in keys {
            if let Some((_, count)) = self.all.get_mut(key) {
                *count += 1;
            }
        }
    }

    fn take(&mut self, keys: &[K]) {
        for key in keys {
            if let Some((_, count)) = self.all.get_mut(key) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// The size of all that somebody needs.
    fn needed(&self) -> u64 {
        self.all.values().filter(|(_, count)| *count > 0).map(|(size, _)| size).sum()
    }

    fn whole(&self) -> u64 {
        self.all.values().map(|(size, _)| size).sum()
    }
}

impl Images {
    /// Removes images that no Pod has and that were not used for a time of `young`, until the rest takes at most `limit` bytes. Gives the
    /// bytes that are free now. Does nothing while an image is pulled.
    pub(crate) fn collect(&self, limit: u64, young: Duration) -> Result<u64> {
        let Ok(_alone) = self.turn.try_write() else { return Ok(0) };
        let failed = |error: oci::layout::Error| Error::Invalid(format!("collect images: {}", super::chain(&error)));
        let stored = self.layout.blobs().list();
        let stored = stored.map_err(|error| Error::Invalid(format!("collect images: {}", super::chain(&error))))?;
        let times: HashMap<Digest, SystemTime> =
            stored.iter().map(|blob| (blob.digest.clone(), blob.modified)).collect();
        let mut blobs = Needs::new(stored.into_iter().map(|blob| (blob.digest, blob.size)));
        let mut layers = Needs::new(unpacked(&self.layers)?.into_iter());
        let whole = blobs.whole() + layers.whole();
        if whole <= limit {
            return Ok(0);
        }
        let (held, held_layers) = self.held();
        layers.add(&held_layers);
        let mut named = Vec::new();
        for (name, descriptor) in self.layout.tags().map_err(failed)? {
            let reachable = self.layout.reachable(&descriptor).map_err(failed)?;
            let image = self.layout.image(&descriptor, &self.platform).ok();
            let of_image = image.iter().flat_map(|image| &image.config.rootfs.diff_ids);
            let one = Named {
                blobs: reachable.into_iter().map(|found| found.digest).collect(),
                layers: of_image.map(|diff_id| self.layers.join(diff_id.hex())).collect(),
                used: times.get(&descriptor.digest).copied().unwrap_or(SystemTime::UNIX_EPOCH),
                name,
                descriptor,
            };
            blobs.add(&one.blobs);
            layers.add(&one.layers);
            named.push(one);
        }
        let now = SystemTime::now();
        named.retain(|one| {
            let age = now.duration_since(one.used).unwrap_or_default();
            !held.contains(one.descriptor.digest.as_str()) && age >= young
        });
        named.sort_by_key(|one| one.used);
        for one in named {
            if blobs.needed() + layers.needed() <= limit {
                break;
            }
            // The name goes first: what a kill leaves then is needed by nobody, and goes the next time.
            self.layout.untag(&one.name).map_err(failed)?;
            self.loaded.lock().unwrap_or_else(PoisonError::into_inner).remove(&one.name);
            blobs.take(&one.blobs);
            layers.take(&one.layers);
            tracing::info!(image = one.name, "removed an image that no Pod has");
        }
        self.layout.gc(Duration::ZERO).map_err(failed)?;
        for (path, _) in layers.all.iter().filter(|(_, (_, count))| *count == 0) {
            remove_layer(path)?;
        }
        Ok(whole - blobs.needed() - layers.needed())
    }

    /// The images that Pods have, by digest, and their layers.
    fn held(&self) -> (HashSet<String>, Vec<PathBuf>) {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let known: HashSet<_> = loaded.values().map(|(_, image)| Arc::as_ptr(image)).collect();
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        // One is ours, and one of those who may be loaded again.
        let held = made
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|image| Arc::strong_count(image) > 1 + usize::from(known.contains(&Arc::as_ptr(image))));
        let (mut digests, mut layers) = (HashSet::new(), Vec::new());
        for image in held {
            digests.extend(image.id.rsplit_once('@').map(|(_, digest)| digest.to_owned()));
            layers.extend(image.layers.iter().cloned());
        }
        (digests, layers)
    }
}

/// Unpacked layers and their sizes.
fn unpacked(layers: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let listed = |error| Error::io(format!("list {}", layers.display()), error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(layers).map_err(listed)? {
        let path = entry.map_err(listed)?.path();
        let size = size_of(&path);
        found.push((path, size));
    }
    Ok(found)
}

/// Bytes of all files; what cannot be read counts as nothing.
fn size_of(path: &Path) -> u64 {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size_of(&entry.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

/// Removes a layer; a kill leaves none in part under its name.
fn remove_layer(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let going = path.with_file_name(format!(".{}", name.trim_start_matches('.')));
    let failed = |error| Error::io(format!("remove {}", path.display()), error);
    if going != path {
        std::fs::rename(path, &going).map_err(failed)?;
    }
    oci::layer::remove_tree(&going)
        .map_err(|error| Error::Invalid(format!("remove {}: {}", path.display(), super::chain(&error))))
}

#[cfg(test)]
mod tests {
    use super::super::PullPolicy;
    use super::*;
    use oci::client::Credentials;
    use serde_json::json;

    /// A store in which each image has a layer of its own of 64 KiB, unpacked, and all have another in common.
    struct Store {
        dir: tempfile::TempDir,
        images: Images,
    }

    impl Store {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (endpoints, credentials) = (oci::EndpointMap::default(), Credentials::new());
            let images = Images::open(dir.path(), endpoints, credentials, None, oci::signature::Policy::default());
            Self { dir, images: images.unwrap() }
        }

        fn add(&self, name: &str, age: u64) {
            let layout = &self.images.layout;
            let mut layers = Vec::new();
            let mut diff_ids = Vec::new();
            for content in ["common", name] {
                let digest = Digest::of(content.as_bytes());
                let unpacked = self.images.layers.join(digest.hex());
                std::fs::create_dir_all(&unpacked).unwrap();
                std::fs::write(unpacked.join("file"), vec![7; 64 << 10]).unwrap();
                layers.push(layout.put(oci::media::OCI_LAYER_GZIP, content.as_bytes()).unwrap());
                diff_ids.push(digest);
            }
            let platform = oci::Platform::host();
            let config = json!({"architecture": platform.architecture, "os": platform.os, "config": {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids}});
            let config = layout.put_json(oci::media::OCI_CONFIG, &config).unwrap();
            let manifest =
                json!({"schemaVersion": 2, "mediaType": oci::media::OCI_MANIFEST, "config": config, "layers": layers});
            let descriptor = layout.put_json(oci::media::OCI_MANIFEST, &manifest).unwrap();
            layout.tag(name, &descriptor).unwrap();
            let blob = std::fs::File::options().append(true).open(layout.blobs().path(&descriptor.digest)).unwrap();
            blob.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }

        async fn have(&self, name: &str) -> Arc<super::super::LocalImage> {
            self.images.ensure(name, PullPolicy::Never, None, || {}).await.unwrap()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = self.images.layout.tags().unwrap().into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        }

        /// Unpacked layers that are there.
        fn layers(&self) -> usize {
            std::fs::read_dir(self.dir.path().join("layers")).unwrap().count()
        }
    }

    #[tokio::test]
    async fn what_is_used_stays_and_the_oldest_go_first() {
        let store = Store::new();
        for (name, age) in [("h.local/a:1", 4000), ("h.local/b:1", 3000), ("h.local/c:1", 2000), ("h.local/d:1", 60)] {
            store.add(name, age);
        }
        let held = store.have("h.local/a:1").await;
        let room = |layers: u64| layers * (64 << 10) + (20 << 10);
        assert_eq!(store.images.collect(1 << 30, YOUNG).unwrap(), 0);
        assert!(store.images.collect(room(4), YOUNG).unwrap() > 64 << 10);
        assert_eq!(store.names(), ["h.local/a:1", "h.local/c:1", "h.local/d:1"], "the oldest that no Pod has is gone");
        assert_eq!(store.layers(), 4);
        assert!(store.images.collect(0, YOUNG).unwrap() > 64 << 10);
        assert_eq!(store.names(), ["h.local/a:1", "h.local/d:1"], "what is held and what is young stays");
        assert!(held.layers.iter().all(|layer| layer.join("file").exists()));
        drop(held);
        // It was used just now.
        assert_eq!(store.images.collect(0, YOUNG).unwrap(), 0);
        assert!(store.images.collect(0, Duration::ZERO).unwrap() > 128 << 10);
        assert_eq!((store.names().len(), store.layers()), (0, 0));
        assert_eq!(store.images.layout.blobs().list().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn layers_of_a_name_that_moved_on_stay_while_a_pod_has_them() {
        let store = Store::new();
        store.add("h.local/a:1", 4000);
        let held = store.have("h.local/a:1").await;
        store.images.layout.untag("h.local/a:1").unwrap();
        store.images.collect(0, YOUNG).unwrap();
        assert_eq!(store.layers(), 2);
        drop(held);
        store.images.loaded.lock().unwrap().clear();
        store.images.collect(0, YOUNG).unwrap();
        assert_eq!(store.layers(), 0);
    }

    #[test]
    fn nothing_goes_while_an_image_is_pulled() {
        let store = Store::new();
        store.add("h.local/a:1", 4000);
        let pulling = store.images.turn.try_read().unwrap();
        assert_eq!(store.images.collect(0, Duration::ZERO).unwrap(), 0);
        assert_eq!(store.names(), ["h.local/a:1"]);
        drop(pulling);
        assert!(store.images.collect(0, Duration::ZERO).unwrap() > 0);
        assert!(store.names().is_empty());
    }
}
