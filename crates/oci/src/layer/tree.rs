//! Putting a directory into a layer: sorted, with hard links, extended attributes and overlay whiteouts.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Error, Writer};
use crate::tar::{Entry, Kind};

/// Translates an owner and group.
pub type MapOwner = fn(u32, u32) -> (u32, u32);
/// Whether a relative name is left out.
pub type Skip = Box<dyn Fn(&[u8]) -> bool>;

/// How a directory becomes entries.
#[derive(Default)]
pub struct TreeOptions {
    /// Where in the layer it goes, without slashes at the ends; empty for the root.
    pub prefix: Vec<u8>,
    /// Whether the directory itself gets an entry (never for an empty prefix).
    pub include_root: bool,
    /// Whether it is the upper directory of an overlay, whose whiteouts become `.wh.` files.
    pub overlay_upper: bool,
    /// One owner for all entries.
    pub owner: Option<(u32, u32)>,
    /// Translates owners from those on disk, when `owner` is not set.
    pub map_owner: Option<MapOwner>,
    /// Names relative to the directory that are left out, with everything below them.
    pub skip: Option<Skip>,
}

impl std::fmt::Debug for TreeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeOptions").field("prefix", &String::from_utf8_lossy(&self.prefix)).finish_non_exhaustive()
    }
}

struct Walk<'a, W: Write> {
    writer: &'a mut Writer<W>,
    options: &'a TreeOptions,
    links: HashMap<(u64, u64), Vec<u8>>,
}

pub(super) fn append<W: Write>(writer: &mut Writer<W>, root: &Path, options: &TreeOptions) -> Result<(), Error> {
    let mut walk = Walk { writer, options, links: HashMap::new() };
    let metadata = fs::symlink_metadata(root).map_err(tree_error("look up", root))?;
    if !metadata.is_dir() {
        return walk.one(root, &options.prefix, &metadata);
    }
    if options.include_root && !options.prefix.is_empty() {
        walk.one(root, &options.prefix, &metadata)?;
    }
    walk.children(root, &options.prefix, b"")
}

impl<W: Write> Walk<'_, W> {
    fn children(&mut self, dir: &Path, name: &[u8], relative: &[u8]) -> Result<(), Error> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                with_owner_access(dir, 0o700, || fs::read_dir(dir)).map_err(tree_error("list", dir))?
            }
            other => other.map_err(tree_error("list", dir))?,
        };
        for entry in entries {
            names.push(entry.map_err(tree_error("list", dir))?.file_name().into_vec());
        }
        names.sort_unstable();
        for child in names {
            let path = dir.join(OsStr::from_bytes(&child));
            let relative = join(relative, &child);
            if self.options.skip.as_ref().is_some_and(|skip| skip(&relative)) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).map_err(tree_error("look up", &path))?;
            let entry_name = join(name, &child);
            if self.options.overlay_upper && is_whiteout(&path, &metadata) {
                self.writer.whiteout(&entry_name)?;
                continue;
            }
            self.one(&path, &entry_name, &metadata)?;
            if metadata.is_dir() {
                if self.options.overlay_upper && is_opaque(&path)? {
                    self.writer.opaque(&entry_name)?;
                }
                self.children(&path, &entry_name, &relative)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &Path, name: &[u8], metadata: &Metadata) -> Result<(), Error> {
        let kind = metadata.file_type();
        let mut entry = Entry::new(name, Kind::File, metadata.mode() & 0o7777);
        let (uid, gid) = match (self.options.owner, self.options.map_owner) {
            (Some(owner), _) => owner,
            (None, Some(map)) => map(metadata.uid(), metadata.gid()),
            (None, None) => (metadata.uid(), metadata.gid()),
        };
        (entry.uid, entry.gid) = (uid.into(), gid.into());
        entry.mtime = (metadata.mtime(), 0);
        if !metadata.is_dir() && metadata.nlink() > 1 {
            match self.links.get(&(metadata.dev(), metadata.ino())) {
                Some(first) => {
                    entry.kind = Kind::HardLink;
                    entry.link = first.clone();
                    return self.writer.append(&entry, io::empty());
                }
                None => {
                    self.links.insert((metadata.dev(), metadata.ino()), name.to_vec());
                }
            }
        }
        entry.xattrs = xattrs(path)?;
        if kind.is_file() {
            entry.size = metadata.len();
            let file = match File::open(path) {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    with_owner_access(path, 0o400, || File::open(path))
                }
                other => other,
            };
            return self.writer.append(&entry, file.map_err(tree_error("open", path))?);
        }
        let rdev = metadata.rdev();
        if kind.is_symlink() {
            entry.kind = Kind::Symlink;
            entry.mode = 0o777;
            entry.link = fs::read_link(path).map_err(tree_error("read link", path))?.into_os_string().into_vec();
        } else if kind.is_dir() {
            entry.kind = Kind::Directory;
        } else if kind.is_fifo() {
            entry.kind = Kind::Fifo;
        } else if kind.is_char_device() || kind.is_block_device() {
            entry.kind = if kind.is_char_device() { Kind::Char } else { Kind::Block };
            entry.device = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
        } else {
            // A socket is bound to a process that is gone.
            tracing::debug!(path = %path.display(), "socket left out of the layer");
            return Ok(());
        }
        self.writer.append(&entry, io::empty())
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

fn is_whiteout(path: &Path, metadata: &Metadata) -> bool {
    let device = metadata.file_type().is_char_device() && metadata.rdev() == 0;
    let marked = || metadata.is_file() && metadata.len() == 0 && xattr(path, "user.overlay.whiteout").is_some();
    device || marked()
}

fn is_opaque(path: &Path) -> Result<bool, Error> {
    for space in ["trusted", "user"] {
        if xattr(path, &format!("{space}.overlay.redirect")).is_some() {
            let source =
                io::Error::other("the overlay was mounted with redirect_dir=on; mount it with redirect_dir=off");
            return Err(tree_error("put into a layer", path)(source));
        }
    }
    let opaque = |name: &str| xattr(path, name).as_deref() == Some(b"y");
    Ok(opaque("trusted.overlay.opaque") || opaque("user.overlay.opaque"))
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 64 * 1024];
    let n = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(n);
    Some(value)
}

/// What a layer carries: capabilities and user attributes, not labels of this machine or the overlay's own.
fn xattrs(path: &Path) -> Result<std::collections::BTreeMap<Vec<u8>, Vec<u8>>, Error> {
    let mut found = std::collections::BTreeMap::new();
    let mut names = vec![0; 64 * 1024];
    let Ok(n) = rustix::fs::llistxattr(path, names.as_mut_slice()) else { return Ok(found) };
    for name in names[..n].split(|b| *b == 0) {
        let wanted =
            name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."));
        if let (true, Ok(text)) = (wanted, std::str::from_utf8(name))
            && let Some(value) = xattr(path, text)
        {
            found.insert(name.to_vec(), value);
        }
    }
    Ok(found)
}

/// Runs `action` while the file's owner has `bits`, as root could without them.
fn with_owner_access<T>(path: &Path, bits: u32, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = fs::symlink_metadata(path)?.permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(before.mode() | bits))?;
    let result = action();
    fs::set_permissions(path, before)?;
    result
}

fn tree_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Tree { action, path, source }
}
