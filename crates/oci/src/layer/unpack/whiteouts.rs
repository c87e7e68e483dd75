//! Deletions: what they hide of the layers below, and what they become on disk.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::*;

impl Unpacker<'_> {
    pub(super) fn whiteout(
        &mut self,
        entry: &Entry,
        parents: &[&[u8]],
        name: &[u8],
        hidden: &[u8],
    ) -> Result<(), Error> {
        let opaque = name == OPAQUE;
        if !opaque && hidden.starts_with(WHITEOUT) {
            // Bookkeeping of aufs, which means nothing here.
            return Ok(());
        }
        if !opaque && matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(entry, "a whiteout without a name"));
        }
        match self.options.whiteouts {
            Whiteouts::Apply => {
                let parent = match self.root.directory(parents, None) {
                    Ok(parent) => parent,
                    Err(WalkError::Missing) => return Ok(()),
                    Err(other) => return Err(self.walk_failed(entry, other)),
                };
                if opaque {
                    let dir = self.open_here(&parent).map_err(|e| self.failed(entry, "open directory", e))?;
                    return self.hide_below(entry, &dir, &parent.path);
                }
                self.hide(entry, &parent, hidden)
            }
            Whiteouts::Overlay(_) => {
                let parent = self.parent(entry, parents)?;
                if opaque {
                    let dir = self.open_here(&parent).map_err(|e| self.failed(entry, "open directory", e))?;
                    return self.mark_opaque(entry, &dir);
                }
                match self.kind_at(entry, &parent, hidden)? {
                    // What the layer itself brings stays, and hides what is below it.
                    Some(FileType::Directory) => {
                        let dir = self
                            .open_directory(&parent, hidden)
                            .map_err(|e| self.failed(entry, "open directory", e))?;
                        self.mark_opaque(entry, &dir)
                    }
                    Some(_) => Ok(()),
                    None => self.make_whiteout(entry, &parent, hidden),
                }
            }
        }
    }

    /// Deletes `name` unless this layer brought it or something below it.
    fn hide(&mut self, entry: &Entry, parent: &Directory, name: &[u8]) -> Result<(), Error> {
        let real = join(&parent.path, name);
        if !self.written.contains(&real) {
            return self.remove(entry, parent, name, &real);
        }
        if self.kind_at(entry, parent, name)? == Some(FileType::Directory) {
            let dir = self.open_directory(parent, name).map_err(|e| self.failed(entry, "open directory", e))?;
            return self.hide_below(entry, &dir, &real);
        }
        Ok(())
    }

    fn hide_below(&mut self, entry: &Entry, dir: &OwnedFd, real: &[u8]) -> Result<(), Error> {
        let names = place::names(dir).map_err(|e| self.failed(entry, "list directory", e))?;
        let fd = std::rc::Rc::new(dir.try_clone().map_err(|e| self.failed(entry, "duplicate descriptor", e))?);
        let here = Directory { fd, path: real.to_vec() };
        for name in names {
            self.hide(entry, &here, &name)?;
        }
        Ok(())
    }

    fn make_whiteout(&mut self, entry: &Entry, parent: &Directory, name: &[u8]) -> Result<(), Error> {
        // Linux lets anyone make device 0/0, which is nothing but a whiteout.
        match rustix::fs::mknodat(&*parent.fd, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => return Ok(()),
            Err(Errno::PERM) => {}
            Err(e) => return Err(self.failed(entry, "make whiteout", e.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*parent.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| self.failed(entry, "make whiteout", e.into()))?;
        let marked = rustix::fs::fsetxattr(&fd, "user.overlay.whiteout", b"", XattrFlags::empty());
        marked.map_err(|e| self.failed(entry, "mark whiteout", e.into()))?;
        let dir = self.open_here(parent).map_err(|e| self.failed(entry, "open directory", e))?;
        let marked = rustix::fs::fsetxattr(&dir, "user.overlay.opaque", b"x", XattrFlags::empty());
        marked.map_err(|e| self.failed(entry, "mark directory of a whiteout", e.into()))?;
        self.user_xattrs = true;
        Ok(())
    }

    pub(super) fn mark_opaque(&mut self, entry: &Entry, dir: &OwnedFd) -> Result<(), Error> {
        let Whiteouts::Overlay(space) = self.options.whiteouts else { return Ok(()) };
        let set = |name: &str| rustix::fs::fsetxattr(dir, name, b"y", XattrFlags::empty());
        let result = match space {
            OverlayXattr::Trusted => set("trusted.overlay.opaque"),
            OverlayXattr::User => set("user.overlay.opaque").inspect(|()| self.user_xattrs = true),
            OverlayXattr::Auto => match set("trusted.overlay.opaque") {
                Err(Errno::PERM) => set("user.overlay.opaque").inspect(|()| self.user_xattrs = true),
                other => other,
            },
        };
        result.map_err(|e| self.failed(entry, "mark directory opaque", e.into()))
    }

    pub(super) fn is_whiteout(&self, parent: &Directory, name: &[u8], kind: FileType) -> bool {
        if !matches!(self.options.whiteouts, Whiteouts::Overlay(_)) {
            return false;
        }
        match kind {
            FileType::CharacterDevice => true,
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&*parent.fd, name, flags, Mode::empty())
                    .and_then(|fd| rustix::fs::fgetxattr(&fd, "user.overlay.whiteout", &mut [0u8; 1][..]))
                    .is_ok()
            }
            _ => false,
        }
    }
}
