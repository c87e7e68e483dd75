//! Which step gave which layer. Keys are digests of everything a step can see; values are diff ids.
//!
//! A missing or damaged record is only a miss. Nothing depends on times.

pub mod carried;

use std::fs;
use std::path::PathBuf;

use oci::Digest;
use sha2::{Digest as _, Sha256};

/// Raised whenever the same key would give another layer.
const VERSION: &str = "2";

/// A cache key in the making.
pub struct Key(Sha256);

impl Key {
    /// A key of one kind of step.
    pub fn new(kind: &str) -> Key {
        Key(Sha256::new()).with(VERSION).with(kind)
    }

    /// Adds a part; parts cannot run into each other.
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Key {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds many parts.
    pub fn with_all<T: AsRef<[u8]>>(self, parts: impl IntoIterator<Item = T>) -> Key {
        let mut key = self;
        let mut count = 0u64;
        for part in parts {
            key = key.with(part);
            count += 1;
        }
        key.with(count.to_le_bytes())
    }

    /// The finished key.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// The records on disk.
#[derive(Debug)]
pub struct StepCache {
    root: PathBuf,
    read: bool,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The step made this layer.
    Layer(Digest),
    /// The step changed nothing.
    Nothing,
}

impl StepCache {
    /// Records below `root`; with `read` off every lookup misses (`--no-cache`).
    pub fn new(root: PathBuf, read: bool) -> StepCache {
        StepCache { root, read }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(&key[..2]).join(key)
    }

    /// What is known under a key.
    pub fn get(&self, key: &str) -> Option<Known> {
        if !self.read {
            return None;
        }
        match fs::read_to_string(self.path(key)).ok()?.trim() {
            "none" => Some(Known::Nothing),
            text => text.parse().ok().map(Known::Layer),
        }
    }

    /// Records a result. Losing it costs only time, so errors are logged and dropped.
    pub fn put(&self, key: &str, known: &Known) {
        let path = self.path(key);
        let text = match known {
            Known::Layer(layer) => layer.to_string(),
            Known::Nothing => "none".to_owned(),
        };
        let dir = self.root.join(&key[..2]);
        let written = fs::create_dir_all(&dir).and_then(|()| {
            let temp = tempfile::NamedTempFile::new_in(&dir)?;
            fs::write(temp.path(), text)?;
            temp.persist(&path).map_err(|wrong| wrong.error)?;
            Ok(())
        });
        if let Err(wrong) = written {
            tracing::debug!(path = %path.display(), error = %wrong, "build step was not remembered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let key = |parts: &[&str]| parts.iter().fold(Key::new("x"), |key, part| key.with(part)).finish();
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["a"]), key(&["a"]));
        assert_ne!(
            Key::new("x").with_all(["a", "b"]).with_all::<&str>([]).finish(),
            Key::new("x").with_all(["a"]).with_all(["b"]).finish()
        );
    }

    #[test]
    fn remembers_and_misses() {
        let dir = tempfile::tempdir().unwrap();
        let cache = StepCache::new(dir.path().to_owned(), true);
        let key = Key::new("x").finish();
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &Known::Layer(Digest::of(b"a")));
        assert_eq!(cache.get(&key), Some(Known::Layer(Digest::of(b"a"))));
        assert_eq!(StepCache::new(dir.path().to_owned(), false).get(&key), None);
        fs::write(cache.path(&key), "damaged").unwrap();
        assert_eq!(cache.get(&key), None);
    }
}
