//! The build context: a directory seen through `.dockerignore`, owned by root.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::hashes::HashCache;
use super::{Content, Error, FileTree, Node, NodeKind, join};
use crate::ignore::Matcher;

/// A directory on disk as a tree.
pub struct Context {
    root: PathBuf,
    ignore: Matcher,
    hashes: HashCache,
}

impl Context {
    /// A context; `ignore` hides paths, `hashes` remembers contents.
    pub fn new(root: PathBuf, ignore: Matcher, hashes: HashCache) -> Context {
        Context { root, ignore, hashes }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps what was learnt about contents for the next build.
    pub fn save(&self) {
        self.hashes.save();
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// Whether an ignored directory has something below it that is not ignored.
    fn wanted_below(&self, path: &str) -> Result<bool, Error> {
        if !self.ignore.may_include_below(path) {
            return Ok(false);
        }
        let dir = self.at(path);
        let Ok(entries) = fs::read_dir(&dir) else { return Ok(false) };
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &dir))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let child = join(path, &name);
            if !self.ignore.matches(&child) {
                return Ok(true);
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && self.wanted_below(&child)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn visible(&self, path: &str, is_dir: bool) -> Result<bool, Error> {
        if path.is_empty() || self.ignore.is_empty() || !self.ignore.matches(path) {
            return Ok(true);
        }
        Ok(is_dir && self.wanted_below(path)?)
    }
}

impl FileTree for Context {
    fn get(&self, path: &str) -> Result<Option<Node>, Error> {
        let at = self.at(path);
        let meta = match fs::symlink_metadata(&at) {
            Ok(meta) => meta,
            Err(wrong) if matches!(wrong.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(wrong) => return Err(Error::io("inspect", at)(wrong)),
        };
        let kind = meta.file_type();
        if !self.visible(path, kind.is_dir())? {
            return Ok(None);
        }
        let kind = if kind.is_dir() {
            NodeKind::Dir
        } else if kind.is_symlink() {
            let target = fs::read_link(&at).map_err(Error::io("read link", &at))?;
            NodeKind::Symlink(target.to_string_lossy().into_owned())
        } else if kind.is_fifo() {
            NodeKind::Fifo
        } else if kind.is_file() {
            NodeKind::File { size: meta.len(), content: Content::Disk(at) }
        } else {
            return Ok(None);
        };
        let mode = if matches!(kind, NodeKind::Symlink(_)) { 0o777 } else { meta.permissions().mode() & 0o7777 };
        let _ = meta.uid();
        Ok(Some(Node { kind, mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        let dir = self.at(path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
            let entry = entry.map_err(Error::io("list", &dir))?;
            let name = entry.file_name().into_string().map_err(|name| Error::Entry {
                entry: name.to_string_lossy().into_owned(),
                why: "has a name that is not UTF-8".to_owned(),
            })?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if self.visible(&join(path, &name), is_dir)? {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, content: &Content) -> Result<Box<dyn Read>, Error> {
        match content {
            Content::Disk(path) => Ok(Box::new(fs::File::open(path).map_err(Error::io("open", path))?)),
            other => super::Empty.open(other),
        }
    }

    fn sha(&self, content: &Content) -> Result<[u8; 32], Error> {
        match content {
            Content::Disk(path) => self.hashes.sha(path),
            other => super::Empty.sha(other),
        }
    }
}
