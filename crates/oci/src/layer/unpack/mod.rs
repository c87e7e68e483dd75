//! Unpacking a layer into a directory.

mod whiteouts;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::compress::{SharedMeter, decoder};
use super::place::{self, Directory, MAX_DEPTH, Root, WalkError};
use super::{Error, OPAQUE, WHITEOUT};
use crate::Digest;
use crate::tar::{Entry, Kind, Reader};

/// Bytes that may follow the end of an archive; writers pad to a few kilobytes.
const MAX_TRAILER: u64 = 16 << 20;

/// What deletions in a layer become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteouts {
    /// They delete what is in the destination, which holds the layers below.
    Apply,
    /// They become overlayfs whiteouts; the destination is one lower directory.
    Overlay(OverlayXattr),
}

/// Name space of overlayfs's own attributes: `user` for mounts with `userxattr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayXattr {
    /// `trusted` where permitted, else `user`.
    Auto,
    /// `trusted.overlay.*`, needs CAP_SYS_ADMIN in the first user namespace.
    Trusted,
    /// `user.overlay.*`.
    User,
}

/// How much a layer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of file content.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

impl Default for Limits {
    /// 64 GiB and four million entries.
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000 }
    }
}

/// How a layer is unpacked.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// What deletions become.
    pub whiteouts: Whiteouts,
    /// Whether owners are set. What this process may not set is counted, not an error.
    pub owners: bool,
    /// Directories of the layers below, nearest first. Directories that the layer implies without an entry get mode and
    /// owner from there, and hard links find their targets.
    pub parents: Vec<PathBuf>,
    /// Limits.
    pub limits: Limits,
    /// Digest that the uncompressed content must have.
    pub diff_id: Option<Digest>,
}

impl Default for UnpackOptions {
    /// Applies whiteouts and sets owners when this process is root.
    fn default() -> Self {
        Self {
            whiteouts: Whiteouts::Apply,
            owners: rustix::process::geteuid().is_root(),
            parents: Vec::new(),
            limits: Limits::default(),
            diff_id: None,
        }
    }
}

/// What was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Digest of the bytes that were read.
    pub digest: Digest,
    /// Entries.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
    /// Entries whose owner could not be set.
    pub owners_ignored: u64,
    /// Devices below `dev` that were left out; the runtime provides its own.
    pub devices_skipped: u64,
    /// Whether a deletion or an opaque directory was written in the `user` name space.
    pub user_xattrs: bool,
}

/// Unpacks a layer (plain, gzip or zstd, told by its first bytes) into the existing directory `dest`.
///
/// Blocking. On an error the destination is left half filled: unpack into a fresh directory and rename it.
pub fn unpack(reader: impl Read, dest: &Path, options: &UnpackOptions) -> Result<Unpacked, Error> {
    let packed = SharedMeter::new(reader);
    let plain = SharedMeter::new(decoder(packed.clone()).map_err(Error::Source)?);
    let mut archive = Reader::new(plain.clone());
    let root = Root::open(dest).map_err(|source| Error::Tree { action: "open", path: dest.to_owned(), source })?;
    let mut unpacker = Unpacker {
        root,
        dest,
        options,
        written: HashSet::new(),
        directories: BTreeMap::new(),
        buffer: vec![0; 128 * 1024],
        entries: 0,
        bytes: 0,
        owners_ignored: 0,
        devices_skipped: 0,
        user_xattrs: false,
    };
    while let Some(entry) = archive.next_entry()? {
        unpacker.entry(&entry, &mut archive)?;
    }
    // What follows the end of the archive is part of the digests. It is bounded like content is.
    let drain = |source: &mut dyn Read| match io::copy(&mut source.take(MAX_TRAILER), &mut io::sink()) {
        Ok(MAX_TRAILER) => Err(Error::Limit { what: "bytes after the end of the archive", limit: MAX_TRAILER }),
        Ok(_) => Ok(()),
        Err(e) => Err(Error::Source(e)),
    };
    drain(archive.inner())?;
    drain(&mut packed.clone())?;
    unpacker.finish_directories()?;
    let unpacked = Unpacked {
        diff_id: plain.digest(),
        digest: packed.digest(),
        entries: unpacker.entries,
        bytes: unpacker.bytes,
        owners_ignored: unpacker.owners_ignored,
        devices_skipped: unpacker.devices_skipped,
        user_xattrs: unpacker.user_xattrs,
    };
    match &options.diff_id {
        Some(expected) if *expected != unpacked.diff_id => {
            Err(Error::DiffId { expected: expected.clone(), found: unpacked.diff_id })
        }
        _ => Ok(unpacked),
    }
}

struct Unpacker<'a> {
    root: Root,
    dest: &'a Path,
    options: &'a UnpackOptions,
    /// Real paths that this layer brought, which its own whiteouts leave alone.
    written: HashSet<Vec<u8>>,
    /// Directories whose mode and time are set at the end, by real path.
    directories: BTreeMap<Vec<u8>, (u32, Timestamps)>,
    buffer: Vec<u8>,
    entries: u64,
    bytes: u64,
    owners_ignored: u64,
    devices_skipped: u64,
    user_xattrs: bool,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: &Entry, data: &mut impl Read) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.options.limits.entries {
            return Err(Error::Limit { what: "entries", limit: self.options.limits.entries });
        }
        let components = components(entry, &entry.path)?;
        let Some((name, parents)) = components.split_last() else {
            if entry.kind != Kind::Directory {
                return Err(refused(entry, "the root must be a directory"));
            }
            let mode = entry.mode;
            self.set_owner(
                entry,
                self.root.fd().as_fd().try_clone_to_owned().map_err(|e| self.failed(entry, "open root", e))?,
            )?;
            self.directories.insert(Vec::new(), (mode, times(entry)));
            return Ok(());
        };
        if parents.iter().any(|c| c.starts_with(WHITEOUT)) {
            return Err(refused(entry, "a directory on the way has the name of a whiteout"));
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(entry, parents, name, hidden);
        }
        let parent = self.parent(entry, parents)?;
        if matches!(entry.kind, Kind::Char | Kind::Block) {
            if components[0] == b"dev" {
                self.devices_skipped += 1;
                return Ok(());
            }
            return Err(refused(entry, "device files outside /dev are not unpacked"));
        }
        let real = join(&parent.path, name);
        let mut opaque = false;
        if let Some(kind) = self.kind_at(entry, &parent, name)? {
            let keep = kind == FileType::Directory && entry.kind == Kind::Directory;
            if !keep {
                if entry.kind == Kind::HardLink && self.links_to_itself(entry, &real)? {
                    return Err(refused(entry, "a hard link to itself"));
                }
                opaque = entry.kind == Kind::Directory && self.is_whiteout(&parent, name, kind);
                self.remove(entry, &parent, name, &real)?;
            }
        }
        match entry.kind {
            Kind::Directory => self.directory(entry, &parent, name, &real, opaque)?,
            Kind::File => self.file(entry, &parent, name, data)?,
            Kind::HardLink => self.hard_link(entry, &parent, name)?,
            Kind::Symlink => {
                if entry.link.is_empty() || entry.link.contains(&0) {
                    return Err(refused(entry, "a symbolic link without a valid target"));
                }
                self.root.forget();
                rustix::fs::symlinkat(entry.link.as_slice(), &*parent.fd, *name)
                    .map_err(|e| self.failed(entry, "make symbolic link", e.into()))?;
                self.set_owner_at(entry, &parent, name)?;
                let _ = rustix::fs::utimensat(&*parent.fd, *name, &times(entry), AtFlags::SYMLINK_NOFOLLOW);
            }
            Kind::Fifo => {
                rustix::fs::mknodat(&*parent.fd, *name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                    .map_err(|e| self.failed(entry, "make named pipe", e.into()))?;
                self.set_owner_at(entry, &parent, name)?;
                rustix::fs::chmodat(&*parent.fd, *name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                    .map_err(|e| self.failed(entry, "set mode", e.into()))?;
                let _ = rustix::fs::utimensat(&*parent.fd, *name, &times(entry), AtFlags::SYMLINK_NOFOLLOW);
            }
            Kind::Char | Kind::Block => {}
        }
        if self.options.whiteouts == Whiteouts::Apply {
            self.written.insert(real);
        }
        Ok(())
    }

    fn directory(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        name: &[u8],
        real: &[u8],
        opaque: bool,
    ) -> Result<(), Error> {
        match rustix::fs::mkdirat(&*parent.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(self.failed(entry, "make directory", e.into())),
        }
        let fd = self.open_directory(parent, name).map_err(|e| self.failed(entry, "open directory", e))?;
        if opaque {
            self.mark_opaque(entry, &fd)?;
        }
        self.set_xattrs(entry, &fd)?;
        // Only now may the mode take away this process's own access, so it waits until the end.
        let _ = rustix::fs::fchmod(&fd, Mode::from_raw_mode(entry.mode | 0o700));
        self.set_owner(entry, fd)?;
        self.directories.insert(real.to_vec(), (entry.mode, times(entry)));
        Ok(())
    }

    fn file(&mut self, entry: &Entry, parent: &Directory, name: &[u8], data: &mut impl Read) -> Result<(), Error> {
        let limit = self.options.limits.bytes;
        if entry.size > limit.saturating_sub(self.bytes) {
            return Err(Error::Limit { what: "bytes", limit });
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*parent.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| self.failed(entry, "create file", e.into()))?;
        let mut file = File::from(fd);
        loop {
            match data.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let written = file.write_all(&self.buffer[..n]);
                    written.map_err(|e| self.failed(entry, "write file", e))?;
                    self.bytes += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::Source(e)),
            }
        }
        let fd = OwnedFd::from(file);
        let again = fd.try_clone().map_err(|e| self.failed(entry, "duplicate descriptor", e))?;
        self.set_owner(entry, again)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(entry.mode))
            .map_err(|e| self.failed(entry, "set mode", e.into()))?;
        self.set_xattrs(entry, &fd)?;
        rustix::fs::futimens(&fd, &times(entry)).map_err(|e| self.failed(entry, "set time", e.into()))
    }

    fn hard_link(&mut self, entry: &Entry, parent: &Directory, name: &[u8]) -> Result<(), Error> {
        let target = components(entry, &entry.link)?;
        let Some((target_name, target_parents)) = target.split_last() else {
            return Err(refused(entry, "a hard link to the root"));
        };
        let found = match self.root.directory(target_parents, None) {
            Ok(directory) => self.kind_at(entry, &directory, target_name)?.map(|kind| (directory, kind)),
            Err(WalkError::Missing) => None,
            Err(other) => return Err(self.walk_failed(entry, other)),
        };
        match found {
            Some((directory, FileType::RegularFile | FileType::Symlink | FileType::Fifo)) => {
                rustix::fs::linkat(&*directory.fd, *target_name, &*parent.fd, name, AtFlags::empty())
                    .map_err(|e| self.failed(entry, "make hard link", e.into()))
            }
            Some(_) => Err(refused(entry, "a hard link to something that is not a file")),
            None => self.copy_from_parents(entry, &target, parent, name),
        }
    }

    /// A hard link to a file of a layer below: overlayfs cannot link across, so it becomes a copy.
    fn copy_from_parents(
        &mut self,
        entry: &Entry,
        target: &[&[u8]],
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), Error> {
        for below in &self.options.parents {
            let Some((last, parents)) = target.split_last() else { continue };
            let Ok(mut root) = Root::open(below) else { continue };
            let Ok(directory) = root.directory(parents, None) else { continue };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(fd) = rustix::fs::openat(&*directory.fd, *last, flags, Mode::empty()) else { continue };
            let mut file = File::from(fd);
            let metadata = file.metadata().map_err(|e| self.failed(entry, "look up link target", e))?;
            if !metadata.is_file() {
                continue;
            }
            let copy = Entry {
                kind: Kind::File,
                size: metadata.len(),
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid().into(),
                gid: metadata.gid().into(),
                mtime: (metadata.mtime(), metadata.mtime_nsec() as u32),
                ..entry.clone()
            };
            return self.file(&copy, parent, name, &mut file);
        }
        let shown = String::from_utf8_lossy(&entry.link).chars().take(300).collect::<String>();
        Err(refused(entry, &format!("a hard link to {shown:?}, which does not exist")))
    }

    fn parent(&mut self, entry: &Entry, parents: &[&[u8]]) -> Result<Directory, Error> {
        let below = &self.options.parents;
        let owners = self.options.owners;
        let directories = &mut self.directories;
        let whiteouts = self.options.whiteouts;
        let written = &mut self.written;
        let mut make = |here: &Directory, name: &[u8]| -> io::Result<()> {
            rustix::fs::mkdirat(&*here.fd, name, Mode::RWXU)?;
            let real = join(&here.path, name);
            let model = below.iter().find_map(|dir| {
                let metadata = std::fs::symlink_metadata(dir.join(OsStr::from_bytes(&real))).ok()?;
                metadata.is_dir().then_some(metadata)
            });
            let (mode, at) = match &model {
                Some(m) => (m.mode() & 0o7777, (m.mtime(), m.mtime_nsec())),
                None => (0o755, (0, 0)),
            };
            rustix::fs::chmodat(&*here.fd, name, Mode::from_raw_mode(mode | 0o700), AtFlags::empty())?;
            if let (true, Some(m)) = (owners, &model) {
                let (uid, gid) = (Uid::from_raw(m.uid()), Gid::from_raw(m.gid()));
                let _ = rustix::fs::chownat(&*here.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            }
            directories.insert(real.clone(), (mode, stamps(at.0, at.1)));
            if whiteouts == Whiteouts::Apply {
                written.insert(real);
            }
            Ok(())
        };
        let found = self.root.directory(parents, Some(&mut make));
        let found = found.map_err(|e| self.walk_failed(entry, e))?;
        if self.options.whiteouts == Whiteouts::Apply && !self.written.contains(&found.path) {
            // So that a whiteout of an ancestor later in the layer keeps the way here.
            let mut path = found.path.as_slice();
            while !path.is_empty() && self.written.insert(path.to_vec()) {
                path = &path[..path.iter().rposition(|b| *b == b'/').unwrap_or(0)];
            }
        }
        Ok(found)
    }

    fn kind_at(&self, entry: &Entry, parent: &Directory, name: &[u8]) -> Result<Option<FileType>, Error> {
        match rustix::fs::statat(&*parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed(entry, "look up", e.into())),
        }
    }

    fn remove(&mut self, entry: &Entry, parent: &Directory, name: &[u8], real: &[u8]) -> Result<(), Error> {
        self.root.forget();
        place::remove_at(&parent.fd, name).map_err(|e| self.failed(entry, "remove", e))?;
        let inside = |path: &Vec<u8>| path.strip_prefix(real).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        self.directories.retain(|path, _| !inside(path));
        Ok(())
    }

    fn links_to_itself(&mut self, entry: &Entry, real: &[u8]) -> Result<bool, Error> {
        let target = components(entry, &entry.link)?;
        let Some((name, parents)) = target.split_last() else { return Ok(false) };
        match self.root.directory(parents, None) {
            Ok(directory) => Ok(join(&directory.path, name) == real),
            Err(WalkError::Missing) => Ok(false),
            Err(other) => Err(self.walk_failed(entry, other)),
        }
    }

    fn set_owner(&mut self, entry: &Entry, fd: OwnedFd) -> Result<(), Error> {
        if !self.options.owners {
            return Ok(());
        }
        let (uid, gid) = owner(entry)?;
        match rustix::fs::fchown(&fd, Some(uid), Some(gid)) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::INVAL) => {
                self.owners_ignored += 1;
                Ok(())
            }
            Err(e) => Err(self.failed(entry, "set owner", e.into())),
        }
    }

    fn set_owner_at(&mut self, entry: &Entry, parent: &Directory, name: &[u8]) -> Result<(), Error> {
        if !self.options.owners {
            return Ok(());
        }
        let (uid, gid) = owner(entry)?;
        match rustix::fs::chownat(&*parent.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::INVAL) => {
                self.owners_ignored += 1;
                Ok(())
            }
            Err(e) => Err(self.failed(entry, "set owner", e.into())),
        }
    }

    fn set_xattrs(&self, entry: &Entry, fd: &OwnedFd) -> Result<(), Error> {
        for (name, value) in &entry.xattrs {
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                return Err(refused(entry, "an attribute that would command overlayfs"));
            }
            match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                // Not permitted to this process, or unknown to this file system: the file is of use without.
                Err(Errno::PERM | Errno::NOTSUP | Errno::INVAL | Errno::ACCESS) => {
                    tracing::debug!(entry = %entry.display(), attribute = %String::from_utf8_lossy(name), "attribute not set");
                }
                Err(e) => return Err(self.failed(entry, "set attribute", e.into())),
            }
        }
        Ok(())
    }

    fn open_directory(&self, parent: &Directory, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&*parent.fd, name, flags, Mode::empty())?)
    }

    /// A [`Directory`]'s descriptor only marks a place; this one can be read and changed.
    fn open_here(&self, directory: &Directory) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&*directory.fd, c".", flags, Mode::empty())?)
    }

    /// Sets modes and times of directories, deepest first.
    fn finish_directories(&mut self) -> Result<(), Error> {
        for (path, (mode, times)) in std::mem::take(&mut self.directories).into_iter().rev() {
            let mut here = self.root.fd().try_clone().map_err(|source| self.finish_failed(&path, source))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            for name in path.split(|b| *b == b'/').filter(|c| !c.is_empty()) {
                here = rustix::fs::openat(&here, name, flags, Mode::empty())
                    .map_err(|e| self.finish_failed(&path, e.into()))?;
            }
            rustix::fs::fchmod(&here, Mode::from_raw_mode(mode)).map_err(|e| self.finish_failed(&path, e.into()))?;
            rustix::fs::futimens(&here, &times).map_err(|e| self.finish_failed(&path, e.into()))?;
        }
        Ok(())
    }

    fn finish_failed(&self, path: &[u8], source: io::Error) -> Error {
        let entry = String::from_utf8_lossy(path).into_owned();
        Error::Entry { entry, action: "set mode and time", dest: self.dest.to_owned(), source }
    }

    fn failed(&self, entry: &Entry, action: &'static str, source: io::Error) -> Error {
        Error::Entry { entry: entry.display(), action, dest: self.dest.to_owned(), source }
    }

    fn walk_failed(&self, entry: &Entry, error: WalkError) -> Error {
        match error {
            WalkError::Io(action, source) => self.failed(entry, action, source),
            WalkError::Refused(reason) => Error::Refused { entry: entry.display(), reason },
            WalkError::Missing => self.failed(entry, "find directory", io::ErrorKind::NotFound.into()),
        }
    }
}

/// Splits a name into its parts, refusing what could lead out.
fn components<'a>(entry: &Entry, path: &'a [u8]) -> Result<Vec<&'a [u8]>, Error> {
    if path.contains(&0) {
        return Err(refused(entry, "a name with a NUL byte"));
    }
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err(refused(entry, "a name with \"..\" leads out of the layer"));
    }
    if parts.len() > MAX_DEPTH || path.len() > 4096 {
        return Err(refused(entry, "a name longer than any file system allows"));
    }
    Ok(parts)
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

fn refused(entry: &Entry, reason: &str) -> Error {
    Error::Refused { entry: entry.display(), reason: reason.into() }
}

fn owner(entry: &Entry) -> Result<(Uid, Gid), Error> {
    let id = |n: u64| u32::try_from(n).ok().filter(|n| *n != u32::MAX);
    match (id(entry.uid), id(entry.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(refused(entry, "an owner that is not a 32-bit number")),
    }
}

fn times(entry: &Entry) -> Timestamps {
    stamps(entry.mtime.0, i64::from(entry.mtime.1))
}

fn stamps(seconds: i64, nanos: i64) -> Timestamps {
    let at = Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps { last_access: at, last_modification: at }
}
