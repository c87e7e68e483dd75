//! The mounts of a container, made in its own mount namespace before and after the change of root.

use super::{Mount, Rootfs, Source, Spec};
use crate::sys;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, mkdirat};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A step that failed.
pub(super) type Failure = (String, io::Error);

/// Names the step.
pub(super) fn step<T, E: Into<io::Error>>(result: Result<T, E>, name: impl FnOnce() -> String) -> Result<T, Failure> {
    result.map_err(|error| (name(), error.into()))
}

const NONE: Option<&str> = None;
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Builds the container's file system and makes it the root. The calling process is alone in its mount namespace.
pub(super) fn enter(spec: &Spec, own_network: bool, cgroup: Option<&crate::cgroup::Cgroup>) -> Result<(), Failure> {
    // Copied while they still share what the caller's namespace shares.
    let mut live = Vec::new();
    for one in &spec.mounts {
        if let Source::Live { path, .. } = &one.source {
            let name = step(sys::c_string(path.as_os_str().as_bytes()), || "name a mount".into())?;
            live.push(step(sys::clone_mount(&name), || format!("copy the mount {}", path.display()))?);
        }
    }
    let mut live = live.into_iter();
    step(mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE), || "make mounts private".into())?;
    let root = mount_root(&spec.rootfs)?;
    let at = open_root(&root)?;
    let special = |source: &str, target: &str, kind: &str, flags: MsFlags, data: &str| -> Result<(), Failure> {
        let place = step(make_target(at.as_fd(), Path::new(target), true), || format!("make {target}"))?;
        step(mount(Some(source), &proc_path(&place), Some(kind), flags, Some(data).filter(|d| !d.is_empty())), || {
            format!("mount {kind} on {target}")
        })
    };
    let guarded = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    special("proc", "/proc", "proc", guarded, "")?;
    special("tmpfs", "/dev", "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME, "mode=755,size=65536k")?;
    let devpts = "newinstance,ptmxmode=0666,mode=0620";
    if special("devpts", "/dev/pts", "devpts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, &format!("{devpts},gid=5"))
        .is_err()
    {
        special("devpts", "/dev/pts", "devpts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, devpts)?;
    }
    special("shm", "/dev/shm", "tmpfs", guarded, &format!("mode=1777,size={}", spec.shm_bytes))?;
    let _ = special("mqueue", "/dev/mqueue", "mqueue", guarded, "");
    let sys_flags = if spec.privileged { guarded } else { guarded | MsFlags::MS_RDONLY };
    let sysfs = own_network && special("sysfs", "/sys", "sysfs", sys_flags, "").is_ok();
    if !sysfs {
        // A sysfs shows the network namespace's devices, so it takes rights over that namespace; a bind shows the caller's.
        bind(at.as_fd(), Path::new("/sys"), Path::new("/sys"), true)?;
    }
    if let (true, Some(group)) = (sysfs, cgroup) {
        show_cgroup(at.as_fd(), group);
    }
    for device in DEVICES {
        bind(at.as_fd(), &Path::new("/dev").join(device), &Path::new("/dev").join(device), false)?;
    }
    for (link, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        step(std::os::unix::fs::symlink(to, root_path(&at).join("dev").join(link)), || format!("link /dev/{link}"))?;
    }
    if spec.privileged {
        for entry in std::fs::read_dir("/dev").into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| !kind.is_dir() && !kind.is_symlink()) {
                let _ = bind(at.as_fd(), &entry.path(), &entry.path(), false);
            }
        }
    }
    for one in &spec.mounts {
        mount_one(at.as_fd(), one, &mut live)?;
    }
    pivot(&at)?;
    if !spec.privileged && !spec.unmasked_proc {
        restrict()?;
    }
    if spec.readonly_rootfs {
        step(sys::mount_set_readonly(c"/", false), || "make the root read-only".into())?;
    }
    Ok(())
}

fn mount_root(rootfs: &Rootfs) -> Result<PathBuf, Failure> {
    match rootfs {
        Rootfs::Dir(path) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            step(mount(Some(path), path, NONE, flags, NONE), || format!("bind the root {}", path.display()))?;
            Ok(path.clone())
        }
        Rootfs::Overlay { lower, upper, work } => {
            let all: Vec<&PathBuf> = lower.iter().chain([upper, work]).collect();
            let base = common_directory(&all);
            let relative = |path: &Path| escape(path.strip_prefix(&base).unwrap_or(path));
            let lowers: Vec<String> = lower.iter().map(|path| relative(path)).collect();
            let data = format!(
                "lowerdir={},upperdir={},workdir={},userxattr",
                lowers.join(":"),
                relative(upper),
                relative(work)
            );
            // Short relative names keep many layers below the one page that the options may take.
            step(nix::unistd::chdir(&base), || format!("enter {}", base.display()))?;
            step(mount(Some("overlay"), upper, Some("overlay"), MsFlags::empty(), Some(data.as_str())), || {
                format!("mount overlay ({} layers, options of {} bytes)", lower.len(), data.len())
            })?;
            Ok(upper.clone())
        }
    }
}

/// The longest directory that all paths share.
fn common_directory(paths: &[&PathBuf]) -> PathBuf {
    let mut base: PathBuf =
        paths.first().map(|path| path.parent().unwrap_or(Path::new("/")).to_owned()).unwrap_or_else(|| "/".into());
    while !paths.iter().all(|path| path.starts_with(&base) && **path != base) {
        if !base.pop() {
            return "/".into();
        }
    }
    base
}

/// A path in overlay options: commas, colons and backslashes are escaped.
fn escape(path: &Path) -> String {
    let mut out = String::new();
    for character in path.to_string_lossy().chars() {
        if matches!(character, ',' | ':' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn open_root(root: &Path) -> Result<OwnedFd, Failure> {
    step(nix::fcntl::open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()), || {
        format!("open {}", root.display())
    })
}

fn proc_path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn root_path(fd: &OwnedFd) -> PathBuf {
    proc_path(fd)
}

/// Opens `path` below `root`, symbolic links resolved inside of it, making what is missing.
fn make_target(root: BorrowedFd<'_>, path: &Path, directory: bool) -> io::Result<OwnedFd> {
    let open = |path: &Path| {
        openat2(
            root,
            path,
            OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT),
        )
    };
    let names: Vec<_> = path
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    let mut current = PathBuf::from("/");
    let mut fd = open(&current)?;
    for (index, name) in names.iter().enumerate() {
        let next = current.join(name);
        fd = match open(&next) {
            Ok(found) => found,
            Err(nix::errno::Errno::ENOENT) => {
                let last = index + 1 == names.len();
                if last && !directory {
                    nix::sys::stat::mknodat(&fd, *name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0)?;
                } else {
                    mkdirat(&fd, *name, Mode::from_bits_truncate(0o755))?;
                }
                open(&next)?
            }
            Err(error) => return Err(error.into()),
        };
        current = next;
    }
    Ok(fd)
}

fn bind(root: BorrowedFd<'_>, source: &Path, target: &Path, directory: bool) -> Result<(), Failure> {
    let place = step(make_target(root, target, directory), || format!("make {}", target.display()))?;
    step(mount(Some(source), &proc_path(&place), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE), || {
        format!("bind {} on {}", source.display(), target.display())
    })
}

/// Makes one mount; `live` has the copies for those that need one, in order.
fn mount_one(root: BorrowedFd<'_>, one: &Mount, live: &mut impl Iterator<Item = OwnedFd>) -> Result<(), Failure> {
    match &one.source {
        Source::Live { path, both_ways } => {
            let name = || format!("mount {} on {}", path.display(), one.target.display());
            let copy = step(live.next().ok_or(io::ErrorKind::NotFound), name)?;
            let place = step(make_target(root, &one.target, path.is_dir()), name)?;
            step(sys::attach_mount(copy.as_fd(), place.as_fd()), name)?;
            if !both_ways {
                let top = step(make_target(root, &one.target, true), name)?;
                step(mount(NONE, &proc_path(&top), NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE), name)?;
            }
        }
        Source::Bind(source) => {
            let kind = step(std::fs::metadata(source), || {
                format!("find {} (mounted on {})", source.display(), one.target.display())
            })?;
            bind(root, source, &one.target, kind.is_dir())?;
        }
        Source::Tmpfs { size, mode } => {
            let place = step(make_target(root, &one.target, true), || format!("make {}", one.target.display()))?;
            let mut data = format!("mode={mode:o}");
            if let Some(bytes) = size {
                data.push_str(&format!(",size={bytes}"));
            }
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            step(mount(Some("tmpfs"), &proc_path(&place), Some("tmpfs"), flags, Some(data.as_str())), || {
                format!("mount tmpfs on {}", one.target.display())
            })?;
        }
    }
    if one.readonly {
        // Opened again: now the path leads to the top of what was mounted.
        let top = step(make_target(root, &one.target, true), || format!("open {}", one.target.display()))?;
        let path =
            step(sys::c_string(proc_path(&top).into_os_string().into_encoded_bytes()), || "name a mount".into())?;
        step(sys::mount_set_readonly(&path, true), || format!("make {} read-only", one.target.display()))?;
    }
    Ok(())
}

/// Shows the container its own cgroup, read-only: programs size themselves by it. Best effort.
fn show_cgroup(root: BorrowedFd<'_>, group: &crate::cgroup::Cgroup) {
    for (controller, directory) in group.directories() {
        let target = if controller.is_empty() {
            PathBuf::from("/sys/fs/cgroup")
        } else {
            if !Path::new("/sys/fs/cgroup").join(controller).exists() {
                continue;
            }
            // The directories for version 1 need a place to stand.
            if !proc_cgroup_ready(root) {
                return;
            }
            Path::new("/sys/fs/cgroup").join(controller)
        };
        let shown = Mount { source: Source::Bind(directory.clone()), target, readonly: true };
        let _ = mount_one(root, &shown, &mut std::iter::empty());
    }
}

fn proc_cgroup_ready(root: BorrowedFd<'_>) -> bool {
    let Ok(place) = openat2(
        root,
        "/sys/fs/cgroup",
        OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT),
    ) else {
        return false;
    };
    let is_tmpfs =
        nix::sys::statfs::fstatfs(&place).is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC);
    is_tmpfs
        || mount(
            Some("tmpfs"),
            &proc_path(&place),
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            Some("mode=755"),
        )
        .is_ok()
}

fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    step(nix::unistd::fchdir(root), || "enter the root".into())?;
    step(nix::unistd::pivot_root(".", "."), || "change the root".into())?;
    step(umount2(".", MntFlags::MNT_DETACH), || "leave the old root".into())?;
    step(nix::unistd::chdir("/"), || "enter the new root".into())
}

fn restrict() -> Result<(), Failure> {
    for path in READ_ONLY {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        if Path::new(path).exists() {
            step(mount(Some(path), path, NONE, flags, NONE), || format!("protect {path}"))?;
            let name = step(sys::c_string(path), || "name a mount".into())?;
            step(sys::mount_set_readonly(&name, true), || format!("make {path} read-only"))?;
        }
    }
    for path in MASKED {
        match std::fs::metadata(path) {
            Ok(kind) if kind.is_dir() => {
                let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                step(mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("size=0k")), || format!("hide {path}"))?;
            }
            Ok(_) => step(mount(Some("/dev/null"), path, NONE, MsFlags::MS_BIND, NONE), || format!("hide {path}"))?,
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_directories() {
        let base = |paths: &[&str]| {
            common_directory(&paths.iter().map(PathBuf::from).collect::<Vec<_>>().iter().collect::<Vec<_>>())
        };
        for (paths, expected) in [
            (vec!["/s/layers/a", "/s/layers/b", "/s/c/up", "/s/c/work"], "/s"),
            (vec!["/a/x", "/b/y"], "/"),
            (vec!["/s/a"], "/s"),
            (vec!["/s/a", "/s/a/b"], "/s"),
        ] {
            assert_eq!(base(&paths), PathBuf::from(expected), "{paths:?}");
        }
    }

    #[test]
    fn targets_stay_inside() {
        let dir = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("/run", dir.path().join("var-run")).expect("a link");
        std::os::unix::fs::symlink("../../../../etc", dir.path().join("evil")).expect("a link");
        std::fs::create_dir(dir.path().join("run")).expect("a directory");
        let root = open_root(dir.path()).expect("the root opens");
        make_target(root.as_fd(), Path::new("/var-run/secrets/token"), false).expect("made");
        assert!(dir.path().join("run/secrets/token").is_file());
        std::fs::create_dir(dir.path().join("etc")).expect("a directory");
        make_target(root.as_fd(), Path::new("evil/file"), false).expect("made");
        assert!(dir.path().join("etc/file").is_file());
    }
}
