//! Walking paths below a directory without ever leaving it.
//!
//! Every step opens one name relative to a descriptor, never following a symbolic link in the kernel. Links on the way are
//! read here and continued from the root directory (when absolute) or from where they stand, with `..` stopping at the root:
//! what `chroot` would see.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Deepest directory nesting, so that nothing recursive runs out of stack.
pub(super) const MAX_DEPTH: usize = 256;
const MAX_LINKS: usize = 40;

/// Makes a directory that is missing on the way.
pub(super) type Make<'a> = dyn FnMut(&Directory, &[u8]) -> io::Result<()> + 'a;

/// A directory below the root and its real path from there, `a/b` (empty for the root).
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) fd: Rc<OwnedFd>,
    pub(super) path: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum WalkError {
    Io(&'static str, io::Error),
    Refused(String),
    /// Nothing there, and it was not to be made.
    Missing,
}

#[derive(Debug)]
pub(super) struct Root {
    fd: Rc<OwnedFd>,
    cache: Option<(Vec<u8>, Directory)>,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd: Rc::new(fd), cache: None })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Must be called when a directory or symbolic link was replaced.
    pub(super) fn forget(&mut self) {
        self.cache = None;
    }

    /// The directory that `components` lead to. With `make`, missing ones are made by it.
    pub(super) fn directory(
        &mut self,
        components: &[&[u8]],
        make: Option<&mut Make<'_>>,
    ) -> Result<Directory, WalkError> {
        let key = components.join(&b'/');
        if let Some((cached, directory)) = &self.cache
            && *cached == key
        {
            return Ok(directory.clone());
        }
        let found = self.walk(components, make)?;
        self.cache = Some((key, found.clone()));
        Ok(found)
    }

    fn walk(&self, components: &[&[u8]], mut make: Option<&mut Make<'_>>) -> Result<Directory, WalkError> {
        let root = Directory { fd: Rc::clone(&self.fd), path: Vec::new() };
        let mut stack: Vec<Directory> = Vec::new();
        let mut todo: VecDeque<Vec<u8>> = components.iter().map(|c| c.to_vec()).collect();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == b".." {
                stack.pop();
                continue;
            }
            if stack.len() >= MAX_DEPTH {
                return Err(WalkError::Refused(format!("directories are nested more than {MAX_DEPTH} deep")));
            }
            let here = stack.last().unwrap_or(&root).clone();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::PATH;
            let open = || rustix::fs::openat(&*here.fd, name.as_slice(), flags, Mode::empty());
            let opened = match open() {
                Err(Errno::NOENT) => match &mut make {
                    Some(make) => {
                        make(&here, &name).map_err(|e| WalkError::Io("make directory", e))?;
                        open()
                    }
                    None => return Err(WalkError::Missing),
                },
                other => other,
            };
            match opened {
                Ok(fd) => {
                    let path = if here.path.is_empty() { name } else { [&here.path[..], b"/", &name].concat() };
                    stack.push(Directory { fd: Rc::new(fd), path });
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = match rustix::fs::readlinkat(&*here.fd, name.as_slice(), Vec::new()) {
                        Ok(target) => target.into_bytes(),
                        Err(Errno::INVAL) => {
                            let shown = String::from_utf8_lossy(&name).into_owned();
                            return Err(WalkError::Refused(format!("{shown:?} on the way is not a directory")));
                        }
                        Err(e) => return Err(WalkError::Io("read symbolic link", e.into())),
                    };
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(WalkError::Refused("symbolic links on the way form a loop".into()));
                    }
                    if target.starts_with(b"/") {
                        stack.clear();
                    }
                    let parts = target.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".");
                    for part in parts.collect::<Vec<_>>().into_iter().rev() {
                        todo.push_front(part.to_vec());
                    }
                }
                Err(e) => return Err(WalkError::Io("open directory", e.into())),
            }
        }
        Ok(stack.pop().unwrap_or(root))
    }
}

/// Removes `name` below `dir`, whatever it is; fine when it is not there.
pub(super) fn remove_at(dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(dir, name, flags, Mode::empty())?
        }
        other => other?,
    };
    clear(&inner)?;
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Names in a directory, without `.` and `..`.
pub(super) fn names(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push(name.to_vec());
        }
    }
    Ok(found)
}

fn clear(dir: &OwnedFd) -> io::Result<()> {
    // An ordinary user needs search permission on the directory to list it, and write permission to empty it.
    let mode = rustix::fs::fstat(dir)?.st_mode;
    if mode & 0o700 != 0o700 {
        let _ = rustix::fs::fchmod(dir, Mode::RWXU);
    }
    names(dir)?.iter().try_for_each(|name| remove_at(dir, name))
}

/// Removes a directory with everything below it, also where modes forbid it to an ordinary owner. Symbolic links are
/// removed, not followed. Fine when it does not exist.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
        Ok(metadata) if !metadata.is_dir() => return fs::remove_file(path),
        Ok(metadata) if metadata.permissions().mode() & 0o700 != 0o700 => {
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        }
        Ok(_) => {}
    }
    clear(Root::open(path)?.fd())?;
    fs::remove_dir(path)
}
