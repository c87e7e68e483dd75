//! File trees without a file system: the build context, the merged view of an image's layers, and what `COPY` does between them.
//!
//! Owners, modes and contents come from archives and are never looked up on disk again, so the result does not depend on who
//! runs the build. Nothing here runs commands or talks to a registry.

pub mod chmod;
pub mod context;
pub mod copy;
pub mod hashes;
pub mod layers;
pub mod select;
pub mod view;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use oci::Digest;

/// Why a tree could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A source is not there.
    #[error("failed to calculate checksum: {path:?}: not found")]
    NotFound {
        /// As the instruction names it.
        path: String,
    },
    /// Links lead in a circle.
    #[error("too many links while resolving {path:?}")]
    Loop {
        /// Where it started.
        path: String,
    },
    /// The destination is in the way.
    #[error("{message}")]
    Conflict {
        /// What is in the way of what.
        message: String,
    },
    /// An archive is not usable.
    #[error("layer {layer} is not usable")]
    Archive {
        /// Which.
        layer: String,
        /// Why.
        source: oci::tar::Error,
    },
    /// An archive has an entry that must not be.
    #[error("archive entry {entry:?} {why}")]
    Entry {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// A blob cannot be read.
    #[error("image blob is not readable")]
    Blob(#[from] oci::blob::Error),
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { operation, path, source }
    }
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the build context.
    Disk(PathBuf),
    /// Inside a stored, uncompressed layer.
    Layer {
        /// The layer's diff id.
        layer: Digest,
        /// First byte.
        offset: u64,
        /// Bytes.
        size: u64,
        /// SHA-256 of the file.
        sha: [u8; 32],
    },
    /// Here.
    Bytes(Arc<[u8]>),
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// Directory.
    Dir,
    /// Regular file.
    File {
        /// Bytes.
        size: u64,
        /// Where they are.
        content: Content,
    },
    /// Symbolic link.
    Symlink(String),
    /// Character device.
    Char(u32, u32),
    /// Block device.
    Block(u32, u32),
    /// Named pipe.
    Fifo,
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Node {
    /// A directory owned by root, mode 0755.
    pub fn dir() -> Node {
        Node { kind: NodeKind::Dir, mode: 0o755, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }

    /// A file with these bytes, owned by root.
    pub fn file(bytes: impl Into<Arc<[u8]>>, mode: u32) -> Node {
        let bytes = bytes.into();
        let kind = NodeKind::File { size: bytes.len() as u64, content: Content::Bytes(bytes) };
        Node { kind, mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == NodeKind::Dir
    }
}

/// Something that can be looked into. Paths are relative, slash separated, without `.` and `..`; `""` is the root.
pub trait FileTree: Send + Sync {
    /// The node at a path whose parents are real directories.
    ///
    /// # Errors
    /// When the tree cannot be read.
    fn get(&self, path: &str) -> Result<Option<Node>, Error>;
    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// When the tree cannot be read.
    fn list(&self, path: &str) -> Result<Vec<String>, Error>;
    /// The bytes of a file.
    ///
    /// # Errors
    /// When the content cannot be opened.
    fn open(&self, content: &Content) -> Result<Box<dyn Read>, Error>;
    /// SHA-256 of a file.
    ///
    /// # Errors
    /// When the content cannot be read.
    fn sha(&self, content: &Content) -> Result<[u8; 32], Error>;
}

/// A tree with nothing in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Empty;

impl FileTree for Empty {
    fn get(&self, path: &str) -> Result<Option<Node>, Error> {
        Ok(path.is_empty().then(Node::dir))
    }
    fn list(&self, _: &str) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
    fn open(&self, content: &Content) -> Result<Box<dyn Read>, Error> {
        match content {
            Content::Bytes(bytes) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
            _ => Err(Error::NotFound { path: String::new() }),
        }
    }
    fn sha(&self, content: &Content) -> Result<[u8; 32], Error> {
        match content {
            Content::Bytes(bytes) => Ok(hashes::sha256(bytes)),
            _ => Err(Error::NotFound { path: String::new() }),
        }
    }
}

/// `a` + `b` with one slash.
pub fn join(a: &str, b: &str) -> String {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b.to_owned(),
        (_, true) => a.to_owned(),
        _ => format!("{a}/{b}"),
    }
}

/// The directory part of a tree path.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The last part of a tree path.
pub fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Follows links inside a tree, never out of it. The last part is followed only when `follow_last`. Missing parts are kept
/// as written, as for a path that is about to be created.
///
/// # Errors
/// When the tree cannot be read, or links go in a circle.
pub fn resolve(tree: &dyn FileTree, path: &str, follow_last: bool) -> Result<String, Error> {
    let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = rest.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.pop();
                continue;
            }
            _ => {}
        }
        let here = join(&done.join("/"), &part);
        let last = rest.iter().all(|part| part.is_empty() || part == ".");
        if let Some(Node { kind: NodeKind::Symlink(target), .. }) = tree.get(&here)?
            && (!last || follow_last)
        {
            links += 1;
            if links > 255 {
                return Err(Error::Loop { path: path.to_owned() });
            }
            if target.starts_with('/') {
                done.clear();
            }
            rest.extend(target.split('/').rev().map(str::to_owned));
            continue;
        }
        done.push(part);
    }
    Ok(done.join("/"))
}
