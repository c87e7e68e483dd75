//! Keeps the build cache from growing without end: the layers that were used longest ago go first.
//!
//! A layer's archive is touched when a build uses it. What is removed is only a cache miss later. Runs while nothing else builds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::Digest;

/// Notes that a layer is in use.
pub(crate) fn touch(archive: &Path) {
    let touched = fs::File::options().append(true).open(archive).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(wrong) = touched {
        tracing::debug!(archive = %archive.display(), error = %wrong, "use of a layer was not noted");
    }
}

/// Removes layers, oldest use first, until those left and their unpacked directories are below `limit` bytes. Gives the bytes
/// freed.
pub(crate) fn trim(cache: &Path, limit: u64) -> io::Result<u64> {
    let layers = cache.join("layers");
    let mut found: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    let mut total = 0;
    for entry in fs::read_dir(&layers)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "tar") {
            continue;
        }
        let meta = entry.metadata()?;
        let unpacked = root_of(cache, &path).is_some_and(|root| root.exists());
        let size = meta.len() * if unpacked { 2 } else { 1 };
        total += size;
        found.push((meta.modified()?, size, path));
    }
    if total <= limit {
        return Ok(0);
    }
    found.sort();
    let mut freed = 0;
    for (_, size, path) in found {
        if total - freed <= limit {
            break;
        }
        // The index goes first: without it the layer does not exist.
        remove(&path.with_extension("index"))?;
        if let Some(root) = root_of(cache, &path).filter(|root| root.exists()) {
            oci::layer::remove_tree(&root)?;
        }
        remove(&path)?;
        freed += size;
    }
    Ok(freed)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(wrong) if wrong.kind() != io::ErrorKind::NotFound => Err(wrong),
        _ => Ok(()),
    }
}

fn root_of(cache: &Path, archive: &Path) -> Option<PathBuf> {
    let hex = archive.file_stem()?.to_str()?;
    Some(cache.join("roots").join(hex.get(..24)?))
}

/// The directory that a layer is unpacked to.
pub(crate) fn root(cache: &Path, layer: &Digest) -> PathBuf {
    cache.join("roots").join(&layer.hex()[..24])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_longest_unused_go_first() {
        let cache = tempfile::tempdir().unwrap();
        let layers = cache.path().join("layers");
        fs::create_dir_all(&layers).unwrap();
        let make = |name: &str, age: u64| {
            let path = layers.join(format!("{}.tar", name.repeat(64)));
            fs::write(&path, vec![0; 100]).unwrap();
            fs::write(path.with_extension("index"), "[]").unwrap();
            fs::File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .set_modified(SystemTime::now() - Duration::from_secs(age))
                .unwrap();
            path
        };
        let (old, new, middle) = (make("a", 300), make("b", 10), make("c", 200));
        fs::create_dir_all(root_of(cache.path(), &old).unwrap()).unwrap();
        assert_eq!(trim(cache.path(), 400).unwrap(), 0);
        assert_eq!(trim(cache.path(), 250).unwrap(), 200, "an unpacked layer counts twice");
        assert!(
            !old.exists() && !old.with_extension("index").exists() && !root_of(cache.path(), &old).unwrap().exists()
        );
        touch(&middle);
        assert_eq!(trim(cache.path(), 100).unwrap(), 100);
        assert!(middle.exists() && !new.exists());
    }
}
