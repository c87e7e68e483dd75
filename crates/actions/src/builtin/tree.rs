//! Copies of file trees that cost little: large files that tools replace rather than rewrite are linked, the rest is copied.
//!
//! A linked file is shared with a job that may still write to it. So each stored file has its size and time kept in a
//! manifest, and a tree of which a file no longer agrees is not used again.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A file as it was when it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The path below the root.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Time of the last change, seconds and nanoseconds.
    pub mtime: (i64, i64),
}

/// How files get from one place to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Linked where possible: the source is about to go away.
    Move,
    /// Linked where no tool rewrites in place, copied otherwise.
    Share,
    /// Copied.
    Copy,
}

/// Files of these kinds are written under a new name and put in place; nothing appends to them.
const REPLACED: &[&str] = &[
    "rlib", "rmeta", "so", "a", "o", "crate", "jar", "whl", "pack", "idx", "gz", "tgz", "zip", "zst", "xz", "class",
    "node", "wasm",
];
const WORTH_LINKING: u64 = 16 * 1024;

fn shareable(path: &Path, meta: &fs::Metadata) -> bool {
    meta.len() >= WORTH_LINKING
        && path.extension().and_then(|ext| ext.to_str()).is_some_and(|ext| REPLACED.contains(&ext))
}

/// Transfers `from` (a file, link or directory) to `to`; the files that were stored are added to `manifest`, with paths below `root`.
pub fn transfer(from: &Path, to: &Path, how: How, root: &Path, manifest: &mut Vec<Entry>) -> io::Result<u64> {
    let meta = from.symlink_metadata()?;
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let kind = meta.file_type();
    if kind.is_symlink() {
        if to.symlink_metadata().is_ok() {
            remove(to)?;
        }
        symlink(fs::read_link(from)?, to)?;
        return Ok(0);
    }
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        let mut total = 0;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            total += transfer(&entry.path(), &to.join(entry.file_name()), how, root, manifest)?;
        }
        fs::set_permissions(to, meta.permissions())?;
        set_mtime(to, &meta)?;
        return Ok(total);
    }
    if !kind.is_file() {
        // Sockets and pipes mean nothing without the process behind them.
        return Ok(0);
    }
    if to.symlink_metadata().is_ok() {
        remove(to)?;
    }
    let link = match how {
        How::Move => true,
        How::Share => shareable(from, &meta),
        How::Copy => false,
    };
    if !link || fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
        set_mtime(to, &meta)?;
    }
    if let Ok(path) = to.strip_prefix(root) {
        manifest.push(Entry { path: path.to_owned(), size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()) });
    }
    Ok(meta.len())
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn set_mtime(path: &Path, meta: &fs::Metadata) -> io::Result<()> {
    let times = fs::FileTimes::new().set_modified(meta.modified()?);
    fs::File::open(path)?.set_times(times)
}

/// Whether every stored file is as it was.
pub fn intact(root: &Path, manifest: &[Entry]) -> bool {
    manifest.iter().all(|entry| {
        root.join(&entry.path)
            .symlink_metadata()
            .is_ok_and(|meta| meta.len() == entry.size && (meta.mtime(), meta.mtime_nsec()) == entry.mtime)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_survives_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("deps")).unwrap();
        fs::write(from.join("deps/big.rlib"), vec![1; 20_000]).unwrap();
        fs::write(from.join("small"), "x").unwrap();
        fs::set_permissions(from.join("small"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("small", from.join("link")).unwrap();
        let store = dir.path().join("store");
        let mut manifest = Vec::new();
        assert_eq!(transfer(&from, &store.join("0"), How::Copy, &store, &mut manifest).unwrap(), 20_001);
        assert!(intact(&store, &manifest));
        let to = dir.path().join("to");
        transfer(&store.join("0"), &to, How::Share, &to, &mut Vec::new()).unwrap();
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("small"));
        assert_eq!(fs::metadata(to.join("small")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::metadata(to.join("deps/big.rlib")).unwrap().nlink(), 2);
        assert_eq!(
            fs::metadata(to.join("small")).unwrap().modified().unwrap(),
            fs::metadata(from.join("small")).unwrap().modified().unwrap()
        );
        // Replacing does no harm, writing in place is noticed.
        fs::remove_file(to.join("deps/big.rlib")).unwrap();
        assert!(intact(&store, &manifest));
        fs::write(store.join("0/small"), "changed").unwrap();
        assert!(!intact(&store, &manifest));
    }
}
